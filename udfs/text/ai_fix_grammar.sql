-- Correct the spelling and grammar of a text, and nothing else.
CREATE OR REPLACE MACRO ai_fix_grammar(text, max_tokens := 1024, model := NULL) AS
    llm_generate(
        'Correct the grammar of this text. Answer with the corrected text only.'
            || chr(10) || chr(10) || text,
        {'max_tokens': max_tokens},
        model
    );

COMMENT ON MACRO ai_fix_grammar IS 'Correct the spelling and grammar of a text, and nothing else.';

/*
query T
SELECT replace(ai_fix_grammar('She go home.', model := 'echo_chat'), chr(10), '|')
----
Correct the grammar of this text. Answer with the corrected text only.||She go home.

query T
SELECT ai_fix_grammar(NULL)
----
NULL
*/
