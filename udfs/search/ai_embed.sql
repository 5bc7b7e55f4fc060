-- Make the vector of a text.
CREATE OR REPLACE MACRO ai_embed(text, model := NULL) AS
    llm_embed(text, model);

COMMENT ON MACRO ai_embed IS 'Make the vector of a text.';

/*
query T
SELECT len(ai_embed('a lamp', model := 'echo_emb'))
----
8

query T
SELECT ai_embed(NULL)
----
NULL
*/
