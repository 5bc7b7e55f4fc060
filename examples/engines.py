"""The same SQL on every engine that is installed here: what they answer, and how fast.

    python examples/engines.py

SmolLM2 completes sentences and MiniLM embeds them, on each engine in turn. An engine that is not
installed is left out. llama.cpp computes with the file's 4-bit weights, the others unpack them
first, so that a word may differ where two are nearly as likely.
"""

import sys

import llmsql

NO_ENGINES = ("echo", "openai")

DEPLOY = """
RUN command AS LLM WHERE action='infer' AND localModelDir='{source}' AND kind='{kind}'
  AND infer_backend='{engine}' AND udfName='{kind}_on_{engine}'
"""
CHAT = """
INSERT INTO answers
SELECT '{engine}', place, chat_on_{engine}('The capital of ' || place || ' is', {{max_tokens: 12}})
FROM places
"""
EMB = """
INSERT INTO vectors
SELECT '{engine}', place, emb_on_{engine}('The capital of ' || place) FROM places
"""
TABLES = """
CREATE TABLE places AS
SELECT unnest(['France', 'Japan', 'Italy', 'Egypt', 'Peru', 'Norway', 'Kenya', 'Spain']) AS place;
CREATE TABLE answers (engine VARCHAR, place VARCHAR, answer VARCHAR);
CREATE TABLE vectors (engine VARCHAR, place VARCHAR, vector FLOAT[384])
"""
ANSWERS = "PIVOT answers ON engine USING first(answer) ORDER BY place"
AGREEMENT = """
SELECT a.engine, b.engine AS other, count(*) FILTER (a.answer = b.answer) AS equal_answers,
  count(*) AS answers
FROM answers a JOIN answers b ON a.place = b.place AND a.engine < b.engine
GROUP BY ALL ORDER BY ALL
"""
SIMILARITY = """
SELECT a.engine, b.engine AS other,
  round(min(array_cosine_similarity(a.vector, b.vector)), 4) AS least_cosine
FROM vectors a JOIN vectors b ON a.place = b.place AND a.engine < b.engine
GROUP BY ALL ORDER BY ALL
"""
SPEEDS = """
SELECT model, calls, round(calls / seconds, 1) AS rows_a_second,
  round((input_tokens + output_tokens) / seconds) AS tokens_a_second
FROM llm_usage() ORDER BY model
"""
MODELS = {"chat": ("smollm2", CHAT), "emb": ("minilm", EMB)}


def main() -> None:
    """Ask every engine, and show four tables."""
    with llmsql.connect() as con:
        con.execute(TABLES)
        engines = con.execute("!llm backends").fetchall()
        for kind, (source, sql) in MODELS.items():
            for engine, kinds, is_installed, *_ in engines:
                if is_installed and kind in kinds.split(", ") and engine not in NO_ENGINES:
                    ask(con, sql, engine=engine, kind=kind, source=source)
        for query in (ANSWERS, AGREEMENT, SIMILARITY, SPEEDS):
            con.sql(query).show(max_width=120)


def ask(con: llmsql.Connection, sql: str, **words: str) -> None:
    """Deploy one model on one engine and ask it; an engine that cannot run it says why."""
    try:
        con.execute(DEPLOY.format(**words))
        con.execute(sql.format(**words))
    except llmsql.Error as error:
        print(f"{words['engine']}: {error}", file=sys.stderr)


if __name__ == "__main__":
    main()
