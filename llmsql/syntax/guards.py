"""Keep DuckDB from asking a model where another predicate already says no.

DuckDB evaluates conjuncts in an order of its own, and pushes predicates under joins. CASE is the
one thing it evaluates lazily, so a model's predicate moves into the branch of a CASE whose
condition is the cheap part. The cheap part also stays outside, for pushdown and zone maps. Several
models' predicates follow one another in an order that the caller gives. Meaning never changes.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence

from llmsql.syntax import conditions, joins, tree
from llmsql.syntax.conditions import Test, conjunction, conjuncts, is_inside, reads_columns
from llmsql.syntax.order import turns
from llmsql.syntax.outputs import group_keys
from llmsql.syntax.tree import Node

Places = Callable[[Node, int], tuple[int, ...]]


def guard(root: Node, is_costly: Test, places: Places = lambda part, depth: (0,)) -> None:
    """Rewrite, in place, everything in *root* that joins costly calls and other things by AND, OR.

    *places* tells where parts, so deep in ANDs and ORs, that ask like this one are evaluated. Where
    it tells nothing, those of fewer calls come first, and then the order is as written.
    """
    for node in tree.nodes(root):
        if node.get("class") == "CONJUNCTION":
            node["children"].sort(key=reads_columns)  # DuckDB folds the others before it filters
    found = list(conditions.standing(root))
    guard_values(root, is_costly)
    names = conditions.costly_names(list(root.values()), is_costly)  # of inner queries
    guards = _Guards(is_costly, places, _links(root, is_costly), names)
    for holder, clause in found:
        if not is_inside(holder[clause], is_costly):
            continue
        if clause == "where_clause":
            guards.guard_where(holder, is_nested=holder is not root)
        elif clause == "having":
            asked = _Guards(_asked_of_groups(holder, is_costly), places, set(), names)
            holder[clause] = asked.guarded(holder[clause])
        elif clause != "condition":
            holder[clause] = guards.guarded(holder[clause])
        elif holder["ref_type"] == "REGULAR":
            holder[clause] = guards.guarded(holder[clause], has_join_keys=True)


def guard_values(root: Node, is_costly: Test) -> None:
    """Rewrite, in place, the ANDs and ORs of *root* that are no conditions.

    There NULL must survive: in SELECT lists, under NOT, inside calls.
    """
    filtering = {
        id(node)
        for holder, clause in conditions.standing(root)
        for node in conditions.connections(holder[clause])
    }
    for node in list(tree.nodes(root)):
        if node.get("class") == "CONJUNCTION" and id(node) not in filtering:
            _guard_value(node, is_costly)


def asks_several(root: Node, is_costly: Test) -> bool:
    """True when calls of *root* may stand in each other's way: several of them keep rows.

    A column that a query inside *root* computes counts too, or one behind HAVING: the conditions
    may move below it.
    """
    named = conditions.costly_names(root, is_costly)

    def asks(leaf: Node) -> bool:
        return is_inside(leaf, is_costly) or conditions.reads(leaf, named)

    filtering: set[str] = set()
    for holder, clause in conditions.standing(root):
        found = {tree.text_key(leaf) for leaf in conditions.leaves(holder[clause]) if asks(leaf)}
        if clause == "when_expr" and len(found) > 1:
            return True
        filtering |= found if clause != "when_expr" else set()
    return len(filtering) > 1 or bool(filtering and has_costly_columns(root, is_costly))


def has_costly_columns(root: Node, is_costly: Test) -> bool:
    """True where a query inside *root*, or one of groups, has columns that models answer."""
    return any(
        is_inside(item, is_costly)
        for node in tree.nodes(root)
        if node.get("type") == "SELECT_NODE" and (node is not root or node["having"])
        for item in node["select_list"]
    )


def _asked_of_groups(select: Node, is_costly: Test) -> Test:
    """The test for what HAVING asks itself: what its groups are made by is known."""
    known = {
        tree.text_key(node)
        for key in group_keys(select)
        for node in tree.nodes(key)
        if is_costly(node)
    }
    return lambda node: is_costly(node) and tree.text_key(node) not in known


def _links(root: Node, is_costly: Test) -> set[int]:
    """What links a subquery to a query that joins by a model's answers, by identity.

    DuckDB filters the rows by those before it asks about them, if it can join by the links, too.
    """
    links: set[int] = set()
    for holder, clause in conditions.standing(root):
        inner = [
            node["subquery"]["node"]
            for part in conjuncts(holder[clause])
            if is_inside(part, is_costly)
            for node in tree.nodes(part)
            if node.get("class") == "SUBQUERY"
        ]
        answers = (item for select in inner for item in select.get("select_list", ()))
        if any(is_inside(item, is_costly) for item in answers):
            links |= {id(part) for select in inner for part in joins.links(select)}
    return links


def _is_constant(part: Node) -> bool:
    return not reads_columns(part) and not conditions.has_subquery(part)


def _stays(part: Node, has_join_keys: bool) -> bool:
    """True for what belongs in no CASE, though it asks."""
    return (
        not reads_columns(part)
        or conditions.has_subquery(part)
        or (has_join_keys and joins.is_key(part))
    )


class _Guards:
    """What guards the conditions of one statement; *links* by id are what does not.

    In a CASE they would keep DuckDB from joining by them, and so from filtering one side by the
    other. Nor does what reads a column of one of the *names*, which a model answers.
    """

    def __init__(self, is_costly: Test, places: Places, links: set[int], names: set[str]) -> None:
        self.is_costly = is_costly
        self.places = places
        self.links = links
        self.names = names

    def guard_where(self, select: Node, *, is_nested: bool) -> None:
        """Guard WHERE by its cheap parts and by the joins before it, whose own come in turn."""
        source = select["from_table"]
        joined = joins.conditions(source)
        has_keys = all(map(self._asks, joined)) and (is_nested or source["type"] == "JOIN")
        select["where_clause"] = self.guarded(
            select["where_clause"], joined, has_join_keys=has_keys
        )

    def guarded(
        self,
        condition: Node,
        also: Sequence[Node] = (),
        *,
        has_join_keys: bool = False,
        depth: int = 0,
    ) -> Node:
        """*condition* with its costly parts behind the cheap ones and among *also*, in order.

        What reads no column stays outside, as DuckDB asks it while it plans and then may know the
        rest; so do subqueries, and what a join may hash on where it *has_join_keys*. In an
        alternative, of some *depth*, which will be in a CASE itself, the others come behind what
        reads no column.
        """
        parts = [self._lazy(part, depth + 1) for part in conjuncts(condition)]
        cheap, asking = self._told_apart(parts)
        kept = [part for part in asking if _stays(part, has_join_keys)]
        costly = [part for part in asking if not _stays(part, has_join_keys)]
        free, asked = self._told_apart(also)
        before = [
            part
            for part in (*cheap, *free)
            if id(part) not in self.links and not conditions.reads(part, self.names)
        ]
        first = [part for part in kept if depth and _is_constant(part)]
        if not costly or len(first) + len(before) + len(costly) < 2:
            return conjunction(parts)
        first += [conjunction(before)] if before else []
        in_turn = [*copy.deepcopy(first), *self._in_turn(costly, asked, depth)]
        return conjunction([*cheap, *kept, conditions.all_true(in_turn)])

    def _told_apart(self, parts: Sequence[Node]) -> tuple[list[Node], list[Node]]:
        """The *parts* that ask no model, and those that do."""
        return [part for part in parts if not self._asks(part)], [*filter(self._asks, parts)]

    def _in_turn(self, costly: Sequence[Node], others: Sequence[Node], depth: int) -> list[Node]:
        """*costly*, and copies of *others* where they belong among them."""
        copied = {id(part) for part in others if not conditions.has_subquery(part)}
        found = [*costly, *(part for part in others if id(part) in copied)]
        return [
            copy.deepcopy(part) if id(part) in copied else part
            for part in sorted(found, key=self._turn(depth))
        ]

    def _lazy(self, part: Node, depth: int) -> Node:
        """*part*, its costly alternatives behind the cheap ones, if it is an OR."""
        if part.get("type") != "CONJUNCTION_OR" or not self._asks(part):
            return part
        each = [self.guarded(a, depth=depth + 1) for a in conditions.alternatives(part)]
        if any(conditions.has_subquery(a) and self._asks(a) for a in each) or _is_one_enough(each):
            return conjunction(each, "OR")
        cheap, costly = self._told_apart(each)
        before = [conjunction(cheap, "OR")] if cheap else []
        return conditions.first_true([*before, *sorted(costly, key=self._turn(depth))])

    def _asks(self, part: Node) -> bool:
        return is_inside(part, self.is_costly)

    def _turn(self, depth: int) -> Callable[[Node], tuple[bool, int, int]]:
        """What decides whose turn is first: DuckDB has folded what reads no column."""
        placed = turns(lambda part: self.places(part, depth))

        def turn(part: Node) -> tuple[bool, int, int]:
            calls = sum(self.is_costly(node) and reads_columns(node) for node in tree.nodes(part))
            return reads_columns(part), placed(part), calls

        return turn


def _is_one_enough(alternatives: Sequence[Node]) -> bool:
    """True for `a OR (a AND b)`, of which DuckDB leaves `a`, however many there are."""
    parts = [{tree.text_key(part) for part in conjuncts(each)} for each in alternatives]
    return set.intersection(*parts) in parts


def _guard_value(node: Node, is_costly: Test) -> None:
    """Let an AND or OR ask models only where its cheap part decides nothing, NULL included."""
    children = node["children"]
    cheap = [child for child in children if not is_inside(child, is_costly)]
    costly = [child for child in children if is_inside(child, is_costly)]
    if not costly or not cheap or any(map(conditions.has_subquery, costly)):
        return
    kind = "AND" if node["type"] == "CONJUNCTION_AND" else "OR"
    test = "c IS NOT DISTINCT FROM false" if kind == "AND" else "c"
    outcome = "false" if kind == "AND" else "true"
    lazy = tree.expression(f"CASE WHEN {test} THEN {outcome} ELSE c {kind} m END")
    condition = conjunction(cheap, kind)
    (check,) = lazy["case_checks"]
    if kind == "AND":
        check["when_expr"]["left"] = conditions.boolean(copy.deepcopy(condition))
    else:
        check["when_expr"] = conditions.boolean(copy.deepcopy(condition))
    lazy["else_expr"]["children"] = [condition, *map(conditions.boolean, costly)]
    tree.become(node, lazy)
