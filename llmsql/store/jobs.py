"""What waits to be written to a store, and the one transaction that writes it.

Owns what of it replaces or cancels what. When it is written is the writer's business.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, field

from llmsql.store import records, results, running, usage
from llmsql.store.entry import Group
from llmsql.store.records import Batch


@dataclass
class Limits:
    """How much is kept: of answers in bytes, None for any number; of records of each kind."""

    max_bytes: int | None = None
    max_records: int = records.DEFAULT_MAX_RECORDS


@dataclass(frozen=True, slots=True)
class Answer:
    """An entry as it will be written."""

    group: Group
    statement: bytes | None
    body: bytes


@dataclass
class Jobs:
    """Answers by key, statements that ended, marks of use, batches, sums, and what runs now.

    *size* is in bytes.
    """

    answers: dict[bytes, Answer] = field(default_factory=dict)
    ended: set[bytes] = field(default_factory=set)
    marks: list[str] = field(default_factory=list)
    groups: dict[bytes, Group] = field(default_factory=dict)
    batches: list[Batch] = field(default_factory=list)
    counted: dict[usage.Place, usage.Sums] = field(default_factory=dict)
    shown: dict[int, bytes | None] = field(default_factory=dict)
    size: int = 0

    def __bool__(self) -> bool:
        answers = self.answers or self.ended or self.marks or self.groups
        return bool(answers or self.batches or self.counted or self.shown)

    def put(self, key: bytes, answer: Answer) -> None:
        """Add an answer; the first of a key stays."""
        if key not in self.answers:
            self.answers[key] = answer
            self.size += len(answer.body)

    def append(self, batch: Batch) -> None:
        """Add a batch of records."""
        self.batches.append(batch)
        self.size += len(batch.body)

    def end(self, statement: bytes) -> None:
        """Cancel the answers of *statement*, and have those in the file deleted."""
        self.ended.add(statement)
        self._cancel(lambda answer: answer.statement == statement)

    def forget(self, model: str | None) -> int:
        """Cancel the answers of the model of this name, or all; how many they were."""
        return self._cancel(lambda answer: model in (None, answer.group.model))

    def _cancel(self, is_meant: Callable[[Answer], bool]) -> int:
        keys = [key for key, answer in self.answers.items() if is_meant(answer)]
        self.size -= sum(len(self.answers.pop(key).body) for key in keys)
        return len(keys)

    def mark(self, group: Group, marks: list[str]) -> None:
        """Have *group*, and the entries numbered *marks*, noted as used."""
        self.groups[group.digest] = group
        self.marks += marks

    def count(self, place: usage.Place, sums: usage.Sums) -> None:
        """Add *sums* to those of *place*."""
        self.counted[place] = usage.added(self.counted.get(place, {}), sums)

    def show(self, statement: int, row: bytes | None) -> None:
        """Have *row* stand for the running *statement*, or nothing where it has ended."""
        self.shown[statement] = row

    def followed_by(self, later: Jobs) -> Jobs:
        """These, which could not be written, and those that came *later*."""
        for statement in later.ended:
            self.end(statement)
        for key, answer in later.answers.items():
            self.put(key, answer)
        for batch in later.batches:
            self.append(batch)
        for place, sums in later.counted.items():
            self.count(place, sums)
        self.marks += later.marks
        self.groups.update(later.groups)
        self.shown.update(later.shown)
        return self

    def commit(self, connection: sqlite3.Connection, limits: Limits, *, has_answers: bool) -> None:
        """Write it all, in a transaction that has begun; no answers where the file has none."""
        if has_answers:
            self._commit_answers(connection, limits)
        if self.batches:
            records.write(connection, self.batches, limits.max_records)
        if self.counted:
            usage.write(connection, self.counted)
        if self.shown and has_answers:
            running.write(connection, self.shown)

    def _commit_answers(self, connection: sqlite3.Connection, limits: Limits) -> None:
        connection.execute("UPDATE state SET tick = tick + 1")
        for statement in self.ended:
            results.delete(connection, "statement = ?", (statement,))
        results.mark(connection, self.marks, self.groups.values())
        alike: dict[tuple[bytes, bytes | None], tuple[Group, dict[bytes, bytes]]] = {}
        for key, answer in self.answers.items():
            of = alike.setdefault((answer.group.digest, answer.statement), (answer.group, {}))
            of[1][key] = answer.body
        for (_, owner), (group, bodies) in alike.items():
            results.write(connection, group, owner, bodies)
        if limits.max_bytes is not None and self.answers:
            results.evict(connection, limits.max_bytes)
