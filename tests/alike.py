"""Conditions that cost DuckDB the same, in ANDs, ORs and branches where they come back.

DuckDB 1.5 sorts conditions by cost, so among these any cost of our own decides. Of two parts that
all alternatives of an OR have, it is their hashes that say which comes first; that is left out.
"""

from __future__ import annotations

from tests.generator import Generator

CALLS = (
    ("m(s)", "g(s)"),
    ("m(g(s))", "m(upper(s))", "g(lower(s))", "g(m(s))", "m(reverse(s))"),
    (
        "m(g(m(s)))",
        "m(upper(g(s)))",
        "g(lower(m(s)))",
        "m(reverse(lower(s)))",
        "g(upper(reverse(s)))",
    ),
)
"""Of one function, of two and of three, of which some are models."""


class Alike(Generator):
    """One stream of them."""

    def statement(self) -> str:
        calls = self.random.choice(CALLS)
        self.column = self.random.choice(calls)
        self.leaves = [self.compared(self.random.choice(calls)) for _ in range(3)]
        make = self.random.choice(
            [self.plain, self.inside, self.chosen, self.computed, self.joined, self.common,
             self.grouped, self.linked]
        )  # fmt: skip
        return make()

    def compared(self, call: str) -> str:
        value = "'true'" if call.startswith("m") else f"'{self.random.randrange(7)}'"
        return f"{call} {self.random.choice(['=', '<>', '>', '<='])} {value}"

    def leaf(self) -> str:
        return self.random.choice(self.leaves)

    def part(self, depth: int = 0) -> str:
        """A condition, of others as long as it is not too deep."""
        kind = self.random.randrange(10) if depth < 2 else 0
        if kind < 4:
            return self.leaf()
        joint = " AND " if kind < 7 else " OR "
        if kind == 9:
            return f"(i % {self.random.randint(2, 4)} = 0 OR {self.part(depth + 1)})"
        count = self.random.randint(2, 3)
        return f"({joint.join(self.part(depth + 1) for _ in range(count))})"

    def condition(self) -> str:
        joint = self.random.choice([" AND ", " OR "])
        return f"({joint.join(self.part(1) for _ in range(self.random.randint(2, 3)))})"

    def plain(self) -> str:
        return f"SELECT i FROM t WHERE {self.condition()} AND i < {self.random.randint(30, 200)}"

    def inside(self) -> str:
        return (
            f"SELECT count(*) FROM (SELECT * FROM t WHERE {self.part()}) WHERE {self.condition()}"
        )

    def chosen(self) -> str:
        second = self.random.choice([f" WHEN {self.part()} THEN 2", " ELSE k", ""])
        return f"SELECT i, CASE WHEN {self.condition()} THEN 1{second} END AS c FROM t"

    def computed(self) -> str:
        made = f"SELECT *, {self.column} AS y FROM t"
        return f"SELECT count(*) FROM ({made}) WHERE y <> 'true' AND {self.condition()}"

    def joined(self) -> str:
        return (
            f"SELECT count(*) FROM t JOIN u ON t.k = u.k AND {self.part()} WHERE {self.condition()}"
        )

    def common(self) -> str:
        table = f"WITH x AS (SELECT * FROM t WHERE {self.part()})"
        return f"{table} SELECT count(*) FROM x WHERE {self.condition()} OR i < 20"

    def grouped(self) -> str:
        return f"SELECT k, count(*) FROM t WHERE {self.condition()} GROUP BY k HAVING count(*) > 1"

    def linked(self) -> str:
        some = f"SELECT i FROM t WHERE {self.part()}"
        return f"SELECT count(*) FROM t WHERE i IN ({some}) AND {self.condition()}"
