-- List the inputs that statements asked of models or found answered: tokens, seconds, errors.
CREATE OR REPLACE MACRO llm_calls() AS TABLE
    SELECT unnest(llmsql_calls(getvariable('llmsql_statement')), recursive := true);

COMMENT ON MACRO TABLE llm_calls IS 'List the inputs that statements asked of models or found answered: tokens, seconds, errors.';

/*
query T
SELECT llm_generate('Who calls?', 'echo_chat')
----
Who calls?

query TTIIT
SELECT model, is_reused, input_tokens, output_tokens, finish_reason FROM llm_calls() ORDER BY answered_at DESC LIMIT 1
----
echo_chat	false	2	2	stop
*/
