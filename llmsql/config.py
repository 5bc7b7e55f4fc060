"""Settings of a connection: the environment first, `!llm setup` on top. Spec C01 to C07.

One frozen value; a change makes another. Keys are those of Byzer-LLM, in both spellings.
"""

from __future__ import annotations

import dataclasses
import os
import re
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from llmsql.errors import OptionError, suggestion
from llmsql.types import coerce, type_name

ALIASES = {
    "gpus_per_worker": "num_gpus",
    "cpus_per_worker": "num_cpus",
    "num_workers": "maxconcurrency",
    "numworkers": "maxconcurrency",
    "worker_concurrency": "workermaxconcurrency",
}
"""Newer spellings, and what they mean here."""

WITHOUT_EFFECT = frozenset(
    {"rayAddress", "pythonExec", "dataMode", "runIn", "schema", "owner", "standalone", "num_cpus",
     "masterMaxConcurrency", "timeout", "load_balance"}
)  # fmt: skip
"""Plumbing of Ray and Spark: accepted and kept, so that scripts run, and said to do nothing."""

ABOUT = {
    "num_gpus": "GPUs for each replica, a part of one too; 0 is the CPU, or a remote model",
    "maxConcurrency": "replicas of a model",
    "workerMaxConcurrency": "requests in flight for each replica",
    "infer_backend": "the backend that is preferred where it can run the model",
    "on_error": "what a row that failed becomes: null, or raise an error",
    "udf_folder": "a folder of your own SQL functions",
    "runIn": "driver or executor: training runs in the executor",
    "cache": "where answers are kept: on (beside a database file), off, or a path",
    "cache_size": "what the kept answers may take on disk, as 500MB or 10GB",
    "max_calls": "the most model calls a statement may make",
    "max_input_tokens": "the most tokens a statement may have read",
    "max_output_tokens": "the most tokens a statement may have written",
    "max_cost": "the most a statement may cost, in the currency of the prices",
    "max_seconds": "the longest a statement may let models work",
    "total_max_calls": "as max_calls, for all statements of the connection together",
    "total_max_input_tokens": "as max_input_tokens, for all together",
    "total_max_output_tokens": "as max_output_tokens, for all together",
    "total_max_cost": "as max_cost, for all together",
    "total_max_seconds": "as max_seconds, for all together",
    "confirm_calls": "so many calls of a priced model are confirmed first, or warned of",
    "record_prompts": "true: llm_calls() and llm_statements() hold prompts and literals too",
    "order_fields": "false: the fields of llm_fields() stand as they are given",
    "prices": "a file of prices for a million tokens, by name of the model",
}
"""What the settings mean that mean something here."""

RESOURCE = "resource."
"""What begins the name of a resource of Ray's, as in `resource.master`: kept as well."""

OF_DEPLOYMENTS = frozenset({"num_gpus", "maxConcurrency", "workerMaxConcurrency", "infer_backend"})
"""Settings that a model has from when it is deployed."""

ENVIRONMENT = ("infer_backend", "on_error", "udf_folder", "prices")
"""Settings that begin as LLMSQL_INFER_BACKEND and its like say; LLMSQL_CACHE is the models' own."""

CACHE_OFF, CACHE_ON = frozenset({"off", "false", "0"}), frozenset({"", "on", "true", "1"})
CACHE_WORDS = CACHE_OFF | CACHE_ON
SIZES = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}

ELSEWHERE = frozenset(
    {"rayAddress", "pythonExec", "dataMode", "runIn", "num_gpus", "standalone", "maxConcurrency",
     "infer_backend", "masterMaxConcurrency", "workerMaxConcurrency", "owner", "schema"}
)  # fmt: skip
"""What `setup single` puts back in Byzer-LLM; here it puts back the others too, and says so."""


@dataclass(frozen=True)
class Settings:
    """
    What a connection deploys and runs with, by Byzer-LLM's names.

    A worker takes 16 requests at a time, where Byzer-LLM's takes one: a remote model asked one
    thing at a time would make every statement as slow as all its answers together.
    """

    num_gpus: float = 1
    num_cpus: int | None = None
    maxConcurrency: int = 1
    workerMaxConcurrency: int = 16
    masterMaxConcurrency: int = 1000
    infer_backend: str | None = None
    on_error: str | None = None
    udf_folder: str | None = None
    timeout: int = 10
    load_balance: Literal["lru", "round_robin"] = "lru"
    rayAddress: str = "127.0.0.1:10001"
    pythonExec: str = "python"
    dataMode: str = "model"
    runIn: str = "driver"
    standalone: bool = False
    schema: str = "file"
    owner: str = ""
    cache: str = ""
    cache_size: str | None = None
    max_calls: int | None = None
    max_input_tokens: int | None = None
    max_output_tokens: int | None = None
    max_cost: float | None = None
    max_seconds: float | None = None
    total_max_calls: int | None = None
    total_max_input_tokens: int | None = None
    total_max_output_tokens: int | None = None
    total_max_cost: float | None = None
    total_max_seconds: float | None = None
    confirm_calls: int = 10_000
    record_prompts: bool = False
    order_fields: bool = True
    prices: str | None = None
    resources: tuple[tuple[str, float], ...] = ()

    @classmethod
    def from_environment(cls) -> Settings:
        """Settings with what LLMSQL_ON_ERROR, LLMSQL_UDF_FOLDER and their like say."""
        settings = cls()
        for name in ENVIRONMENT:
            value = os.environ.get(f"LLMSQL_{name.upper()}")
            if value:
                try:
                    settings = settings.changed(name, value)
                except OptionError as error:
                    raise OptionError(
                        f"{error}\n  the environment variable LLMSQL_{name.upper()} says so"
                    ) from None
        return settings

    def changed(self, key: str, value: str) -> Settings:
        """Return the settings with *key*, in any letter case and either spelling, set to *value*.

        Raises OptionError for an unknown key, with the nearest one, and for a value of another
        type.
        """
        field = self.field(key)
        if field.startswith(RESOURCE):
            return self._with_resource(field.removeprefix(RESOURCE), value)
        wanted = _TYPES[field]
        if value.strip() == "":
            unset: dict[str, Any] = {field: getattr(Settings, field)}
            return dataclasses.replace(self, **unset)
        try:
            typed = coerce(value, wanted)
        except (TypeError, ValueError):
            raise OptionError(f'setting "{key}" takes {type_name(wanted)}, not "{value}"') from None
        if field == "on_error" and typed not in ("null", "raise"):
            raise OptionError(f'setting "on_error" takes one of null, raise, not "{value}"')
        if isinstance(typed, (int, float)) and not isinstance(typed, bool) and typed < 0:
            raise OptionError(f'setting "{key}" must not be negative, not {value}')
        if field == "cache_size":
            size_of(value)
        if field == "cache" and value.lower() not in CACHE_WORDS:
            typed = os.path.abspath(os.path.expanduser(value))  # wherever one goes from here
        if field in ("maxConcurrency", "workerMaxConcurrency") and typed < 1:
            raise OptionError(f'setting "{key}" must be 1 or more, not {value}')
        return dataclasses.replace(self, **{field: typed})

    @property
    def cache_bytes(self) -> int | None:
        """*cache_size* in bytes."""
        return size_of(self.cache_size) if self.cache_size else None

    def rows(self) -> list[tuple[str, str]]:
        """Every key with its value as text."""
        own = [(name, _shown(getattr(self, name))) for name in _TYPES]
        return own + [(RESOURCE + name, _shown(quantity)) for name, quantity in self.resources]

    def _with_resource(self, name: str, value: str) -> Settings:
        try:
            quantity = coerce(value, float)
        except ValueError:
            raise OptionError(f'setting "{RESOURCE}{name}" takes a number, not "{value}"') from None
        kept = {**dict(self.resources), name: quantity}
        return dataclasses.replace(self, resources=tuple(kept.items()))

    @staticmethod
    def field(key: str) -> str:
        """The setting that *key* means, in any letter case and either spelling."""
        if key.lower().startswith(RESOURCE) and key[len(RESOURCE) :]:
            return RESOURCE + key[len(RESOURCE) :]
        by_folded = {name.lower(): name for name in _TYPES}
        folded = ALIASES.get(key.lower(), key.lower())
        if folded not in by_folded:
            known = [*_TYPES, *ALIASES, f"{RESOURCE}<name>"]
            raise OptionError(
                f'there is no setting "{key}"{suggestion(key, known)}\n'
                f"  settings: {', '.join(_TYPES)}, {RESOURCE}<name>"
            )
        return by_folded[folded]


def size_of(text: str) -> int:
    """The bytes that *text* means, as 500MB; raises OptionError for what is no size."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([a-z]*)\s*", text, re.IGNORECASE)
    if match is None or match[2].upper() not in SIZES:
        raise OptionError(f'setting "cache_size" takes a size, as 500MB or 10GB, not "{text}"')
    return int(float(match[1]) * SIZES[match[2].upper()])


def _types() -> Mapping[str, object]:
    hints = typing.get_type_hints(Settings)
    return {name: hint for name, hint in hints.items() if name != "resources"}


_TYPES = _types()
CAPS = frozenset(name for name in _TYPES if name.startswith(("max_", "total_max_")))
"""What statements may cost; an empty value lifts one, as it unsets all that begin unset."""

OF_STATEMENTS = CAPS | {"cache", "confirm_calls", "on_error", "order_fields", "record_prompts"}
"""Settings that may be changed for one statement alone."""


def _shown(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)
