-- Ask a chat model, with its options as named arguments.
CREATE OR REPLACE MACRO ai_complete(prompt, system := NULL, temperature := NULL, max_tokens := NULL, model := NULL) AS
    llm_generate(
        prompt,
        {'system': system, 'temperature': temperature, 'max_tokens': max_tokens},
        model
    );

COMMENT ON MACRO ai_complete IS 'Ask a chat model, with its options as named arguments.';

/*
query T
SELECT ai_complete('one two three', model := 'echo_chat')
----
one two three

statement error
SELECT ai_complete('one two three', temperature := -1, model := 'echo_chat')
----
temperature must be 0 or more, not -1.0

query T
SELECT ai_complete(NULL)
----
NULL
*/
