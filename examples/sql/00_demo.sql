-- A chat model, an embedding model and a judge of relevance over two small tables (`make demo`).
--   llmsql examples/sql/00_demo.sql
-- Needs the packaged models: SmolLM2 (135 million parameters) and MiniLM. No GPU, no key, no network.

-- Each RUN deploys a model, and from then on its name is a function.
RUN command AS LLM WHERE action='infer' AND localModelDir='smollm2' AND udfName='chat';
RUN command AS LLM WHERE action='infer' AND localModelDir='minilm' AND udfName='emb';
RUN command AS LLM WHERE action='infer' AND localModelDir='minilm' AND kind='rerank' AND udfName='rerank';

CREATE TABLE reviews AS FROM 'examples/data/reviews.csv';
CREATE TABLE articles AS FROM 'examples/data/articles.csv';

-- A chat model over a column.
SELECT id, review,
       chat('What is the sentiment of this sentence? ' || review, {'stop': ['.', ' and']}) AS answer
FROM reviews
ORDER BY id;

-- The same question as a function of the library: whose stars say the opposite of their words?
SELECT product, stars, ai_sentiment(review) AS sentiment, review
FROM reviews
WHERE (stars > 3) != (ai_sentiment(review) = 'positive')
ORDER BY id;

-- An embedding model: the help article nearest to each complaint.
SELECT product, review, title AS nearest_article,
       round(array_cosine_similarity(emb(review), emb(body)), 2) AS cosine
FROM reviews, articles
WHERE product IN ('kettle', 'knife', 'phone', 'alarm clock')
QUALIFY row_number() OVER (PARTITION BY reviews.id ORDER BY cosine DESC) = 1
ORDER BY cosine DESC;

-- A model as a judge of relevance: a list, best first.
SELECT title, round(rerank('How long does shipping take?', body), 2) AS relevance, body
FROM articles
ORDER BY relevance DESC
LIMIT 3;
