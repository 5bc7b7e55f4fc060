"""A statement's text without what is quoted in it: prompts and secrets stay out of records."""

from __future__ import annotations

from llmsql.syntax import script

_SHOWN = ("code", '"', "`")


def masked(sql: str) -> str:
    """*sql* with `'…'` in place of every text, and without comments."""
    shown = (
        text if mark in _SHOWN else "" if mark == "comment" else "'…'"
        for mark, text in script.stretches(sql)
    )  # fmt: skip
    return "".join(shown).strip()
