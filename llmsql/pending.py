"""The result that is pending on a connection: how it is fetched, and made a relation of.

DuckDB may call models while rows are fetched. It gives no relation over a pending result, so one
is made of the rows that are there, typed and named as they are, which calls no model again.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Sequence
from threading import RLock
from typing import Any

import duckdb

from llmsql.runtime import outcome
from llmsql.runtime.interrupts import interruptible
from llmsql.runtime.session import Session
from llmsql.syntax import quote
from llmsql.syntax.kind import gives_rows
from llmsql.syntax.script import Piece

FETCHES = frozenset(
    "fetchone fetchmany fetchall fetchdf fetch_df fetch_df_chunk fetchnumpy df pl arrow"
    " fetch_arrow_table fetch_record_batch to_arrow_table to_arrow_reader torch tf".split()
)
_MATERIALIZES = hasattr(duckdb.DuckDBPyRelation, "materialize")  # from DuckDB 2.0 on
_MISUSED = duckdb.ProgrammingError
"""What DuckDB raises where there is nothing to be fetched, or not so."""
_LOSSY = re.compile(r"\b(BIT|U?HUGEINT|TIME WITH TIME ZONE|BIGNUM|VARIANT)\b")
"""Types that do not come through Arrow as they are."""


class Pending:
    """What the last statement of *session* left to be fetched, while *lock* is held."""

    def __init__(self, session: Session, lock: RLock) -> None:
        self._con = session.con
        self._session = session
        self._lock = lock

    def guarded(self, fetch: Callable[..., Any], owner: object = None) -> Callable[..., Any]:
        """*fetch*, raising what a model function raised while rows were streamed.

        It keeps *owner* alive: a cursor that nobody holds is closed, and its rows with it.
        """

        def guarded(*args: Any, **kwargs: Any) -> Any:
            session = self._session
            session.conditions.refuse_telling()
            with self._lock:
                try:
                    with interruptible(session.collector):
                        result = fetch(*args, **kwargs)
                except (duckdb.Error, RuntimeError, KeyboardInterrupt) as error:
                    original = session.raised(error)
                    if original is not error or not isinstance(error, _MISUSED):
                        session.finish(original)
                    if original is error:
                        raise
                    raise original from error.__cause__
                outcome.warn_of(session.collector)
                return result

        # wraps() would take as long as fetching a row does.
        guarded.__name__, guarded.__doc__ = fetch.__name__, fetch.__doc__
        guarded.__wrapped__, guarded.owner = fetch, owner  # type: ignore[attr-defined]
        return guarded

    def answering(self, pieces: Sequence[Piece]) -> int:
        """The place of the one of *pieces* whose result is to be fetched when all have run."""
        last = len(pieces) - 1
        if last < 1 or not _MATERIALIZES:
            return last
        giving = [at for at, piece in enumerate(pieces) if piece.is_ours or gives_rows(piece.text)]
        return giving[-1] if giving else last

    def drop(self) -> None:
        """Drop what a statement of ours returned: DuckDB 2.0 waits until it is fetched."""
        if self._session.rows_are_ours and hasattr(self._con, "abort"):
            self._con.abort()
        self._session.rows_are_ours = False

    def relation(self, alias: str) -> Any:
        """A relation over the rows, None where there are none."""
        relation = self._relation()
        return relation.set_alias(alias) if relation is not None and alias else relation

    def _relation(self) -> Any:
        con, query = self._con, self._session.result_query
        counts = self._session.gives_rows or _MATERIALIZES  # DuckDB 2.0 gives them as rows
        if query is None and (con.description is None or not counts):
            return None
        names, types = ([column[place] for column in con.description] for place in (0, 1))
        types = [*map(str, types)]
        repeats = len(set(map(str.lower, names))) < len(names)
        if query is not None and not repeats and _MATERIALIZES:
            con.abort()  # the pending result: the relation takes its place
            return con.sql(query).materialize()  # under other names where some repeat
        if query is not None and (repeats or _LOSSY.search(" ".join(types))):
            return con.sql(self._session.kept_result())
        return _from_arrow(con, names, types, self.guarded(lambda: _arrow(con))())


def _from_arrow(con: Any, names: list[str], types: list[str], rows: Any) -> Any:
    """*rows* under *names*, which may repeat, in DuckDB's own *types*."""
    relation = con.from_arrow(rows.rename_columns([f"c{index}" for index in range(len(names))]))
    items = []
    for index, (name, kind, held) in enumerate(zip(names, types, relation.types, strict=True)):
        cast = "" if str(held) == kind else f"::{kind}"  # types that need none may have no spelling
        items.append(f"c{index}{cast} AS {quote.identifier(name)}")
    return relation.project(", ".join(items)) if items else relation


def _arrow(con: Any) -> Any:
    """The pending result as an Arrow table."""
    with warnings.catch_warnings():
        # DuckDB 2.0 advises its users to take relations; for a result that is there it is too late.
        warnings.filterwarnings("ignore", "Arrow output on a DB-API result", UserWarning)
        return con.to_arrow_table()
