"""Random statements over the oracle's tables: valid by construction, repeatable by seed."""

from __future__ import annotations

import random

CHEAP = ["k = 3", "i < 50", "flag", "s IS NOT NULL", "i % 7 = 1", "NOT flag", "k IN (1, 2, 5)",
         "k BETWEEN 2 AND 6", "s LIKE '%1%'"]  # fmt: skip
TEXTS = ["s", "'p ' || s", "upper(s)", "'c'", "s || k", "COALESCE(s, 'none')", "g(s)", "m(s)",
         "CASE WHEN flag THEN s ELSE 'other' END", "NULL"]  # fmt: skip


class Generator:
    """One stream of statements."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def statement(self) -> str:
        """A query, or now and then a statement that writes."""
        return self.random.choice([self.query] * 6 + [self.write])()

    def query(self) -> str:
        make = self.random.choice(
            [self.simple, self.simple, self.simple, self.join, self.group, self.cte, self.exists,
             self.union, self.limit, self.ordered, self.scalar, self.nested_from]
        )  # fmt: skip
        return make()

    def text(self) -> str:
        return self.random.choice(TEXTS)

    def predicate(self, depth: int = 2) -> str:
        pick = self.random.random()
        if depth and pick < 0.45:
            joint = self.random.choice(["AND", "AND", "OR"])
            return f"({self.predicate(depth - 1)} {joint} {self.predicate(depth - 1)})"
        if depth and pick < 0.55:
            return f"NOT ({self.predicate(depth - 1)})"
        if pick < 0.75:
            return self.random.choice(CHEAP)
        return self.random.choice(
            [
                f"m({self.text()}) = 'true'",
                f"m({self.text()})",
                f"g({self.text()}) < '4'",
                f"g({self.text()}) IN ('1', '2')",
                f"m({self.text()}) IS NULL",
                f"g({self.text()}) IS DISTINCT FROM '3'",
                f"m({self.text()}) LIKE 't%'",
                f"COALESCE(m({self.text()}), 'x') = 'x'",
                f"g({self.text()})::INT > 2",
            ]
        )

    def item(self) -> str:
        return self.random.choice(
            [
                "i",
                "s",
                f"m({self.text()})",
                f"g({self.text()})",
                f"g({self.text()}) || '-' || i",
                f"CASE WHEN {self.predicate(1)} THEN m({self.text()}) ELSE g('e') END",
                f"({self.predicate(1)})",
                f"COALESCE(m({self.text()}), g({self.text()}), 'none')",
                f"length(g({self.text()}))",
            ]
        )

    def items(self) -> str:
        return ", ".join(self.item() for _ in range(self.random.randint(1, 3)))

    def simple(self) -> str:
        distinct = self.random.choice(["", "", "DISTINCT "])
        source = self.random.choice(["t", "t", "(SELECT * FROM t WHERE k < 5) q"])
        return f"SELECT {distinct}{self.items()} FROM {source} WHERE {self.predicate()}"

    def join(self) -> str:
        kind = self.random.choice(["JOIN", "JOIN", "LEFT JOIN"])
        on = self.random.choice(["t.i = u.id", "t.k = u.k AND u.id < 6"])
        where = self.random.choice(
            ["m(t.s) = 'true'", "m(u.w) = 'true' AND t.flag", "g(t.s) = g(u.w)", "u.n = 3 OR m(t.s)",
             "m(t.s || u.w) AND u.n > 4", "m(u.w) IS NULL"]
        )  # fmt: skip
        return f"SELECT t.i, u.id, g(u.w) FROM t {kind} u ON {on} WHERE {where}"

    def group(self) -> str:
        key = self.random.choice(["k", "g(s)", "m(s)"])
        having = self.random.choice(["", f" HAVING count(*) > {self.random.randint(1, 30)}",
                                     f" HAVING g('h' || {key}) < '5'"])  # fmt: skip
        return (
            f"SELECT {key}, count(*), count(DISTINCT m(s)), min(g(s)) FROM t"
            f" WHERE {self.predicate(1)} GROUP BY {key}{having}"
        )

    def cte(self) -> str:
        hint = self.random.choice(["", "MATERIALIZED ", "NOT MATERIALIZED "])
        return (
            f"WITH c AS {hint}(SELECT i, k, flag, s, m(s) AS y FROM t WHERE {self.predicate(1)})"
            f" SELECT a.i, a.y, g(b.y) FROM c a JOIN c b ON a.i = b.i WHERE {self.random.choice(['a.flag', 'a.y', 'true'])}"
        )

    def exists(self) -> str:
        negation = self.random.choice(["", "NOT "])
        return (
            f"SELECT id FROM u WHERE n < 6 AND {negation}EXISTS"
            f" (SELECT 1 FROM t WHERE t.i = u.id AND m(t.s) = 'true')"
        )

    def union(self) -> str:
        joint = self.random.choice(["UNION", "UNION ALL", "EXCEPT", "INTERSECT"])
        return (
            f"SELECT m(s) FROM t WHERE {self.random.choice(CHEAP)} {joint}"
            f" SELECT g(w) FROM u WHERE m(w)"
        )

    def limit(self) -> str:
        offset = self.random.choice(["", " OFFSET 2"])
        return (
            f"SELECT i, {self.item()} FROM t WHERE {self.predicate(1)}"
            f" LIMIT {self.random.randint(1, 12)}{offset}"
        )

    def ordered(self) -> str:
        key = self.random.choice(["i DESC", "k, i", "g(s), i", "flag, i DESC"])
        return (
            f"SELECT i, {self.items()} FROM t WHERE {self.predicate(1)} ORDER BY {key}"
            f" LIMIT {self.random.randint(1, 9)}"
        )

    def scalar(self) -> str:
        return (
            f"SELECT i, (SELECT max(g(w)) FROM u WHERE u.k = t.k AND m(w)) FROM t"
            f" WHERE i < 20 AND {self.predicate(1)}"
        )

    def nested_from(self) -> str:
        return (
            f"SELECT y, count(*) FROM (SELECT g(m(s)) AS y, i, k, flag, s FROM t"
            f" WHERE {self.predicate(1)}) WHERE {self.random.choice(CHEAP)} GROUP BY y"
        )

    def write(self) -> str:
        return self.random.choice(
            [
                f"INSERT INTO e SELECT i, m(s) FROM t WHERE {self.predicate(1)}",
                f"UPDATE t SET s = g({self.text()}) WHERE {self.predicate(1)}",
                f"DELETE FROM t WHERE {self.predicate(1)}",
                f"CREATE OR REPLACE TABLE made AS SELECT i, {self.item()} AS y FROM t"
                f" WHERE {self.predicate(1)}",
                "UPDATE t SET s = m(u.w) FROM u WHERE t.i = u.id AND m(u.w) = 'true'",
                f"INSERT INTO e SELECT i, g(s) FROM t WHERE {self.predicate(1)} RETURNING *",
            ]
        )


SEVERAL_TEXTS = ["s", "l[1]", "s || l[2]", "'p ' || s", "upper(s)", "s || k", "COALESCE(s, 'none')",
                 "CASE WHEN flag THEN s ELSE l[1] END", "'c'"]  # fmt: skip


class Several(Generator):
    """Statements in which several models' predicates decide over a row, wherever they stand."""

    def query(self) -> str:
        make = self.random.choice(
            [self.simple, self.simple, self.join, self.inside, self.having, self.case, self.union]
        )
        return make()

    def text(self) -> str:
        plain = self.random.choice(SEVERAL_TEXTS)
        return plain if self.random.random() < 0.7 else f"{self.random.choice('mg')}({plain})"

    def asking(self) -> str:
        """A predicate that asks a model; of its NULL it says yes, no or NULL."""
        text = self.text()
        return self.random.choice(
            [
                f"m({text}) = 'true'",
                f"m({text})",
                f"NOT m({text})",
                f"g({text}) IN ('1', '2')",
                f"m({text}) IS NULL",
                f"g({text}) IS DISTINCT FROM '3'",
                f"COALESCE(m({text}), 'x') <> 'true'",
                f"g({text})::INT > 2",
                f"g({text}) = g({self.text()})",
            ]
        )

    def predicate(self, depth: int = 2) -> str:
        pick = self.random.random()
        if depth and pick < 0.6:
            joint = self.random.choice(["AND", "AND", "OR"])
            return f"({self.predicate(depth - 1)} {joint} {self.predicate(depth - 1)})"
        if depth and pick < 0.66:
            return f"NOT ({self.predicate(depth - 1)})"
        return self.random.choice(CHEAP) if pick < 0.75 else self.asking()

    def simple(self) -> str:
        return f"SELECT i FROM t WHERE {self.predicate()} AND {self.asking()}"

    def join(self) -> str:
        kind = self.random.choice(["JOIN", "LEFT JOIN"])
        on = self.random.choice(["t.i = u.id", "t.k = u.k AND u.id < 6", "t.i = u.id AND m(s)"])
        sides = ["m(w) = 'true'", "g(w) < '4'", "m(w) IS NULL", "g(s) = g(w)", "n > 3",
                 "m(s || w) IS DISTINCT FROM 'true'"]  # fmt: skip
        return (
            f"SELECT t.i, u.id FROM t {kind} u ON {on} WHERE {self.random.choice(sides)}"
            f" AND {self.asking().replace('|| k', '|| t.k')} AND {self.random.choice(sides)}"
        )

    def inside(self) -> str:
        of_column = self.random.choice(["y IS NULL", "y < '3'", "true"])
        return (
            f"SELECT i, y FROM (SELECT *, g({self.text()}) AS y FROM t WHERE {self.predicate(1)})"
            f" WHERE {self.predicate(1)} AND {of_column}"
        )

    def having(self) -> str:
        key = self.random.choice(["s", "l[1]", "m(s)"])
        of_key = self.random.choice(["IS NOT NULL", "< '5'", "IS DISTINCT FROM '2'"])
        return (
            f"SELECT {key} AS key, count(*) FROM t WHERE {self.predicate(1)} GROUP BY {key}"
            f" HAVING g('h' || {key}) {of_key} AND count(*) > 1"
        )

    def case(self) -> str:
        return (
            f"SELECT i, CASE WHEN {self.predicate(1)} THEN m(s) WHEN {self.predicate(1)}"
            f" THEN g(s) END FROM t WHERE {self.predicate(1)}"
        )

    def write(self) -> str:
        return f"DELETE FROM t WHERE {self.predicate()} AND {self.asking()}"


class Sorted(Generator):
    """Statements that sort by what no model decides, all rows apart, and want some of them."""

    KEYS = ("i DESC", "k, i", "k DESC, i DESC", "flag DESC, i", "s DESC NULLS FIRST, i", "i % 7, i",
            "s, i DESC", "l, i", "length(s) DESC NULLS LAST, k, i", "NOT flag, 1", "k % 3, g(s), i",
            "y, i", "-i")  # fmt: skip

    def statement(self) -> str:
        make = self.random.choice(
            [self.one, self.one, self.one, self.join, self.inside, self.write]
        )
        return make()

    def condition(self) -> str:
        """A model's predicate and others, in any order."""
        asking = self.random.choice(
            [
                f"m({self.text()}) = 'true'",
                f"m({self.text()} || i)",
                f"g({self.text()} || i) < '2'",
                f"m({self.text()}) IS NULL",
                "g('x' || i) = '3'",
                "is_yes(s || i)",
                "(flag OR m('o' || i))",
            ]
        )
        others = [self.predicate(1) for _ in range(self.random.randint(0, 2))]
        return " AND ".join(self.random.sample([asking, *others], len(others) + 1))

    def ending(self, key: str) -> str:
        offset = self.random.choice(["", "", " OFFSET 3", " OFFSET 300"])
        return f"ORDER BY {key} LIMIT {self.random.choice([1, 3, 9, 30, 70, 500])}{offset}"

    def one(self) -> str:
        items = self.random.choice(["i, k % 4 AS y", "i, i % 4 AS y, g('a' || i)", "i, *, k AS y"])
        key = self.random.choice(self.KEYS)
        return f"SELECT {items} FROM t WHERE {self.condition()} {self.ending(key)}"

    def inside(self) -> str:
        source = self.random.choice(
            ["(SELECT * FROM t WHERE k < 7) t", "(SELECT * FROM t ORDER BY s LIMIT 150) t", "c"]
        )
        before = "WITH c AS (SELECT * FROM t WHERE i > 20) " if source == "c" else ""
        key = self.random.choice(self.KEYS[:9])
        return (
            f"{before}SELECT i, g('a' || i) AS y FROM {source} WHERE {self.condition()}"
            f" {self.ending(key)}"
        )

    def join(self) -> str:
        kind = self.random.choice(["JOIN", "LEFT JOIN", "RIGHT JOIN"])
        on = self.random.choice(["t.i = u.id", "t.k = u.n", "t.i = u.id + 100"])
        asking = self.random.choice(
            ["m(t.s) = 'true'", "m(u.w || t.i)", "g(t.s || u.id) < '3'", "m(u.w) IS NULL"]
        )
        key = self.random.choice(["n DESC, i, id", "u.w, t.i, u.id", "t.k DESC, u.id, i", "i, id"])
        return f"SELECT t.i, u.id, n FROM t {kind} u ON {on} WHERE {asking} {self.ending(key)}"

    def write(self) -> str:
        query = f"SELECT i, g('w' || i) AS s FROM t WHERE {self.condition()} {self.ending('k, i')}"
        return self.random.choice(
            [
                f"INSERT INTO e {query}",
                f"INSERT INTO e {query} RETURNING *",
                f"CREATE OR REPLACE TABLE made AS {query}",
            ]
        )
