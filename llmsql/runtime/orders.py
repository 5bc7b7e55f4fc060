"""In which order the fields of prompts stand: chosen with the first set of rows, and then kept.

A `Form` is an instruction and the names of the fields that go with it. Its order is kept with the
answers, as they hold for the prompt as it was read: whoever finds those must write it alike. Which
order is best is `ordering`'s business, and how a prompt is written that of the SQL function.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from llmsql.store import Entry, Group, Store

if TYPE_CHECKING:
    from llmsql.ordering.cells import Column

NAME = "llm_fields"
"""The function that makes such prompts; its orders are kept under this name, like a model's."""

ARROW_LOSES = r"\b(BIT|JSON|TIME WITH TIME ZONE|UHUGEINT|VARIANT)\b"
"""Types whose values are others in Arrow, or text there, as JSON is: DuckDB spells such fields."""

LEAST_ROWS = 32
"""Fewer rows say too little to decide for all that come; theirs stay in the order given."""

SAMPLE_ROWS = 32_768
SAMPLE_BYTES = 128 << 20

_GROUP = Group.of(NAME, {"orders": 1})


class Form(NamedTuple):
    """An instruction, and the names of the fields in the order in which the user gives them."""

    instruction: str
    names: tuple[str, ...]

    @property
    def identity(self) -> tuple[str, ...]:
        """What the order belongs to, however the fields are given."""
        return (self.instruction, *sorted(self.names))


class Orders:
    """The orders that one database knows, for each store that it keeps answers in."""

    def __init__(self) -> None:
        self._known: dict[tuple[object, tuple[str, ...]], tuple[str, ...]] = {}
        self._lock = threading.Lock()

    def known(self, form: Form, store: Store) -> tuple[str, ...] | None:
        """Return the names of *form* in the order that was chosen, if one was."""
        place = (store.path, form.identity)
        known = self._known.get(place)
        if known is None:
            key = _GROUP.key(form.identity)
            kept = store.get(_GROUP, [key]).get(key)
            names = _names(kept.value) if kept else ()
            if sorted(names) != sorted(form.names):
                return None
            with self._lock:
                known = self._known.setdefault(place, names)
        return known

    def keep(self, form: Form, names: Sequence[str], store: Store) -> None:
        """Let *names* be the order of *form* from now on, unless another process was faster.

        It is durable before this returns, and so before anything that depends on it.
        """
        store.put(_GROUP, _GROUP.key(form.identity), Entry(json.dumps(list(names))))
        store.flush()
        if self.known(form, store) is None:  # nothing is kept on disk
            with self._lock:
                self._known.setdefault((store.path, form.identity), tuple(names))

    def forget(self) -> None:
        """Forget the orders that are known in memory, as those of the store are cleared."""
        with self._lock:
            self._known.clear()


class OpenForms:
    """The forms that a statement has met and that have no order, with rows to choose it by."""

    def __init__(self) -> None:
        self._samples: dict[Form, _Sample] = {}
        self._as_given: set[Form] = set()
        self._lock = threading.Lock()

    def clear(self) -> None:
        """Forget the rows: another pass begins, in which they may be others."""
        self._samples.clear()

    def is_as_given(self, form: Form) -> bool:
        """True where the statement writes the fields of *form* as they are given."""
        return form in self._as_given

    def note(self, form: Form, rank: int, fields: Sequence[Any]) -> None:
        """Note rows of *form*, each of its *fields* an Arrow array of JSON, met at *rank*."""
        with self._lock:
            self._samples.setdefault(form, _Sample(rank)).add(rank, fields)

    def decide(self, orders: Orders, store: Store, ranks: Sequence[int]) -> bool:
        """Choose the order of every form that waits for none of *ranks*; False if that is none."""
        ready = [form for form, sample in self._samples.items() if sample.is_before(ranks)]
        self._decide(ready, orders, store)
        return bool(ready)

    def decide_early(self, orders: Orders, store: Store, ranks: Sequence[int], last: int) -> bool:
        """Choose the order of every form met up to the rank *last*; False if that is none.

        One that waits for any of *ranks* stays as given: its rows are asked a few at a time, and
        never all known.
        """
        early = [form for form, sample in self._samples.items() if sample.rank <= last]
        ready = [form for form in early if self._samples[form].is_before(ranks)]
        self._as_given.update(set(early).difference(ready))
        self._decide(ready, orders, store)
        return bool(early)

    def _decide(self, forms: Sequence[Form], orders: Orders, store: Store) -> None:
        for form in forms:
            sample = self._samples.pop(form)
            names = sample.best(form) if sample.rows >= LEAST_ROWS else None
            if names is None:
                self._as_given.add(form)
            else:
                orders.keep(form, names, store)


class _Sample:
    """Some rows of a form, as far as there is room."""

    def __init__(self, rank: int) -> None:
        self.rank = rank
        self.rows = 0
        self._bytes = 0
        self._chunks: list[Sequence[Any]] = []

    def add(self, rank: int, fields: Sequence[Any]) -> None:
        self.rank = min(self.rank, rank)
        if self.rows < SAMPLE_ROWS and self._bytes < SAMPLE_BYTES:
            self.rows += len(fields[0])
            self._bytes += sum(field.nbytes for field in fields)
            self._chunks.append(fields)

    def is_before(self, ranks: Sequence[int]) -> bool:
        """True where its rows wait for none of *ranks*."""
        return all(self.rank < rank for rank in ranks)

    def best(self, form: Form) -> list[str]:
        """The names of *form* in the order that lets these rows share most."""
        from llmsql.ordering.fields import best_order

        columns = [self._column(name, place) for place, name in enumerate(form.names)]
        return [form.names[place] for place in best_order(columns)]

    def _column(self, name: str, place: int) -> Column:
        import pyarrow as pa

        from llmsql.ordering.cells import Column

        return Column.of(name, pa.chunked_array([fields[place] for fields in self._chunks]))


def _names(text: Any) -> tuple[str, ...]:
    """The names that the store kept as *text*; none where it is something else."""
    try:
        found = json.loads(text)
    except (TypeError, ValueError):
        return ()
    return tuple(map(str, found)) if isinstance(found, list) else ()
