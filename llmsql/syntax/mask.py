"""A statement's text without what is quoted in it: prompts and secrets stay out of records."""

from __future__ import annotations

import re

_QUOTED = re.compile(
    r"""(?P<comment> --[^\n]* | /\*.*?\*/ )
      | (?P<name> "(?:[^"]|"")*" )
      | \$(?P<tag>\w*)\$.*?\$(?P=tag)\$
      | [eE]'(?:[^'\\]|\\.|'')*'
      | '(?:[^']|'')*'""",
    re.DOTALL | re.VERBOSE,
)


def masked(sql: str) -> str:
    """*sql* with `'…'` in place of every text, and without comments."""
    return _QUOTED.sub(_replaced, sql).strip()


def _replaced(match: re.Match[str]) -> str:
    return match["name"] or ("" if match["comment"] else "'…'")
