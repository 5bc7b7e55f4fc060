-- A statement asks a model about the rows it needs, and about nothing else.
--   llmsql examples/sql/04_filters_and_limits.sql
-- Runs anywhere: the model echoes its prompt. Each answer takes it 5 milliseconds, so that all 200,000
-- tickets would take a quarter of an hour, and it fails on the word that most of them begin with.

RUN command AS LLM WHERE action='infer' AND pretrainedModelType='echo' AND udfName='ask'
  AND backend.delay='0.005' AND backend.fail_on='forbidden';

CREATE TABLE tickets AS
SELECT i AS id,
       i % 1000 = 0 AS is_urgent,
       CASE WHEN i % 1000 = 0 THEN 'please help with ' || i % 7000 ELSE 'forbidden ' || i END AS body
FROM range(200_000) AS t(i);

-- The cheap condition guards the model, in whatever order the two are written. The 200 urgent tickets
-- have seven different texts: seven calls.
SELECT count(*) AS tickets, count(DISTINCT body) AS texts
FROM tickets
WHERE ask(body) LIKE '%help%' AND is_urgent;

-- LIMIT ends the search: 16 rows are asked about, then 16 more, and three stand.
SELECT id FROM tickets WHERE ask('Is this a round number? ' || id) LIKE '%0' LIMIT 3;

-- Where rows are sorted first, only those that stay are asked about: three of them.
SELECT id, ask('Shorten: ' || id) AS answer FROM tickets ORDER BY id DESC LIMIT 3;

-- Grouped rows too: which three texts come up most often, and what the model makes of each.
SELECT body, count(*) AS times, ask('Shorten: ' || body) AS answer
FROM tickets
WHERE body LIKE 'please%'
GROUP BY body
ORDER BY times DESC, body
LIMIT 3;

-- So is a search with an order: the newest rows first, some at a time, until three stand. 32 of 200,000.
SELECT id FROM tickets WHERE ask('Is this a round number? ' || id) LIKE '%0' ORDER BY id DESC LIMIT 3;

-- One model's condition waits for another's, and asks only about the rows that are left.
SELECT id
FROM tickets
WHERE is_urgent AND ask(body) LIKE '%6000' AND ask('really? ' || body) LIKE 'really?%' AND id < 30_000
ORDER BY id;
