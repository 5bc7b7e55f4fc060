"""What a statement's shape proves about running it with some answers still unknown (NULL).

Two proofs: that a LIMIT may end early, and that nothing can raise on a NULL. Both look at the
statement as written, and into the scalar macros it calls; where they cannot be made, the answer is
no.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from llmsql.syntax import sets, tree
from llmsql.syntax.conditions import (
    Test,
    conjuncts,
    costly_names,
    filtering,
    filters_by_columns,
    is_inside,
    reads,
    standing,
)
from llmsql.syntax.tree import Node

_COMPARISONS = frozenset(
    f"COMPARE_{name}"
    for name in (
        "EQUAL", "NOTEQUAL", "LESSTHAN", "GREATERTHAN", "LESSTHANOREQUALTO", "GREATERTHANOREQUALTO",
    )
)  # fmt: skip
_NULL_IN_NULL_OUT = frozenset(
    "~~ ~~* !~~ !~~* ~~~ || + - * / // % lower upper trim ltrim rtrim length strlen contains"
    " prefix suffix starts_with ends_with regexp_matches regexp_full_match regexp_extract replace"
    " substring left right abs round array_cosine_similarity array_distance"
    " array_inner_product".split()
)
_NEVER_RAISE = frozenset(
    "|| ~~ !~~ lower upper trim length concat concat_ws struct_pack list_value".split()
)
_FOLDS = frozenset(("list_reduce", "array_reduce", "reduce"))


@dataclass(frozen=True)
class Shape:
    """Which calls are models', which nodes reach one at all, and what macros are made of."""

    is_call: Test
    is_costly: Test
    definitions: Callable[[str], list[Node]]
    is_asked_once: bool = False  # wanted of a call in WHERE, which else meets a chunk's rows twice

    def limit(self, query: Node) -> int | None:
        """The LIMIT of a query whose passes may end as soon as that many rows stand; else None.

        That is a single SELECT whose model calls stand in conjuncts of WHERE that reject NULL, and,
        if it likes, in a SELECT list that works row by row.
        """
        if not _is_plain(query) or [m["type"] for m in query["modifiers"]] != ["LIMIT_MODIFIER"]:
            return None
        modifier = query["modifiers"][0]
        rows, offset = tree.constant(modifier["limit"]), modifier["offset"]
        if not isinstance(rows, int) or modifier.get("limit_type", "ROW_COUNT") != "ROW_COUNT":
            return None
        if offset is not None and not isinstance(tree.constant(offset), int):
            return None
        parts = [p for p in conjuncts(query["where_clause"]) if is_inside(p, self.is_costly)]
        if not parts or not all(map(replace(self, is_asked_once=True)._is_null, parts)):
            return None
        items, is_of_set = query["select_list"], sets.is_of_set(self.definitions)
        if any(is_inside(item, is_of_set) for item in items) or self._has_hidden(items):
            return None
        return None if is_inside(query["from_table"], self.is_costly) else rows

    def never_raises(self, query: Node) -> bool:
        """True when no pass over *query* can fail because an answer is NULL for now."""
        if not _is_plain(query) or self._has_hidden(query):
            return False
        if any(is_inside(modifier, self.is_costly) for modifier in query["modifiers"]):
            return False
        parts = [p for p in conjuncts(query["where_clause"]) if is_inside(p, self.is_costly)]
        items = [item for item in query["select_list"] if is_inside(item, self.is_costly)]
        return all(map(self._is_null, parts)) and all(map(self.is_harmless, items))

    def is_ordered(self, query: Node) -> bool:
        """True unless a call that a view or a macro hides may wait for another, or another for it.

        Such a call has no rank. It may stand alone; or in a column of its own, of a plain query in
        which at most one conjunct of WHERE asks, and rejects NULL. What feeds itself waits for
        itself, a plan does not show what a lambda in a condition asks, and a column of an inner
        query may be one of the conditions as well as what waits for them. What a LIMIT asks comes
        before all else.
        """
        if is_inside(query, self._feeds_itself) or self._hides_in_lambda(query):
            return False
        if self._may_compute_before(query) or is_inside(query, self._asks_how_many):
            return False
        hides = any(self._hidden_in(node) for node in tree.nodes(query) if self.is_costly(node))
        if not hides or self.sites(query) < 2:
            return True
        items = query.get("select_list", [])
        parts = [p for p in conjuncts(query.get("where_clause")) if is_inside(p, self.is_costly)]
        return (
            _is_plain(query)
            and self.sites([query["from_table"], query["modifiers"]]) == 0
            and all(map(self._is_null, parts))
            and all(self.sites(part) < 2 for part in (parts, *items))
        )

    def _feeds_itself(self, node: Node) -> bool:
        """True for a recursion, or a fold, whose next step reads what a model answered."""
        is_fold = tree.is_function(node) and tree.function_name(node) in _FOLDS
        is_recursive = node.get("type") == "RECURSIVE_CTE_NODE"
        return (is_fold or is_recursive) and is_inside(node, self.is_costly)

    def _asks_how_many(self, node: Node) -> bool:
        """True for a LIMIT that a model answers: of none, nothing else is asked."""
        return any(is_inside({"": node.get(end)}, self.is_costly) for end in ("limit", "offset"))

    def _hides_in_lambda(self, query: Node) -> bool:
        """True where a lambda in a condition asks, and something else does."""
        conditions = [holder[clause] for holder, clause in standing(query)]
        return self.sites(query) > 1 and is_inside({"": conditions}, self._asks_in_lambda)

    def _asks_in_lambda(self, node: Node) -> bool:
        return node.get("class") == "LAMBDA" and is_inside(node, self.is_costly)

    def _may_compute_before(self, query: Node) -> bool:
        """True where conditions read a column that asks, and one lets NULL through or hides it."""
        if self.sites(query) < 2 or not filters_by_columns(query, self.is_costly):
            return False
        return is_inside(query, self._asks_in_lambda) or self.lets_null_through(query)

    def lets_null_through(self, query: Node) -> bool:
        """True where a condition in *query* may keep a row because an answer is unknown.

        An answer is also what stands in a column of an inner query.
        """
        names = costly_names(list(query.values()), self.is_costly)

        def or_column(test: Test) -> Test:
            return lambda node: (
                test(node) or (node.get("class") == "COLUMN_REF" and reads(node, names))
            )

        answers = replace(
            self, is_call=or_column(self.is_call), is_costly=or_column(self.is_costly)
        )
        return not all(map(answers.rejects_null, filtering(query)))

    def rejects_null(self, condition: Node) -> bool:
        """True when *condition* keeps no row only because a model's answer in it is NULL."""
        if condition.get("class") == "CONJUNCTION":
            return all(map(self.rejects_null, condition["children"]))
        is_told = condition.get("type") == "OPERATOR_IS_NOT_NULL"
        asks = is_inside(condition, self.is_costly)
        return not asks or self._is_null(condition["children"][0] if is_told else condition)

    def sites(self, part: object) -> int:
        """How many different calls of models stand in *part*, also in its views and macros."""
        return len(self._sites(part))

    def _sites(self, part: object, depth: int = 0) -> set[str]:
        found = set[str]()
        for node in tree.nodes(part):
            if self.is_call(node):
                found.add(tree.text_key(node))
            elif self.is_costly(node) and depth < sets.MOST_MACROS_DEEP:
                inside = [self._sites(body, depth + 1) for body in self._hidden_in(node)]
                found |= {tree.text_key(node) + key for key in max(inside, key=len, default=())}
        return found

    def _hidden_in(self, node: Node) -> list[Node]:
        """The bodies of the view or macro *node* names; of a common table all is in sight."""
        if self.is_call(node):
            return []
        return self.definitions(str(node.get("table_name") or node["function_name"]).lower())

    def _has_hidden(self, part: object) -> bool:
        """True when models are called through a macro, a view or a subquery inside *part*."""
        for node in tree.nodes(part):
            if self.is_costly(node) and not self.is_call(node):
                return True
            is_scope = node.get("class") in ("SUBQUERY", "LAMBDA") or node.get("type") == "SUBQUERY"
            if is_scope and is_inside(node, self.is_costly):
                return True
        return False

    def _is_null(self, node: Node, depth: int = 0) -> bool:
        """True when *node* is NULL as soon as one model call in it is."""

        def strict(part: Node) -> bool:
            return not is_inside(part, self.is_costly) or self._is_null(part, depth)

        def is_free(part: Node) -> bool:
            return not is_inside(part, self.is_costly)

        kind = node.get("type")
        if self.is_call(node):
            return all(map(strict, tree.arguments(node)))
        if tree.is_function(node):
            name, given = tree.function_name(node), tree.arguments(node)
            if self.is_costly(node):
                return all(map(is_free, given)) and self._is_null_macro(name, depth)
            if name == "nullif":
                return strict(given[0]) and is_free(given[1])
            return name in _NULL_IN_NULL_OUT and all(map(strict, given))
        if kind in _COMPARISONS:
            return strict(node["left"]) and strict(node["right"])
        if kind == "COMPARE_BETWEEN":
            return all(strict(node[part]) for part in ("input", "lower", "upper"))
        if kind == "COMPARE_IN":
            first, *others = node["children"]
            if self.is_asked_once and len(others) > 1:  # to DuckDB 2.0 an OR, if of few
                return False
            return strict(first) and all(map(is_free, others))
        if kind in ("OPERATOR_NOT", "STRUCT_EXTRACT"):
            return strict(node["children"][0])
        if node.get("class") == "CAST":
            return strict(node["child"])
        return node.get("class") == "CASE" and self._is_null_case(node, depth)

    def _is_null_case(self, node: Node, depth: int) -> bool:
        """True for a CASE without ELSE whose conditions all ask one and the same thing.

        With two, the first could let a row through before the second is known.
        """
        conditions = [check["when_expr"] for check in node["case_checks"]]
        outcomes = [check["then_expr"] for check in node["case_checks"]]
        calls = {tree.text_key(n) for c in conditions for n in tree.nodes(c) if self.is_costly(n)}
        return (
            tree.is_null(node["else_expr"])
            and len(calls) == 1
            and not (self.is_asked_once and len(conditions) > 1)
            and not any(is_inside(outcome, self.is_costly) for outcome in outcomes)
            and all(is_inside(c, self.is_costly) and self._is_null(c, depth) for c in conditions)
        )

    def _is_null_macro(self, name: str, depth: int) -> bool:
        """True when every body of the scalar macro *name* is NULL when a model call in it is."""
        bodies = [tree.body(definition) for definition in self.definitions(name)]
        return (
            bool(bodies)
            and depth < sets.MOST_MACROS_DEEP
            and all(
                body["type"] == "SELECT_NODE"
                and body["from_table"]["type"] == "EMPTY"
                and self._is_null(body["select_list"][0], depth + 1)
                for body in bodies
            )
        )

    def is_harmless(self, node: Node) -> bool:
        """True when nothing in *node* can raise, whatever its model calls answer."""
        if node.get("class") in ("COLUMN_REF", "CONSTANT", "PARAMETER"):
            return True
        if node.get("class") in ("CASE", "CONJUNCTION", "COMPARISON") or node.get("type") in (
            "OPERATOR_COALESCE",
            "OPERATOR_IS_NULL",
            "OPERATOR_IS_NOT_NULL",
            "OPERATOR_NOT",
            "STRUCT_EXTRACT",
        ):
            return all(map(self.is_harmless, tree.inner(node)))
        if self.is_call(node) or (
            tree.is_function(node) and tree.function_name(node) in _NEVER_RAISE
        ):
            return all(map(self.is_harmless, tree.arguments(node)))
        return False


def _is_plain(query: Node) -> bool:
    """A single SELECT, row by row, without grouping."""
    return query["type"] == "SELECT_NODE" and not (
        query["group_expressions"]
        or query["having"]
        or query["qualify"]
        or query["sample"]
        or query["cte_map"]["map"]
    )
