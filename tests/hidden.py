"""Statements whose model calls stand in views, macros and common tables: from ordinary ones.

A call in the text of another generator's statement becomes one of a macro, and a table a view.
"""

from __future__ import annotations

import re

from tests.generator import Generator, Several

DEFINITIONS = """
CREATE MACRO mm(x) AS m(x);
CREATE MACRO gg(x) AS g(x);
CREATE MACRO pick(x) AS COALESCE(g(x), m(x));
CREATE MACRO either(x) AS m(x) = 'true' OR g('e' || x) < '3';
CREATE VIEW tv AS SELECT *, m(s || i) AS vy FROM t;
CREATE VIEW tg AS SELECT * FROM t WHERE m('v' || i) = 'true';
CREATE MACRO tm(x) AS TABLE SELECT *, g(s || i) AS ty FROM t WHERE k < x;
CREATE SCHEMA away;
CREATE MACRO away.far(x) AS g(x);
CREATE MACRO away.ta(x) AS TABLE SELECT *, m('a' || i) AS ay FROM t WHERE k < x;
CREATE TABLE tc(i BIGINT, k BIGINT, s VARCHAR, flag BOOLEAN, l VARCHAR[], cy VARCHAR AS (m(s || i)));
INSERT INTO tc SELECT i, k, s, flag, l FROM t;
"""


class Hidden(Generator):
    """Statements of several models' predicates with some of the calls hidden."""

    def statement(self) -> str:
        make = self.random.choice([self.macros, self.macros, self.read, self.two])
        return make()

    def ordinary(self) -> str:
        inner = Several(self.random.randrange(1 << 30))
        sql = inner.query()
        return sql.replace("(s)", "(s || i)") if " u " not in sql else sql

    def macros(self) -> str:
        """Some calls, or all, through a macro."""
        share = self.random.choice([0.4, 1.0])

        def hidden(match: re.Match[str]) -> str:
            return f"{match[1] * 2}(" if self.random.random() < share else match[0]

        return re.sub(r"\b([mg])\(", hidden, self.ordinary())

    def asking(self, *columns: str) -> str:
        texts = ["s", "s || i", "'q' || i", "l[1]"]
        return self.random.choice(
            [
                f"m({self.random.choice(texts)}) = 'true'",
                f"gg({self.random.choice(texts)}) < '4'",
                f"mm({self.random.choice(texts)}) IS NULL",
                f"pick({self.random.choice(texts)}) <> '2'",
                f"away.far({self.random.choice(texts)}) < '3'",
                f"either({self.random.choice(texts)})",
                *(f"{column} = 'true'" for column in columns),
                *(f"{column} IS NOT NULL" for column in columns),
            ]
        )

    def read(self) -> str:
        """A view, a table macro or a common table, and conditions on what it computes."""
        source, column, before = self.random.choice(
            [
                ("tv", "vy", ""),
                ("tg", "s", ""),
                ("tm(6)", "ty", ""),
                ("away.ta(7)", "ay", ""),
                ("tc", "cy", ""),
                ("c", "cy", "WITH c AS (SELECT *, m(s || i) AS cy FROM t WHERE k < 7) "),
                ("c", "cy", "WITH c AS NOT MATERIALIZED (SELECT *, gg(s || i) AS cy FROM tg) "),
            ]
        )
        condition = (
            f"{self.asking(column)} AND {self.random.choice([self.asking(column), 'k > 2'])}"
        )
        item = self.random.choice(["i", f"i, {column}", "i, gg('o' || i)", "i, pick(s || i)"])
        return f"{before}SELECT {item} FROM {source} WHERE {condition}"

    def two(self) -> str:
        one, other = (
            self.random.choice(["tv", "tg", "tm(5)", "away.ta(5)"]),
            self.random.choice(["tv", "tg", "t", "tc"]),
        )
        kind = self.random.choice(["JOIN", "LEFT JOIN"])
        on = self.random.choice(["a.i = b.i", "a.i = b.i + 3", "a.k = b.i"])
        text = self.random.choice(["a.s || a.i", "b.s || b.i"])
        asking = self.random.choice([f"mm({text}) = 'true'", f"gg({text}) IS NULL", f"m({text})"])
        return f"SELECT a.i FROM {one} a {kind} {other} b ON {on} WHERE {asking} AND a.k < 6"
