-- List the numbers of this connection's last EXPLAIN: calls, tokens, seconds and money, call by call.
CREATE OR REPLACE MACRO llm_estimates() AS TABLE
    SELECT unnest(llmsql_estimates(getvariable('llmsql_statement')), recursive := true);

COMMENT ON MACRO TABLE llm_estimates IS 'List the numbers of this connection''s last EXPLAIN: calls, tokens, seconds and money, call by call.';

/*
query I
SELECT count(*) FROM llm_estimates()
----
0
*/
