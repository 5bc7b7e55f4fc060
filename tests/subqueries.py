"""Random statements whose conditions hold subqueries that ask models themselves.

Over the oracle's tables, valid by construction, repeatable by seed; reads only.
"""

from __future__ import annotations

from tests.generator import CHEAP, Generator

INNER_TEXTS = ["w", "'p ' || w", "w || id", "w || n", "'q' || id", "g(w || id)", "'c'"]
OUTER_TEXTS = [
    "s",
    "'p ' || i",
    "s || i",
    "l[1] || i",
    "COALESCE(s, 'none') || i",
    "g(s || i)",
    "l[1]",
]


class Subqueries(Generator):
    """Statements in which a subquery and its neighbours both ask."""

    def statement(self) -> str:
        make = self.random.choice(
            [self.where, self.where, self.where, self.having, self.case, self.joined, self.qualify,
             self.item_list, self.from_query, self.cte, self.several]
        )  # fmt: skip
        return make()

    def inner_asking(self) -> str:
        text = self.random.choice(INNER_TEXTS)
        return self.random.choice(
            [
                f"m({text}) = 'true'",
                f"m({text})",
                f"g({text}) < '4'",
                f"m({text}) IS NULL",
                f"g({text}) IN ('1', '2')",
                f"COALESCE(m({text}), 'x') <> 'true'",
            ]
        )

    def outer_asking(self, texts: list[str] | None = None) -> str:
        text = self.random.choice(texts or OUTER_TEXTS)
        return self.random.choice(
            [
                f"m({text}) = 'true'",
                f"m({text})",
                f"g({text}) IN ('1', '2')",
                f"m({text}) IS NULL",
                f"g({text}) IS DISTINCT FROM '3'",
                f"g({text})::INT > 2",
            ]
        )

    def inner_where(self, link: str) -> str:
        parts = [self.inner_asking()]
        if link:
            parts.append(link)
        if self.random.random() < 0.4:
            parts.append(self.random.choice(["n > 3", "id < 20", "u.k <> 2", "n IN (1, 5, 7)"]))
        if self.random.random() < 0.2:
            parts.append(self.inner_asking())
        self.random.shuffle(parts)
        return " AND ".join(parts)

    def subquery(self, key: str = "t.i", small: str = "t.k", text: str = "s") -> str:
        """A condition with a subquery over u that asks a model."""
        is_correlated = self.random.random() < 0.5
        link = self.random.choice([f"u.id = {key}", f"u.k = {small}", f"u.n = {small}"])
        where = self.inner_where(link if is_correlated else "")
        limit = self.random.choice(["", "", "", " AND n < 3"])
        return self.random.choice(
            [
                f"EXISTS (SELECT 1 FROM u WHERE {where}{limit})",
                f"NOT EXISTS (SELECT 1 FROM u WHERE {where}{limit})",
                f"{small} IN (SELECT n FROM u WHERE {where}{limit})",
                f"{key} NOT IN (SELECT id FROM u WHERE {where}{limit})",
                f"{small} = ANY (SELECT u.k FROM u WHERE {where}{limit})",
                f"{small} < ALL (SELECT n FROM u WHERE {where}{limit})",
                f"(SELECT count(*) FROM u WHERE {where}{limit}) > 2",
                f"(SELECT max(n) FROM u WHERE {where}{limit}) > {small}",
                f"(SELECT min(m(w)) FROM u WHERE {link}) = 'true'",
                f"g({text}) IN (SELECT g(w) FROM u WHERE n < 6)",
                f"m({text}) = (SELECT max(m(w)) FROM u WHERE {where})",
                f"{small} IN (SELECT g(w)::INT FROM u WHERE n < 8)",
            ]
        )

    def cheap(self) -> str:
        return self.random.choice(CHEAP)

    def condition(self) -> str:
        parts = [self.subquery(), self.outer_asking()]
        if self.random.random() < 0.5:
            parts.append(self.cheap())
        if self.random.random() < 0.25:
            parts.append(self.outer_asking())
        if self.random.random() < 0.2:
            parts.append(f"({self.cheap()} OR {self.subquery()})")
        self.random.shuffle(parts)
        joint = " OR " if self.random.random() < 0.15 else " AND "
        return joint.join(parts)

    def where(self) -> str:
        item = self.random.choice(["i", "i", "i, g(s)", "i, m('x' || s)", "count(*)"])
        return f"SELECT {item} FROM t WHERE {self.condition()}"

    def several(self) -> str:
        parts = [self.subquery(), self.subquery(), self.outer_asking()]
        self.random.shuffle(parts)
        return f"SELECT i FROM t WHERE {' AND '.join(parts)}"

    def having(self) -> str:
        inner = self.subquery("max(i)", "t.k", "'k' || t.k")
        if "max(i)" in inner:
            inner = inner.replace("max(i)", "t.k")
        asking = self.outer_asking(["'h' || t.k", "'h' || count(*)", "min(s)"])
        parts = [inner, asking, self.random.choice(["count(*) > 3", "t.k > 2"])]
        self.random.shuffle(parts)
        return f"SELECT t.k, count(*) FROM t GROUP BY t.k HAVING {' AND '.join(parts)}"

    def case(self) -> str:
        return (
            f"SELECT i, CASE WHEN {self.subquery()} THEN {self.random.choice(['m(s)', 'g(s)'])}"
            f" WHEN {self.outer_asking()} AND {self.cheap()} THEN g('e' || s) ELSE 'x' END FROM t"
            f" WHERE {self.random.choice(['i < 60', self.outer_asking()])}"
        )

    def joined(self) -> str:
        kind = self.random.choice(["JOIN", "LEFT JOIN"])
        sub = (
            self.random.choice(["EXISTS", "NOT EXISTS"])
            + f" (SELECT 1 FROM u WHERE {self.inner_where(self.random.choice(['', 'u.id = t.i']))})"
        )
        asking = self.outer_asking(["t.s", "t.s || e2.w", "e2.w"])
        if self.random.random() < 0.4:
            return f"SELECT t.i, e2.id FROM t JOIN u e2 ON t.i = e2.id AND {asking} WHERE {sub}"
        return f"SELECT t.i, e2.id FROM t {kind} u e2 ON t.i = e2.id WHERE {sub} AND {asking}"

    def qualify(self) -> str:
        return (
            f"SELECT i, k FROM t WHERE {self.cheap()} QUALIFY"
            f" row_number() OVER (PARTITION BY k ORDER BY i) < 6 AND {self.outer_asking()}"
            f" AND {self.subquery()}"
        )

    def item_list(self) -> str:
        return (
            f"SELECT i, ({self.subquery()}) AND {self.outer_asking()} AS y FROM t"
            f" WHERE {self.cheap()}"
        )

    def from_query(self) -> str:
        return (
            f"SELECT i, y FROM (SELECT *, g(s) AS y FROM t WHERE {self.subquery()}) t"
            f" WHERE {self.outer_asking()} AND {self.random.choice(['y IS NOT NULL', self.cheap()])}"
        )

    def cte(self) -> str:
        hint = self.random.choice(["", "MATERIALIZED ", "NOT MATERIALIZED "])
        return (
            f"WITH c AS {hint}(SELECT n, w, m(w) AS y FROM u WHERE {self.inner_asking()})"
            f" SELECT i FROM t WHERE k IN (SELECT n FROM c WHERE y = 'true') AND"
            f" {self.outer_asking()}{self.random.choice(['', ' AND i IN (SELECT n FROM c)'])}"
        )
