-- Say how close two texts are in meaning: the cosine of their vectors, 1 for the same.
CREATE OR REPLACE MACRO ai_similarity(a, b, model := NULL) AS
    list_cosine_similarity(llm_embed(a, model), llm_embed(b, model));

COMMENT ON MACRO ai_similarity IS 'Say how close two texts are in meaning: the cosine of their vectors, 1 for the same.';

/*
query T
SELECT round(ai_similarity('a lamp', 'a lamp', model := 'echo_emb'), 4)
----
1

query T
SELECT ai_similarity('a lamp', 'a chair', model := 'echo_emb') < 0.99
----
true

query TT
SELECT ai_similarity(NULL, 'a lamp'), ai_similarity('a lamp', NULL)
----
NULL	NULL
*/
