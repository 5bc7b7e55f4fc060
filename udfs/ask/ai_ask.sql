-- Answer a question from a text alone.
CREATE OR REPLACE MACRO ai_ask(question, text, model := NULL) AS
    llm_generate(
        'Answer the question from the text alone. If it does not say, answer: unknown.'
            || chr(10) || 'Question: ' || question || chr(10) || 'Text: ' || text,
        model
    );

COMMENT ON MACRO ai_ask IS 'Answer a question from a text alone.';

/*
query T
SELECT replace(ai_ask('Who leaks?', 'The kettle leaks.', model := 'echo_chat'), chr(10), '|')
----
Answer the question from the text alone. If it does not say, answer: unknown.|Question: Who leaks?|Text: The kettle leaks.

query TT
SELECT ai_ask('Who leaks?', NULL), ai_ask(NULL, 'The kettle leaks.')
----
NULL	NULL
*/
