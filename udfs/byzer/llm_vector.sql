-- Read the vector that a model answered.
CREATE OR REPLACE MACRO llm_vector(response) AS
    list_transform(
        [to_json(response)],
        lambda given: CASE
            WHEN json_type(given, '$[0]') IN ('DOUBLE', 'BIGINT', 'UBIGINT') THEN given::VARCHAR
            ELSE llm_result(given)
        END::FLOAT[]
    )[1];

COMMENT ON MACRO llm_vector IS 'Read the vector that a model answered.';

/*
query T
SELECT llm_vector(echo_emb(llm_param(MAP {'instruction': 'a lamp', 'embedding': 'true'}))) = echo_emb('a lamp')::FLOAT[]
----
true

query TT
SELECT llm_vector('[{"predict": [0.5, 1], "input": {}}]'), llm_vector([0.5::FLOAT, 1])
----
[0.5, 1]	[0.5, 1]

query T
SELECT llm_vector(NULL)
----
NULL
*/
