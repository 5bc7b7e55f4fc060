"""What to type where DuckDB misses a function that a model would have been."""

from __future__ import annotations

import difflib
import re

import duckdb

from llmsql.runtime.deployments import SMALL, Deployments

_MISSING = re.compile(
    r"(Scalar Function with name \"?(\w+)\"? does not exist!)(\nDid you mean .*)?"
)
_USUAL = {
    **dict.fromkeys(("chat", "ask", "llm", "complete", "generate"), SMALL["chat"]),
    **dict.fromkeys(("emb", "embed", "embedding"), SMALL["emb"]),
    **dict.fromkeys(("rerank", "rr"), SMALL["rerank"]),
}
"""What functions that models serve are usually called, and what such a model may be."""


def advise(error: duckdb.Error, deployments: Deployments) -> None:
    """Add to *error* which model was meant, or how one of that name is deployed."""
    found = _MISSING.search(str(error))
    if found is None:
        return
    missing = found[2].lower()
    names = {deployment.name.lower(): deployment.name for deployment in deployments}
    near = difflib.get_close_matches(missing, names, n=1)
    if near:
        advice = f'Did you mean "{names[near[0]]}", which is deployed?'
    elif missing in _USUAL:
        advice = (
            "No model of that name is deployed: RUN command AS LLM WHERE localModelDir="
            f"{_USUAL[missing]} AND udfName='{missing}';"
        )
    else:
        return
    error.args = (str(error).replace(found[0], f"{found[1]}\n{advice}"),)
