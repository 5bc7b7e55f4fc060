-- Read what a model was asked and what it answered, in one text.
CREATE OR REPLACE MACRO llm_response_full(response) AS
    list_transform(
        list_transform(
            list_transform(
                [to_json(response)],
                lambda given: json_extract_string(
                    given, CASE json_type(given) WHEN 'ARRAY' THEN '$[0]' ELSE '$' END
                )
            ),
            lambda said: {'said': said, 'reply': TRY_CAST(said AS JSON)}
        ),
        lambda answer: coalesce(
            json_extract_string(answer.reply, '$.input.instruction'),
            json_extract_string(answer.reply, '$.input.query'),
            json_extract_string(answer.reply, '$[0].input.instruction'),
            json_extract_string(answer.reply, '$[0].input.query'),
            ''
        ) || CASE
            WHEN json_exists(answer.reply, '$.input')
                THEN json_extract_string(answer.reply, '$.output')
            WHEN json_exists(answer.reply, '$[0].input')
                THEN json_extract_string(answer.reply, '$[0].predict')
            ELSE answer.said
        END
    )[1];

COMMENT ON MACRO llm_response_full IS 'Read what a model was asked and what it answered, in one text.';

/*
query T
SELECT llm_response_full('{"output": " Ho", "input": {"instruction": "Hi."}, "metadata": {}, "history": []}')
----
Hi. Ho

query T
SELECT llm_response_full(['[{"predict": " Ho", "input": {"instruction": "Hi."}, "metadata": {}}]'])
----
Hi. Ho

query TT
SELECT llm_response_full('Ho'), llm_response_full(NULL)
----
Ho	NULL
*/
