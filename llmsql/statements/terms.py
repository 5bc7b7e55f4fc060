"""On what terms a model is deployed: its prices, from the statement or a file, and the cache.

Knows the keys and the price file. What the terms are used for is the runtime's business.
"""

from __future__ import annotations

import dataclasses
import json
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from llmsql.errors import OptionError
from llmsql.types import Terms, read_options

ABOUT = {
    "price_input": "what a million tokens read cost",
    "price_output": "what a million tokens written cost",
    "cache": "false: answers are not kept on disk",
}


def read(said: Mapping[str, Any], prices: str | None, names: Iterable[str]) -> Terms:
    """The terms that a statement has *said*, with what the file *prices* has for one of *names*.

    Raises OptionError for what is no price, and for a file that cannot be read.
    """
    terms = read_options(Terms, said, owner="RUN command AS LLM")
    if prices is None or "price_input" in said or "price_output" in said:
        return terms
    known = {name.lower(): price for name, price in _file(prices).items()}
    found = next((known[name.lower()] for name in names if name.lower() in known), None)
    if found is None:
        return terms
    priced = {f"price_{side}": found.get(side) for side in ("input", "output")}
    return read_options(Terms, {**dataclasses.asdict(terms), **priced}, owner=f'file "{prices}"')


def check(prices: str) -> None:
    """Raise OptionError unless the file *prices* can be read."""
    _file(prices)


def _file(name: str) -> Mapping[str, Mapping[str, Any]]:
    try:
        data = Path(name).expanduser().read_bytes()
        text = data.decode("utf-8-sig")
        found = tomllib.loads(text) if name.lower().endswith(".toml") else json.loads(text)
    except OSError as error:
        raise OptionError(f'price file "{name}" cannot be read: {error.strerror}') from error
    except ValueError as error:
        raise OptionError(f'price file "{name}" is neither JSON nor TOML: {error}') from error
    is_mapping = isinstance(found, dict)
    if not is_mapping or not all(isinstance(price, dict) for price in found.values()):
        raise OptionError(
            f'price file "{name}" does not say prices by model\n'
            '  it looks like {"gpt-4o-mini": {"input": 0.15, "output": 0.6}}, per million tokens'
        )
    return found
