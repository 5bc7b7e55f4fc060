-- Nothing is asked twice: stop this script half-way, with Ctrl-C or kill -9, run it again, and it goes on.
--   llmsql shop.duckdb examples/sql/08_stop_and_go_on.sql
-- Runs anywhere: the model echoes its prompt, and takes 10 ms for each, as a slow one would.

RUN command AS LLM WHERE action='infer' AND pretrainedModelType='echo' AND udfName='ask'
  AND backend.delay='0.01';

-- Each answer is on disk as it arrives, in shop.duckdb.llmsql; the table is made as a whole or not at all.
CREATE OR REPLACE TABLE labels AS
SELECT id, ask('Label for ' || id) AS label FROM range(300) t(id);

SELECT count(*) AS rows, count(DISTINCT label) AS labels FROM labels;

-- What this run asked, and what it found answered by the one before. In all, 300 inputs.
SELECT state, calls, reused, calls + reused AS inputs
FROM llm_statements() ORDER BY started_at DESC LIMIT 1;
