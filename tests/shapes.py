"""Query shapes, each with the model calls it needs: what no engine could do without.

The numbers are computed from the data by plain SQL beside each shape, so that they are facts about
the statement and not about llmsql. Shared by the tests and by `make bench`.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Shape:
    """A statement, and a query that counts the distinct inputs it needs."""

    name: str
    sql: str
    needed: str
    parameters: tuple[object, ...] | None = None


SHAPES = [
    Shape("duplicates", "SELECT m(s) FROM t", "SELECT count(DISTINCT s) FROM t"),
    Shape("nulls", "SELECT m(NULL), count(m(s)) FROM t WHERE s IS NULL", "SELECT 0"),
    Shape("cheap AND model", "SELECT i FROM t WHERE k = 3 AND m(s) = 'true'",
          "SELECT count(DISTINCT s) FROM t WHERE k = 3"),
    Shape("model AND cheap", "SELECT i FROM t WHERE m(s) = 'true' AND k = 3",
          "SELECT count(DISTINCT s) FROM t WHERE k = 3"),
    Shape("model AND model", "SELECT i FROM t WHERE m(s) = 'true' AND g(s) = '1'",
          "SELECT (SELECT count(DISTINCT s) FROM t) + (SELECT count(DISTINCT s) FROM t WHERE yes(s))"),
    Shape("a constant model predicate first",
          "SELECT i FROM t WHERE m(s) = 'true' AND COALESCE(m('c'), 'x') = 'x'", "SELECT 1"),
    Shape("cheap in an OR", "SELECT i FROM t WHERE (NOT flag AND k = 1) OR (m(s) = 'true' AND NOT flag)",
          "SELECT count(DISTINCT s) FROM t WHERE NOT flag AND k <> 1"),
    Shape("the same call later and earlier",
          "SELECT COALESCE(g(s), m(s)) FROM t WHERE k = 1 OR m(s) = 'true'",
          "SELECT (SELECT count(DISTINCT s) FROM t WHERE k <> 1)"
          " + (SELECT count(DISTINCT s) FROM t WHERE k = 1 OR yes(s))"),
    Shape("join then filter",
          "SELECT t.i FROM t JOIN u ON t.i = u.id WHERE u.n = 3 AND m(t.s) = 'true'",
          "SELECT count(DISTINCT t.s) FROM t JOIN u ON t.i = u.id WHERE u.n = 3"),
    Shape("filter pushed under join",
          "SELECT t.i FROM t JOIN u ON t.i = u.id + 190 WHERE m(t.s) = 'true'",
          "SELECT count(DISTINCT t.s) FROM t JOIN u ON t.i = u.id + 190"),
    Shape("CTE used twice",
          "WITH c AS (SELECT i, m(s) AS y FROM t WHERE k = 1) SELECT * FROM c a JOIN c b USING (i)",
          "SELECT count(DISTINCT s) FROM t WHERE k = 1"),
    Shape("view", "SELECT i, yes FROM v WHERE k = 2", "SELECT count(DISTINCT s) FROM t WHERE k = 2"),
    Shape("UNION", "SELECT m(s) FROM t WHERE k = 1 UNION SELECT m(s) FROM t WHERE k = 2",
          "SELECT count(DISTINCT s) FROM t WHERE k IN (1, 2)"),
    Shape("correlated EXISTS",
          "SELECT id FROM u WHERE n = 2 AND EXISTS"
          " (SELECT 1 FROM t WHERE t.i = u.id AND m(t.s) = 'true')",
          "SELECT count(DISTINCT s) FROM t JOIN u ON t.i = u.id WHERE n = 2"),
    Shape("CASE", "SELECT CASE WHEN k = 4 THEN m(s) ELSE 'no' END FROM t",
          "SELECT count(DISTINCT s) FROM t WHERE k = 4"),
    Shape("COALESCE", "SELECT COALESCE(s, m('i' || i)) FROM t",
          "SELECT count(*) FROM t WHERE s IS NULL"),
    Shape("CASE of macros", "SELECT CASE WHEN is_yes(s) THEN g(s) ELSE m(s) END FROM t",
          "SELECT count(DISTINCT 'macro ' || s) + count(DISTINCT s) FROM t"),
    Shape("COALESCE of macros", "SELECT COALESCE(nullif(is_yes(s), false)::VARCHAR, g(s)) FROM t",
          "SELECT (SELECT count(DISTINCT s) FROM t)"
          " + (SELECT count(DISTINCT s) FROM t WHERE NOT yes('macro ' || s))"),
    Shape("ORDER BY LIMIT", "SELECT i, m(s) FROM t ORDER BY i DESC LIMIT 5",
          "SELECT count(DISTINCT s) FROM t WHERE i >= 195"),
    Shape("ORDER BY model LIMIT, with another",
          "SELECT i, g(s) AS y, m('b' || i) FROM t ORDER BY y DESC, i LIMIT 5",
          "SELECT count(DISTINCT s) + 5 FROM t"),
    Shape("GROUP BY model", "SELECT m(s), count(*) FROM t WHERE k < 5 GROUP BY m(s)",
          "SELECT count(DISTINCT s) FROM t WHERE k < 5"),
    Shape("HAVING", "SELECT k FROM t GROUP BY k HAVING count(*) > 1 AND m('k' || k) = 'true'",
          "SELECT count(DISTINCT k) FROM t"),
    Shape("window", "SELECT row_number() OVER (PARTITION BY m(s) ORDER BY i) FROM t WHERE k = 5",
          "SELECT count(DISTINCT s) FROM t WHERE k = 5"),
    Shape("lambda over a list", "SELECT list_transform(l, lambda x: m(x)) FROM t WHERE k = 1",
          "SELECT count(DISTINCT x) FROM (SELECT unnest(l) AS x FROM t WHERE k = 1)"),
    Shape("self join",
          "SELECT a.i FROM t a JOIN t b ON a.i = b.i + 1 WHERE a.k = 1 AND m(a.s) = g(b.s)",
          "SELECT (SELECT count(DISTINCT a.s) FROM t a JOIN t b ON a.i = b.i + 1 WHERE a.k = 1)"
          " + (SELECT count(DISTINCT b.s) FROM t a JOIN t b ON a.i = b.i + 1 WHERE a.k = 1)"),
    Shape("DISTINCT", "SELECT DISTINCT m(s) FROM t WHERE flag",
          "SELECT count(DISTINCT s) FROM t WHERE flag"),
    Shape("UPDATE", "UPDATE t SET s = m(s) WHERE k = 6",
          "SELECT count(DISTINCT s) FROM t WHERE k = 6"),
    Shape("INSERT SELECT", "INSERT INTO e SELECT i, m(s) FROM t WHERE k = 7 AND m(s) = 'true'",
          "SELECT count(DISTINCT s) FROM t WHERE k = 7"),
    Shape("CREATE TABLE AS", "CREATE OR REPLACE TABLE made AS SELECT m(s) AS y FROM t WHERE k = 8",
          "SELECT count(DISTINCT s) FROM t WHERE k = 8"),
    Shape("COPY", "COPY (SELECT i, m(s) FROM t WHERE k = 9) TO '{folder}/out.csv'",
          "SELECT count(DISTINCT s) FROM t WHERE k = 9"),
    Shape("DELETE", "DELETE FROM u WHERE k = 2 AND m(w) = 'true'",
          "SELECT count(DISTINCT w) FROM u WHERE k = 2"),
    Shape("prepared parameter", "SELECT m(s || ?) FROM t WHERE k = ?",
          "SELECT count(DISTINCT s) FROM t WHERE k = 2", ("!", 2)),
    Shape("EXPLAIN", "EXPLAIN SELECT m(s), m('constant') FROM t", "SELECT 0"),
    Shape("OR", "SELECT i FROM t WHERE k <> 3 OR m(s) = 'true'",
          "SELECT count(DISTINCT s) FROM t WHERE k = 3"),
    Shape("nested", "SELECT g(m(s)) FROM t WHERE k = 3",
          "SELECT (SELECT count(DISTINCT s) FROM t WHERE k = 3)"
          " + (SELECT count(DISTINCT yes(s)) FROM t WHERE k = 3 AND s IS NOT NULL)"),
    Shape("subquery in FROM", "SELECT y, count(*) FROM (SELECT m(s) AS y FROM t WHERE k = 3) GROUP BY y",
          "SELECT count(DISTINCT s) FROM t WHERE k = 3"),
    Shape("scalar subquery", "SELECT (SELECT m(max(s)) FROM t)", "SELECT 1"),
    Shape("macro", "SELECT i FROM t WHERE k = 3 AND is_yes(s)",
          "SELECT count(DISTINCT s) FROM t WHERE k = 3"),
    Shape("table macro", "SELECT * FROM marked(3)", "SELECT count(DISTINCT s) FROM t WHERE k = 3"),
]  # fmt: skip
