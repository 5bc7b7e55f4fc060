"""What an EXPLAIN explains, and a query in which no model's answer keeps a row out."""

from __future__ import annotations

import re
from dataclasses import dataclass

from llmsql.syntax import conditions, hints, tree
from llmsql.syntax.tree import Node

_HEAD = re.compile(
    r"""(?:\s|--[^\n]*\n|/\*.*?\*/)* explain \b \s*
        (?P<analyze>analyze\b)? \s*
        (?P<options>\( \s* (?:analyze|format)\b [^()]* \))? \s*""",
    re.IGNORECASE | re.VERBOSE | re.DOTALL,
)


@dataclass(frozen=True)
class Explained:
    """The statement behind an EXPLAIN, and what the EXPLAIN says of how."""

    head: str
    statement: str
    is_analyzed: bool
    is_json: bool


def read(sql: str) -> Explained | None:
    """The statement that *sql*, an EXPLAIN, is about; None where it is none."""
    match = _HEAD.match(sql)
    if match is None:
        return None
    options = (match["options"] or "").lower()
    return Explained(
        head=sql[: match.end()],
        statement=sql[match.end() :],
        is_analyzed=bool(match["analyze"]) or "analyze" in options,
        is_json=re.search(r"format\s+'?json", options) is not None,
    )


def relaxed(sql: str, costs: conditions.Test) -> str | None:
    """The query *sql* with every condition on models' answers true; None where it has none.

    Each call behind one is then made for at least the rows that it will be made for.
    """
    statement = tree.parse(sql)
    if statement is None:
        return None
    hints.restore(statement, sql)
    is_changed = False
    for node in list(tree.nodes(tree.body(statement))):
        for clause in ("where_clause", "having", "qualify"):
            parts = (
                conditions.conjuncts(node.get(clause)) if node.get("type") == "SELECT_NODE" else []
            )
            kept = [part for part in parts if not conditions.is_inside(part, costs)]
            if len(kept) < len(parts):
                passing = [_passing(part) for part in parts if part not in kept]
                node[clause] = conditions.conjunction([*kept, *passing])
                is_changed = True
    return tree.show(statement) if is_changed else None


def is_recursive(sql: str) -> bool:
    """True where answers may decide how often a part of the query *sql* runs."""
    statement = tree.parse(sql)
    return any(node.get("type") == "RECURSIVE_CTE_NODE" for node in tree.nodes(statement))


def _passing(condition: Node) -> Node:
    """A condition that is always true, for which *condition* is evaluated all the same."""
    made = tree.expression("hash(NULL) IS NOT NULL")
    call = next(node for node in tree.nodes(made) if tree.is_function(node))
    tree.set_argument(call, 0, condition)
    return made
