-- Find texts by meaning: an embedding model and DuckDB's own vector functions.
--   llmsql examples/sql/02_semantic_search.sql
-- Needs the packaged model MiniLM; no GPU, no key, no network.

RUN command AS LLM WHERE action='infer' AND localModelDir='minilm' AND udfName='emb';

-- Vectors are made once and kept in a column; their length is part of the type.
CREATE TABLE articles AS
SELECT id, title, body, emb(title || '. ' || body) AS vector
FROM 'examples/data/articles.csv';

SELECT column_name, data_type FROM duckdb_columns() WHERE table_name = 'articles';

-- One query against all of them; no word of it stands in the article that is found.
SELECT title, round(array_cosine_similarity(vector, emb('my appliance is much too loud')), 2) AS cosine
FROM articles
ORDER BY cosine DESC
LIMIT 3;

-- A whole table of questions at once: two for each, by rank.
SELECT question, title, round(array_cosine_similarity(vector, emb(question)), 2) AS cosine
FROM articles,
     (VALUES ('When will my order be here?'), ('Can I get a refund?'), ('Where do I throw away an old TV?'))
         AS questions(question)
QUALIFY row_number() OVER (PARTITION BY question ORDER BY cosine DESC) <= 2
ORDER BY question, cosine DESC;

-- Without a model's own function: the library works with any deployed embedding model.
SELECT round(ai_similarity('A kettle that leaks', 'Water runs out of my teapot'), 1) AS near,
       round(ai_similarity('A kettle that leaks', 'The invoice is a PDF'), 1) AS far;
