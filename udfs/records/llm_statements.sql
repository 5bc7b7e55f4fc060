-- List the statements that reached a model, what they asked and how they ended.
CREATE OR REPLACE MACRO llm_statements() AS TABLE
    SELECT unnest(llmsql_statements(getvariable('llmsql_statement')), recursive := true);

COMMENT ON MACRO TABLE llm_statements IS 'List the statements that reached a model, what they asked and how they ended.';

/*
query T
SELECT llm_generate('Who states it?', 'echo_chat')
----
Who states it?

query TTTIII
SELECT kind, text, state, calls, reused, failed FROM llm_statements() ORDER BY started_at DESC LIMIT 1
----
SELECT	SELECT llm_generate('…', '…')	done	1	0	0
*/
