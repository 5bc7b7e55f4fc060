"""The file that the key `config` names: the statement's keys in YAML or JSON. Spec K08.

Reads and flattens; which of several values counts is `choice`'s business.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from llmsql.errors import OptionError

_YAML = (".yaml", ".yml")


def read(path: str) -> dict[str, Any]:
    """Return the file's keys, nested ones joined by dots; OptionError where it cannot be read."""
    file = Path(path).expanduser()
    if file.suffix.lower() not in (".json", *_YAML):
        raise OptionError(
            f'config "{path}" is neither YAML nor JSON by its name\n'
            "  name a file that ends in .yaml, .yml or .json"
        )
    try:
        text = file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise OptionError(f'config "{path}" is no text: byte {error.start} is not UTF-8') from error
    except OSError as error:
        raise OptionError(f'config "{path}" cannot be read: {error.strerror}') from error
    content = _yaml(path, text) if file.suffix.lower() in _YAML else _json(path, text)
    if content is not None and not isinstance(content, dict):
        raise OptionError(
            f'config "{path}" holds no keys\n'
            "  write the keys of the statement in it, as gen.temperature: 0.5"
        )
    found: dict[str, Any] = {}
    for key, value in _flat(content or {}):
        if key in found:
            raise OptionError(f'config "{path}" gives the key "{key}" twice')
        found[key] = value
    return found


def _json(path: str, text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise OptionError(
            f'config "{path}" is not JSON: line {error.lineno}, column {error.colno}: {error.msg}'
        ) from error


def _yaml(path: str, text: str) -> Any:
    try:
        import yaml
    except ImportError as error:
        raise OptionError(
            f'config "{path}" needs PyYAML, not installed here\n'
            "  pip install 'duckdb-llmsql[yaml]', or write the file in JSON"
        ) from error
    try:
        return yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise OptionError(f'config "{path}" is not YAML: {place}{error.problem}') from error
    except yaml.YAMLError as error:
        raise OptionError(f'config "{path}" is not YAML: {error}') from error


def _flat(content: dict[Any, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in content.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict):
            yield from _flat(value, f"{name}.")
        elif value is not None:
            yield name, value
