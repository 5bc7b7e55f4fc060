"""What is a secret, and so never written: by its field, by its name, by its value."""

from __future__ import annotations

import re
from typing import Any

from llmsql.syntax import script

_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+")
_ALWAYS = frozenset({"secret", "password", "passwd", "apikey", "credential", "credentials"})
_AS_LAST_WORD = frozenset({"key", "keys", "token"})  # a key, but not max_tokens or stop_token_ids
# Of one long word each stretch is read once: what may come before is no part of what is looked for.
_IN_ADDRESS = re.compile(
    r"""://[^/\s]*@|(?<![^\s/@'"`])[^\s/@:'"`]+:[^\s/@'"`]+@"""
    r"""|[?&][^?=&\s]*(key|token|secret|password|sig)[^?=&\s]*=""",
    re.IGNORECASE,
)
_BETWEEN = r"\s*(?::=|=>|[=:])\s*"
_NAMED = re.compile(rf"(?<![\w.])([\w.]+){_BETWEEN}\Z")
_BARE = r"""[^\s,;'"`()\[\]$]+"""
_GIVEN = re.compile(rf"(?<![\w.])([\w.]+)({_BETWEEN})({_BARE})")
_IN_SECRET = re.compile(rf"(?<![\w.])([\w.]+)({_BETWEEN}|\s+)({_BARE})")
_CREATES_SECRET = re.compile(
    r"\s*create\s+(or\s+replace\s+)?((persistent|temp|temporary)\s+)?secret\b", re.IGNORECASE
)
_LONGEST_NAME = 200
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

    Where it names one, that is every text that is not given for something else by name.
    """
    if not _may_tell(statement):
        return statement
    given = _IN_SECRET if _CREATES_SECRET.match(statement) else _GIVEN
    shown: list[str] = []
    for mark, text in script.stretches(statement):
        if mark == "code":
            shown.append(given.sub(_without_value, text))
        elif mark == "comment":
            shown.append("/* … */" if _may_tell(text) else text)
        else:
            named = _NAMED.search("".join(shown[-2:])[-_LONGEST_NAME:])
            is_kept = named and "\\" not in text and not is_secret(named[1], text.strip("\"'`"))
            shown.append(text if is_kept else "'…'")
    return "".join(shown)


def _may_tell(text: str) -> bool:
    """True for what names a secret, or has one in an address."""
    names = re.findall(r"[\w.]+", re.sub(r"(?i)\b(primary|foreign)\s+key\b", "", text))
    return any(map(is_secret_name, names)) or holds_secret(text)


def _without_value(match: re.Match[str]) -> str:
    name, between, value = match.groups()
    return f"{name}{between}'…'" if is_secret(name, value) else match[0]


def is_secret_name(name: str) -> bool:
    """True for what is called a key, a token, a secret or a password."""
    words = [word.lower() for word in _WORD.findall(name)]
    return bool(_ALWAYS.intersection(words)) or bool(words and words[-1] in _AS_LAST_WORD)
