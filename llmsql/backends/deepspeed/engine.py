"""DeepSpeed's engine around a loaded model, and nothing of DeepSpeed beyond it.

It runs the model's own layers, whose linear ones it splits over several ranks. Its kernels keep
keys and values of their own, one batch at a time, which rows that come and go do not fit into; so
they are not asked for. The environment and standard output stay as they are.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

from llmsql.backends.transformers import assembly
from llmsql.backends.transformers.model import Model
from llmsql.errors import BackendError, first_line
from llmsql.torch_models import deepspeed_log
from llmsql.torch_models.loading import Place
from llmsql.types import ModelSpec


def loaded(spec: ModelSpec, path: str, adapter: str | None, options: Any, place: Place) -> Model:
    """Return the model at *path*, loaded to *place*, with DeepSpeed running its steps."""
    run = partial(engine, dtype=place.dtype, accelerator=place.device.type)
    return assembly.assembled(spec, path, adapter, options, place, engine=run)


def engine(model: Any, *, dtype: Any, accelerator: str, ranks: int = 1) -> Any:
    """Return what runs a step of *model*, of which each of *ranks* processes keeps its part.

    Raises BackendError where DeepSpeed cannot run it.
    """
    with _kept_environment(DS_ACCELERATOR=accelerator):
        deepspeed = imported()
        buffers = {name: b for name, b in model.named_buffers() if b.is_floating_point()}
        try:
            found = deepspeed.init_inference(
                model,
                dtype=dtype,
                tensor_parallel={"tp_size": ranks},
                replace_with_kernel_inject=False,
                keep_module_on_host=ranks == 1,  # it is where it belongs
            )
        except Exception as error:  # whatever it raises, every row fails
            raise BackendError(
                f"DeepSpeed cannot run this model: {first_line(error)}\n"
                "  set infer_backend='transformers'"
            ) from error
    _put_back(model, buffers)
    return found


def _put_back(model: Any, buffers: Mapping[str, Any]) -> None:
    """Undo what casting the whole model has done to its *buffers*.

    transformers keeps the frequencies of rotary positions in float32: in 16 bits, positions of
    some thousands are off by several. What was divided among ranks stays.
    """
    for name, buffer in buffers.items():
        owner, _, own = name.rpartition(".")
        with suppress(AttributeError):  # another module has taken its place
            owned = model.get_submodule(owner)._buffers
            if own in owned and owned[own].shape == buffer.shape:
                owned[own] = buffer.to(owned[own].device)


def imported() -> Any:
    """Return DeepSpeed; what it logs goes to stderr, unless somebody has imported it before."""
    with deepspeed_log.on_stderr():
        import deepspeed
    return deepspeed


@contextmanager
def _kept_environment(**said: str) -> Iterator[None]:
    """Add what the environment does not say, and put it back as it was afterwards."""
    before = dict(os.environ)
    for name, value in said.items():
        os.environ.setdefault(name, value)
    try:
        yield
    finally:
        for name in set(os.environ) - set(before):
            del os.environ[name]
        os.environ.update(before)
