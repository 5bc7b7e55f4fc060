"""What is a secret, and so never written: by its field, by its name, by its value."""

from __future__ import annotations

import re
from typing import Any

_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+")
_ALWAYS = frozenset({"secret", "password", "passwd", "apikey", "credential", "credentials"})
_AS_LAST_WORD = frozenset({"key", "keys", "token"})  # a key, but not max_tokens or stop_token_ids
_IN_ADDRESS = re.compile(
    r"://[^/\s]*@|[^\s/@:]+:[^\s/@]+@|[?&][^=&\s]*(key|token|secret|password|sig)[^=&\s]*=", re.I
)
_VALUE = (
    r"""'\'\'.*?\'\'\'|[eE]?'(?:[^'\\]|\\.|'')*'"""
    r"""|"(?:[^"\\]|\\.|"")*"|\$(?P<tag>\w*)\$.*?\$(?P=tag)\$"""
)
_GIVEN = re.compile(
    rf"(?P<name>[\w.]+)(?P<between>\s*(?::=|=>|[=:])\s*)(?P<value>{_VALUE}|[^\s,;'\"`()\[\]$]+)"
    rf"|(?P<alone>{_VALUE.replace('tag', 'mark')})",
    re.DOTALL,
)
_REFERENCE = re.compile(r"\s*\$\{env:(\w+)\}\s*")


def is_secret(name: str, value: Any, *, is_marked: bool = False) -> bool:
    """
    True where the option *name* with *value* must not be written down.

    *is_marked* says that the backend hides the option. The name of an environment variable is no
    secret.
    """
    if variable(value) is not None:
        return False
    return is_marked or is_secret_name(name) or holds_secret(value)


def variable(value: Any) -> str | None:
    """The environment variable that *value* names, if `${env:NAME}` is all there is to it."""
    match = _REFERENCE.fullmatch(value) if isinstance(value, str) else None
    return match and match[1]


def holds_secret(value: Any) -> bool:
    """True for an address with a password or a key in it, also as one of several texts."""
    if isinstance(value, (tuple, list)):
        return any(map(holds_secret, value))
    return isinstance(value, str) and bool(_IN_ADDRESS.search(value))


def hidden(statement: str) -> str:
    """*statement* as a message may show it: with `'…'` in place of each secret it may give.

    Where it names one, that is every value that is not given for something else by name.
    """
    names = re.findall(r"[\w.]+", statement)
    if not any(map(is_secret_name, names)) and not holds_secret(statement):
        return statement
    return _GIVEN.sub(_without_value, statement)


def _without_value(match: re.Match[str]) -> str:
    name, value = match["name"], match["value"]
    if name is None:
        return "'…'"
    bare = value.strip("\"'")
    is_shown = not is_secret(name, bare) and "\\" not in value
    return match[0] if is_shown else f"{name}{match['between']}'…'"


def is_secret_name(name: str) -> bool:
    """True for what is called a key, a token, a secret or a password."""
    words = [word.lower() for word in _WORD.findall(name)]
    return bool(_ALWAYS.intersection(words)) or bool(words and words[-1] in _AS_LAST_WORD)
