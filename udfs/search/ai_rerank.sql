-- Score how well a passage answers a query, higher is better.
CREATE OR REPLACE MACRO ai_rerank(query, passage, model := NULL) AS
    llm_rerank(query, passage, model);

COMMENT ON MACRO ai_rerank IS 'Score how well a passage answers a query, higher is better.';

/*
query TT
SELECT ai_rerank('red lamp', 'a red lamp', model := 'echo_rerank'), ai_rerank('red lamp', 'a chair', model := 'echo_rerank')
----
1	0

query TT
SELECT ai_rerank(NULL, 'a lamp'), ai_rerank('lamp', NULL)
----
NULL	NULL
*/
