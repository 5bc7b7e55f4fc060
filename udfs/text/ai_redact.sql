-- Replace personal data, or whatever else is named, by [REDACTED].
CREATE OR REPLACE MACRO ai_redact(text, what := 'personal data', max_tokens := 1024, model := NULL) AS
    llm_generate(
        'Copy this text, but write [REDACTED] in place of all ' || what
            || '. Answer with the text only.' || chr(10) || chr(10) || text,
        {'max_tokens': max_tokens},
        model
    );

COMMENT ON MACRO ai_redact IS 'Replace personal data, or whatever else is named, by [REDACTED].';

/*
query T
SELECT replace(ai_redact('Call Anna.', what := 'names', model := 'echo_chat'), chr(10), '|')
----
Copy this text, but write [REDACTED] in place of all names. Answer with the text only.||Call Anna.

query T
SELECT ai_redact(NULL)
----
NULL
*/
