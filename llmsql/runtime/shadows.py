"""The macros through which a connection calls models: they add whose statement it is.

Owns what is written in SQL, for each function and each type of its argument. When the macros are
made and dropped is the session's business.
"""

from __future__ import annotations

from typing import NamedTuple

from llmsql.runtime import orders
from llmsql.runtime.engine import SqlFunction
from llmsql.syntax import tags, weights
from llmsql.syntax.ranks import TAG, TAGGED, VARIABLE

REQUEST = "llm_request"
REQUESTS = "requests"
_LISTS = "('VARCHAR[]', 'JSON[]', '\"NULL\"[]')"
_OPTIONAL = ("options", "model")
_SPELLED = f"""CASE WHEN regexp_matches(typeof("fields"), '{orders.ARROW_LOSES}') THEN {{
    'type': typeof("fields"),
    'values': json_extract(to_json("fields"), '$.*')::VARCHAR[]
}} END"""
"""The fields as JSON where Arrow would lose some: known from their type, when DuckDB plans."""


class _Added(NamedTuple):
    """What a macro takes before the function's own arguments, and adds behind them.

    That is a weight, and in the tag what comes behind the token.
    """

    parameters: str
    weight: str
    place: str


_PLAIN = _Added("", weights.ALONE, "")
_PLACED = _Added("rank, site, weight, ", "weight", f", '{tags.FIELD}': {tags.PLACE}")


def shadows(function: SqlFunction, native: str) -> dict[str, str]:
    """The temporary macros that add the statement's token to the arguments of *function*.

    One shadows the function; the other takes rank, site and weight as well, for calls that were
    rewritten.
    """
    found: dict[str, str] = {}
    for name, added in ((function.name, _PLAIN), (TAGGED + function.name.lower(), _PLACED)):
        is_text = function.answer_type == "VARCHAR"
        overloads = []
        # Of two overloads one may be typed; what takes texts alone has one, with names to give.
        signatures = function.signatures if function.takes_requests else function.signatures[-1:]
        for signature in signatures:
            names = ", ".join(_parameter(each, function) for each in signature)
            given = [
                f'"{parameter}"::VARCHAR' if parameter in function.inputs else f'"{parameter}"'
                for parameter in signature
            ]
            if function.name == orders.NAME:
                given.append(_SPELLED)
            told = ""
            if function.takes_requests and is_text:
                told = f", '{REQUESTS}': typeof(\"{signature[0]}\") IN {_LISTS}"
            overloads.append(f"({added.parameters}{names}) AS {_call(native, given, added, told)}")
        if function.takes_requests and not is_text:
            found |= _choices(function, name, added, overloads)
        found[name] = _macro(name, overloads)
    return found


def _parameter(name: str, function: SqlFunction) -> str:
    is_wanted = name not in _OPTIONAL or function.takes_requests
    return f'"{name}"' if is_wanted else f'"{name}" := NULL'


def _choices(
    function: SqlFunction, name: str, added: _Added, overloads: list[str]
) -> dict[str, str]:
    """
    Let *overloads* take a list of JSON requests, whose answer is of another type than a text's.

    Returns the macros which that needs. Where DuckDB cannot tell the type of an argument yet (an
    aggregate, an alias), of two overloads it takes the one with a type: so the first macro's is
    VARCHAR. Each has only one, because of two DuckDB could not choose for a prepared parameter, and
    passes on what is not of its type.
    """
    (parameter,) = function.signatures[0]
    before = added.parameters
    given = [f'"{parameter}"::VARCHAR', f"'{function.called}'"]
    native = function.name.removesuffix(function.called) + REQUEST
    request = _call(native, given, added, f", '{REQUESTS}': true")
    lists, json_lists = (f"llmsql_{kind}_{name.lower()}" for kind in ("list", "json"))

    def typed(kind: str, body: str) -> str:
        return f'({before}"{parameter}" {kind}) AS {body}'

    def passed(target: str) -> str:
        return f'({before}"{parameter}") AS "{target}"({before}"{parameter}")'

    text = overloads[0]
    overloads[0] = passed(lists)
    overloads.append(typed("VARCHAR", text.split(" AS ", 1)[1]))
    return {
        json_lists: _macro(json_lists, [text, typed("JSON[]", request)]),
        lists: _macro(lists, [passed(json_lists), typed("VARCHAR[]", request)]),
    }


def _call(native: str, given: list[str], added: _Added, told: str) -> str:
    """A call of the function registered as *native*, with what is *added* as its last arguments."""
    tag = f"{{'{TAG}': getvariable('{VARIABLE}'){added.place}{told}}}"
    behind = [added.weight, tag] if weights.ARE_COUNTED else [tag]
    return f'system.main."{native}"({", ".join([*given, *behind])})'


def _macro(name: str, overloads: list[str]) -> str:
    return f'CREATE OR REPLACE TEMP MACRO "{name}"' + ", ".join(overloads)
