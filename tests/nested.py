"""Statements of queries inside queries, each of several tables, conditions and branches."""

from __future__ import annotations

from tests.branches import Branches

LINKED = (
    "EXISTS (SELECT 1 FROM u WHERE u.id = t.i AND {0})",
    "NOT EXISTS (SELECT 1 FROM u WHERE u.id = t.i AND {0})",
    "t.i IN (SELECT id FROM u WHERE {0})",
    "t.i NOT IN (SELECT id FROM u WHERE {0})",
    "t.k IN (SELECT n FROM u WHERE {0} AND u.id < t.i)",
    "t.k > (SELECT min(n) FROM u WHERE {0})",
    "t.k >= (SELECT count(*) FROM u WHERE u.n = t.k AND {0})",
    "t.k = ANY (SELECT u.k FROM u WHERE {0})",
    "m(t.s) IN (SELECT m(w) FROM u WHERE {0})",
    "EXISTS (SELECT 1 FROM u WHERE u.n = t.k AND m(u.w || t.s))",
    "(SELECT max(g(w)) FROM u WHERE u.id = t.i AND {0}) > '2'",
)
OF_U = ("n > 3", "m(w || id)", "g(w) < '4'", "m(w || n) AND n < 8", "u.k = 2", "NOT m(w)",
        "(g(w || id) < '2' OR n = 3)")  # fmt: skip
JOINED = ("t.i = u.id", "t.k = u.n", "t.i = u.id AND m(u.w || u.id)",
          "t.k = u.n AND m(t.s || u.w)", "t.i < u.id AND u.n = 3 AND t.i > 50")  # fmt: skip


class Nested(Branches):
    """One stream of them."""

    def statement(self) -> str:
        make = self.random.choice(
            [self.rows, self.rows, self.rows, self.groups, self.twice, self.join, self.write]
        )
        return make()

    def of_u(self) -> str:
        return self.random.choice(OF_U)

    def source(self, depth: int) -> str:
        pick = self.random.random()
        if not depth or pick < 0.5:
            return "t"
        if pick < 0.75:
            return f"({self.inner(depth - 1)}) t"
        if pick < 0.85:
            return f"(SELECT t.* FROM t JOIN u ON t.i = u.id WHERE {self.of_u()}) t"
        return (
            f"(SELECT * FROM t WHERE {self.conditions()}"
            f" UNION ALL SELECT * FROM t WHERE {self.test()}) t"
        )

    def inner(self, depth: int) -> str:
        """A query of the columns of t."""
        ending = self.random.choice(
            ["", "", "", "", " LIMIT 50", " ORDER BY i LIMIT 60", " ORDER BY g(s), i LIMIT 40"]
        )
        items = self.random.choice(
            [
                "i, k, s, flag, l",
                "DISTINCT i, k, s, flag, l",
                f"i, k, {self.call()} AS s, flag, l",
                f"i, k, s, {self.test()} AS flag, l",
                f"i, k, COALESCE({self.choice()}, s) AS s, flag, l",
            ]
        )
        return f"SELECT {items} FROM {self.source(depth)} WHERE {self.conditions()}{ending}"

    def conditions(self) -> str:
        makes = [self.test, self.test, self.condition, self.linked_rows, self.linked_rows]
        found = self.random.choice(makes)()
        for _ in range(self.random.randint(0, 2)):
            joint = self.random.choice(["AND", "AND", "AND", "OR"])
            found = f"({found} {joint} {self.random.choice(makes)()})"
        return found if self.random.random() < 0.93 else f"NOT ({found})"

    def linked_rows(self) -> str:
        return self.random.choice(LINKED).format(self.of_u())

    def rows(self) -> str:
        items = self.random.choice(
            [
                "i",
                f"i, {self.choice()}",
                f"i, {self.choice()}, {self.choice()}",
                f"i, (SELECT max(g(w)) FROM u WHERE u.id = t.i AND {self.of_u()})",
                f"i, row_number() OVER (ORDER BY {self.call()}, i)",
            ]
        )
        ending = self.random.choice(
            ["", "", "", " ORDER BY k, i LIMIT 7", f" ORDER BY {self.call()}, i LIMIT 9",
             " QUALIFY row_number() OVER (PARTITION BY k ORDER BY i) < 4 AND m(s || i)"]
        )  # fmt: skip
        return f"SELECT {items} FROM {self.source(2)} WHERE {self.conditions()}{ending}"

    def groups(self) -> str:
        having = self.random.choice(["true", "m(max(s))", "g(min(s)) < '4'"])
        return (
            f"SELECT k, count(*), max({self.choice()}) FILTER ({self.test()})"
            f" FROM {self.source(2)} WHERE {self.conditions()}"
            f" GROUP BY k HAVING count(*) > 2 AND {having}"
        )

    def twice(self) -> str:
        where = self.random.choice(
            ["a.flag", "m(a.s || b.i)", "g(b.s) < '3' AND a.k < 5",
             "a.k IN (SELECT n FROM u WHERE m(w))"]
        )  # fmt: skip
        return (
            f"WITH c AS ({self.inner(1)})"
            f" SELECT a.i, g(b.s) FROM c a JOIN c b ON a.i = b.i + 1 WHERE {where}"
        )

    def join(self) -> str:
        kind = self.random.choice(["JOIN", "LEFT JOIN", "SEMI JOIN", "ANTI JOIN"])
        where = self.random.choice(
            ["m(t.s)", "t.flag OR m(t.s || t.i)", "g(t.s) IN ('1')", "true", self.linked_rows()]
        )
        item = self.random.choice(["m(t.s || t.i)", "g('p ' || t.i)", "t.s"])
        return (
            f"SELECT t.i, {item} FROM {self.source(2)} {kind} u ON {self.random.choice(JOINED)}"
            f" WHERE t.k < 6 AND {where}"
        )

    def write(self) -> str:
        source, where = self.source(2), self.conditions()
        return self.random.choice(
            [
                f"INSERT INTO e SELECT i, s FROM {source} WHERE {where}",
                f"CREATE OR REPLACE TABLE made AS SELECT i, {self.choice()} AS y FROM {source}"
                f" WHERE {where}",
                f"DELETE FROM t WHERE {where}",
                f"UPDATE t SET s = {self.choice()} WHERE {where}",
            ]
        )
