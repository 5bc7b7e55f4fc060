-- Ask something about a row: its fields are a STRUCT, or the name of its table for all of them.
CREATE OR REPLACE MACRO ai_about(question, fields, model := NULL) AS
    llm_generate(llm_fields(question, fields), model);

COMMENT ON MACRO ai_about IS 'Ask something about a row: its fields are a STRUCT, or the name of its table for all of them.';

/*
query T
SELECT replace(ai_about('Is it dear?', {'product': 'kettle', 'price': 20}, model := 'echo_chat'), chr(10), '|')
----
Is it dear?||{"product": "kettle", "price": 20}

query T
SELECT replace(ai_about('Is it dear?', goods, model := 'echo_chat'), chr(10), '|') FROM (VALUES ('kettle')) goods(product)
----
Is it dear?||{"product": "kettle"}

query T
SELECT replace(ai_about('Is it dear?', {'tags': '["steel"]'::JSON}, model := 'echo_chat'), chr(10), '|')
----
Is it dear?||{"tags": ["steel"]}

query TTT
SELECT ai_about(NULL, {'product': 'kettle'}), ai_about('Is it dear?', NULL::STRUCT(product VARCHAR)), ai_about('Is it dear?', NULL)
----
NULL	NULL	NULL
*/
