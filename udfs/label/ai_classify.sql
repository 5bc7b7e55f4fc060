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
        -- The label that comes first in the answer, as words of it; of two at one place the longer.
        lambda answer: list_sort(
            list_filter(
                list_transform(
                    list_filter(labels::VARCHAR[], lambda label: label <> ''),
                    lambda label: {
                        'position': strpos(
                            regexp_replace(
                                answer, '(^|\W)' || regexp_escape(lower(label)) || '($|\W)', chr(1)
                            ),
                            chr(1)
                        ),
                        'shortness': -length(label),
                        'label': label
                    }
                ),
                lambda found: found.position > 0
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

query T
SELECT ai_classify('The word describes has a rib in it.', ['sales', 'rib', ''], model := 'echo_chat')
----
sales

query TT
SELECT ai_classify(NULL, ['food']), ai_classify('The soup is cold.', NULL)
----
NULL	NULL
*/
