"""Which branch of a CASE or COALESCE a call stands in: not every row comes to each.

So calls of one text in two branches are asked about other rows, and wait for other calls. What a
number of a branch does to a call's tag is the business of `ranks` and `tags`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from llmsql.syntax import tree
from llmsql.syntax.conditions import Test
from llmsql.syntax.outputs import group_keys
from llmsql.syntax.ranks import parts_in_turn
from llmsql.syntax.tree import Node

_EXTRACTING = ("STRUCT_EXTRACT", "ARRAY_EXTRACT")
Path = tuple[Any, ...]
"""The text of the outermost choice, and which part of it, and of those in it, a call stands in."""


class _Standing(NamedTuple):
    """Where a call stands: its clause, and the branch there, empty where all rows come.

    One that *is_first* stands at the beginning of an AND or OR to which all rows come.
    """

    call: Node
    clause: Path
    branch: Path
    is_first: bool


def number(root: Node, is_costly: Test) -> bool:
    """Number, in place, the branches in *root* that have costly calls; True if texts have several.

    Equal branches of equal expressions have one number, so that DuckDB still finds what a query is
    grouped by in what it computes. What also stands where all rows come has none: it waits there.
    Nor has what *is_first* and comes back later: DuckDB makes it once then, for all rows.
    """
    found = [each for each in _standing(root) if is_costly(each.call)]
    always, later = set(), set()
    for call, clause, branch, is_first in reversed(found):
        text = (clause, tree.text_key(call))
        if not branch or (is_first and text in later):
            always.add(text)
        later.add(text)
    numbers: dict[Path, int] = {}
    given: dict[Path, set[int]] = {}
    for call, clause, branch, _ in found:
        text = (clause, tree.text_key(call))
        if branch and text not in always:
            call[tree.BRANCH] = numbers.setdefault(branch, len(numbers))
            given.setdefault(text, set()).add(call[tree.BRANCH])
    return any(len(each) > 1 for each in given.values())


def divided(root: Node, is_costly: Test) -> set[str]:
    """The costly calls in *root*, as they are written, that stand in several branches."""
    found: dict[str, set[Path]] = {}
    for call, _, branch, _ in _standing(root):
        if is_costly(call):
            found.setdefault(tree.written(call), set()).add(branch)
    return {text for text, places in found.items() if len(places) > 1}


def _standing(root: Node) -> Iterator[_Standing]:
    """Yield each function in *root*."""
    return _Walk((), frozenset()).through(root, (), is_lazy=False)


@dataclass(frozen=True)
class _Walk:
    """A walk through one *clause*, of a query grouped by *keys*."""

    clause: Path
    keys: frozenset[str]

    def through(
        self, item: Any, branch: Path, *, is_lazy: bool, is_first: bool = False
    ) -> Iterator[_Standing]:
        """Yield each function in *item*; what stands in a CASE *is_lazy*."""
        if isinstance(item, list):
            for each in item:
                yield from self.through(each, branch, is_lazy=is_lazy, is_first=is_first)
        if not isinstance(item, dict):
            return
        if item.get("type") == "SELECT_NODE":
            keys = frozenset(map(tree.text_key, group_keys(item)))
            for name, value in item.items():
                yield from _Walk((id(item), name), keys).through(value, (), is_lazy=False)
            return
        if self.keys and "class" in item and tree.text_key(item) in self.keys:
            branch, is_lazy = (), False  # it is no other than the key
        if item.get("class") == "FUNCTION":
            yield _Standing(item, self.clause, branch, is_first)
        is_lazy |= item.get("class") == "CASE"
        always, others = _parts(item, is_lazy=is_lazy)
        yield from self.through(always, branch, is_lazy=is_lazy, is_first=is_first)
        outer = branch or ((tree.text_key(item),) if others else ())
        is_joint = item.get("class") == "CONJUNCTION" and (is_first or not branch)
        for place, part in enumerate(others):
            starts = is_joint and place == 0
            yield from self.through(part, (*outer, place), is_lazy=is_lazy, is_first=starts)


def _parts(node: Node, *, is_lazy: bool) -> tuple[Any, list[Any]]:
    """What of *node* all rows come to, and what not each does.

    In a CASE DuckDB also has an order of its own for the parts of an AND and OR. Of a struct that
    is made for one of its fields it makes only that one.
    """
    if node.get("class") == "CASE" or node.get("type") == "OPERATOR_COALESCE":
        first, *others = parts_in_turn(node) or [None]
        return first, others
    if is_lazy and node.get("class") == "CONJUNCTION":
        return None, node["children"]
    if fields := _fields(node):
        return None, fields
    return list(node.values()), []


def _fields(node: Node) -> list[Node]:
    """All fields of the struct that is made for *node* to take one of, if it does."""
    if node.get("type") not in _EXTRACTING:
        return []
    made = node["children"][0]
    is_struct = tree.is_function(made) and tree.function_name(made) == "struct_pack"
    return tree.arguments(made) if is_struct else []
