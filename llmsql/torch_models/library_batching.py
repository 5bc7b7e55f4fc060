"""Greedy rows by transformers' own continuous batching, where that is faster than our loop.

Its pages of keys and values and its graphs are made for GPUs; on a CPU it is several times slower.
Which of the two is faster on a GPU, the first large set tells: some of its rows go each way. Rows
that are drawn or penalised, small sets, and whatever the library leaves undone are our loop's.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, Literal

import torch

from llmsql.errors import BackendError, warn
from llmsql.torch_models.decoding import Decoder
from llmsql.torch_models.drawing import is_greedy
from llmsql.torch_models.rows import Row

Wanted = Literal["auto", "true", "false"]

_PAGE = 256  # tokens, as the library has them
_PATIENCE = 30.0  # seconds that the step in hand may take when a statement is given up


class LibraryBatching(Decoder):
    """
    A causal model of whose rows the library decodes those that it can.

    It does where that is *wanted*, with "auto" where it has been seen to be faster: *is_faster* is
    None until that is known.
    """

    def __init__(self, model: Any, *, wanted: Wanted = "auto", **room: Any) -> None:
        super().__init__(model, **room)
        can = self.is_attention and _is_batched(model)
        self.least = 1 if wanted == "true" else self.slots  # a session takes its time to begin
        if wanted == "true" and not can:
            raise BackendError(
                f"transformers does not batch {type(model).__name__} continuously\n"
                "  leave out the option continuous_batching"
            )
        is_open = wanted == "auto" and model.device.type == "cuda" and can
        self.is_faster: bool | None = None if is_open else wanted == "true"

    def run(self, rows: Sequence[Row]) -> Iterator[Row]:
        """Yield each of *rows* as soon as it has its `finish` or its `error`."""
        greedy = [row for row in rows if is_greedy(row.sampling)]
        if self.is_faster is None and len(greedy) >= 4 * self.slots:
            yield from self._compare(greedy[: self.slots], greedy[self.slots : 2 * self.slots])
        left = [row for row in greedy if not _is_done(row)]
        if self.is_faster and len(left) >= self.least:
            yield from self._by_library(left)
        yield from super().run([row for row in rows if not _is_done(row)])

    def _compare(self, some: Sequence[Row], others: Sequence[Row]) -> Iterator[Row]:
        """Yield *some* and *others*, decoded in the two ways, and note which was faster."""
        library = yield from self._by_library(others)
        own = yield from _paced(super().run(some))
        self.is_faster = library < own

    def _by_library(self, rows: Sequence[Row]) -> Generator[Row, None, float]:
        """Yield those of *rows* that the library answers; returns its seconds for each token.

        How long it takes to begin is among them. Where it fails, our loop goes on from where it
        came to, and with all sets to come.
        """
        started = time.perf_counter()
        try:
            with self._session(rows) as manager:
                begun = time.perf_counter() - started
                return (yield from _paced(self._answered(manager, rows), begun))
        except Exception as error:
            self.is_faster = False
            warn(
                f"transformers' continuous batching failed, rows go on without it: {error}\n"
                "  continuous_batching='false' does not try it"
            )
            return float("inf")

    def _answered(self, manager: Any, rows: Sequence[Row]) -> Iterator[Row]:
        """Yield those of *rows* that *manager* answers; BackendError where it failed for one."""
        by_id = {str(number): row for number, row in enumerate(rows)}
        for name, row in by_id.items():
            manager.add_request(
                row.prompt,
                request_id=name,
                max_new_tokens=row.limit,
                eos_token_id=sorted(row.ends),
                streaming=bool(row.sampling.stop),  # else a row is heard of when it ends
                record_timestamps=True,
            )
        failed = ""
        for output in manager:
            if output.request_id not in by_id:
                continue
            row = by_id[output.request_id]
            is_over = output.is_finished()
            failed = output.error or failed
            if not (output.error or any(value != value for value in output.logprobs)):  # NaN
                _take(row, output)
            if _is_done(row) and not is_over:
                manager.cancel_request(output.request_id)
            if is_over or _is_done(row):
                del by_id[output.request_id]
            if _is_done(row):
                yield row
            if not by_id:
                break
        if by_id or failed:
            raise BackendError(failed or "its thread has ended")

    @contextmanager
    def _session(self, rows: Sequence[Row]) -> Iterator[Any]:
        """The library's manager with room for *rows*, running; then the model is our loop's."""
        from transformers import GenerationConfig

        attention = self.model.config._attn_implementation
        with ExitStack() as leaving:
            leaving.callback(self._restore, attention)
            manager = self.model.init_continuous_batching(
                generation_config=GenerationConfig(do_sample=False, eos_token_id=-1),
                continuous_batching_config=self._room(rows),
            )
            leaving.callback(manager.destroy)
            leaving.callback(manager.stop, block=True, timeout=_PATIENCE, hard_stop=True)
            manager.warmup()
            manager.start()
            yield manager

    def _restore(self, attention: str) -> None:
        """Give the model its *attention* back, which a manager that never started does not."""
        if self.model.config._attn_implementation != attention:
            self.model.set_attn_implementation(attention)

    def _room(self, rows: Sequence[Row]) -> Any:
        """What the library may use: as many pages as fill our memory, or as *rows* can need."""
        from transformers.generation.configuration_utils import ContinuousBatchingConfig

        if not self.bytes_per_token:
            with torch.inference_mode():
                self._read(rows[:1], 0)
        each = max(row.longest for row in rows) // _PAGE + 1
        affordable = self.memory // (self.bytes_per_token * _PAGE)
        return ContinuousBatchingConfig(
            page_size=_PAGE,
            num_blocks=max(each, min(affordable, each * self.slots)),
            max_batch_tokens=max(self.step_tokens, self.slots),
            max_requests_per_batch=self.slots,
            return_logprobs=True,
        )


def _is_batched(model: Any) -> bool:
    """True where the library's pages work; of others it gives wrong answers, with no error.

    All its pages lie on one device.
    """
    has_it = hasattr(model, "init_continuous_batching")
    places = set(map(str, (getattr(model, "hf_device_map", None) or {}).values()))
    return has_it and len(places) < 2 and bool(model.is_backend_compatible())


def _is_done(row: Row) -> bool:
    return bool(row.finish or row.error)


def _take(row: Row, output: Any) -> None:
    """Give *row* what is new in *output*, as far as it needs it."""
    row.began = row.began or next(iter(output.timestamps), None)
    for token in output.generated_tokens[len(row.written) :]:
        if not row.finish:
            row.take(token)


def _paced(rows: Iterator[Row], seconds: float = 0.0) -> Generator[Row, None, float]:
    """Yield *rows*, and return the seconds of each of their tokens, *seconds* before them too."""
    tokens = 0
    while True:
        started = time.perf_counter()
        row = next(rows, None)
        seconds += time.perf_counter() - started
        if row is None:
            return seconds / tokens if tokens else float("inf")
        tokens += len(row.tokens)
        yield row
