-- Prompts made of fields: an instruction, and a STRUCT or a whole row; what repeats is read first.
--   llmsql examples/sql/10_prompts_of_fields.sql
-- Runs anywhere: the model echoes its prompt.

RUN command AS LLM WHERE action='infer' AND pretrainedModelType='echo' AND udfName='ask';

-- Few rows are asked as they are written. Quotes, NULLs and lists are JSON.
SELECT ask(llm_fields('Is it dear?', {'product': 'kettle "Rio"', 'price': 19.5, 'tags': ['steel'], 'seen': NULL})) AS prompt;

-- Sixty orders of three products: the same text stands in twenty prompts, behind what differs.
CREATE TABLE orders AS
SELECT id, 'Order ' || id AS note, product, upper(product) || '-1' AS code
FROM (SELECT i AS id, ['kettle', 'desk lamp', 'umbrella'][1 + i % 3] AS product FROM range(60) r(i));

-- With so many rows the fields stand in one order for all: a product and its code before the rest. Sorted
-- prompts then share their beginnings, which an engine reads once. Answers belong to their rows as ever.
SELECT count(ask(llm_fields('Urgent?', orders))) AS answers FROM orders;

-- The order is kept with the answers: nothing is asked again, whichever way the fields are written.
SELECT id, ask(llm_fields('Urgent?', {'id': id, 'code': code, 'product': product, 'note': note})) AS prompt
FROM orders WHERE id < 3;

SELECT kind, state, calls, reused FROM llm_statements();

-- The library's function for it, and the order left as it is.
!llm setup next "order_fields=false";

SELECT ai_about('Urgent?', orders) AS prompt FROM orders WHERE id = 7;
