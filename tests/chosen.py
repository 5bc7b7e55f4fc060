"""Statements that choose rows before models are asked, with an order that leaves no choice."""

from __future__ import annotations

from tests.generator import Generator

CHEAP = ["k = 3", "i < 50", "flag", "s IS NOT NULL", "i % 7 = 1", "k IN (1, 2, 5)", "true"]
CALLS = ["m(s)", "g(s)", "m('p ' || s)", "upper(g(s))", "m(s) || s", "g(g(s))", "COALESCE(m(s), 'x')",
         "CASE WHEN s > 'text 2' THEN g(s) END", "m('c')"]  # fmt: skip
OWN = ["m(s || i)", "g('i' || i)", "m(s) || i", "g(s || k)", "k", "i", "length(s)", "NOT flag"]
KEYS = ["i", "i DESC", "k, i", "k DESC, i", "s, i", "s DESC NULLS LAST, i", "flag, k, i DESC"]
ALIASES = ["", "", "", " AS y", " AS k", " AS s", " AS z"]


class Chosen(Generator):
    """One stream of them."""

    def statement(self) -> str:
        makes = [self.sorted, self.starred, self.joined, self.grouped, self.grouped, self.told_apart,
                 self.qualified, self.numbered, self.asked, self.shared, self.linked, self.kept,
                 self.united]  # fmt: skip
        return self.pick(makes)()

    def pick(self, values):  # type: ignore[no-untyped-def]
        return self.random.choice(values)

    def items(self, calls: list[str]) -> str:
        count = self.random.randint(1, 3)
        chosen = [self.pick(calls) + self.pick(ALIASES) for _ in range(count)]
        return ", ".join([self.pick(CALLS), *chosen])

    def where(self) -> str:
        return f" WHERE {self.pick(CHEAP)}"

    def limit(self) -> str:
        return f"LIMIT {self.pick([1, 5, 12, 60])}{self.pick(['', '', ' OFFSET 3'])}"

    def sorted(self) -> str:
        items = self.items(CALLS + OWN)
        return f"SELECT {items} FROM t{self.where()} ORDER BY {self.pick(KEYS)}, t.i {self.limit()}"

    def starred(self) -> str:
        star = self.pick(["*", "t.*", "* EXCLUDE (l)", "* REPLACE (k + 1 AS k)"])
        items = self.pick(
            [f"{star}, {self.pick(CALLS)}", f"{self.pick(CALLS)} AS y, {star}, i + 1"]
        )
        return f"SELECT {items} FROM t{self.where()} ORDER BY {self.pick(KEYS)}, t.i {self.limit()}"

    def joined(self) -> str:
        items = self.pick(
            ["*, m(w)", "t.*, m(s), g(w)", "i, id, g(w), m(s) AS y", "m(s || w), id, i"]
        )
        source = self.pick(["t JOIN u USING (k)", "t JOIN u ON t.i = u.id", "t LEFT JOIN u ON t.k = u.k",
                            "u JOIN t ON u.n = t.k"])  # fmt: skip
        return f"SELECT {items} FROM {source}{self.where()} ORDER BY t.i, id {self.limit()}"

    def grouped(self) -> str:
        counted = self.pick(
            ["count(*)", "max(i)", "count(*) AS c", "min(k) AS k", "sum(i) AS n", "count(*) AS n"]
        )
        having = self.pick(
            [
                "",
                "",
                " HAVING count(*) > 4",
                " HAVING max(i) > 20",
                " HAVING n > 4",
                " HAVING k < 3",
            ]
        )
        key = self.pick(
            ["count(*) DESC, s", "2, s", "s DESC", "max(i), s", "length(s), s", "sum(i) + 1, s"]
        )
        items = self.pick(
            [f"s, {counted}, {self.pick(CALLS)}", f"{self.pick(CALLS)} AS y, {counted}, s"]
        )
        return (
            f"SELECT {items} FROM t{self.where()} GROUP BY {self.pick(['s', 's', 't.s', 's, flag'])}"
            f"{having} ORDER BY {key}, max(t.i) {self.limit()}"
        )

    def told_apart(self) -> str:
        key = self.pick(["k", "k, flag", "i % 7", "s"])
        return f"SELECT DISTINCT ON ({key}) {self.items(CALLS + OWN)} FROM t{self.where()} ORDER BY {key}, i"

    def window(self) -> str:
        kind = self.pick(["row_number()", "ntile(9)", "rank()", "lag(i)", "count(*)"])
        by = self.pick(["PARTITION BY k ", "PARTITION BY flag ", "PARTITION BY s ", ""])
        return f"{kind} OVER ({by}ORDER BY i{self.pick(['', ' DESC'])})"

    def qualified(self) -> str:
        items, r = self.items(CALLS + OWN), self.pick(["r", "r", "k", "y"])
        if self.random.random() < 0.5:
            star = self.pick(["", "", "*, ", "t.*, "])
            return (
                f"SELECT {star}{self.window()} AS {r}, {items} FROM t{self.where()} QUALIFY {r} < 4"
            )
        return f"SELECT {items} FROM t{self.where()} QUALIFY {self.window()} < 4"

    def numbered(self) -> str:
        also = self.pick(["", "", " AND m(s) = 'true'", " AND flag", " OR g(s) = '1'"])
        items = self.pick(["*, m(s)", "i, m(s), g(s)", "m(s || r)", "g(s), r"])
        return (
            f"SELECT {items} FROM (SELECT *, {self.window()} AS r FROM t{self.where()}) q"
            f" WHERE r < 5{also}"
        )

    def rows(self, source: str = "t") -> str:
        """A query of rows of t that asks nothing."""
        key = self.pick(KEYS)
        return self.pick(
            [f"SELECT * FROM {source}{self.where()} ORDER BY {key} {self.limit()}",
             f"SELECT DISTINCT ON (k) * FROM {source}{self.where()} ORDER BY k, i",
             f"SELECT * FROM {source} QUALIFY row_number() OVER (PARTITION BY k ORDER BY i) < 5",
             f"SELECT DISTINCT i, k, s, flag, l FROM {source} ORDER BY {key} {self.limit()}"]
        )  # fmt: skip

    def asking(self) -> str:
        return self.pick(
            ["m(s) = 'true'", "g(s) < '4'", "NOT m(s || k)", "m('w' || i) IS NOT NULL"]
        )

    def asked(self) -> str:
        return (
            f"SELECT {self.items(CALLS + OWN)} FROM ({self.rows()}) q WHERE {self.asking()}"
            f" {self.pick(['AND', 'OR'])} {self.pick([*CHEAP, self.asking()])}"
        )

    def shared(self) -> str:
        return (
            f"WITH q AS ({self.rows()}), p AS ({self.rows('q')}) SELECT g(p.s), m(q.s), q.i FROM p JOIN q"
            f" USING (i){self.pick(['', ' WHERE m(q.s)', ' WHERE g(p.s) > ' + repr('2')])}"
        )

    def linked(self) -> str:
        test = self.pick(["i IN (SELECT i FROM ({}) q)", "EXISTS (SELECT 1 FROM ({}) q WHERE q.i = t.i)",
                          "i > (SELECT max(i) FROM ({}) q)", "i NOT IN (SELECT i FROM ({}) q)"])  # fmt: skip
        return f"SELECT i, m(s) FROM t WHERE {test.format(self.rows())} AND {self.asking()}"

    def kept(self) -> str:
        return f"INSERT INTO e SELECT i, {self.pick(CALLS)} FROM ({self.rows()}) q WHERE {self.asking()}"

    def united(self) -> str:
        one, other = (f"SELECT i, {self.pick(CALLS)} FROM ({self.rows()}) q" for _ in range(2))
        return f"{one} UNION ALL {other}"
