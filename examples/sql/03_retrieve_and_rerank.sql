-- Retrieve, rerank, answer: vectors choose five passages, a second look keeps one, a chat model reads it.
--   llmsql examples/sql/03_retrieve_and_rerank.sql
-- Needs the packaged models SmolLM2 and MiniLM; no GPU, no key, no network.
-- MiniLM scores pairs by cosine here; deploy a cross-encoder as `rerank` for better judgement.

RUN command AS LLM WHERE action='infer' AND localModelDir='minilm' AND udfName='emb';
RUN command AS LLM WHERE action='infer' AND localModelDir='minilm' AND kind='rerank' AND udfName='rerank';
RUN command AS LLM WHERE action='infer' AND localModelDir='smollm2' AND udfName='chat';

SET VARIABLE question = 'How many days do I have to send something back?';

CREATE TABLE articles AS
SELECT title, body, emb(body) AS vector FROM 'examples/data/articles.csv';

-- ORDER BY … LIMIT chooses the rows first: rerank is asked about five pairs, not about all.
CREATE TEMP TABLE found AS
SELECT title, body, rerank(getvariable('question'), body) AS relevance
FROM (
    FROM articles
    ORDER BY array_cosine_similarity(vector, emb(getvariable('question'))) DESC
    LIMIT 5
);

SELECT title, round(relevance, 2) AS relevance, body FROM found ORDER BY relevance DESC;

-- The best passage goes into the prompt.
SELECT getvariable('question') AS question,
       chat(body || chr(10) || chr(10) || getvariable('question'), {'max_tokens': 40, 'stop': ['.']}) AS answer
FROM found
ORDER BY relevance DESC
LIMIT 1;
