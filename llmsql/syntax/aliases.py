"""Aliases of what models answer, spelled out where WHERE and other items read them.

DuckDB puts the expression in an alias's place, too. Only where it stands there can be seen who
asks, and who waits for whom. Of a name that is also a column's DuckDB takes the column.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Collection, Iterator

from llmsql.syntax import quote, sets, tree
from llmsql.syntax.conditions import Test, has_subquery, is_inside
from llmsql.syntax.tree import Node

Binds = Callable[[str], bool]
"""Whether DuckDB can plan a query."""


def are_columns(select: Node, names: Collection[str], binds: Binds) -> bool:
    """True when *names* are columns of what *select* reads."""
    return not names or binds(_probe(select, ", ".join(map(quote.identifier, sorted(names)))))


def spell_out(root: Node, is_costly: Test, binds: Binds) -> None:
    """Replace, in place, aliases of what asks models by it, unless they are columns' names."""
    for select in [node for node in tree.nodes(root) if node.get("type") == "SELECT_NODE"]:
        if _is_row_by_row(select):
            names = _read(select) & _asking(select, is_costly)
            if names and _are_no_columns(select, names, binds):
                _replace(select, names)


def _is_row_by_row(select: Node) -> bool:
    is_grouped = any(select[part] for part in ("group_expressions", "having", "sample"))
    is_of_set = sets.is_of_set()
    return (
        not is_grouped
        and select.get("aggregate_handling") == "STANDARD_HANDLING"
        and not any(is_inside(item, is_of_set) for item in select["select_list"])
    )


def _asking(select: Node, is_costly: Test) -> set[str]:
    """The aliases of *select*, each of one item alone, that stand for what asks models."""
    items = [item for item in select["select_list"] if item.get("alias")]
    counts = Counter(item["alias"].lower() for item in items)
    asking = {
        item["alias"].lower()
        for item in items
        if is_inside(item, is_costly) and not has_subquery(item)
    }
    return {name for name in asking if counts[name] == 1}


def _read(select: Node) -> set[str]:
    """What WHERE, and items behind others, name without a table."""
    parts = [select["where_clause"], select["select_list"][1:]]
    return {_name(reference) for reference in _references(parts)}


def _references(part: object) -> Iterator[Node]:
    """The references without a table in *part* that are of its own scope."""
    if isinstance(part, list):
        for item in part:
            yield from _references(item)
    if not isinstance(part, dict) or part.get("class") in ("SUBQUERY", "LAMBDA"):
        return
    if part.get("class") == "COLUMN_REF" and len(part["column_names"]) == 1:
        yield part
    for item in part.values():
        yield from _references(item)


def _are_no_columns(select: Node, names: Collection[str], binds: Binds) -> bool:
    """True when DuckDB knows what *select* reads, and nothing in it that is called like one."""
    return binds(_probe(select, "1")) and not any(
        binds(_probe(select, name)) or binds(f"SELECT {name} FROM ({_probe(select, '*')})")
        for name in map(quote.identifier, names)
    )


def _probe(select: Node, items: str) -> str:
    """A query of *items* over what *select* reads."""
    probe = tree.parse(f"SELECT {items}")
    assert probe
    for part in ("from_table", "cte_map"):
        tree.body(probe)[part] = select[part]
    return tree.show(probe)


def _replace(select: Node, names: Collection[str]) -> None:
    """Put in the place of *names*, in WHERE and in items behind theirs, what they stand for."""
    meant: dict[str, Node] = {}
    for item in select["select_list"]:
        read = [reference for reference in _references(item) if _name(reference) in meant]
        item["alias"] = item.get("alias") or (tree.own_name(item) if read else "")
        _put(read, meant)
        if item["alias"].lower() in names:
            meant[item["alias"].lower()] = item
    where = _references(select["where_clause"])
    _put([reference for reference in where if _name(reference) in meant], meant)


def _put(references: list[Node], meant: dict[str, Node]) -> None:
    for reference in references:
        expression = copy.deepcopy(meant[_name(reference)])
        alias = reference.get("alias", "")
        reference.clear()
        reference.update(expression, alias=alias)


def _name(reference: Node) -> str:
    return str(reference["column_names"][0]).lower()
