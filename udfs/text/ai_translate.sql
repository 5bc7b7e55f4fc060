-- Translate a text into a language.
CREATE OR REPLACE MACRO ai_translate(text, language, max_tokens := 1024, model := NULL) AS
    llm_generate(
        'Translate this text into ' || language || '. Answer with the translation only.'
            || chr(10) || chr(10) || text,
        {'max_tokens': max_tokens},
        model
    );

COMMENT ON MACRO ai_translate IS 'Translate a text into a language.';

/*
query T
SELECT replace(ai_translate('Good morning', 'German', model := 'echo_chat'), chr(10), '|')
----
Translate this text into German. Answer with the translation only.||Good morning

query TT
SELECT ai_translate(NULL, 'German'), ai_translate('Good morning', NULL)
----
NULL	NULL
*/
