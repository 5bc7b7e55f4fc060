-- List the deployed models, on what terms they are asked, and what they did.
CREATE OR REPLACE MACRO llm_models() AS TABLE
    SELECT unnest(llmsql_models(getvariable('llmsql_statement')), recursive := true);

COMMENT ON MACRO TABLE llm_models IS 'List the deployed models, on what terms they are asked, and what they did.';

/*
query TTTI
SELECT model, kind, backend, dimension FROM llm_models() WHERE model = 'echo_emb'
----
echo_emb	emb	echo	8
*/
