"""One of the processes that share a model: loads its part, then does what all are told.

Whatever decides which rows take part in a step has to come out alike in every rank, or they wait
for each other. Its other end is `ranks`.
"""

from __future__ import annotations

import os
import traceback
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from multiprocessing.connection import Connection
from typing import Any

import torch

from llmsql.backends.deepspeed import engine
from llmsql.backends.deepspeed.ranks import Order
from llmsql.backends.transformers import assembly
from llmsql.backends.transformers.model import Model
from llmsql.errors import BackendError, LlmsqlError, first_line
from llmsql.torch_models import placement
from llmsql.torch_models.batch import Batch
from llmsql.torch_models.decoding import Decoder
from llmsql.torch_models.rows import Row


def main(handle: int) -> None:
    """Serve what comes through *handle* until the other end says so, or is gone."""
    with Connection(handle) as connection, suppress(EOFError, OSError):
        part = Part()
        while (call := connection.recv()) is not None:
            number, name, arguments = call
            answer: Any
            try:
                answer = [(0, getattr(part, name)(*arguments))]
            except Exception as error:  # whatever the library raises, the others must not wait
                traceback.print_exc()
                is_ours = isinstance(error, LlmsqlError)
                answer = error if is_ours else BackendError(first_line(error))
            connection.send((number, answer))


class Part:
    """This rank's part of the model, and the call that it is in the middle of."""

    def __init__(self) -> None:
        self.model: Model
        self.running: Iterator[Any] = iter(())

    def load(self, order: Order) -> None:
        """Load the part."""
        self.model = _loaded(order)

    def begin(self, method: str, items: Sequence[Any]) -> None:
        """Begin a call of *method*; nothing is computed yet."""
        self.running = iter(getattr(self.model, method)(items))

    def next(self) -> Any:
        """Return the next result, as soon as it is there."""
        return next(self.running)

    def close(self) -> None:
        """Give up what is left of the call."""
        getattr(self.running, "close", lambda: None)()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.model, name)


class Together(Decoder):
    """A decoder that admits as many rows as every other rank does."""

    def __init__(self, model: Any, **others: Any) -> None:
        super().__init__(model, **others)
        self.memory = _agreed(self.memory, model.device, is_most=False)

    def _read(self, group: Sequence[Row], shared: int) -> tuple[Batch, torch.Tensor]:
        found = super()._read(group, shared)
        # Heads that cannot be split evenly take different room in each rank.
        self.bytes_per_token = _agreed(self.bytes_per_token, self.model.device, is_most=True)
        return found

    def _retreat(self, error: BaseException, *rows: Any) -> Iterator[Row]:
        placement.check_memory(error)
        # The other ranks are in the middle of the step, or past it.
        raise BackendError(
            "memory ran out in one of the ranks of DeepSpeed\n"
            "  set a smaller batch_size, or use more num_gpus"
        ) from error


def _loaded(order: Order) -> Model:
    from torch import distributed

    is_cuda, rank = order.accelerator == "cuda", int(os.environ["RANK"])
    if is_cuda:
        torch.cuda.set_device(rank)
    engine.imported().ops.__compatible_ops__ = {}  # or it compiles an operator for minutes
    distributed.init_process_group(
        "nccl" if is_cuda else "gloo",
        init_method=f"file://{order.meeting}",
        rank=rank,
        world_size=order.ranks,
    )
    place = assembly.place(order.spec, order.options)
    # DeepSpeed moves its part to the GPU: no GPU has to hold the whole.
    return assembly.assembled(
        order.spec,
        order.path,
        order.adapter,
        order.options,
        replace(place, device=torch.device("cpu"), gpus=1),
        engine=partial(
            engine.engine, dtype=place.dtype, accelerator=order.accelerator, ranks=order.ranks
        ),
        make_decoder=Together,
    )


def _agreed(number: int, device: torch.device, *, is_most: bool) -> int:
    """Return the largest *number* that a rank has, or the smallest."""
    from torch import distributed

    told = torch.tensor([number], device=device)
    operator = distributed.ReduceOp.MAX if is_most else distributed.ReduceOp.MIN
    distributed.all_reduce(told, op=operator)
    return int(told.item())
