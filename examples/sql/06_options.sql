-- How a call is sampled: options as a STRUCT, a MAP or JSON, by row, or once for all at deployment.
--   llmsql examples/sql/06_options.sql
-- Runs anywhere: the model echoes its prompt, cut where it is told to.

RUN command AS LLM WHERE action='infer' AND pretrainedModelType='echo' AND udfName='ask'
  AND generation.stop='!';

SELECT ask('one two. three!', {'stop': ['.']})           AS a_struct,
       ask('one two. three!', MAP {'stop': '.'})         AS a_map,
       ask('one two. three!', '{"stop": [".", "two"]}')  AS json_text,
       ask('one two. three!')                            AS the_default;

-- Options may come from the data.
CREATE TABLE asked(prompt TEXT, ends_at TEXT);
INSERT INTO asked VALUES ('a-b+c', '-'), ('a-b+c', '+'), ('a-b+c', NULL), (NULL, '-');

SELECT prompt, ends_at, ask(prompt, {'stop': ends_at}) AS answer FROM asked;

-- The primitives take any deployed model by name; without a name, the first of its kind.
SELECT llm_generate('to the first') AS first, llm_generate('by its name', 'ask') AS named;

-- The library gives the options names.
SELECT ai_complete('one two three', temperature := 0.7, max_tokens := 100, model := 'ask') AS answer;
