"""Statements that ask one thing in several branches, which not every row comes to."""

from __future__ import annotations

from tests.generator import Generator

TEXTS = ("s || i", "'p ' || i", "s", "g(s || i)")
CHEAP = ("flag", "k < 3", "i % 7 = 1", "s IS NULL", "k IN (1, 2, 5)", "NOT flag")


class Branches(Generator):
    """One stream of them; few texts, so that they come back."""

    def statement(self) -> str:
        make = self.random.choice(
            [self.plain, self.plain, self.plain, self.sorted, self.grouped, self.filtered,
             self.inside, self.joined, self.linked, self.written]
        )  # fmt: skip
        return make()

    def text(self) -> str:
        return self.random.choice(TEXTS)

    def call(self) -> str:
        return f"{self.random.choice('mg')}({self.text()})"

    def test(self) -> str:
        """A condition, mostly one that asks."""
        asking = [f"m({self.text()})", f"g({self.text()}) < '4'", f"m({self.text()}) IS NULL",
                  f"NOT m({self.text()})", f"g({self.text()}) IN ('1', '2')",
                  f"m({self.text()}) = 'true'"]  # fmt: skip
        one = self.random.choice([self.random.choice(CHEAP), self.random.choice(asking)])
        if self.random.random() < 0.25:
            return f"({one} {self.random.choice(['AND', 'OR'])} {self.random.choice(asking)})"
        return one

    def value(self) -> str:
        return self.random.choice([self.call(), self.call(), "'x'", "NULL", "s"])

    def choice(self) -> str:
        """A value that one of several branches gives."""
        return self.random.choice(
            [
                f"CASE WHEN {self.test()} THEN {self.value()} ELSE {self.call()} END",
                f"CASE WHEN {self.test()} THEN {self.value()} WHEN {self.test()} THEN {self.value()} END",
                f"CASE WHEN {self.test()} THEN {self.value()} WHEN {self.test()} THEN {self.value()}"
                f" ELSE {self.value()} END",
                f"CASE {self.call()} WHEN '1' THEN {self.call()} WHEN 'true' THEN {self.value()}"
                f" ELSE {self.value()} END",
                f"COALESCE({self.call()}, {self.call()}, 'none')",
                f"COALESCE(nullif({self.call()}, 'true'), {self.call()})",
                f"if({self.test()}, {self.call()}, {self.value()})",
                f"({self.test()} AND {self.test()})::VARCHAR",
                f"({self.test()} OR {self.test()})::VARCHAR",
                self.call(),
            ]
        )

    def condition(self) -> str:
        return self.random.choice(
            [
                self.test(),
                f"{self.choice()} = 'true'",
                f"{self.choice()} < '4'",
                f"{self.choice()} IS NULL",
                f"({self.test()} AND {self.test()}) OR ({self.test()} AND {self.test()})",
                f"{self.test()} AND {self.choice()} IS NOT NULL",
            ]
        )

    def where(self) -> str:
        return self.random.choice(["", f" WHERE {self.condition()}"])

    def items(self) -> str:
        return ", ".join(self.choice() for _ in range(self.random.randint(1, 3)))

    def plain(self) -> str:
        return f"SELECT i, {self.items()} FROM t{self.where()}"

    def sorted(self) -> str:
        key = self.random.choice(["k, i", "i DESC", f"{self.choice()}, i", "2, i"])
        return f"SELECT i, {self.items()} FROM t{self.where()} ORDER BY {key} LIMIT {self.random.choice([3, 20])}"

    def grouped(self) -> str:
        key = self.choice()
        of_key = self.random.choice(
            [key, key, f"upper({key})", f"CASE WHEN {key} < '3' THEN 'low' ELSE m({key}) END"]
        )
        return f"SELECT {of_key} AS y, count(*), max({self.choice()}) FROM t{self.where()} GROUP BY {key}"

    def filtered(self) -> str:
        return f"SELECT i FROM t WHERE {self.condition()} AND {self.condition()}"

    def inside(self) -> str:
        item = self.random.choice(["i, y", f"i, {self.choice()}", "count(*)"])
        return (
            f"SELECT {item} FROM (SELECT i, k, s, flag, {self.choice()} AS y FROM t{self.where()}) q"
            f" WHERE {self.random.choice(['y IS NULL', chr(39) + 'true' + chr(39) + ' = y', self.condition()])}"
        )

    def joined(self) -> str:
        """Several tables; each column's name stands in one of them."""
        on = self.random.choice(["t.i = u.id", "t.i = u.id + 30", "t.i = u.n"])
        kind = self.random.choice(["JOIN", "LEFT JOIN", "JOIN"])
        source = "(SELECT id, n, w FROM u) u"
        where = self.random.choice(
            [self.condition(), f"m(w || id) AND {self.condition()}", "n > 3"]
        )
        return f"SELECT i, id, {self.choice()} FROM t {kind} {source} ON {on} WHERE {where}"

    def linked(self) -> str:
        of_rows = self.random.choice(["k = ANY (SELECT u.k FROM u WHERE m(w || id))",
                                      "i IN (SELECT id FROM u WHERE m(w || id) AND n > 3)",
                                      "EXISTS (SELECT 1 FROM u WHERE u.id = t.i AND m(w || id))",
                                      "k > (SELECT min(n) FROM u WHERE g(w || id) < '2')"])  # fmt: skip
        return f"SELECT i, {self.choice()} FROM t WHERE {of_rows} AND {self.condition()}"

    def written(self) -> str:
        return self.random.choice(
            [
                f"UPDATE t SET s = {self.choice()}{self.where()}",
                f"INSERT INTO e SELECT i, {self.choice()} FROM t{self.where()}",
                f"DELETE FROM t WHERE {self.condition()}",
            ]
        )
