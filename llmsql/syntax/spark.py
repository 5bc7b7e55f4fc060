"""Spark's SQL, as Byzer's scripts hold it, in DuckDB's words. Spec §1 and D09.

Only what DuckDB cannot read or bind comes here. sqlglot reads Spark and writes DuckDB; what it does
not know of either is put right on its tree.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from llmsql.syntax import script, tree

_SELECT = re.compile(r"(?:select|with)\b", re.IGNORECASE)
_NAME_AT_END = re.compile(r"(?:\A|(?<=[\s)'\"`\]]))as\s+(?:(\w+)|`([^`]+)`)\s*\Z", re.IGNORECASE)
_ONLY_SPARK = re.compile(
    r"\blateral\s+view\b|\b(?:array|collect_list|collect_set|explode|explode_outer|from_json"
    r"|get_json_object|map|named_struct|posexplode|size)\s*\(",
    re.IGNORECASE,
)
_REQUEST = re.compile(r"\bllm_(?:param|prompt|split|stack)\s*\(", re.IGNORECASE)


@dataclass(frozen=True)
class Named:
    """A SELECT that ends in a name for its whole result: `select … as t`.

    *is_foreign* tells that DuckDB cannot read it so; else the name is also that of its last table.
    """

    body: str
    name: str
    is_foreign: bool


@lru_cache(maxsize=64)
def named(sql: str, *, is_byzer: bool) -> Named | None:
    """Return *sql* as a SELECT with a name for its result, or None where it is none.

    What DuckDB can read is one only where *is_byzer*: its name is the alias of the last table.
    """
    if not _SELECT.match(script.uncommented(sql)):
        return None
    has_comments = "--" in sql or "/*" in sql
    text = _without_comments_at_end(sql) if has_comments else sql.rstrip()
    match = _NAME_AT_END.search(text)
    if match is None:
        return None
    name, body = match[1] or match[2], text[: match.start()].rstrip()
    is_foreign = tree.count(text) == 0
    if not is_foreign:
        is_named = is_byzer and _names_last_table(tree.parse(text), name)
    else:
        is_named = bool(body) and body[-1] != "," and (tree.count(body) > 0 or is_spark(body))
    return Named(body, name, is_foreign) if is_named else None


def is_spark(sql: str) -> bool:
    """True when *sql* has what only Spark would say: its functions, or texts in double quotes."""
    stretches = list(script.stretches(sql))
    return any(
        mark in ('"', "`") or (mark == "code" and _ONLY_SPARK.search(text))
        for mark, text in stretches
    )


def may_be(sql: str, *, is_byzer: bool) -> bool:
    """True when *sql*, which DuckDB cannot bind, may be read as Spark's.

    It has Spark's functions, and DuckDB cannot read it either; or it makes a request of Byzer's; or
    it stands in a script of Byzer's. A misspelt "name" alone stays an error: as a text of Spark's
    it would be a wrong answer.
    """
    if not _SELECT.match(script.uncommented(sql)):
        return False
    code = " ".join(text for mark, text in script.stretches(sql) if mark in ("code", "`"))
    has_words = bool(_ONLY_SPARK.search(code)) or "`" in code
    return has_words and (is_byzer or bool(_REQUEST.search(code)) or tree.count(sql) == 0)


def translate(sql: str) -> str | None:
    """Return the Spark query *sql* as DuckDB's, or None where it is not Spark's either."""
    import sqlglot
    from sqlglot import exp

    try:
        parsed = sqlglot.parse_one(sql, read="spark")
        if not isinstance(parsed, exp.Query):
            return None
        return str(parsed.transform(_adapted).sql("duckdb", normalize_functions=False))
    except Exception:  # the text is broken, and its parser may stumble over that in any way
        return None


def _without_comments_at_end(sql: str) -> str:
    parts = list(script.stretches(sql))
    while parts and (parts[-1][0] == "comment" or not parts[-1][1].strip()):
        parts.pop()
    return "".join(text for _, text in parts).rstrip()


def _names_last_table(parsed: tree.Node | None, name: str) -> bool:
    """True when *name* is the alias of the last table, and nothing refers to it."""
    if parsed is None:
        return False
    source = tree.body(parsed).get("from_table") or {}
    while source.get("type") == "JOIN":
        source = source["right"]
    columns = tree.column_references(tree.body(parsed))
    return source.get("alias") == name and not any(
        name in column["column_names"][:-1] for column in columns
    )


def _adapted(node: Any) -> Any:
    from sqlglot import exp

    if isinstance(node, (exp.VarMap, exp.Map)) and isinstance(node.args.get("values"), exp.Array):
        values = node.args["values"].expressions
        if not _are_alike(values) or exp.Column in map(type, values[1:]):
            node.set("values", _as_texts(values))
    elif isinstance(node, exp.Array) and not _are_alike(node.expressions):
        return _as_texts(node.expressions)
    elif isinstance(node, exp.Anonymous) and node.name.lower() == "llm_prompt":
        for values in node.expressions[1:]:
            if isinstance(values, exp.Array):  # of columns, whose types nobody knows yet
                values.replace(_as_texts(values.expressions))
    elif isinstance(node, exp.FromJson):
        return _cast_json(node.this, node.expression)
    return node


def _are_alike(items: list[Any]) -> bool:
    """True where DuckDB finds one type for *items* by itself."""
    from sqlglot import exp

    return len({(type(i), i.is_string if isinstance(i, exp.Literal) else None) for i in items}) < 2


def _as_texts(items: list[Any]) -> Any:
    """*items* as an array of texts, which is what Spark makes of a mixture."""
    from sqlglot import exp

    texts = [item if item.is_string else exp.cast(item, "text") for item in items]
    return exp.Array(expressions=texts)


def _cast_json(value: Any, schema: Any) -> Any:
    """`from_json(value, 'array<double>')` as a cast; the schema may also be `a INT, b STRING`."""
    from sqlglot import exp
    from sqlglot.errors import SqlglotError

    try:
        wanted = exp.DataType.build(schema.name, dialect="spark")
    except SqlglotError:
        wanted = exp.DataType.build(f"struct<{schema.name}>", dialect="spark")
    return exp.cast(exp.cast(value, "json"), wanted)
