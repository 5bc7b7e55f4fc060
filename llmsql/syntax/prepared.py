"""The names of prepared statements: which one is made, and which one is run."""

from __future__ import annotations

from llmsql.syntax.words import Word, words


def made(sql: str) -> tuple[str, str] | None:
    """The name and the statement that *sql*, a PREPARE, is about; None where it is none."""
    found = words(sql)
    texts = [word.text for word in found]
    if texts[:1] != ["PREPARE"] or "AS" not in texts[2:]:
        return None
    return _name(found[1]), sql[found[texts.index("AS", 2)].end :]


def executed(sql: str) -> str:
    """The name of the statement that *sql* runs or explains; empty where it is no EXECUTE."""
    found = words(sql)
    for word, following in zip(found, found[1:], strict=False):
        if word.text == "EXECUTE" and word.depth == 0:
            return _name(following)
    return ""


def _name(word: Word) -> str:
    return word.text.strip('"').lower()
