"""On what conditions the statements of a session run: its caps, its store, whom it tells.

Owns what the settings say of that. What one statement does under them is its account's business.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from typing import Any

from llmsql.config import CACHE_OFF, Settings
from llmsql.errors import StatementError
from llmsql.runtime.caps import Caps
from llmsql.runtime.progress import Observer
from llmsql.runtime.spent import Spent
from llmsql.runtime.stores import Stores
from llmsql.store import Store


@dataclass
class Conditions:
    """On what conditions the statements of a session run, and what they have spent together."""

    stores: Stores
    cache: str = ""
    cache_size: int | None = None
    limits_store: bool = True  # False for whoever has no settings
    caps: Caps = Caps()
    total_caps: Caps = Caps()
    spent: Spent = field(default_factory=Spent)
    confirm_calls: int = 10_000
    keeps_prompts: bool = False
    orders_fields: bool = True
    on_progress: Observer | None = None
    confirm: Callable[[str], bool] | None = None
    explained: Sequence[Any] = ()
    _thread: threading.local = field(default_factory=threading.local)

    @contextmanager
    def telling(self) -> Iterator[None]:
        """While somebody is told or asked something, who may not use the connection for that."""
        self._thread.is_telling = True
        try:
            yield
        finally:
            self._thread.is_telling = False

    def refuse_telling(self) -> None:
        """Raise StatementError in the thread that is telling somebody how far its statement is."""
        if getattr(self._thread, "is_telling", False):
            raise StatementError(
                "this connection runs the statement that it tells of\n"
                "  con.cursor() makes another one, to be used meanwhile"
            )

    def under(self, settings: Settings) -> Conditions:
        """The same conditions under other *settings*; what was spent stays spent."""
        return replace(
            self,
            cache=settings.cache,
            cache_size=settings.cache_bytes,
            caps=_caps(settings, "max_"),
            total_caps=_caps(settings, "total_max_"),
            confirm_calls=settings.confirm_calls,
            keeps_prompts=settings.record_prompts,
            orders_fields=settings.order_fields,
        )

    @property
    def kept(self) -> Store:
        """Where answers are kept; opened at the first use."""
        return self._opened(self.cache)

    @property
    def store(self) -> Store:
        """Where records and sums are kept: beside the answers, and also where no answer is kept."""
        return self._opened("" if self.cache.lower() in CACHE_OFF else self.cache)

    def _opened(self, cache: str) -> Store:
        store = self.stores.at(cache)
        if self.limits_store:
            store.max_bytes = self.cache_size
        return store


def _caps(settings: Settings, prefix: str) -> Caps:
    return Caps(**{f.name: getattr(settings, prefix + f.name) for f in fields(Caps)})
