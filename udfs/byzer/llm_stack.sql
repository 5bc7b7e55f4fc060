-- Make a request that continues the conversation of a response.
CREATE OR REPLACE MACRO llm_stack(response, request) AS
    list_transform(
        list_transform(
            [{'given': to_json(response), 'request': to_json(request)}],
            lambda turn: {
                'said': json_extract_string(
                    turn.given, CASE json_type(turn.given) WHEN 'ARRAY' THEN '$[0]' ELSE '$' END
                ),
                'request': json_extract_string(
                    turn.request, CASE json_type(turn.request) WHEN 'ARRAY' THEN '$[0]' ELSE '$' END
                )
            }
        ),
        lambda turn: list_transform(
            [TRY_CAST(turn.said AS JSON)],
            lambda reply: CASE
                WHEN turn.said IS NULL
                    OR coalesce(
                        json_extract_string(turn.request, '$.instruction'),
                        json_extract_string(turn.request, '$.query')
                    ) IS NULL
                    THEN NULL
                -- A system message holds for the whole conversation, until another is given.
                ELSE [json_merge_patch(
                    '{}',
                    json_object('system_msg', list_filter(
                        -- Of two keys that say it, a request takes the one with a prefix.
                        json_extract_string(reply, [
                            '$.input."gen.system"', '$.input."gen.system_msg"',
                            '$.input."generation.system"', '$.input."generation.system_msg"',
                            '$.input.system_msg', '$.input.system'
                        ]),
                        lambda message: message IS NOT NULL
                    )[1]),
                    json_object('history', CASE
                        WHEN json_exists(reply, '$.history') AND json_exists(reply, '$.output')
                            THEN json_extract(reply, '$.history')
                        WHEN json_exists(reply, '$[0].predict') THEN json_array(
                            json_object(
                                'role', 'user',
                                'content', coalesce(
                                    json_extract_string(reply, '$[0].input.instruction'),
                                    json_extract_string(reply, '$[0].input.query')
                                )
                            ),
                            json_object(
                                'role', 'assistant',
                                'content', json_extract_string(reply, '$[0].predict')
                            )
                        )
                        ELSE json_array(json_object('role', 'assistant', 'content', turn.said))
                    END),
                    turn.request
                )::VARCHAR]
            END
        )[1]
    )[1];

COMMENT ON MACRO llm_stack IS 'Make a request that continues the conversation of a response.';

/*
query T
SELECT llm_result(echo_chat(llm_stack(echo_chat(llm_param({'instruction': 'a'})), llm_param({'instruction': 'b'}))))
----
aab

query T
SELECT llm_stack('[{"predict": "Ho", "input": {"instruction": "Hi"}}]', llm_param({'query': 'Ha'}))
----
[{"history":[{"role":"user","content":"Hi"},{"role":"assistant","content":"Ho"}],"query":"Ha"}]

query T
SELECT llm_stack(echo_chat(llm_param({'system_msg': 'Be brief.', 'instruction': 'a'})), llm_param({'instruction': 'b'}))[1]::JSON ->> 'system_msg'
----
Be brief.

query TT
SELECT llm_stack(echo_chat(llm_param({'system': 'Be brief.', 'instruction': 'a'})), llm_param({'instruction': 'b'}))[1]::JSON ->> 'system_msg', llm_stack(echo_chat(llm_param({'gen.system': 'Be brief.', 'instruction': 'a'})), llm_param({'instruction': 'b', 'system_msg': 'Be kind.'}))[1]::JSON ->> 'system_msg'
----
Be brief.	Be kind.

query T
SELECT llm_stack('Ho', llm_param({'instruction': 'Ha'}))
----
[{"history":[{"role":"assistant","content":"Ho"}],"instruction":"Ha"}]

query T
SELECT llm_stack('{"history": "none"}', llm_param({'instruction': 'Ha'}))[1]::JSON -> '$.history[0].role'
----
"assistant"

query TT
SELECT llm_stack(NULL, llm_param({'instruction': 'Ha'})), llm_stack('Ho', NULL)
----
NULL	NULL
*/
