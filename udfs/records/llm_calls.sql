-- List the inputs that statements asked of models or found answered: tokens, seconds, errors.
CREATE OR REPLACE MACRO llm_calls() AS TABLE
    SELECT unnest(llmsql_calls(getvariable('llmsql_statement')), recursive := true);

COMMENT ON MACRO TABLE llm_calls IS 'List the inputs that statements asked of models or found answered: tokens, seconds, errors.';
