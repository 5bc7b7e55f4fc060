"""What to type where DuckDB misses what a model, a variable or a vector would have been."""

from __future__ import annotations

import difflib
import re
from functools import partial

import duckdb

from llmsql.runtime.deployments import SMALL, Deployments

_MISSING = re.compile(
    r"(Scalar Function with name \"?(?P<name>\w+)\"? does not exist!)"
    r"(\nDid you mean (?P<theirs>.*))?"
)
_UNKNOWN_SETTING = re.compile(r"(unrecognized configuration parameter \"(?P<name>\w+)\")")
_OTHER_TYPES = re.compile(
    r"(No function matches the given name and argument types"
    r" 'array_(?P<name>\w+)\((?P<types>.*)\)'\.)( You might .*)?"
)
_LOST_COLUMN = re.compile(r"(unordered_map::at|Failed to bind column reference \"\w+\")")
_VARIANT = re.compile(r"(Unsupported Arrow type VARIANT)")
_USUAL = {
    **dict.fromkeys(("chat", "ask", "llm", "complete", "generate"), SMALL["chat"]),
    **dict.fromkeys(("emb", "embed", "embedding"), SMALL["emb"]),
    **dict.fromkeys(("rerank", "rr"), SMALL["rerank"]),
}
"""What functions that models serve are usually called, and what such a model may be."""

_NONE = "No model is deployed: RUN command AS LLM WHERE localModelDir='…' AND udfName='{}';"


def advise(error: duckdb.Error, deployments: Deployments) -> None:
    """Add to *error* what was meant, or what to type, where that is known."""
    said = str(error)
    for pattern, advice in (
        (_MISSING, partial(_model, deployments)),
        (_UNKNOWN_SETTING, _variable),
        (_OTHER_TYPES, _list_function),
        (_LOST_COLUMN, _lateral),
        (_VARIANT, _variant),
    ):
        found = pattern.search(said)
        if found and (text := advice(found)):
            error.args = (said.replace(found[0], f"{found[1]}\n{text}"),)


def _model(deployments: Deployments, found: re.Match[str]) -> str | None:
    """Which model was meant, or how one of that name is deployed."""
    missing = found["name"].lower()
    names = {deployment.name.lower(): deployment.name for deployment in deployments}
    if missing in names:
        return (
            f'"{names[missing]}" was deployed since this transaction began, which does not see it\n'
            "  COMMIT or ROLLBACK first"
        )
    near = difflib.get_close_matches(missing, names, n=1)
    if near:
        return f'Did you mean "{names[near[0]]}", which is deployed?'
    if missing not in _USUAL:
        return None if names or _is_near(missing, found["theirs"]) else _NONE.format(missing)
    return (
        "No model of that name is deployed: RUN command AS LLM WHERE localModelDir="
        f"{_USUAL[missing]} AND udfName='{missing}';"
    )


def _is_near(missing: str, suggested: str | None) -> bool:
    """True where a function of DuckDB's that it *suggested* is likely what was meant."""
    functions = re.findall(r"\w+", suggested or "")
    return bool(difflib.get_close_matches(missing, functions, n=1, cutoff=0.7))


def _variable(found: re.Match[str]) -> str:
    """A variable's value without quotes makes DuckDB look for a setting."""
    return f"For a variable, put the value in quotes: SET {found['name']} = '…';"


def _list_function(found: re.Match[str]) -> str | None:
    """A vector of any model's has no fixed length, as DuckDB's functions of arrays want."""
    if "FLOAT[]" not in found["types"]:
        return None
    return f"For a FLOAT[], as llm_embed gives: list_{found['name']}(…), or a cast to FLOAT[n]"


def _lateral(found: re.Match[str]) -> str:
    """DuckDB loses a column from outside of a LATERAL that a macro with typed parameters reads."""
    return (
        "In a LATERAL, a column from outside may be lost on its way into a model's function:"
        " llm_embed(column, 'name of the model') takes it"
    )


def _variant(found: re.Match[str]) -> str:
    """DuckDB 1.5 can hand a VARIANT neither to a function nor to who fetches Arrow."""
    return "A cast says it in a type that can be passed on: value::JSON, or value::VARCHAR"
