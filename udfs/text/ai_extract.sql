-- Find one thing in a text; NULL where it is not there.
CREATE OR REPLACE MACRO ai_extract(text, what, model := NULL) AS
    nullif(
        regexp_replace(
            trim(
                llm_generate(
                    'Find the ' || what || ' in this text. Answer with the ' || what
                        || ' only, or with none.' || chr(10) || chr(10) || text,
                    model
                )
            ),
            '(?i)^[^\pL\pN]*none[^\pL\pN]*$',
            ''
        ),
        ''
    );

COMMENT ON MACRO ai_extract IS 'Find one thing in a text; NULL where it is not there.';

/*
query T
SELECT replace(ai_extract('Anna bought a lamp.', 'name', model := 'echo_chat'), chr(10), '|')
----
Find the name in this text. Answer with the name only, or with none.||Anna bought a lamp.

query TT
SELECT ai_extract(NULL, 'name'), ai_extract('Anna bought a lamp.', NULL)
----
NULL	NULL
*/
