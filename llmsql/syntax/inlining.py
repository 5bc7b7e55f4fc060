"""Scalar macros that reach models, replaced by what they are made of.

A call that a macro hides has no rank: nobody can say what it waits for. Only that is the reason to
inline, so a macro of which anything is unusual stays as it is.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from llmsql.syntax import tree
from llmsql.syntax.conditions import Test, is_inside
from llmsql.syntax.tree import Node

_MOST = 256
"""Macros in one statement."""

IF = "if"
"""A macro of DuckDB's own since 2.0; 1.5 reads a CASE."""


@dataclass(frozen=True)
class Macro:
    """A scalar macro with one body: its parameters in order, and the defaults that are known."""

    body: Node
    parameters: tuple[str, ...]
    defaults: Mapping[str, Node]

    def applied(self, call: Node) -> Node | None:
        """Return the body with what *call* gives; None where it is not certain to mean the same."""
        given = self._given(call)
        if given is None or is_inside(self.body, self._is_odd) or self._captures(given):
            return None
        found = {"item": copy.deepcopy(self.body)}
        substitute(found, given)
        return found["item"]

    def _given(self, call: Node) -> dict[str, Node] | None:
        """What each parameter stands for."""
        given = dict(self.defaults)
        for place, (name, value) in enumerate(tree.named_arguments(call)):
            if not name and place >= len(self.parameters):
                return None
            given[name or self.parameters[place]] = value
        return given if given.keys() == set(self.parameters) else None

    def _is_odd(self, node: Node) -> bool:
        """True for a query, whose columns may have any name, and for a field of a parameter."""
        if node.get("class") == "COLUMN_REF":
            first, *others = node["column_names"]
            return bool(others) and first.lower() in self.parameters
        return node.get("class") in ("SUBQUERY", "STAR") or node.get("type") == "SELECT_NODE"

    def _captures(self, given: Mapping[str, Node]) -> bool:
        """True where a lambda of the body has a variable named like a parameter or a column."""
        lambdas = [node for node in tree.nodes(self.body) if node.get("class") == "LAMBDA"]
        bound = {name for each in lambdas for name in _names(each["lhs"])}
        return bool(bound & (set(self.parameters) | _names(list(given.values()))))


def is_own(node: Node) -> bool:
    """True for a call of DuckDB's macro that lets rows wait."""
    return node.get("class") == "FUNCTION" and tree.function_name(node) == IF


def own(name: str) -> Macro | None:
    """DuckDB's macro *name*, if it is one that lets rows wait."""
    choice = tree.expression("CASE WHEN a THEN b ELSE c END")
    return Macro(choice, ("a", "b", "c"), {}) if name == IF else None


def inline(query: Node, is_hidden: Test, find: Callable[[str], Macro | None]) -> None:
    """Replace, in place, the calls in *query* that are *is_hidden* by what *find* says they are."""
    left = _MOST
    for node in tree.nodes(query):
        while left and node.get("class") == "FUNCTION" and is_hidden(node):
            left -= 1
            macro = find(tree.function_name(node))
            body = macro and macro.applied(node)
            if not body:
                break
            tree.become(node, body)


def substitute(part: object, given: Mapping[str, Node]) -> None:
    """Put, in place, *given* where a parameter is named inside *part*."""
    if isinstance(part, list):
        for item in part:
            substitute(item, given)
    if not isinstance(part, dict):
        return
    if part.get("class") == "COLUMN_REF" and len(part["column_names"]) == 1:
        value = given.get(part["column_names"][0].lower())
        if value is not None:
            tree.become(part, copy.deepcopy(value))
        return
    for item in part.values():
        substitute(item, given)


def _names(part: object) -> set[str]:
    """The columns that *part* names, and what may be their table."""
    references = tree.column_references(part)
    return {name.lower() for each in references for name in each["column_names"]}
