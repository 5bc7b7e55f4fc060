-- What a statement will cost before it costs anything, a cap on it, and what it has cost.
--   llmsql examples/sql/09_costs_and_caps.sql
-- Runs anywhere: the model echoes its prompt, and has a price for a million tokens.

RUN command AS LLM WHERE action='infer' AND pretrainedModelType='echo' AND udfName='ask'
  AND price_input='0.50' AND price_output='1.50';

-- EXPLAIN asks nothing. Tokens to read are the model's own count; those to write are a guess, marked by ~,
-- until the model has answered something. A call behind a condition on answers is made "at most" so often.
EXPLAIN
SELECT product, ask('Shorten: ' || review, {'max_tokens': 5})
FROM 'examples/data/reviews.csv'
WHERE stars < 3 AND ask('Any defect? ' || review, {'max_tokens': 50}) LIKE '%broke%';

-- A statement that needs more than a cap is refused before it asks anything. This one does not.
!llm setup "max_calls=20";

SELECT product, ask('Shorten: ' || review, {'max_tokens': 5}) AS short
FROM 'examples/data/reviews.csv'
WHERE stars < 3 AND ask('Any defect? ' || review, {'max_tokens': 50}) LIKE '%broke%';

-- What happened: by statement, by call, by model and day.
SELECT kind, state, calls, reused, input_tokens, output_tokens, cost FROM llm_statements();

SELECT site, count(*) AS calls, sum(output_tokens) AS tokens, count(*) FILTER (finish_reason = 'length') AS cut
FROM llm_calls() GROUP BY site ORDER BY site;

SELECT model, calls, failed, input_tokens, cost FROM llm_usage();

-- A row joins its call; a row that failed can say why.
SELECT a.answer.value AS answer, a.answer.error AS error, c.output_tokens
FROM (SELECT ask('one two three', {'on_error': 'capture'}) AS answer) a
JOIN llm_calls() c ON c.call_id = a.answer.call_id;
