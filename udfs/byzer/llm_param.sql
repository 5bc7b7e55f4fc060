-- Make the request of a model from a MAP, a STRUCT or JSON.
CREATE OR REPLACE MACRO llm_param(request) AS
    CASE
        WHEN request IS NULL THEN NULL
        WHEN typeof(request) = 'VARCHAR' THEN [request::VARCHAR]
        ELSE [to_json(request)::VARCHAR]
    END;

COMMENT ON MACRO llm_param IS 'Make the request of a model from a MAP, a STRUCT or JSON.';

/*
query T
SELECT llm_param(MAP {'instruction': 'Hello', 'temperature': '0.1'})
----
[{"instruction":"Hello","temperature":"0.1"}]

query T
SELECT llm_param({'instruction': 'Hello', 'max_length': 5})
----
[{"instruction":"Hello","max_length":5}]

query T
SELECT llm_result(echo_chat(llm_param({'instruction': 'one two three', 'stopping_sequences': ' three,!'})))
----
one two

query TT
SELECT llm_param('{"query": "Hello"}'), llm_param(NULL)
----
[{"query": "Hello"}]	NULL
*/
