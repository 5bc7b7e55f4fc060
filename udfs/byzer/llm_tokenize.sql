-- Tell the tokens of a text by their numbers, as a model reads it.
CREATE OR REPLACE MACRO llm_tokenize(model, text) AS
    json_extract(
        llm_request([json_object('instruction', text::VARCHAR, 'tokenizer', true)::VARCHAR], model),
        '$.output'
    )::INTEGER[];

COMMENT ON MACRO llm_tokenize IS 'Tell the tokens of a text by their numbers, as a model reads it.';

/*
query T
SELECT len(llm_tokenize('echo_chat', 'one two three'))
----
3

query T
SELECT llm_tokenize('echo_chat', NULL)
----
NULL
*/
