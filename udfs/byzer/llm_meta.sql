-- Tell what is known of a model, as JSON.
CREATE OR REPLACE MACRO llm_meta(model) AS
    json_extract(llm_request(['{"meta":true}'], model), '$.output');

COMMENT ON MACRO llm_meta IS 'Tell what is known of a model, as JSON.';

/*
query TTT
SELECT llm_meta('echo_emb') ->> 'backend', llm_meta('echo_emb') ->> 'kind', llm_meta('echo_emb') ->> 'dim'
----
echo	emb	8
*/
