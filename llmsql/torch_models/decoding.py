"""The decoding loop: as many rows side by side as memory allows, each leaving when it is done.

Free places are filled from the rows that wait, so that a few long answers do not hold up the rest.
What all prompts share at their start is read once, and so is what enough of them share. The
library's own `generate` keeps every row to the end of the longest; its continuous batching, several
times slower on a CPU, is `library_batching`'s.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch

from llmsql.errors import GenerationError
from llmsql.torch_models import placement, verdicts
from llmsql.torch_models.batch import Batch, filled, flush_right
from llmsql.torch_models.drawing import draw
from llmsql.torch_models.rows import Row
from llmsql.torch_models.starts import Waiting, common_start

# A shorter start costs more to copy into every row than to read again.
_WORTH_SHARING = 8

# Two steps more, in tokens: a GPU reads so many in the time that it takes to begin.
_OVERHEAD = {"cpu": 64}
_OVERHEAD_ELSEWHERE = 2_048


class Decoder:
    """
    A causal model that answers rows.

    *slots* rows run side by side, *step_tokens* are read in one step at most (longer prompts in
    pieces), *memory* bytes of keys and values are kept. Where memory runs out all the same, the
    first two are halved and the rows go on from where they were. *forward* runs a step, where that
    is not the model's own business.
    """

    def __init__(
        self,
        model: Any,
        *,
        slots: int,
        step_tokens: int,
        memory: int,
        forward: Callable[..., Any] | None = None,
    ) -> None:
        from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

        self.model = model
        self.forward = forward or model
        self.step_tokens = step_tokens
        self.memory = memory
        self.bytes_per_token = 0
        accepted = inspect.signature(model.forward).parameters
        self.cache_name = "cache_params" if "cache_params" in accepted else "past_key_values"
        self.takes_positions = "position_ids" in accepted
        self.extra = {"logits_to_keep": 1} if "logits_to_keep" in accepted else {}
        layers = _cache(model.config).layers
        # States that are no keys and values (Mamba and its kin) cannot be padded or taken apart.
        self.is_attention = all(
            type(layer) in (DynamicLayer, DynamicSlidingWindowLayer) for layer in layers
        )
        windows = [layer.sliding_window for layer in layers if hasattr(layer, "sliding_window")]
        self.window = min(windows, default=None)
        self.slots = slots if self.is_attention else 1
        self.being_written = 0  # tokens of rows that have not ended
        self.prefix: list[int] = []  # of all rows
        self.prefix_cache: Any = None
        self.start: list[int] = []  # of the family in hand
        self.start_cache: Any = None

    def run(self, rows: Sequence[Row]) -> Iterator[Row]:
        """Yield each of *rows* as soon as it has its `finish` or its `error`."""
        try:
            yield from self._run(self._shared(rows))
        finally:
            self.being_written = 0

    def _run(self, waiting: Waiting) -> Iterator[Row]:
        batch: Batch | None = None
        while waiting or batch:
            start = waiting.first.start
            group = self._admitted(waiting, batch)
            rows = group + (batch.rows if batch else [])
            try:
                with torch.inference_mode():
                    batch = self._step(group, start, batch)
            except (RuntimeError, MemoryError) as error:
                batch = None
                yield from self._retreat(error, rows, waiting)
                continue
            self.being_written = sum(len(row.written) for row in batch.rows) if batch else 0
            yield from (row for row in rows if row.finish)

    def _step(self, group: list[Row], start: int, batch: Batch | None) -> Batch | None:
        """Read *group*, or else write one token of *batch*; nothing outlives it but the batch.

        Of that rows that are done are no part any more.
        """
        if group:
            read, scores = self._read(group, start)
            batch = read.joined(batch)  # before anything is taken: memory may run out
            _take(group, scores)
        elif batch:
            _take(batch.rows, self._write(batch))
        return batch and batch.unfinished()

    def score(
        self,
        rows: Sequence[Row],
        judge: Callable[[torch.Tensor], torch.Tensor],
        words: Sequence[int],
    ) -> Iterator[tuple[Row, float | None]]:
        """Yield each of *rows* with what *judge* makes of the scores of its next token.

        It is given those of several rows at a time, and reads those of *words*. None where a row
        has an `error`.
        """
        waiting = self._shared(rows)
        while waiting:
            start = waiting.first.start
            group = self._admitted(waiting, None)
            try:
                with torch.inference_mode(), verdicts.in_float32(self.model, words):
                    judged = judge(self._read(group, start)[1].float()).tolist()
            except (RuntimeError, MemoryError) as error:
                yield from ((row, None) for row in self._retreat(error, group, waiting))
                continue
            yield from zip(group, judged, strict=True)

    def _shared(self, rows: Sequence[Row]) -> Waiting:
        """Return *rows* as they will be read, when what all of them start with has been."""
        is_sharing = self.is_attention and len(rows) > 1
        if self.window and rows and max(row.longest for row in rows) > self.window:
            # The gap between a shared start and a padded rest would count into the window.
            is_sharing = False
        self._share(rows, is_sharing=is_sharing)
        overhead = _OVERHEAD.get(self.model.device.type, _OVERHEAD_ELSEWHERE)
        return Waiting(rows, len(self.prefix), overhead if is_sharing else None)

    def _share(self, rows: Sequence[Row], *, is_sharing: bool) -> None:
        """Read what all prompts start with, unless that is what was shared last."""
        prompts = [row.prompt for row in rows]
        size = common_start(prompts) if is_sharing else 0
        start = prompts[0][:size] if rows else []
        is_known = bool(self.prefix) and self.prefix == start
        self.start, self.start_cache = [], None
        if not is_known:
            self.prefix, self.prefix_cache = [], None
        if not is_known and size >= _WORTH_SHARING:
            cache = _cache(None)
            try:
                with torch.inference_mode():
                    self._forward_pieces(*flush_right([start], self.model.device), cache)
                self.prefix, self.prefix_cache = start, cache
            except (RuntimeError, MemoryError) as error:
                placement.check_memory(error)
        for row in rows:
            row.cached = len(self.prefix)
        if rows and not is_known:
            rows[0].cached = 0

    def _admitted(self, waiting: Waiting, batch: Batch | None) -> list[Row]:
        """Take from *waiting* what is to be read next; nothing while too few places are free."""
        family = waiting.first
        running = batch.rows if batch else []
        free = self.slots - len(running)
        if running and free < min(len(waiting), self.slots / 8):
            return []
        longest = max((row.longest for row in running), default=0)
        group: list[Row] = []
        width = 0
        while family.rows and len(group) < free:
            row = family.rows[0]
            width = max(width, len(row.tokens) - family.start)
            longest = max(longest, row.longest)
            count = len(group) + 1
            kept = (len(running) + count) * longest * self.bytes_per_token
            is_unknown = self.is_attention and not self.bytes_per_token  # one row will tell
            if (group and (is_unknown or count * width > self.step_tokens)) or (
                (group or running) and kept > self.memory
            ):
                break
            group.append(family.rows.popleft())
        return group

    def _read(self, group: Sequence[Row], shared: int) -> tuple[Batch, torch.Tensor]:
        """Read the prompts of *group*, which share a start of *shared* tokens.

        Returns them as a batch, and the scores of what follows.
        """
        known = self.prefix_cache
        if shared > len(self.prefix):
            known = self._begun(group, shared)
        cache, scores, mask = self._read_behind(known, shared, [row.tokens for row in group])
        if self.is_attention:
            size = sum(layer.keys.nbytes + layer.values.nbytes for layer in filled(cache))
            self.bytes_per_token = size // mask.numel()
        return Batch(list(group), cache, mask), scores

    def _begun(self, group: Sequence[Row], shared: int) -> Any:
        """The keys and values of what *group* starts with, read now unless they are there."""
        start = group[0].prompt[:shared]
        is_known = self.start == start
        if not is_known:
            self.start, self.start_cache = [], None
            cache, _, _ = self._read_behind(self.prefix_cache, len(self.prefix), [start])
            self.start, self.start_cache = start, cache
        for row in group if is_known else group[1:]:
            row.cached = shared
        return self.start_cache

    def _read_behind(
        self, known: Any, shared: int, tokens: Sequence[list[int]]
    ) -> tuple[Any, torch.Tensor, torch.Tensor]:
        """Read *tokens* behind the first *shared*, which are *known*: a cache, scores, a mask."""
        ids, mask = flush_right([each[shared:] for each in tokens], self.model.device)
        mask = torch.nn.functional.pad(mask, (shared, 0), value=1)
        cache = _cache(None if self.is_attention else self.model.config)
        for at, layer in enumerate(known.layers if shared else ()):
            if layer.is_initialized:
                repeated = (s.expand(len(tokens), -1, -1, -1) for s in (layer.keys, layer.values))
                cache.update(*repeated, at)
        return cache, self._forward_pieces(ids, mask, cache), mask

    def _write(self, batch: Batch) -> torch.Tensor:
        """Read the last token of each row; return the scores of the next."""
        ids = torch.tensor([[row.written[-1]] for row in batch.rows], device=self.model.device)
        batch.mask = torch.nn.functional.pad(batch.mask, (0, 1), value=1)
        return self._forward(ids, batch.mask, batch.cache)

    def _forward_pieces(self, ids: torch.Tensor, mask: torch.Tensor, cache: Any) -> torch.Tensor:
        """Run *ids*, a single long row in pieces so that no step is long."""
        width = ids.shape[1]
        piece = self.step_tokens if len(ids) == 1 and self.is_attention else width
        before = mask.shape[1] - width
        for start in range(0, width, piece):
            end = min(start + piece, width)
            scores = self._forward(ids[:, start:end], mask[:, : before + end], cache)
        return scores

    def _forward(self, ids: torch.Tensor, mask: torch.Tensor, cache: Any) -> torch.Tensor:
        given: dict[str, Any] = {self.cache_name: cache, **self.extra}
        if self.is_attention:  # other rows run alone, without padding to mask out
            given["attention_mask"] = mask
        if self.takes_positions:
            positions = (mask.cumsum(dim=-1) - 1).clamp(min=0)
            given["position_ids"] = positions[:, -ids.shape[1] :]
        found = self.forward(input_ids=ids, use_cache=True, **given)
        scores: torch.Tensor = found.logits[:, -1]
        return scores

    def _retreat(
        self, error: BaseException, stranded: list[Row], waiting: Waiting
    ) -> Iterator[Row]:
        """Put *stranded* rows back, to go on with half as many; yield one alone, and those done."""
        placement.check_memory(error)
        is_worth_another = len(stranded) > 1 or placement.goes_without_onednn(error)
        placement.release(error)
        left = [row for row in stranded if not row.finish]
        yield from (row for row in stranded if row.finish)
        if is_worth_another:
            self.slots = max(1, min(self.slots, len(stranded)) // 2)
            self.step_tokens = max(16, self.step_tokens // 2)
            if left:
                waiting.put_back(left)
            return
        for row in left:
            row.error = GenerationError(
                f"memory ran out on {self.model.device} at {len(row.tokens)} tokens, with no other "
                "row beside it\n  shorten the text, or ask for fewer max_tokens"
            )
            yield row


def _take(rows: Sequence[Row], scores: torch.Tensor) -> None:
    for row, token in zip(rows, draw(scores, rows), strict=True):
        if token is None:
            row.fail("the model's numbers overflowed\n  deploy it with dtype='float32'")
        else:
            row.take(token)


def _cache(config: Any) -> Any:
    from transformers import DynamicCache

    return DynamicCache(config=config)
