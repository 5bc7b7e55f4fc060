-- List the statements that reached a model, what they asked and how they ended.
CREATE OR REPLACE MACRO llm_statements() AS TABLE
    SELECT unnest(llmsql_statements(getvariable('llmsql_statement')), recursive := true);

COMMENT ON MACRO TABLE llm_statements IS 'List the statements that reached a model, what they asked and how they ended.';
