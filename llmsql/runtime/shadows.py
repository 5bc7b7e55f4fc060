"""The macros through which a connection calls models: they add whose statement it is.

Owns what is written in SQL, for each function and each type of its argument. When the macros are
made and dropped is the session's business.
"""

from __future__ import annotations

from llmsql.runtime.engine import SqlFunction
from llmsql.syntax import tags, weights
from llmsql.syntax.ranks import TAG, TAGGED, VARIABLE

REQUEST = "llm_request"
REQUESTS = "requests"
_LISTS = "('VARCHAR[]', 'JSON[]', '\"NULL\"[]')"
_PLACE = f", '{tags.FIELD}': {tags.PLACE}"


def shadows(function: SqlFunction, native: str) -> dict[str, str]:
    """The temporary macros that add the statement's token to the arguments of *function*.

    One shadows the function; the other takes rank, site and weight as well, for calls that were
    rewritten.
    """
    places = (
        (function.name, "", "", weights.ALONE),
        (TAGGED + function.name.lower(), "rank, site, weight, ", _PLACE, "weight"),
    )
    found: dict[str, str] = {}
    for name, before, place, weight in places:
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
            told = place
            if function.takes_requests and is_text:
                told += f", '{REQUESTS}': typeof(\"{signature[0]}\") IN {_LISTS}"
            overloads.append(f"({before}{names}) AS {_call(native, [*given, weight], told)}")
        if function.takes_requests and not is_text:
            found |= _choices(function, name, before, (weight, place), overloads)
        found[name] = _macro(name, overloads)
    return found


def _parameter(name: str, function: SqlFunction) -> str:
    is_wanted = name in function.inputs or function.takes_requests
    return f'"{name}"' if is_wanted else f'"{name}" := NULL'


def _choices(
    function: SqlFunction,
    name: str,
    before: str,
    behind: tuple[str, str],
    overloads: list[str],
) -> dict[str, str]:
    """
    Let *overloads* take a list of JSON requests, whose answer is of another type than a text's.

    Returns the macros which that needs. Where DuckDB cannot tell the type of an argument yet (an
    aggregate, an alias), of two overloads it takes the one with a type: so the first macro's is
    VARCHAR. Each has only one, because of two DuckDB could not choose for a prepared parameter, and
    passes on what is not of its type.
    """
    (parameter,) = function.signatures[0]
    weight, place = behind
    given = [f'"{parameter}"::VARCHAR', f"'{function.called}'", weight]
    request = _call(
        function.name.removesuffix(function.called) + REQUEST, given, f"{place}, '{REQUESTS}': true"
    )
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


def _call(native: str, given: list[str], told: str) -> str:
    """A call of the function registered as *native*: what is *given*, a weight last, and a tag."""
    tag = f"{{'{TAG}': getvariable('{VARIABLE}'){told}}}"
    return f'system.main."{native}"({", ".join(given)}, {tag})'


def _macro(name: str, overloads: list[str]) -> str:
    return f'CREATE OR REPLACE TEMP MACRO "{name}"' + ", ".join(overloads)
