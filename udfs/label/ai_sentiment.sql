-- Tell whether a text is positive, negative, neutral or mixed; NULL where the model does not say.
CREATE OR REPLACE MACRO ai_sentiment(text, model := NULL) AS
    nullif(
        regexp_extract(
            lower(
                llm_generate(
                    'What is the sentiment of this sentence? ' || text,
                    {'max_tokens': 50, 'stop': ['.', ',', ' and ', chr(10) || chr(10)]},
                    model
                )
            ),
            'positive|negative|neutral|mixed'
        ),
        ''
    );

COMMENT ON MACRO ai_sentiment IS 'Tell whether a text is positive, negative, neutral or mixed; NULL where the model does not say.';

/*
query TT
SELECT ai_sentiment('Positive, I think', model := 'echo_chat'), ai_sentiment('Bah', model := 'echo_chat')
----
positive	NULL

query T
SELECT ai_sentiment(NULL)
----
NULL
*/
