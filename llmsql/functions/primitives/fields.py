"""`llm_fields(instruction, fields)`: a prompt of an instruction and the fields of a STRUCT.

Calls no model. Knows how such a prompt is written: the instruction, an empty line, the fields as
one JSON object. In which order the fields stand, once there are many rows, is `runtime/orders`'
business; until that is known, as they are given.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

from llmsql.errors import OptionError
from llmsql.functions import columns as read
from llmsql.functions.caller import caller_of, told
from llmsql.functions.columns import Column
from llmsql.runtime.collector import Collector, Site
from llmsql.runtime.engine import Engine
from llmsql.runtime.orders import ARROW_LOSES, NAME, Form

_LOSES = re.compile(ARROW_LOSES)

MOST_FORMS = 32
"""A chunk with more instructions than this has one for each row, not one for all."""


class Function:
    """An instruction and a STRUCT in, a prompt out; NULL where one of them is."""

    name = called = NAME
    inputs = ("instruction",)
    signatures = (("instruction", "fields"),)
    siblings = ()
    takes_requests = False
    answer_type = return_type = "VARCHAR"

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def __call__(self, *columns: Column) -> Any:
        """Write the prompts of one chunk. DuckDB calls this, from several threads."""
        collector, site, arguments = caller_of(self.engine, columns)
        with told(collector):
            is_tagged = len(arguments) < len(columns)
            if len(arguments) != 2 + is_tagged:
                raise OptionError(
                    f"{NAME}(instruction, fields) is what there is, not {len(arguments)} arguments"
                )
            instruction, *given = arguments
            return self._prompts(instruction, [*map(_whole, given)], collector, site)

    def _prompts(
        self, instruction: Column, given: Sequence[Any], collector: Collector, site: Site
    ) -> Any:
        """The prompts as an Arrow array; NULL for now where an order is to be chosen first."""
        import pyarrow.compute as pc

        fields = given[0]
        if pa.types.is_null(fields.type):
            return pa.nulls(len(fields), pa.string())
        names = _names(fields.type)
        texts = pa.array(read.texts(instruction), pa.string())
        cells = _as_json(*given)
        chosen = _Chosen(texts, names)
        for form, rows in chosen.forms():
            chosen.orders.append(self._order(form, rows, cells, collector, site))
        prompts = chosen.written(cells)
        return pc.if_else(fields.is_valid(), prompts, pa.scalar(None, pa.string()))

    def _order(
        self, form: Form, rows: Any, cells: Sequence[Any], collector: Collector, site: Site
    ) -> tuple[str, ...] | None:
        """The order of the fields of *form*, whose *rows* have *cells*; None to be chosen first."""
        conditions, open_forms = collector.account.conditions, collector.open_forms
        if not conditions.orders_fields or open_forms.is_as_given(form):
            return form.names
        known = self.engine.orders.known(form, conditions.kept)
        if known or rows is None or not collector.can_wait:
            return known or form.names
        collector.defer(form, site, [cell.take(rows) for cell in cells])
        return None


class _Chosen:
    """The forms of a chunk, and in which order the fields of each stand."""

    def __init__(self, texts: Any, names: tuple[str, ...]) -> None:
        self.texts = texts
        self.names = names
        encoded = texts.dictionary_encode()
        self.ids = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False)
        self.instructions = encoded.dictionary.to_pylist()
        self.orders: list[tuple[str, ...] | None] = []

    def forms(self) -> Iterator[tuple[Form, Any]]:
        """Yield each form with its rows; None for them where there are too many to look at each."""
        is_few = len(self.instructions) <= MOST_FORMS
        for number, text in enumerate(self.instructions):
            rows = pa.array(np.flatnonzero(self.ids == number)) if is_few else None
            yield Form(text, self.names), rows

    def written(self, cells: Sequence[Any]) -> Any:
        """The prompts of all rows, those of one order together."""
        kinds = {order: number for number, order in enumerate(dict.fromkeys(self.orders))}
        if len(kinds) < 2:
            return self._written(self.texts, cells, next(iter(kinds), self.names))
        kind = np.array([*(kinds[order] for order in self.orders), 0])[self.ids]
        rows = [np.flatnonzero(kind == number) for number in kinds.values()]
        parts = [
            self._written(self.texts.take(at), [cell.take(at) for cell in cells], order)
            for order, at in zip(kinds, map(pa.array, rows), strict=True)
        ]
        return pa.concat_arrays(parts).take(pa.array(np.argsort(np.concatenate(rows))))

    def _written(self, texts: Any, cells: Sequence[Any], order: tuple[str, ...] | None) -> Any:
        """The prompts of rows of one *order*, NULL for now where there is none."""
        import pyarrow.compute as pc

        if order is None:
            return pa.nulls(len(texts), pa.string())
        parts: list[Any] = [texts]
        between = "\n\n{"
        for name in order:
            label = json.dumps(name, ensure_ascii=False)
            parts += [f"{between}{label}: ", cells[self.names.index(name)]]
            between = ", "
        return pc.binary_join_element_wise(*parts, "}", "")


def _whole(fields: Column) -> Any:
    return fields.combine_chunks() if isinstance(fields, pa.ChunkedArray) else fields


def _names(kind: Any) -> tuple[str, ...]:
    """The names of the fields; raises OptionError for what is no STRUCT with names."""
    names = tuple(field.name for field in kind) if pa.types.is_struct(kind) else ()
    if not names or "" in names:
        raise OptionError(
            f"the fields of {NAME}() are a STRUCT with names, not {_named(kind)}\n"
            f"  for example: {NAME}('Is this a complaint?', {{'title': title, 'body': body}})"
        )
    return names


def _named(kind: Any) -> str:
    """What *kind*, an Arrow type, is called in SQL."""
    if pa.types.is_struct(kind):
        return "one without"
    if pa.types.is_map(kind):
        return "a MAP"
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return "a list"
    return "a text" if pa.types.is_string(kind) else "a value"


def _as_json(fields: Any, spelled: Any = None) -> list[Any]:
    """Each field of *fields*, an array of structs, as an array of JSON texts.

    *spelled* has the SQL type of all, and their values as JSON; NULL where Arrow loses nothing.
    """
    import pyarrow.compute as pc

    count, lost = fields.type.num_fields, frozenset[int]()
    if spelled is not None and spelled.null_count < len(spelled):
        lost = _lost(spelled.field("type")[0].as_py(), count)
    return [
        pc.list_element(spelled.field("values"), number).fill_null("null")
        if number in lost
        else read.as_json(fields.field(number))
        for number in range(count)
    ]


@lru_cache(maxsize=64)
def _lost(kind: str, count: int) -> frozenset[int]:
    """The places of those of *count* fields of the SQL type *kind* that Arrow would lose."""
    try:
        fields = duckdb.sqltype(kind).children
    except duckdb.Error:  # one of them is of an extension's type, which is unknown here
        return frozenset(range(count))
    return frozenset(at for at, (_, each) in enumerate(fields) if _LOSES.search(str(each)))
