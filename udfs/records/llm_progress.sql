-- List how far the statements are that run now, seen from another connection.
CREATE OR REPLACE MACRO llm_progress() AS TABLE
    SELECT unnest(llmsql_progress(getvariable('llmsql_statement')), recursive := true);

COMMENT ON MACRO TABLE llm_progress IS 'List how far the statements are that run now, seen from another connection.';

/*
query I
SELECT count(*) FROM llm_progress()
----
0
*/
