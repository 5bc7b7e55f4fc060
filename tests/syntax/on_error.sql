-- What is typed; what DuckDB is given. `-- error:` states the message's first line.

SELECT chat(x) AS y, {on_error: 'capture'} FROM t
SELECT chat(x) AS y, {on_error: 'capture'} FROM t

SELECT chat(x, {on_error: 'raise'}), chat(x, '{"on_error": "capture"}') FROM t
SELECT chat(x, {on_error: 'raise'}), chat(x, '{"on_error": "capture"}') FROM t

SELECT 'chat(x) NULL ON ERROR', "chat(x) NULL ON ERROR", $$chat(x) NULL ON ERROR$$, $a$ llm_call_id(chat(x)) $a$
SELECT 'chat(x) NULL ON ERROR', "chat(x) NULL ON ERROR", $$chat(x) NULL ON ERROR$$, $a$ llm_call_id(chat(x)) $a$

SELECT 1 /* chat(x) NULL ON ERROR /* nested */ */ -- chat(x) ERROR ON ERROR
SELECT 1 /* chat(x) NULL ON ERROR /* nested */ */ -- chat(x) ERROR ON ERROR

SELECT E'\' chat(x) NULL ON ERROR', chat(x) FROM t
SELECT E'\' chat(x) NULL ON ERROR', chat(x) FROM t

SELECT e.x FROM a JOIN range(3) error ON error
SELECT e.x FROM a JOIN range(3) error ON error

SELECT chat(a.x) FROM a JOIN b JOIN c ON b.x IS NULL ON error
SELECT chat(a.x) FROM a JOIN b JOIN c ON b.x IS NULL ON error

SELECT chat(x) NULL ON ERROR FROM t
SELECT llmsql_forgiving_chat(x) AS "chat(x) NULL ON ERROR" FROM t

SELECT chat(x) AS a,  chat(x)	null  On eRRor AS b  FROM   t
SELECT chat(x) AS a,  llmsql_forgiving_chat(x) AS b  FROM   t

SELECT chat(x) NULL /* why */ ON -- not
ERROR b FROM t
SELECT llmsql_forgiving_chat(x) b FROM t

SELECT "chat"(x) ERROR ON ERROR AS a, a.b.chat() NULL ON ERROR AS b, main.chat(x) ERROR ON ERROR AS c FROM t
SELECT llmsql_raising_chat(x) AS a, a.b.llmsql_forgiving_chat() AS b, main.llmsql_raising_chat(x) AS c FROM t

SELECT chat(x) DEFAULT 'it''s' ON ERROR FROM t
SELECT (CASE WHEN (llmsql_captured_chat(x)).error IS NOT NULL THEN ('it''s') ELSE (llmsql_captured_chat(x)).value END) AS "chat(x) DEFAULT 'it''s' ON ERROR" FROM t

SELECT rr(q, p) DEFAULT -1.5 ON ERROR > 0.5 AS a, emb(x) DEFAULT [0.0, 1.0] ON ERROR AS b FROM t
SELECT (CASE WHEN (llmsql_captured_rr(q, p)).error IS NOT NULL THEN (-1.5) ELSE (llmsql_captured_rr(q, p)).value END) > 0.5 AS a, (CASE WHEN (llmsql_captured_emb(x)).error IS NOT NULL THEN ([0.0, 1.0]) ELSE (llmsql_captured_emb(x)).value END) AS b FROM t

SELECT chat(x) DEFAULT (upper(x) || ')') ON ERROR AS a FROM t
SELECT (CASE WHEN (llmsql_captured_chat(x)).error IS NOT NULL THEN ((upper(x) || ')')) ELSE (llmsql_captured_chat(x)).value END) AS a FROM t

SELECT chat(chat(x) NULL ON ERROR) DEFAULT (chat(y) ERROR ON ERROR) ON ERROR AS a FROM t
SELECT (CASE WHEN (llmsql_captured_chat(llmsql_forgiving_chat(x))).error IS NOT NULL THEN ((llmsql_raising_chat(y))) ELSE (llmsql_captured_chat(llmsql_forgiving_chat(x))).value END) AS a FROM t

SELECT upper(chat(x) NULL ON ERROR) || 'a' FROM t
SELECT upper(llmsql_forgiving_chat(x)) || 'a' AS "(upper(chat(x) NULL ON ERROR) || 'a')" FROM t

SELECT chat(x) NULL ON ERROR IS DISTINCT FROM 'a', 1 FROM t
SELECT llmsql_forgiving_chat(x) IS DISTINCT FROM 'a' AS "(chat(x) NULL ON ERROR IS DISTINCT FROM 'a')", 1 FROM t

SELECT DISTINCT ON (a, b) chat(x) NULL ON ERROR, name: chat(x) NULL ON ERROR, chat(x) NULL ON ERROR other FROM t
SELECT DISTINCT ON (a, b) llmsql_forgiving_chat(x) AS "chat(x) NULL ON ERROR", name: llmsql_forgiving_chat(x), llmsql_forgiving_chat(x) other FROM t

SELECT chat(COLUMNS(*)) NULL ON ERROR FROM t
SELECT llmsql_forgiving_chat(COLUMNS(*)) FROM t

SELECT i, (SELECT chat(x) NULL ON ERROR FROM u) FROM t
SELECT i, (SELECT llmsql_forgiving_chat(x) AS "chat(x) NULL ON ERROR" FROM u) AS "(SELECT chat(x) NULL ON ERROR FROM u)" FROM t

FROM t SELECT chat(x) NULL ON ERROR
FROM t SELECT llmsql_forgiving_chat(x) AS "chat(x) NULL ON ERROR"

SELECT count(*) FROM t GROUP BY chat(x) NULL ON ERROR HAVING chat(x) NULL ON ERROR <> 'a' ORDER BY chat(x) NULL ON ERROR
SELECT count(*) FROM t GROUP BY llmsql_forgiving_chat(x) HAVING llmsql_forgiving_chat(x) <> 'a' ORDER BY llmsql_forgiving_chat(x)

SELECT chat(x, {on_error: 'capture'}) AS a, chat(x, {'ON_ERROR': 'Capture'}).error AS b FROM t
SELECT llmsql_captured_chat(x) AS a, llmsql_captured_chat(x).error AS b FROM t

SELECT chat(x, {on_error: 'capture', temperature: 0}) AS a, chat(x, {temperature: 0, "on_error": 'capture'}) AS b FROM t
SELECT llmsql_captured_chat(x, {temperature: 0}) AS a, llmsql_captured_chat(x, {temperature: 0}) AS b FROM t

SELECT chat(x, MAP {'seed': 1, 'on_error': 'capture', 'top_k': 2}) AS a, chat(x, MAP {'on_error': 'capture'}) AS b FROM t
SELECT llmsql_captured_chat(x, MAP {'seed': 1, 'top_k': 2}) AS a, llmsql_captured_chat(x) AS b FROM t

SELECT llm_generate(x, options := {on_error: 'capture'}) AS a, llm_generate(x, {on_error: 'capture'}, 'chat') AS b FROM t
SELECT llmsql_captured_llm_generate(x) AS a, llmsql_captured_llm_generate(x, 'chat') AS b FROM t

SELECT chat(x, {on_error: 'capture', -- why
  seed: 1}) AS a FROM t
SELECT llmsql_captured_chat(x, {seed: 1}) AS a FROM t

SELECT chat(chat(x, {on_error: 'capture'}).value, {seed: 1}) AS a FROM t
SELECT chat(llmsql_captured_chat(x).value, {seed: 1}) AS a FROM t

SELECT llm_call_id(chat(x)), LLM_CALL_ID( chat(x, {seed: 1}) NULL ON ERROR ) AS b FROM t
SELECT (llmsql_captured_chat(x)).call_id AS "llm_call_id(chat(x))", (llmsql_captured_chat(x, {seed: 1})).call_id AS b FROM t

UPDATE t SET a = chat(x) DEFAULT a ON ERROR, b = chat(y) WHERE chat(z) ERROR ON ERROR = 'x' RETURNING chat(x) NULL ON ERROR
UPDATE t SET a = (CASE WHEN (llmsql_captured_chat(x)).error IS NOT NULL THEN (a) ELSE (llmsql_captured_chat(x)).value END), b = chat(y) WHERE llmsql_raising_chat(z) = 'x' RETURNING llmsql_forgiving_chat(x) AS "chat(x) NULL ON ERROR"

INSERT INTO t SELECT chat(x) NULL ON ERROR ON CONFLICT DO NOTHING
INSERT INTO t SELECT llmsql_forgiving_chat(x) AS "chat(x) NULL ON ERROR" ON CONFLICT DO NOTHING

CREATE MACRO f(x) AS chat(x) NULL ON ERROR
CREATE MACRO f(x) AS llmsql_forgiving_chat(x)

COPY (SELECT chat(x) NULL ON ERROR FROM t) TO 'a.csv'
COPY (SELECT llmsql_forgiving_chat(x) AS "chat(x) NULL ON ERROR" FROM t) TO 'a.csv'

EXPLAIN SELECT chat(x) ERROR ON ERROR AS a FROM t
EXPLAIN SELECT llmsql_raising_chat(x) AS a FROM t

PREPARE p AS SELECT chat($1) DEFAULT $2 ON ERROR
PREPARE p AS SELECT (CASE WHEN (llmsql_captured_chat($1)).error IS NOT NULL THEN ($2) ELSE (llmsql_captured_chat($1)).value END) AS "chat($1) DEFAULT $2 ON ERROR"

SELECT ? AS a, chat(x || ?) DEFAULT ? ON ERROR AS b
SELECT $1 AS a, (CASE WHEN (llmsql_captured_chat(x || $2)).error IS NOT NULL THEN ($3) ELSE (llmsql_captured_chat(x || $2)).value END) AS b

SELECT ? AS a, chat(x || ?) NULL ON ERROR AS b
SELECT ? AS a, llmsql_forgiving_chat(x || ?) AS b

SELECT upper(x) NULL ON ERROR, chat(x) FROM t
-- error: NULL ON ERROR stands behind a call of a model, which "upper(…)" is not

SELECT (chat(x)) DEFAULT 1 ON ERROR FROM t
-- error: DEFAULT … ON ERROR stands behind a call of a model, which "(…)" is not

SELECT chat(x) DEFAULT ON ERROR FROM t
-- error: DEFAULT … ON ERROR needs a value

SELECT chat(x, {on_error: 'capture'}) NULL ON ERROR FROM t
-- error: chat(…) says twice what a failed row becomes

SELECT llm_call_id(x) FROM t
-- error: llm_call_id() takes a call of a model, and nothing else

SELECT llm_call_id(upper(chat(x))) FROM t
-- error: llm_call_id() takes a call of a model, and nothing else

SELECT x.chat() DEFAULT 1 ON ERROR FROM t
-- error: DEFAULT … ON ERROR wants a plain call
