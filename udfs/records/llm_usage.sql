-- List what each model used on each day: calls, tokens, seconds, money.
CREATE OR REPLACE MACRO llm_usage() AS TABLE
    SELECT unnest(llmsql_usage(getvariable('llmsql_statement')), recursive := true);

COMMENT ON MACRO TABLE llm_usage IS 'List what each model used on each day: calls, tokens, seconds, money.';

/*
query T
SELECT llm_generate('What is used?', 'echo_chat')
----
What is used?

query TT
SELECT model, calls > 0 AND input_tokens >= 3 AND cost IS NULL FROM llm_usage() WHERE model = 'echo_chat'
----
echo_chat	true
*/
