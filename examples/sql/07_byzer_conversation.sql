-- A script of Byzer-LLM as it stands: deploy, and talk over three statements. The third knows the name.
--   llmsql examples/sql/07_byzer_conversation.sql
-- Needs the packaged model SmolLM2. docs/coming-from-byzer-llm.md says what is different here.

!byzerllm setup single;

set asker='''William''';

run command as LLM.`` where
action="infer"
and pretrainedModelType="custom/llama2"
and localModelDir="smollm2"
and reconnect="false"
and udfName="llama2_chat"
and modelTable="command";

select llama2_chat(llm_param(map(
    "max_length", "24",
    "instruction", llm_prompt('My name is {0}. Hello!', array("${asker}"))
))) as q as q1;

select llama2_chat(llm_stack(q, llm_param(map(
    "max_length", "24",
    "instruction", 'What is the capital of France?'
)))) as q from q1 as q2;

select llama2_chat(llm_stack(q, llm_param(map(
    "max_length", "24",
    "instruction", 'Repeat my name.'
)))) as q from q2 as q3;

-- What was said, as rows: a model's function is a function, and its answers are a table.
SELECT turn.role, turn.content
FROM (SELECT unnest(from_json(q::JSON -> 'history', '[{"role": "VARCHAR", "content": "VARCHAR"}]')) AS turn FROM q3);
