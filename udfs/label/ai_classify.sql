-- Choose one of the labels for a text; NULL where the model chooses none of them.
CREATE OR REPLACE MACRO ai_classify(text, labels, model := NULL) AS
    list_transform(
        [{
            -- Word by word, and each other sign by itself: blanks and lines may differ.
            'answer': ' ' || array_to_string(regexp_extract_all(
                lower(llm_generate(
                    'Which of these describes the text best: ' || array_to_string(labels, ', ')
                        || '? Answer with one of them only.' || chr(10) || chr(10) || text,
                    {'max_tokens': 50},
                    model
                )),
                '[\pL\pN]+|[^\pL\pN\s\pZ]'
            ), ' ') || ' ',
            'labels': list_filter(
                list_transform(
                    labels::VARCHAR[],
                    lambda label: {
                        'words': ' ' || array_to_string(
                            regexp_extract_all(lower(label), '[\pL\pN]+|[^\pL\pN\s\pZ]'), ' '
                        ) || ' ',
                        'label': label
                    }
                ),
                lambda label: label.words <> '  '
            )
        }],
        -- The label that comes first in the answer; of two at one place the longer.
        lambda given: list_sort(
            list_filter(
                list_transform(
                    given.labels,
                    lambda label: {
                        'position': strpos(given.answer, label.words),
                        'shortness': -length(label.words),
                        'label': label.label
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
