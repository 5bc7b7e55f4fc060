"""llmsql's own statements. One file per noun; each class says its syntax in one line.

Found by looking into the files of this folder: nothing here names one.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from functools import cache
from typing import Any

from llmsql.errors import StatementError, suggestion
from llmsql.statements.base import Rows, Statement
from llmsql.syntax import grammar

__all__ = ["Rows", "Statement", "classes", "parse"]


@cache
def classes() -> tuple[type[Statement], ...]:
    """Every statement, in the order of their syntax lines; a word is tried before a placeholder."""
    found = []
    for module in pkgutil.iter_modules(__path__):
        if module.name != "base":
            members = vars(importlib.import_module(f"{__name__}.{module.name}")).values()
            found += [
                cls
                for cls in members
                if isinstance(cls, type) and issubclass(cls, Statement) and cls is not Statement
            ]
    return tuple(sorted(set(found), key=lambda cls: cls.syntax.replace("<", "~")))


def parse(text: str, expand: Callable[[str], str] = str) -> Statement:
    """Return the statement *text* is; raises StatementError saying where it stops being one.

    *expand* is given every value of it, as `${name}` may stand there.
    """
    given = grammar.tokens(text)
    mismatches: list[grammar.Mismatch] = []
    for cls in classes():
        try:
            values = grammar.match(cls.pattern(), given)
        except grammar.Mismatch as mismatch:
            mismatches.append(mismatch)
            continue
        return cls.make(_expanded(values, expand) if cls.expands else values)
    # A word that is nearly right says more than how far a pattern fits.
    near = [mismatch for mismatch in mismatches if _suggested(given, mismatch.index, [mismatch])]
    index = max(mismatch.index for mismatch in near or mismatches)
    raise StatementError(_message(text, given, index, [m for m in mismatches if m.index == index]))


def _expanded(values: Any, expand: Callable[[str], str]) -> Any:
    """*values* with *expand* done to every text; keys stay as they are."""
    if isinstance(values, dict):
        return {key: _expanded(value, expand) for key, value in values.items()}
    if isinstance(values, tuple):
        return tuple(map(expand, values))
    return expand(values)


def _suggested(given: list[grammar.Token], index: int, mismatches: list[grammar.Mismatch]) -> str:
    """`; did you mean "x"?` where what stands at *index* is nearly one of the words expected."""
    if index >= len(given) or given[index].kind not in ("word", "command"):
        return ""
    if given[index].text.lower() in _words():
        return ""
    return suggestion(given[index].text, [m.expected for m in mismatches if m.is_word])


@cache
def _words() -> frozenset[str]:
    """The words of all statements, in lower case: none of them is misspelt."""
    return frozenset(word.lower() for cls in classes() for word in grammar.words(cls.pattern()))


def _usages(given: list[grammar.Token], index: int, suggested: str) -> list[str]:
    """The syntax of each statement that may be meant: all, where nothing says which."""
    near = [cls.syntax for cls in classes() if _is_near(cls, given, index)]
    usages = near or [cls.syntax for cls in classes()]
    meant = [usage for usage in usages if suggested and suggested.split('"')[1] in usage.split()]
    return meant or usages


def _message(
    text: str, given: list[grammar.Token], index: int, mismatches: list[grammar.Mismatch]
) -> str:
    expected = list(dict.fromkeys(mismatch.expected for mismatch in mismatches))
    suggested = _suggested(given, index, mismatches)
    found = _found(given, index) + suggested
    offset = given[index].start if index < len(given) else len(text)
    wanted = " or ".join([", ".join(expected[:-1]), expected[-1]]) if expected[1:] else expected[0]
    lines = [f"{grammar.position(text, offset)}: expected {wanted}, found {found}"]
    is_setup = [token.text.lower() for token in given[:2]] == ["!llm", "setup"]
    if index < len(given) and (given[index].text == "=" or is_setup):
        lines.append('  a setting is written in quotes, as in !llm setup "num_gpus=1"')
    lines += [f"  {usage}" for usage in _usages(given, index, suggested)]
    return "\n".join(lines)


def _found(given: list[grammar.Token], index: int) -> str:
    """What stands where something else should; never a value, which may be a secret."""
    if index >= len(given):
        return "the end of the statement"
    if given[index].kind in ("string", "block"):
        return "a quoted value"
    if index and given[index - 1].text == "=":
        return "a value without quotes"
    return f'"{given[index].text}"'


def _is_near(cls: type[Statement], given: list[grammar.Token], index: int) -> bool:
    """True when the statement's syntax begins with what was understood."""
    if index == 0:
        return False
    try:
        grammar.match(cls.pattern(), given[:index])
    except grammar.Mismatch as mismatch:
        return mismatch.index >= index
    return True
