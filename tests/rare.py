"""Statements of clauses that others rarely have, in which models are asked."""

from __future__ import annotations

from tests.generator import Generator

DEFINITIONS = """
CREATE TABLE pk(i BIGINT PRIMARY KEY, s VARCHAR);
INSERT INTO pk SELECT i, 'text ' || (i % 20) FROM range(40) r(i);
CREATE TABLE pk0 AS FROM pk;
CREATE TABLE t0 AS FROM t;
CREATE TABLE e0 AS FROM e;
CREATE MACRO near(x, n) AS TABLE SELECT id, g(w) AS mark, w FROM u WHERE u.k = x AND id < n;
CREATE MACRO few(n) AS TABLE SELECT i, k, s, m(s || i) AS y FROM t WHERE g(s) < '5' LIMIT n;
"""
TEXTS = ["s", "s || i", "'p ' || s", "upper(s)", "'c'", "s || k", "COALESCE(s, 'none')", "g(s)"]
CHEAP = ["k = 3", "i < 50", "flag", "s IS NOT NULL", "i % 7 = 1", "k IN (1, 2, 5)", "true"]


class Rare(Generator):
    """One stream of them."""

    def statement(self) -> str:
        makes = [self.contradicting, self.aliased, self.subselect, self.qualified, self.windowed,
                 self.united, self.filtered, self.sets, self.pivoted, self.lateral, self.asof,
                 self.recursive, self.macro, self.keyed, self.merged, self.changed, self.grouped,
                 self.distinct, self.quantified, self.nested]  # fmt: skip
        return self.random.choice(makes)()

    def text(self) -> str:
        return self.random.choice(TEXTS)

    def cheap(self) -> str:
        return self.random.choice(CHEAP)

    def asking(self, *texts: str) -> str:
        text = self.random.choice(texts or TEXTS)
        return self.random.choice(
            [f"m({text}) = 'true'", f"m({text})", f"NOT m({text})", f"g({text}) IN ('1', '2')",
             f"m({text}) IS NULL", f"g({text}) IS DISTINCT FROM '3'", f"g({text}) < '4'",
             f"COALESCE(m({text}), 'x') <> 'true'", f"g({text})::INT > 2", f"is_yes({text})"]
        )  # fmt: skip

    def where(self, *texts: str) -> str:
        parts = [self.asking(*texts), self.cheap() if not texts else "true"]
        if self.random.random() < 0.4:
            parts.append(self.asking(*texts))
        self.random.shuffle(parts)
        return self.random.choice([" AND ", " AND ", " OR "]).join(parts)

    def contradicting(self) -> str:
        """A call's column and the call itself, of which conditions want one thing or two."""
        text = self.text()
        inner = self.random.choice(["", f" WHERE m({text}) = 'true'", f" WHERE {self.where()}"])
        column = self.random.choice(["y = 'true'", "y = 'false'", "y > 'g'", "y IS NULL"])
        source = self.random.choice(
            [f"(SELECT *, m({text}) AS y FROM t{inner}) q", "c", f"(SELECT DISTINCT i, k, s, flag, m({text}) AS y FROM t{inner}) q"]
        )  # fmt: skip
        before = f"WITH c AS (SELECT *, m({text}) AS y FROM t{inner}) " if source == "c" else ""
        other = self.random.choice([f"m({text}) = 'false'", self.asking(), self.cheap(), "y < 'g'"])
        parts = [column, other, *([self.asking()] if self.random.random() < 0.4 else [])]
        self.random.shuffle(parts)
        item = self.random.choice(["i", "i, y", f"i, m({text})", "count(*)", "i, g(s)"])
        return f"{before}SELECT {item} FROM {source} WHERE {' AND '.join(parts)}"

    def aliased(self) -> str:
        """An alias that conditions and other items read."""
        alias = self.random.choice(["y", "s", "z"])
        asks = f"{self.random.choice('mg')}({self.text()}) AS {alias}"
        rest = self.random.choice(["i", "i, k + 1 AS kk", f"i, g({alias} || i) AS b"])
        of_alias = self.random.choice([f"{alias} < '3'", f"{alias} IS NOT NULL", "true"])
        ending = self.random.choice(
            [
                "",
                " LIMIT 3",
                " LIMIT 12 OFFSET 4",
                " ORDER BY t.k, t.i LIMIT 7",
                " LIMIT 7 OFFSET 2",
            ]
        )
        return f"SELECT {asks}, {rest} FROM t WHERE {self.where()} AND {of_alias}{ending}"

    def subselect(self) -> str:
        inner = self.random.choice(
            [f"SELECT max(g(w)) FROM u WHERE u.id = t.i AND {self.asking('w')}",
             f"SELECT count(*) FROM u WHERE u.k = t.k AND {self.asking('w')}",
             "SELECT m(w) FROM u WHERE u.id = t.i", f"SELECT min(w) FROM u WHERE {self.asking('w')}",
             "SELECT g(w || s) FROM u WHERE u.id = t.i LIMIT 1",
             f"SELECT g(w) FROM u WHERE {self.asking('w')} ORDER BY id LIMIT 1",
             "SELECT list(m(w) ORDER BY id) FROM u WHERE u.k = t.k AND n < 3"]
        )  # fmt: skip
        return f"SELECT i, ({inner}) AS y FROM t WHERE {self.where()} AND i < 40"

    def qualified(self) -> str:
        over = self.random.choice(["PARTITION BY k ORDER BY i", "PARTITION BY m(s) ORDER BY i",
                                   "ORDER BY g(s), i", "PARTITION BY k ORDER BY m(s) DESC, i"])  # fmt: skip
        parts = [f"row_number() OVER ({over}) < 4", self.asking()]
        parts += [self.cheap()] * (self.random.random() < 0.4)
        self.random.shuffle(parts)
        item = self.random.choice(["i, k", "i, m(s || i)", "i, g(s)"])
        return f"SELECT {item} FROM t WHERE {self.where()} QUALIFY {' AND '.join(parts)}"

    def windowed(self) -> str:
        call = self.random.choice(
            ["lag(m(s)) OVER (ORDER BY i)", "sum(g(s)::INT) OVER (PARTITION BY k ORDER BY i)",
             "rank() OVER (ORDER BY m(s), i)", "first_value(g(s || i)) OVER (PARTITION BY k ORDER BY i DESC)",
             "m(lag(s) OVER (ORDER BY i))", "count(*) FILTER (m(s)) OVER (PARTITION BY k)",
             "g('r' || row_number() OVER (ORDER BY i DESC))"]
        )  # fmt: skip
        ending = self.random.choice(
            ["", " ORDER BY i LIMIT 5", " ORDER BY i DESC LIMIT 4 OFFSET 2"]
        )
        return f"SELECT i, {call} AS y FROM t WHERE {self.where()}{ending}"

    def united(self) -> str:
        joint = self.random.choice(["UNION ALL", "UNION", "UNION ALL BY NAME", "EXCEPT", "INTERSECT ALL"])  # fmt: skip
        one = f"SELECT i AS a, m(s || i) AS b FROM t WHERE {self.where()}"
        other = self.random.choice(
            [f"SELECT id AS a, g(w) AS b FROM u WHERE {self.asking('w')}", "SELECT i AS a, s AS b FROM e",
             f"SELECT i AS a, m(s || i) AS b FROM t WHERE {self.where()}"]
        )  # fmt: skip
        ending = self.random.choice(["", " ORDER BY a, b LIMIT 4", " ORDER BY ALL"])
        return f"{one} {joint} {other}{ending}"

    def filtered(self) -> str:
        call = self.random.choice(
            [f"count(*) FILTER ({self.asking()})", f"max(g(s)) FILTER ({self.where()})",
             f"count(DISTINCT m(s)) FILTER ({self.cheap()})", f"bool_or({self.asking()})",
             f"string_agg(g(s), ',' ORDER BY i) FILTER ({self.asking()})",
             f"arg_max(m(s || i), i) FILTER ({self.cheap()})", f"list(i ORDER BY m(s), i) FILTER ({self.cheap()})"]
        )  # fmt: skip
        having = self.random.choice(
            ["", f" HAVING count(*) > 4 AND {self.asking(chr(39) + 'h' + chr(39) + ' || k')}"]
        )
        return f"SELECT k, {call} AS y FROM t WHERE {self.where()} GROUP BY k{having}"

    def sets(self) -> str:
        sets = self.random.choice(["ROLLUP (k, flag)", "CUBE (k, m(s))", "GROUPING SETS ((k), (flag), ())"])  # fmt: skip
        item = self.random.choice(["count(*)", "max(g(s))", "count(m(s))", "count(DISTINCT g(s))"])
        having = self.random.choice(["", " HAVING count(*) > 9", " HAVING m('c') IS NOT NULL"])
        return f"SELECT {item} AS y, count(*) FROM t WHERE {self.where()} GROUP BY {sets}{having}"

    def pivoted(self) -> str:
        source = f"(SELECT k, flag, m(s) AS y, g(s || i) AS z FROM t WHERE {self.where()})"
        return self.random.choice(
            [f"PIVOT {source} ON y IN ('true', 'false') USING count(*) GROUP BY k",
             f"SELECT * FROM (PIVOT {source} ON y IN ('true', 'false') USING max(z) GROUP BY k) WHERE k < 3",
             f"SELECT * FROM {source} PIVOT (count(z) FOR y IN ('true', 'false') GROUP BY flag)",
             f"UNPIVOT (SELECT i, m(s) AS a, g(s) AS b FROM t WHERE {self.where()}) ON a, b INTO NAME n VALUE x"]
        )  # fmt: skip

    def lateral(self) -> str:
        inner = self.random.choice(
            ["SELECT g(w || t.s) AS y FROM u WHERE u.id = t.i", "SELECT m(t.s) AS y",
             f"SELECT id AS y FROM u WHERE u.k = t.k AND {self.asking('w', 't.s || w')} ORDER BY id LIMIT 2",
             "SELECT max(g(w)) AS y FROM u WHERE u.k = t.k"]
        )  # fmt: skip
        kind = self.random.choice([", LATERAL", "CROSS JOIN LATERAL", "LEFT JOIN LATERAL"])
        on = " ON true" if kind.startswith("LEFT") else ""
        return f"SELECT t.i, x.y FROM t {kind} ({inner}) x{on} WHERE t.i < 60 AND {self.asking('t.s', 't.s || t.i')}"

    def asof(self) -> str:
        kind = self.random.choice(["ASOF JOIN", "ASOF LEFT JOIN", "SEMI JOIN", "ANTI JOIN", "POSITIONAL JOIN", "FULL JOIN"])  # fmt: skip
        if kind in ("SEMI JOIN", "ANTI JOIN"):
            return f"SELECT t.i, g(s) FROM t {kind} u ON t.k = u.n AND {self.asking('w', 's')} WHERE {self.asking('s || i')}"
        on = "ON t.i >= u.id" if kind.startswith("ASOF") else "ON t.i = u.id"
        on = "" if kind.startswith("POS") else on
        source = self.random.choice(["u", f"(SELECT * FROM u WHERE {self.asking('w')}) u"])
        return f"SELECT t.i, u.id, m(u.w) FROM t {kind} {source} {on} WHERE {self.asking('t.s', 'u.w', 't.s || u.w')}"

    def recursive(self) -> str:
        step = self.random.choice(["m(s || n)", "g(s) < '6'", "true"])
        return (
            "WITH RECURSIVE r(n, s) AS (SELECT 1, 'a' UNION ALL SELECT n + 1, g(s || n) FROM r"
            f" WHERE n < {self.random.choice([3, 6])} AND ({step} OR n < 3)) SELECT n, {self.random.choice(['s', 'm(s)'])} FROM r"
        )

    def macro(self) -> str:
        return self.random.choice(
            [f"SELECT * FROM near({self.random.randint(0, 4)}, 30) WHERE {self.asking('w', 'w || id')}",
             f"SELECT i, mark FROM t JOIN marked({self.random.randint(0, 9)}) USING (i) WHERE {self.asking('s')} AND mark < '4'",
             f"SELECT * FROM marked(3) WHERE mark = '{self.random.randint(0, 6)}' AND mark = '2'",
             f"SELECT i FROM few({self.random.randint(1, 30)}) WHERE y = 'true'",
             "SELECT i, yes FROM v, near(2, 20) n WHERE v.i = n.id AND yes = 'true'",
             f"SELECT i, yes FROM v WHERE {self.where()} AND yes {self.random.choice(['IS NULL', '= ' + chr(39) + 'true' + chr(39)])}"]
        )  # fmt: skip

    def keyed(self) -> str:
        query = f"SELECT i, m(s || i) FROM t WHERE i < 60 AND {self.where()}"
        return self.random.choice(
            [f"INSERT OR REPLACE INTO pk {query}", f"INSERT OR IGNORE INTO pk {query}",
             f"INSERT INTO pk {query} ON CONFLICT DO UPDATE SET s = excluded.s",
             f"INSERT INTO pk {query} ON CONFLICT (i) DO NOTHING RETURNING i",
             f"INSERT INTO pk BY NAME (SELECT i + 100 AS i, g(s) AS s FROM t WHERE {self.where()})",
             f"INSERT INTO e(s) SELECT g(s) FROM t WHERE {self.where()} RETURNING s || '!'"]
        )  # fmt: skip

    def merged(self) -> str:
        return (
            f"MERGE INTO pk USING (SELECT i, s, m(s) AS y FROM t WHERE i < 60 AND {self.where()}) q ON q.i = pk.i"
            f" WHEN MATCHED{self.random.choice(['', ' AND y'])} THEN UPDATE SET s = g(q.s)"
            " WHEN NOT MATCHED THEN INSERT VALUES (q.i, m(q.s))"
        )

    def changed(self) -> str:
        return self.random.choice(
            [f"UPDATE t SET s = g(t.s || w) FROM u WHERE t.i = u.id AND {self.asking('w', 't.s')}",
             f"UPDATE t SET s = m(s), k = g(s || i)::INT WHERE {self.where()}",
             f"UPDATE t SET (s, k) = (m(s), 3) WHERE {self.where()}",
             f"UPDATE t SET s = (SELECT max(g(w)) FROM u WHERE u.id = t.i) WHERE {self.where()}",
             f"UPDATE t SET s = y FROM (SELECT id, m(w) AS y FROM u WHERE {self.asking('w')}) q WHERE q.id = t.i RETURNING i, s",
             f"DELETE FROM t USING u WHERE t.i = u.id AND {self.asking('w', 't.s')} AND {self.asking('w')}",
             f"DELETE FROM t WHERE {self.where()} RETURNING i",
             f"DELETE FROM t WHERE i IN (SELECT id FROM u WHERE {self.asking('w')}) AND {self.asking()}",
             f"CREATE OR REPLACE TABLE made AS SELECT i, g(s) AS y FROM t WHERE {self.where()} ORDER BY k, i LIMIT 9"]
        )  # fmt: skip

    def grouped(self) -> str:
        key = self.random.choice(["m(s)", "g(s)", "y", "ALL"])
        having = self.random.choice(["", f" HAVING {self.random.choice(['y', 'm(s)'])} = 'true'",
                                     " HAVING y = 'false' AND m(s) = 'true'", " HAVING y > '2' AND count(*) > 3"])  # fmt: skip
        item = "g(s) AS y" if key == "g(s)" else "m(s) AS y"
        return f"SELECT {item}, count(*) FROM t WHERE {self.where()} GROUP BY {key}{having}"

    def distinct(self) -> str:
        return self.random.choice(
            [f"SELECT DISTINCT ON (k) k, i, m(s) FROM t WHERE {self.where()} ORDER BY k, i",
             f"SELECT DISTINCT ON (m(s)) k, i, m(s) FROM t WHERE {self.where()} ORDER BY m(s), i",
             f"SELECT DISTINCT k, m(s) FROM t WHERE {self.where()} ORDER BY ALL LIMIT 3",
             f"SELECT count(*) FROM (SELECT DISTINCT m(s), g(s) FROM t WHERE {self.where()})",
             f"SELECT k, i FROM t WHERE {self.where()} ORDER BY m(s), i LIMIT 4",
             f"SELECT unnest(l) AS x, m(s) FROM t WHERE {self.where()}",
             f"FROM (SELECT unnest(l) AS x FROM t WHERE {self.where()}) SELECT x, m(x) WHERE g(x) < '4'"]
        )  # fmt: skip

    def quantified(self) -> str:
        return self.random.choice(
            [f"SELECT i FROM t WHERE {self.asking()} AND k > (SELECT count(*) FROM u WHERE {self.asking('w')} AND id < 5)",
             f"SELECT i FROM t WHERE k IN (SELECT g(w)::INT FROM u WHERE {self.asking('w')}) AND {self.where()}",
             f"SELECT list_filter(l, lambda x: m(x)) FROM t WHERE {self.where()}",
             f"SELECT i, [m(x) FOR x IN l IF g(x) < '4'] FROM t WHERE {self.where()}",
             f"SELECT i FROM t WHERE (m(s), k) IN (SELECT m(w), n FROM u WHERE id < 20) AND {self.where()}",
             f"SELECT i, TRY_CAST(g(s) AS INT) / 2, struct_pack(a := m(s), b := g(s)).a FROM t WHERE {self.where()}"]
        )  # fmt: skip

    def nested(self) -> str:
        inner = f"SELECT i, k, s, flag, g(s || i) AS y FROM t WHERE {self.where()}"
        inner += self.random.choice(
            ["", " ORDER BY i LIMIT 30", " LIMIT 20", " ORDER BY k, i LIMIT 25 OFFSET 3"]
        )
        outer = self.random.choice(
            ["y < '4'", "y = '1' OR flag", f"y < '5' AND {self.asking()}", "k < 5"]
        )
        item = self.random.choice(["i, y", "i, m(y || i)", "count(*)", "y, i"])
        return f"SELECT {item} FROM ({inner}) q WHERE {outer}"
