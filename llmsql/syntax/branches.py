"""Which branch of a CASE or COALESCE a call stands in: not every row comes to each.

So calls of one text in two branches are asked about other rows, and wait for other calls. What a
number of a branch does to a call's tag is the business of `ranks` and `tags`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from llmsql.syntax import tree
from llmsql.syntax.conditions import Test
from llmsql.syntax.outputs import group_keys
from llmsql.syntax.ranks import parts_in_turn
from llmsql.syntax.tree import Node

Path = tuple[Any, ...]
"""The text of the outermost choice, and which part of it, and of those in it, a call stands in."""


def number(root: Node, is_costly: Test) -> None:
    """Number, in place, the branches in *root* that have costly calls.

    Equal branches of equal expressions have one number, so that DuckDB still finds what a query is
    grouped by in what it computes.
    """
    numbers: dict[Path, int] = {}
    for call, branch in _standing(root, frozenset(), ()):
        if branch and is_costly(call):
            call[tree.BRANCH] = numbers.setdefault(branch, len(numbers))


def _standing(item: Any, keys: frozenset[str], branch: Path) -> Iterator[tuple[Node, Path]]:
    """Yield each function in *item* with its branch; *keys* are what its query is grouped by."""
    if isinstance(item, list):
        for each in item:
            yield from _standing(each, keys, branch)
    if not isinstance(item, dict):
        return
    if item.get("type") == "SELECT_NODE":
        keys, branch = frozenset(map(tree.text_key, group_keys(item))), ()
    elif keys and "class" in item and tree.text_key(item) in keys:
        branch = ()  # it is no other than the key
    if item.get("class") == "FUNCTION":
        yield item, branch
    is_choice = item.get("class") == "CASE" or item.get("type") == "OPERATOR_COALESCE"
    first, *others = (parts_in_turn(item) or [None]) if is_choice else [list(item.values())]
    yield from _standing(first, keys, branch)
    for place, part in enumerate(others):
        yield from _standing(part, keys, (*(branch or (tree.text_key(item),)), place))
