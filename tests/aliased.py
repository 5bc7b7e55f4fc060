"""Statements that sort and limit by names: columns', aliases', of several things at once."""

from __future__ import annotations

from tests.generator import Generator

ITEMS = ("g(s)", "m('b' || i)", "i", "k", "k % 3", "s", "upper(m('o' || i))", "g(s || i)", "i + 1",
         "m(s) IS NULL", "g(g(s))", "length(s)", "flag")  # fmt: skip
ALIASES = ("y", "y", "z", "i", "k", "s", "")
KEYS = ("y", "z", "i", "k", "s", "y || 'x'", "k + 1", "i || 'x'", "t.i", "t.k", "1", "2", "z IS NULL",
        "s || i", "g(s)", "length(s)", "k % 3", "NOT flag", "t.k + 1", "upper(y)")  # fmt: skip
CONDITIONS = ("k < 5", "y < '5'", "z > '2'", "i > 20", "g(s) < '5'", "m(s) = 'true'", "flag",
              "k IN (1, 2)", "y IS NOT NULL", "m('w' || i) = 'true'")  # fmt: skip


class Aliased(Generator):
    """One stream of them; rows are put in one order by a last key."""

    def statement(self) -> str:
        items = ", ".join(self.item() for _ in range(self.random.randint(2, 4)))
        keys = ", ".join(self.random.sample(KEYS, self.random.randint(1, 3)))
        direction = self.random.choice(["", "", "", " DESC", " NULLS FIRST", " DESC NULLS LAST"])
        limit = self.random.choice([1, 4, 9, 40])
        return f"SELECT {items} FROM t{self.where()} ORDER BY {keys}{direction}, t.i LIMIT {limit}"

    def item(self) -> str:
        alias = self.random.choice(ALIASES)
        return self.random.choice(ITEMS) + (f" AS {alias}" if alias else "")

    def where(self) -> str:
        parts = self.random.sample(CONDITIONS, self.random.randint(0, 2))
        joint = self.random.choice([" AND ", " AND ", " OR "])
        return f" WHERE {joint.join(parts)}" if parts else ""
