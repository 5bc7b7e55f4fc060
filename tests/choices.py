"""Choices inside choices: CASE, COALESCE, if, AND, OR and NOT, of a few calls that come back."""

from __future__ import annotations

from tests.generator import Generator

TEXTS = ("s", "s || i", "upper(s)", "g(s)", "'p ' || s", "lower(s)", "m(s)")
CHEAP = ("flag", "k < 3", "i % 7 = 1", "s IS NULL")
DEEPEST = 3


class Choices(Generator):
    """One stream of them."""

    def statement(self) -> str:
        self.tests = [self.test() for _ in range(self.random.randint(2, 4))]
        self.tests.append(self.random.choice(CHEAP))
        self.values = [self.call(), self.call(), "'x'", "s", "NULL"]
        make = self.random.choice(
            [self.plain, self.filtered, self.counted, self.sorted, self.grouped, self.inside,
             self.joined]
        )  # fmt: skip
        return make()

    def call(self) -> str:
        return f"{self.random.choice('mg')}({self.random.choice(TEXTS)})"

    def test(self) -> str:
        call = self.call()
        same = f"{call} = 'true'" if call.startswith("m") else f"{call} < '4'"
        return self.random.choice(
            [same, f"{call} IS NULL", f"{call} IN ('1', 'true')", f"NOT ({call} > '2')",
             f"{call} BETWEEN '1' AND '3'", f"{call} IS DISTINCT FROM '3'"]
        )  # fmt: skip

    def condition(self, depth: int = 0) -> str:
        make = self.random.choice(
            [self.leaf] * 4
            + [self.conjunction] * 4
            + [self.negation, self.case, self.coalesced, self.equal]
        )
        return make(depth + 1) if depth < DEEPEST else self.leaf(depth)

    def leaf(self, depth: int) -> str:
        return self.random.choice(self.tests)

    def conjunction(self, depth: int) -> str:
        parts = [self.condition(depth) for _ in range(self.random.randint(2, 3))]
        return f"({self.random.choice([' AND ', ' OR ']).join(parts)})"

    def negation(self, depth: int) -> str:
        return f"(NOT {self.condition(depth)})"

    def case(self, depth: int) -> str:
        when, then, other = (self.condition(depth) for _ in range(3))
        return f"(CASE WHEN {when} THEN {then} ELSE {other} END)"

    def coalesced(self, depth: int) -> str:
        return f"coalesce({self.condition(depth)}, {self.condition(depth)})"

    def equal(self, depth: int) -> str:
        return f"({self.value(depth)} = {self.value(depth)})"

    def value(self, depth: int = 0) -> str:
        if depth >= DEEPEST or self.random.random() < 0.4:
            return self.random.choice(self.values)
        depth += 1
        one, other = self.value(depth), self.value(depth)
        return self.random.choice(
            [f"CASE WHEN {self.condition(depth)} THEN {one} WHEN {self.condition(depth)} THEN {other}"
             f" ELSE {self.value(depth)} END",
             f"coalesce({one}, {other})", f"if({self.condition(depth)}, {one}, {other})",
             f"nullif({one}, {other})"]
        )  # fmt: skip

    def plain(self) -> str:
        return f"SELECT i, {self.value()}, {self.value()} FROM t WHERE {self.condition()}"

    def filtered(self) -> str:
        return f"SELECT count(*) FROM t WHERE {self.condition()} AND {self.condition()}"

    def counted(self) -> str:
        kept = f"count(*) FILTER ({self.condition()}), max({self.value()})"
        return f"SELECT k, {kept}, sum(CASE WHEN {self.condition()} THEN 1 END) FROM t GROUP BY k"

    def sorted(self) -> str:
        limit = self.random.choice([3, 30])
        return f"SELECT i, {self.value()} AS y FROM t WHERE {self.condition()} ORDER BY y, i LIMIT {limit}"

    def grouped(self) -> str:
        how = self.random.choice(
            ["SELECT DISTINCT {} AS y FROM t", "SELECT {} AS y, count(*) FROM t GROUP BY y"]
        )
        return how.format(self.value())

    def inside(self) -> str:
        made = f"SELECT i, k, s, flag, {self.value()} AS y FROM t"
        return f"SELECT i, y FROM ({made}) WHERE y IS NOT NULL AND {self.condition()}"

    def joined(self) -> str:
        one, other = self.condition(), self.condition()
        return f"SELECT i, {one} AND {other}, {one} OR {other} FROM t WHERE i < 90"
