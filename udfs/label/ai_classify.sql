-- Choose one of the labels for a text; NULL where the model chooses none of them.
CREATE OR REPLACE MACRO ai_classify(text, labels, model := NULL) AS
    list_transform(
        [lower(
            llm_generate(
                'Which of these describes the text best: ' || array_to_string(labels, ', ')
                    || '? Answer with one of them only.' || chr(10) || chr(10) || text,
                {'max_tokens': 50},
                model
            )
        )],
        -- The label that comes first in the answer; of two at the same place, the longer one.
        lambda answer: list_sort(
            list_transform(
                list_filter(labels::VARCHAR[], lambda label: contains(answer, lower(label))),
                lambda label: {
                    'position': strpos(answer, lower(label)),
                    'shortness': -length(label),
                    'label': label
                }
            )
        )[1].label
    )[1];

COMMENT ON MACRO ai_classify IS 'Choose one of the labels for a text; NULL where the model chooses none of them.';

/*
query T
SELECT ai_classify('The soup is cold.', ['Food', 'Weather'], model := 'echo_chat')
----
Food

query T
SELECT ai_classify('It rains.', ['spam', 'spam or ham'], model := 'echo_chat')
----
spam

query TT
SELECT ai_classify(NULL, ['food']), ai_classify('The soup is cold.', NULL)
----
NULL	NULL
*/
