"""Statements in layers, as models of a warehouse have them: each narrows or widens the one below."""

from __future__ import annotations

from tests.generator import Generator

CHEAP = ["k < 6", "flag", "i % 7 = 1", "(i + k) % 3 <> 1", "s LIKE '%1%'", "s IS NOT NULL", "i > k",
         "CAST('1' || k AS INT) > 13", "length(s) > 6", "i // 2 < 40", "k IN (1, 2, 5)",
         "substr(s, 6)::INT < 30", "NOT flag", "s || k > 'text 2'", "i < 120"]  # fmt: skip
ASKING = ["g(s) < '4'", "m(s)", "m(s || i) = 'true'", "g('p ' || s) IN ('1', '2')", "NOT m('q' || k)",
          "m(g(s)) IS NULL", "g(s || k) = '1'", "m(s) = m('r' || s)"]  # fmt: skip
CALLS = ["m(s)", "g(s)", "g('i' || i)", "m(s || k)", "CASE WHEN flag THEN g(s) END", "m(g(s))",
         "COALESCE(m('t' || i), 'none')"]  # fmt: skip
COLUMNS = "i, k, s, flag"
WINDOWS = ["row_number() OVER (PARTITION BY k ORDER BY i, s, flag)", "lag(k) OVER (ORDER BY i, k, s, flag)",
           "count(*) OVER (PARTITION BY flag)"]  # fmt: skip


class Layered(Generator):
    """One stream of them."""

    def pick(self, values):  # type: ignore[no-untyped-def]
        return self.random.choice(values)

    def statement(self) -> str:
        names = [f"c{number}" for number in range(self.random.randint(1, 3))]
        source, tables = "t", []
        for name in names:
            tables.append(f"{name} AS {self.hint()}({self.layer(source)})")
            source = name
        if self.random.random() < 0.4:  # derived tables instead
            inner = self.layer("t")
            for _ in names[1:]:
                inner = self.layer(f"({inner}) t")
            return self.last(f"({inner}) t")
        return f"WITH {', '.join(tables)} {self.last(source)}"

    def hint(self) -> str:
        return self.pick(["", "", "", "", "NOT MATERIALIZED ", "MATERIALIZED "])

    def where(self, asks: float) -> str:
        parts = [self.pick(CHEAP) for _ in range(self.random.randint(0, 2))]
        if self.random.random() < asks:
            parts.append(self.pick(ASKING))
        self.random.shuffle(parts)
        joint = " OR " if self.random.random() < 0.1 else " AND "
        return f" WHERE {joint.join(parts)}" if parts else ""

    def layer(self, source: str) -> str:
        where = self.where(0.2)
        kinds = [self.narrowed, self.narrowed, self.narrowed, self.united, self.joined, self.told_apart,
                 self.numbered, self.computed]  # fmt: skip
        return self.pick(kinds)(source, where)

    def narrowed(self, source: str, where: str) -> str:
        return f"SELECT {self.pick(['*', COLUMNS, COLUMNS])} FROM {source}{where}"

    def united(self, source: str, where: str) -> str:
        joint = self.pick(["UNION ALL", "UNION ALL", "UNION"])
        return f"SELECT {COLUMNS} FROM {source}{where} {joint} SELECT {COLUMNS} FROM t{self.where(0.2)}"

    def joined(self, source: str, where: str) -> str:
        kind, on = (
            self.pick(["JOIN", "LEFT JOIN", "SEMI JOIN"]),
            self.pick(["id = i", "n = k AND id < 6"]),
        )
        return f"SELECT i, k, s, flag FROM {source} {kind} (SELECT id, n FROM u) u ON {on}{where}"

    def told_apart(self, source: str, where: str) -> str:
        return f"SELECT DISTINCT {COLUMNS} FROM {source}{where}"

    def numbered(self, source: str, where: str) -> str:
        return f"SELECT i, {self.pick(WINDOWS)} AS k, s, flag FROM {source}{where}"

    def computed(self, source: str, where: str) -> str:
        computed = self.pick(["s || k AS s", f"{self.pick(CALLS)} AS s", "upper(s) AS s"])
        return f"SELECT i, k, {computed}, flag FROM {source}{where}"

    def last(self, source: str) -> str:
        where = self.where(0.8)
        make = self.pick([self.rows, self.rows, self.rows, self.sorted, self.counted, self.beside])
        return make(source, where)

    def rows(self, source: str, where: str) -> str:
        return f"SELECT i, {self.pick([*CALLS, 'k', 's'])} FROM {source}{where}"

    def sorted(self, source: str, where: str) -> str:
        keys, count = self.pick(["i, k, s", "k, i, s", "i DESC, k, s"]), self.pick([3, 20])
        return (
            f"SELECT i, k, s, {self.pick(CALLS)} FROM {source}{where} ORDER BY {keys} LIMIT {count}"
        )

    def counted(self, source: str, where: str) -> str:
        key = self.pick(["k", "flag", "g(s)"])
        return f"SELECT {key}, count(*), max({self.pick(CALLS)}) FROM {source}{where} GROUP BY 1"

    def beside(self, source: str, where: str) -> str:
        inner = source if source.startswith("c") else "t"
        return (
            f"SELECT a.i, m(a.s) FROM {source} a WHERE a.i IN (SELECT i FROM {inner}{where})"
            if source.startswith("c")
            else f"SELECT i, m(s) FROM {source}{where}"
        )
