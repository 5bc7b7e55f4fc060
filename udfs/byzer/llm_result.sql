-- Read what a model answered to a request, as llm_response_predict does.
CREATE OR REPLACE MACRO llm_result(response) AS
    llm_response_predict(response);

COMMENT ON MACRO llm_result IS 'Read what a model answered to a request, as llm_response_predict does.';

/*
query T
SELECT llm_result(echo_chat(llm_param(MAP {'instruction': 'Hello'})))
----
Hello

query T
SELECT llm_result(['[{"predict": "Hello", "input": {"instruction": "Hi"}, "metadata": {}}]'])
----
Hello

query TTT
SELECT llm_result('Hello'), llm_result('{"output": 1}'), llm_result(NULL)
----
Hello	{"output": 1}	NULL
*/
