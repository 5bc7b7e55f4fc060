-- Read what a model answered to a request.
CREATE OR REPLACE MACRO llm_response_predict(response) AS
    list_transform(
        list_transform(
            list_transform(
                [to_json(response)],
                lambda given: json_extract_string(
                    given, CASE json_type(given) WHEN 'ARRAY' THEN '$[0]' ELSE '$' END
                )
            ),
            -- Plain text is no JSON, and JSON that a model wrote is no answer to a request.
            lambda said: {'said': said, 'reply': TRY_CAST(said AS JSON)}
        ),
        lambda answer: CASE
            WHEN json_exists(answer.reply, '$.input') AND json_exists(answer.reply, '$.output')
                THEN json_extract_string(answer.reply, '$.output')
            WHEN json_exists(answer.reply, '$[0].input') AND json_exists(answer.reply, '$[0].predict')
                THEN json_extract_string(answer.reply, '$[0].predict')
            ELSE answer.said
        END
    )[1];

COMMENT ON MACRO llm_response_predict IS 'Read what a model answered to a request.';

/*
query T
SELECT llm_response_predict(echo_chat(llm_param(MAP {'instruction': 'Hello'})))
----
Hello

query T
SELECT llm_response_predict('[{"predict": [0.5, 1], "input": {}, "metadata": {}}]')
----
[0.5,1]

query T
SELECT llm_response_predict(NULL)
----
NULL
*/
