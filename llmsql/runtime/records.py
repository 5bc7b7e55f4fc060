"""The calls of one statement as they are written down, and its text as it may be shown.

Owns the rows, and when so many are written. What tables they stand in is the history's business.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from llmsql.runtime import history
from llmsql.store import Store
from llmsql.syntax import tags
from llmsql.syntax.mask import masked
from llmsql.types import Usage

SHOWN_CHARACTERS = 10_000
_BETWEEN_QUOTES = re.compile(r"'.*'", re.DOTALL)  # a quote inside may stand for itself
LONG = 16  # bytes of a prompt that an error does not hold by chance
BATCH_CALLS, BATCH_SECONDS = 4_096, 5.0


class Records:
    """What the statement numbered *number* writes down; *keeps_prompts* also what it was about."""

    def __init__(self, number: int, store: Callable[[], Store], *, keeps_prompts: bool) -> None:
        self.number = number
        self.store = store
        self.keeps_prompts = keeps_prompts
        self.is_empty = True
        self._calls: list[tuple[Any, ...]] = []
        self._written = time.monotonic()
        self._lock = threading.Lock()
        self._last = ("", "")  # an error as it was raised, and as it is written down

    def add(
        self,
        model: str,
        key: Any,
        site: int,
        call: bytes,
        usage: Usage,
        *,
        seconds: float | None = None,
        retries: int | None = None,
        replica: int = 0,
        finish_reason: str | None = None,
        error: str | None = None,
        is_reused: bool = False,
    ) -> None:
        """Remember one call until enough are there to be written."""
        self.is_empty = False
        data = (key if isinstance(key, str) else "\n".join(key)).encode("utf-8", "replace")
        prompt = data.decode() if self.keeps_prompts else None
        if error is not None:
            error = _clean(error)
            said = error
            if prompt is None:
                error = _without(error, key)
            self._last = said, error
        row = (
            self.number, tags.plain(site) + 1 if site >= 0 else None, model, call.hex(),
            hashlib.blake2b(data, digest_size=8).hexdigest(),
            prompt, is_reused, None if is_reused else replica,
            usage.input_tokens, usage.output_tokens, usage.cached_tokens, seconds, retries,
            finish_reason, error, datetime.now(UTC).replace(tzinfo=None),
        )  # fmt: skip
        with self._lock:
            self._calls.append(row)
        is_late = time.monotonic() - self._written > BATCH_SECONDS
        if len(self._calls) >= BATCH_CALLS or is_late:
            self.write()

    def write(self) -> None:
        """Write down the calls that are not yet."""
        with self._lock:
            calls, self._calls = self._calls, []
            self._written = time.monotonic()
        if calls:
            history.write(self.store(), "calls", calls)

    def shown(self, text: str) -> str:
        """The statement's *text* as it may be shown: without what is quoted in it."""
        return (text if self.keeps_prompts else masked(text))[:SHOWN_CHARACTERS]

    def told(self, error: BaseException) -> str:
        """What *error* says, without the statement's text that DuckDB shows, and what is quoted."""
        text = _clean(str(error))
        if self.keeps_prompts:
            return self.shown(text)
        said, cleaned = self._last
        text = cleaned if text == said else text.partition("\n\nLINE ")[0]
        return _BETWEEN_QUOTES.sub("'…'", text)[:SHOWN_CHARACTERS]


def _without(error: str, key: Any) -> str:
    """*error* without what was asked: servers repeat it."""
    for text in sorted(_texts(key), key=len, reverse=True):
        for written in (text, json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1]):
            if len(written) >= LONG:
                error = error.replace(written, "…")
    return error


def _texts(key: Any) -> Iterator[str]:
    """The texts in *key*: a prompt, a query and a passage, or those of a request in JSON."""
    if isinstance(key, dict):
        key = list(key.values())
    if isinstance(key, (list, tuple)):
        for each in key:
            yield from _texts(each)
    if not isinstance(key, str):
        return
    yield _clean(key)
    if key.lstrip()[:1] in ("{", "["):
        with suppress(ValueError, RecursionError):
            yield from _texts(json.loads(key))


def _clean(text: str) -> str:
    """*text* as UTF-8 can be written: a server's message may hold half a character."""
    return text.encode("utf-8", "replace").decode()
