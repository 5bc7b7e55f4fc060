-- Rate a text by a criterion, from 0 to 10; NULL where the model gives no such number.
CREATE OR REPLACE MACRO ai_score(text, criterion, model := NULL) AS
    list_transform(
        [TRY_CAST(
            regexp_extract(
                llm_generate(
                    'How well does this text meet the criterion "' || criterion
                        || '"? Answer with a number from 0 to 10 only.' || chr(10) || chr(10) || text,
                    {'max_tokens': 50},
                    model
                ),
                '-?(\d+(\.\d+)?|\.\d+)'
            ) AS DOUBLE
        )],
        lambda score: CASE WHEN score BETWEEN 0 AND 10 THEN score END
    )[1];

COMMENT ON MACRO ai_score IS 'Rate a text by a criterion, from 0 to 10; NULL where the model gives no such number.';

/*
query TT
SELECT ai_score('Dear Sir', 'polite', model := 'echo_chat'), ai_score('Dear Sir', 'above 7.5', model := 'echo_chat')
----
0	7.5

query T
SELECT ai_score('Dear Sir', 'above 11', model := 'echo_chat')
----
NULL

query TT
SELECT ai_score(NULL, 'polite'), ai_score('Dear Sir', NULL)
----
NULL	NULL
*/
