-- Deploy a chat model and ask it about a column. Run from the project's folder:
--   llmsql examples/sql/01_quick_start.sql
-- Needs the packaged model SmolLM2; no GPU, no key, no network.

RUN command AS LLM WHERE action='infer' AND localModelDir='smollm2' AND udfName='chat';

SELECT product, review,
       chat('What is the sentiment of this sentence? ' || review, {'stop': ['.', ' and']}) AS answer
FROM 'examples/data/reviews.csv'
WHERE stars < 3
ORDER BY product;

-- An answer is text like any other: cut it, cast it, group by it.
SELECT regexp_extract(
           chat('What is the sentiment of this sentence? ' || review, {'stop': ['.', ' and']}),
           'positive|negative'
       ) AS sentiment,
       count(*) AS reviews,
       round(avg(stars), 1) AS stars
FROM 'examples/data/reviews.csv'
GROUP BY sentiment
ORDER BY sentiment;

-- A question about facts; {'max_tokens': …} bounds the answer.
SELECT country, chat('What is the capital of ' || country || '?', {'max_tokens': 20}) AS answer
FROM (VALUES ('France'), ('Japan'), ('Kenya'), ('Norway'), ('France')) AS asked(country);
