"""Generation parameters as scripts for other engines write them, and what they are called here.

Names only: what a parameter does is the backend's sampling options' business. Spec B01, S02.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

PREFIXES = ("generation.", "gen.")

OTHER_NAMES = {
    "max_length": "max_tokens",
    "max_new_tokens": "max_tokens",
    "max_output_tokens": "max_tokens",
    "min_length": "min_tokens",
    "min_new_tokens": "min_tokens",
    "random_seed": "seed",
    "repeat_penalty": "repetition_penalty",
    "stop_sequences": "stop",
    "stop_words": "stop",
    "stopping_sequences": "stop",
}
"""Names of older engines, and ours. What was the length of prompt and answer is the answer's."""

LISTS = ("stopping_sequences", "stop_sequences", "stop_words", "stop_token_ids")
"""Parameters that a single text with commas may hold."""

WITHOUT_EFFECT = frozenset(
    "early_stopping incremental_output inference_mode message_format stream timeout_s"
    " stopping_sequences_skip_check_min_length use_cache".split()
)
"""Accepted where the backend has no such option; scripts run, and are told."""


def ours(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return *given* under our names, without prefixes; a name of ours beats its other names."""
    found: dict[str, Any] = {}
    for key, value in given.items():
        name = key.lower()
        for prefix in PREFIXES:
            name = name.removeprefix(prefix)
        if name in LISTS:
            value = _listed(value)
        if name in OTHER_NAMES:
            found.setdefault(OTHER_NAMES[name], value)
        else:
            found[name] = value
    return found


def _listed(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    with suppress(ValueError):
        read = json.loads(value)
        if isinstance(read, list) and all(isinstance(part, str) for part in read):
            return read
    return [part.strip(" ") for part in value.strip("[] ").split(",") if part.strip(" ")]
