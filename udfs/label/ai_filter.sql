-- Answer a yes-or-no question about a text, to filter by; NULL where the model says neither.
CREATE OR REPLACE MACRO ai_filter(text, question, model := NULL) AS
    TRY_CAST(
        regexp_extract(
            lower(
                llm_generate(
                    question || ' Answer yes or no.' || chr(10) || chr(10) || text,
                    {'max_tokens': 50, 'stop': ['.', ',']},
                    model
                )
            ),
            -- Not \b: it takes only letters of English for such.
            '(?:^|[^\pL\pN_])(yes|no|true|false)(?:[^\pL\pN_]|$)',
            1
        ) AS BOOLEAN
    );

COMMENT ON MACRO ai_filter IS 'Answer a yes-or-no question about a text, to filter by; NULL where the model says neither.';

/*
query TT
SELECT ai_filter('It leaks.', 'No good?', model := 'echo_chat'), ai_filter('It leaks.', 'Good?', model := 'echo_chat')
----
false	true

query T
SELECT ai_filter('It leaks.', 'Good. Or bad?', model := 'echo_chat')
----
NULL

query TT
SELECT ai_filter(NULL, 'Good?'), ai_filter('It leaks.', NULL)
----
NULL	NULL
*/
