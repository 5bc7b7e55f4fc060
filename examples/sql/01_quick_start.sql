-- Deploy a chat model and ask it about a column.
--   llmsql examples/sql/01_quick_start.sql
-- Needs the packaged model SmolLM2, 135 million parameters; no GPU, no key, no network.

RUN command AS LLM WHERE action='infer' AND localModelDir='smollm2' AND udfName='chat';

SELECT review,
       chat('What is the sentiment of this sentence? ' || review, {'stop': ['.', ' and']}) AS answer
FROM 'examples/data/reviews.csv'
WHERE stars < 3;

-- The library has it as a function; its answer is a value like any other.
SELECT ai_sentiment(review) AS sentiment, count(*) AS reviews, round(avg(stars), 1) AS stars
FROM 'examples/data/reviews.csv'
GROUP BY sentiment
ORDER BY sentiment;
