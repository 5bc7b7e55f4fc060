-- Write messages as a model reads them, up to where its answer begins.
CREATE OR REPLACE MACRO llm_apply_chat_template(model, messages) AS
    json_extract_string(
        llm_request(
            [json_object('instruction', messages, 'apply_chat_template', true)::VARCHAR], model
        ),
        '$.output'
    );

COMMENT ON MACRO llm_apply_chat_template IS 'Write messages as a model reads them, up to where its answer begins.';

/*
query T
SELECT replace(trim(llm_apply_chat_template('echo_chat', '[{"role": "user", "content": "Hi"}]')), chr(10), '|')
----
user: Hi|assistant:

query T
SELECT replace(trim(llm_apply_chat_template('echo_chat', [{'role': 'user', 'content': 'Hi'}])), chr(10), '|')
----
user: Hi|assistant:

query T
SELECT llm_apply_chat_template('echo_chat', NULL)
----
NULL
*/
