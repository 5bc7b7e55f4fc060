-- List what each model used on each day: calls, tokens, seconds, money.
CREATE OR REPLACE MACRO llm_usage() AS TABLE
    SELECT unnest(llmsql_usage(getvariable('llmsql_statement')), recursive := true);

COMMENT ON MACRO TABLE llm_usage IS 'List what each model used on each day: calls, tokens, seconds, money.';
