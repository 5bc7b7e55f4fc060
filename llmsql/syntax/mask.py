"""A statement's text without what is quoted in it: prompts and secrets stay out of records."""

from __future__ import annotations

import re

_QUOTED = re.compile(
    r"""(?P<kept> --[^\n]* | /\*.*?\*/ | "(?:[^"]|"")*" )
      | (?P<dollar> \$(\w*)\$.*?\$\3\$ )
      | [eE]?'(?:[^']|'')*'""",
    re.DOTALL | re.VERBOSE,
)


def masked(sql: str) -> str:
    """*sql* with `'…'` in place of every text."""
    return _QUOTED.sub(lambda match: match["kept"] or "'…'", sql)
