-- Shorten a text to at most max_words words.
CREATE OR REPLACE MACRO ai_summarize(text, max_words := 50, model := NULL) AS
    llm_generate('Summarise in at most ' || max_words || ' words: ' || text,
                 {'max_tokens': greatest(32, 6 * max_words)}, model);

COMMENT ON MACRO ai_summarize IS 'Shorten a text to at most max_words words.';

/*
query T
SELECT ai_summarize('a b c', max_words := 2, model := 'echo_chat')
----
Summarise in at most 2 words: a b c

query T
SELECT ai_summarize(NULL)
----
NULL
*/
