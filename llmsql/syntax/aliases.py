"""Aliases of what models answer, spelled out where WHERE, sort keys and other items read them.

DuckDB puts the expression in an alias's place, too. Only where it stands there can be seen who
asks, and who waits for whom. Of a name that is also a column's DuckDB takes the column, unless it
is a whole key of ORDER BY; of two aliases alike the last.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping

from llmsql.syntax import quote, sets, tree
from llmsql.syntax.conditions import Test, has_subquery, is_inside, reads_columns
from llmsql.syntax.outputs import first_name, is_sorted_and_limited, sort_keys
from llmsql.syntax.tree import Node

Binds = Callable[[str], bool]
"""Whether DuckDB can plan a query."""


def are_columns(select: Node, names: Collection[str], binds: Binds) -> bool:
    """True when *names* are columns of what *select* reads."""
    return not names or binds(_probe(select, ", ".join(map(quote.identifier, sorted(names)))))


def spell_out(root: Node, is_costly: Test, binds: Binds) -> None:
    """Replace, in place, aliases of what asks models by it, unless they are columns' names.

    In a SELECT with ORDER BY and LIMIT also those of what its row decides: more of them can then
    be asked about the rows alone that stay.
    """
    for select in [node for node in tree.nodes(root) if node.get("type") == "SELECT_NODE"]:
        if _is_row_by_row(select) and is_inside(select, is_costly):
            _spell_out(select, is_costly, binds)
            _spell_out(select, is_costly, binds)  # an alias of an alias asks since then


def _spell_out(select: Node, is_costly: Test, binds: Binds) -> None:
    is_limited = is_sorted_and_limited(select)
    keys = sort_keys(select) if is_limited else []
    names = [key for key in keys if key.get("class") == "COLUMN_REF"]
    parts = [select["where_clause"], *(key for key in keys if key not in names)]
    can_move = _movable(is_costly, is_limited=is_limited)
    named = [item for item in select["select_list"] if item.get("alias")]
    last = {item["alias"].lower(): item for item in named}
    meant = {name: item for name, item in last.items() if can_move(item)}
    read = set(map(first_name, _references([*parts, select["select_list"][1:]])))
    free = no_columns(select, meant.keys() & read, binds)
    counts = Counter(item["alias"].lower() for item in named)
    _replace_in_items(select, {name for name in free if counts[name] == 1})
    _put(parts, {name: meant[name] for name in free})
    _put(names, {name: item for name, item in meant.items() if is_inside(item, is_costly)})


def note_unread(query: Node, is_costly: Test, binds: Binds) -> None:
    """Note, for `drop_unread`, what asks models in *query* under an alias that nothing in it reads.

    A column of that name may be read.
    """
    if query["type"] != "SELECT_NODE" or not _is_row_by_row(query):
        return
    if query["modifiers"] and not is_sorted_and_limited(query):
        return
    parts = [query["where_clause"], query["select_list"], sort_keys(query)]
    read = set(map(first_name, _references(parts)))
    asking = [item for item in query["select_list"] if is_inside(item, is_costly)]
    named = read & {item.get("alias", "").lower() for item in asking}
    left = set() if are_columns(query, named, binds) else named
    for item in asking:
        if item.get("alias", "").lower() not in left:
            item[tree.UNREAD] = True


def drop_unread(query: Node) -> None:
    """Leave out, in place, the aliases that are noted: a plan shows them, and no call behind."""
    for item in query.get("select_list", ()):
        if item.pop(tree.UNREAD, False):
            item["alias"] = ""


def _is_row_by_row(select: Node) -> bool:
    is_grouped = any(select[part] for part in ("group_expressions", "having", "sample"))
    is_of_set = sets.is_of_set()
    return (
        not is_grouped
        and select.get("aggregate_handling") == "STANDARD_HANDLING"
        and not any(is_inside(item, is_of_set) for item in select["select_list"])
    )


def _movable(is_costly: Test, *, is_limited: bool) -> Test:
    """The test for items that may also stand in the place of their alias."""

    def test(item: Node) -> bool:
        if is_inside(item, is_costly):
            return not has_subquery(item)
        return is_limited and reads_columns(item) and not is_inside(item, _may_differ)

    return test


def _may_differ(node: Node) -> bool:
    """True for what elsewhere, or once more, may have another value; a macro may hide it."""
    if node.get("class") in ("SUBQUERY", "STAR", "POSITIONAL_REFERENCE"):
        return True
    name = tree.function_name(node) if tree.is_function(node) else None
    return name is not None and (name not in tree.builtins() or name in tree.volatiles())


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


def no_columns(select: Node, names: Collection[str], binds: Binds) -> set[str]:
    """Those of *names* that nothing is called by which *select* reads, if DuckDB knows that."""
    if not names or not binds(_probe(select, "1")):
        return set()
    return {name for name in names if not _is_column(select, quote.identifier(name), binds)}


def _is_column(select: Node, name: str, binds: Binds) -> bool:
    return binds(_probe(select, name)) or binds(f"SELECT {name} FROM ({_probe(select, '*')})")


def _probe(select: Node, items: str) -> str:
    """A query of *items* over what *select* reads."""
    probe = tree.parse(f"SELECT {items}")
    assert probe
    for part in ("from_table", "cte_map"):
        tree.body(probe)[part] = select[part]
    return tree.show(probe)


def _replace_in_items(select: Node, names: Collection[str]) -> None:
    """Put in the place of *names*, in items behind theirs, what they stand for."""
    meant: dict[str, Node] = {}
    for item in select["select_list"]:
        is_reader = any(first_name(reference) in meant for reference in _references(item))
        item["alias"] = item.get("alias") or (tree.own_name(item) if is_reader else "")
        _put(item, meant)
        if item["alias"].lower() in names:
            meant[item["alias"].lower()] = item


def _put(part: object, meant: Mapping[str, Node]) -> None:
    """Put in the place of the names of *meant*, in *part*, what they stand for."""
    for reference in list(_references(part)):
        if first_name(reference) in meant:
            tree.become(reference, copy.deepcopy(meant[first_name(reference)]))
