"""A database in a file, and the echo model whose journal tells what it was asked."""

from __future__ import annotations

from pathlib import Path

import llmsql

ECHO = "RUN command AS LLM WHERE pretrainedModelType='debug' AND udfName='chat'"


def deployed(journal: Path, more: str = "") -> str:
    """The statement that deploys chat(), which writes each call into *journal*."""
    return f"{ECHO} AND journal='{journal}'{more}"


def asked(journal: Path) -> list[str]:
    """Every call that was made, by whichever process."""
    return journal.read_text().splitlines() if journal.exists() else []


def opened(database: str, *statements: str) -> llmsql.Connection:
    """A connection to *database* on which *statements* have run."""
    con = llmsql.connect(database)
    for statement in statements:
        con.execute(statement)
    return con
