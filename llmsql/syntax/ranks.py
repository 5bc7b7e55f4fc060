"""Number a statement's model calls by what must be known first.

A call nested in another's argument comes before it, WHERE before the SELECT list, an earlier
argument of AND, OR, CASE and COALESCE before a later one. Calls that wait for nothing share a
rank. Each call is tagged with its rank as one more argument; the same text gets the same tag, so
that GROUP BY and ORDER BY still find it, except in WHERE and ON, where neither looks. Where it is
known at which steps DuckDB evaluates them, ranks follow these.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from itertools import chain
from typing import Any

from llmsql.syntax import folded, tags, tree, weights
from llmsql.syntax.conditions import reads_columns
from llmsql.syntax.order import Call, Order, turns
from llmsql.syntax.outputs import Outputs, sort_keys
from llmsql.syntax.tree import Node

VARIABLE = "llmsql_statement"
TAG = "llmsql"
TAGGED = "llmsql_tagged_"
_ANY_OF = ("COMPARE_IN", "COMPARE_NOT_IN")
_IN_TURN = ("OPERATOR_COALESCE", *_ANY_OF)
CLAUSES = ("cte_map", "from_table", "where_clause", "group_expressions", "having")


def is_call(node: Node, models: frozenset[str]) -> bool:
    """True for a call of one of *models*, by its plain name."""
    return (
        node.get("class") == "FUNCTION"
        and tree.function_name(node) in models
        and node.get("schema", "") in ("", "main")
    )


def reaches(node: Node, names: frozenset[str]) -> bool:
    """True for a call, or a table, of one of *names*, in any schema: what reaches a model."""
    if node.get("type") == "BASE_TABLE":
        return node["table_name"].lower() in names
    return node.get("class") == "FUNCTION" and tree.function_name(node) in names


class Ranks:
    """The ranks of the model calls of one statement."""

    def __init__(
        self,
        root: Node,
        models: frozenset[str],
        order: Order | None = None,
        *,
        is_guarded: bool = True,
    ) -> None:
        self.root = root
        self.models = models
        self.is_guarded = is_guarded
        self.by_text: dict[Call, int] = {}
        self.order = order or Order(is_known=False)
        self.calls = [node for node in tree.nodes(root) if is_call(node, models)]
        filters, scopes = _filters(root), _scopes(root)
        self._keys = {
            id(node): Call(
                tree.text_key(node),
                id(node) in filters,
                scopes.get(id(node), -1),
                node.get(tree.BRANCH, -1),
            )
            for node in self.calls
        }
        self._visit(root, 0)
        for key in self._keys.values():  # of what DuckDB leaves out
            self.by_text.setdefault(key, 0)
        if self.order.is_known:
            self._follow(self.order.steps)

    def __len__(self) -> int:
        return len(self.by_text)

    @property
    def are_all_equal(self) -> bool:
        """True when no call waits for another."""
        return len(set(self.by_text.values())) < 2

    @property
    def last(self) -> int:
        """The highest rank, or -1."""
        return max(self.by_text.values(), default=-1)

    def highest(self, part: Any) -> int:
        """The highest rank inside *part* of the statement, or -1."""
        found = [self.of(node) for node in tree.nodes(part) if id(node) in self._keys]
        return max(found, default=-1)

    def of(self, call: Node) -> int:
        """The rank of a call of this statement."""
        return self.by_text[self._keys[id(call)]]

    def places(self, part: Node, depth: int) -> tuple[int, ...]:
        """Where DuckDB evaluates parts, so deep in ANDs and ORs, that ask like *part*."""
        calls = (node for node in tree.nodes(part) if id(node) in self._keys)
        shown = filter(reads_columns, calls)  # DuckDB has computed the others
        return self.order.found(frozenset(map(self._key, shown)), depth)

    def are_evaluated(self) -> bool:
        """True unless DuckDB, as far as is known, leaves out a condition that reads columns."""
        running = (call for call in self.calls if reads_columns(call))
        keys = {key for key in map(self._key, running) if key.is_filter}
        return not self.order.is_known or keys <= self.order.steps.keys()

    @property
    def is_left_open(self) -> bool:
        """True where DuckDB's plan does not show a condition, nor that it is cut off.

        It may be true for every row, as one of its alternatives is, and then it is not evaluated.
        """
        return not (self.are_evaluated() or self.order.is_cut)

    def _key(self, call: Node) -> Call:
        return self._keys[id(call)]

    def inside(self, part: Any) -> list[Call]:
        """What the calls in *part* of the statement are known by."""
        return [self._key(node) for node in tree.nodes(part) if id(node) in self._keys]

    @property
    def numbers(self) -> dict[Call, int]:
        """The number of each call."""
        return {key: number for number, key in enumerate(self.by_text)}

    def by_column(self, root: Node) -> dict[str, list[int]]:
        """The numbers of the calls in each column of *root* that has an alias."""
        numbers, found = self.numbers, dict[str, list[int]]()
        for select in (node for node in tree.nodes(root) if node.get("type") == "SELECT_NODE"):
            for item in select["select_list"]:
                calls = found.setdefault(item.get("alias", ""), [])
                calls += [numbers[key] for key in self.inside(item)]
        return found

    def texts(self) -> list[str]:
        """Each call as it is written, by its number; to be asked before they are tagged."""
        written = {self._key(call): tree.written(call) for call in self.calls}
        return [written[key] for key in self.by_text]

    def tag(self, apart: Any = ()) -> None:
        """Write each call's rank, which call it is, and its weight into its arguments, in place.

        Calls inside *apart* are told from calls of the same text elsewhere, and come after them.
        """
        numbers, weighed = self.numbers, self._weights()
        behind = {id(node) for node in tree.nodes(apart)}
        for call in self.calls:
            offset = tags.APART if id(call) in behind else 0
            key = self._keys[id(call)]
            rank, number = self.of(call) + offset, numbers[key] + offset
            number += tags.BRANCH * (key.branch + 1)
            tree.rename(call, TAGGED + tree.function_name(call))
            added = (str(rank), str(number), weighed[id(call)])
            tree.put_first(call, list(map(tree.expression, added)))

    def _weights(self) -> dict[int, str]:
        """The weight of each call; where a text must stay equal, that of the last condition's."""
        found = weights.weigh(self.root, self._keys.keys()) if weights.ARE_COUNTED else {}
        by_key = {self._keys[at]: weight for at, weight in found.items()}
        for at, key in self._keys.items():
            if not key.is_filter or at not in found:
                found[at] = by_key.get(key, weights.ALONE)
        return found

    def _visit(self, item: Any, base: int, depth: int = 0) -> int:
        """Rank the calls inside *item* from *base* on; returns the first rank after them.

        An OR is *depth* 1 and its ANDs are depth 2, as in the plan.
        """
        if isinstance(item, list):
            return max((self._visit(part, base) for part in item), default=base)
        if not isinstance(item, dict):
            return base
        if "map" in item:
            return self._visit_tables(item["map"], base)
        if item.get("class") == "CASE":
            return self._visit_case(item, base)
        parts = parts_in_turn(item)
        if parts is not None:
            is_or, is_joined = item["type"] == "CONJUNCTION_OR", item.get("class") == "CONJUNCTION"
            depth = depth + (depth % 2 != is_or) if is_joined else 0
            if is_joined:
                parts.sort(key=turns(partial(self.places, depth=depth)))
                parts.sort(key=reads_columns)  # DuckDB folds the others while it plans
            if item.get("type") in _ANY_OF:  # DuckDB makes all of these while it plans
                fixed = [part for part in parts if not reads_columns(part)]
                base, parts = self._visit(fixed, base), [p for p in parts if reads_columns(p)]
            for part in parts:
                base = self._visit(part, base, depth)
            return base
        after = max((self._visit(part, base) for part in item.values()), default=base)
        if id(item) not in self._keys:
            return after
        key = self._keys[id(item)]
        self.by_text[key] = min(after, self.by_text.get(key, after))
        return after + 1

    def _visit_case(self, case: Node, base: int) -> int:
        """Rank the calls in a CASE: a condition waits for those before it, a value for its own."""
        ends = []
        for condition, value in folded.cases(case):
            base = self._visit(condition, base)
            ends.append(self._visit(value, base))
        return max([*ends, self._visit(case["else_expr"], base)])

    def _visit_tables(self, entries: list[Node], base: int) -> int:
        """Rank the calls in common tables, of which one may read others before it."""
        after: dict[str, int] = {}
        for entry in entries:
            value = entry["value"]
            read = {str(n["table_name"]).lower() for n in tree.nodes(value) if "table_name" in n}
            start = max((after[name] for name in read & after.keys()), default=base)
            after[str(entry["key"]).lower()] = self._visit(value, start)
        return max(after.values(), default=base)

    def _follow(self, steps: Mapping[Call, int]) -> None:
        """Let DuckDB's *steps* decide, and within one of them what each call waits for.

        Calls that read no column are made while DuckDB plans, before all. A column that it does not
        show comes last; where it does not show a condition, nor has cut it off, nothing is known.
        """
        if self.is_left_open:
            return
        running = {self._key(call) for call in self.calls if reads_columns(call)}
        last = max(steps.values(), default=0) + 1
        places = {
            key: (
                max(steps.get(key, last), self._filtered(key, steps)) if key in running else -1,
                rank,
            )
            for key, rank in self.by_text.items()
        }
        ranks = {place: rank for rank, place in enumerate(sorted(set(places.values())))}
        self.by_text = {key: ranks[place] for key, place in places.items()}

    def _filtered(self, key: Call, steps: Mapping[Call, int]) -> int:
        """The last of *steps* at which WHERE keeps rows of the SELECT that computes *key*.

        Where a plan shows only a column's name, that may be another SELECT's.
        """
        if key.is_filter or key.scope < 0 or key not in self.order.named:
            return -1
        filters = (at for call, at in steps.items() if call.is_filter and call.scope == key.scope)
        return max(filters, default=-1)


def _filters(root: Node) -> set[int]:
    """What stands in a WHERE or ON, but not in the SELECT list of a subquery there."""
    found: set[int] = set()
    for node in tree.nodes(root):  # an outer node comes before those inside it
        if node.get("type") == "SELECT_NODE":
            found -= {id(inner) for inner in tree.nodes(node)}
            found |= {id(inner) for inner in tree.nodes(node["where_clause"])}
        elif node.get("type") == "JOIN":
            found |= {id(inner) for inner in tree.nodes(node["condition"])}
    return found


def number_scopes(root: Node, is_costly: Callable[[Node], bool]) -> None:
    """Number, in place, the SELECTs of *root*, so that calls of the same text in two differ.

    An ORDER BY behind a UNION is not in sight of any, but may name a call of one.
    """
    united = [node for node in tree.nodes(root) if node.get("type") == "SET_OPERATION_NODE"]
    if any(is_costly(node) for each in united for node in tree.nodes(each["modifiers"])):
        return
    selects = (node for node in tree.nodes(root) if node.get("type") == "SELECT_NODE")
    for number, select in enumerate(selects):
        select[tree.SCOPE] = number


def _scopes(root: Node) -> dict[int, int]:
    """The number of the SELECT that each node stands in, where they were numbered."""
    found: dict[int, int] = {}
    for node in tree.nodes(root):  # an outer node comes before those inside it
        if tree.SCOPE in node:
            found |= {id(inner): node[tree.SCOPE] for inner in tree.nodes(node)}
    return found


def parts_in_turn(node: Node) -> list[Any] | None:
    """The parts of *node* that are evaluated one after the other; None where order is free."""
    if node.get("type") == "SELECT_NODE":
        return [*(node[clause] for clause in CLAUSES), *_outputs(node)]
    if node.get("class") == "CONJUNCTION" or node.get("type") in _IN_TURN:
        return list(node["children"])
    if node.get("class") == "CASE":
        return [*chain.from_iterable(folded.cases(node)), node["else_expr"]]
    if node.get("class") == "BETWEEN":  # in a condition two, of the lower bound and the upper
        return [[node["input"], node["lower"]], node["upper"]]
    given = tree.arguments(node) if tree.is_function(node) else []
    if lambdas := [part for part in given if part.get("class") == "LAMBDA"]:  # behind their list
        return [[part for part in given if part not in lambdas], lambdas]
    return None


def _outputs(select: Node) -> list[Any]:
    """The SELECT list and what comes after it; what a LIMIT chooses rows by comes first."""
    items, modifiers = select["select_list"], select["modifiers"]
    if not any("LIMIT" in modifier["type"] for modifier in modifiers):
        return [items, select["qualify"], modifiers]
    keys = sort_keys(select)
    named = set(map(id, map(Outputs(select).named_by, keys)))
    inside = {r["column_names"][-1].lower() for key in keys for r in tree.column_references(key)}
    chosen = [
        item for item in items if id(item) in named or str(item.get("alias", "")).lower() in inside
    ]
    return [chosen, select["qualify"], modifiers, items]
