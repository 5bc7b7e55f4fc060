"""What a backend is: it loads a model, and the model answers batches.

Order, repetition, storing, retries by row and NULLs are the runtime's business. A backend
translates its library's errors in its own file: BackendError where every row would fail,
GenerationError for one. What has processes of its own for its models is in `hosted`.
"""

from __future__ import annotations

import importlib.util
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from llmsql import sources
from llmsql.errors import BackendError, GenerationError
from llmsql.types import (
    Completion,
    Disclosure,
    Kind,
    Measured,
    Message,
    ModelSpec,
    Prompt,
    Sampling,
    read_options,
)

Answered = Iterator[tuple[int, Completion | GenerationError]]
Embedded = Iterator[tuple[int, np.ndarray | Measured[np.ndarray] | GenerationError]]
Scored = Iterator[tuple[int, float | Measured[float] | GenerationError]]


META: Mapping[str, Any] = {
    "max_model_len": -1,
    "architectures": (),
    "support_stream": False,
    "support_chat_template": False,
}
"""What a model says of itself where it says nothing: -1 tokens are as many as one likes."""


@dataclass(frozen=True)
class NoOptions:
    """A backend that takes no options of its own."""


PATIENCE_SECONDS = 30.0
"""So long does what a server has in hand have to arrive when something else went wrong."""


class Model:
    """A loaded model. What it can do is which of the three methods it overrides.

    Each method takes the whole batch, makes its own micro-batches, and yields every index exactly
    once, in any order, each as soon as it is ready: with the result, or with the GenerationError of
    that row. It may be closed (`GeneratorExit`) between two results. One call runs at a time.
    A vector or a score may come as `Measured`, from a model that knows what it cost.
    `note` is what whoever deploys the model should be told, where there is something.
    """

    device: str = "cpu"
    dimension: int | None = None
    note: str = ""

    @property
    def being_written(self) -> int:
        """How many tokens there are of answers that have not ended yet, where that is known."""
        return 0

    @property
    def retrying(self) -> int:
        """How many requests wait to be sent again, where a server was asked."""
        return 0

    def generate(self, prompts: Sequence[Prompt]) -> Answered:
        """Yield the completion of each prompt."""
        raise BackendError("this model does not answer prompts")

    def embed(self, texts: Sequence[str]) -> Embedded:
        """Yield the vector of each text: float32, length `dimension`."""
        raise BackendError("this model does not make embeddings")

    def rerank(self, pairs: Sequence[tuple[str, str]]) -> Scored:
        """Yield the relevance of the passage to the query of each pair, higher is better."""
        raise BackendError("this model does not score passages")

    def wind_up(self, seconds: float) -> bool:
        """Begin nothing more of the call that runs, and end it in so many *seconds* at the latest.

        For a model whose inputs in hand are paid for anyway; False where closing the call will do.
        """
        return False

    def count_tokens(self, inputs: Sequence[Any]) -> list[int] | None:
        """Return how many tokens the model would read for each input, as its usage will say.

        *inputs* are what the method of its kind takes: prompts, texts, or pairs. One that it would
        refuse counts 0. None where only a server knows; nothing is sent to find out.
        """
        return None

    def tokenize(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the tokens of each text, as the model's tokenizer numbers them."""
        raise BackendError("this model does not show its tokens")

    def apply_chat_template(self, messages: Sequence[Message]) -> str:
        """Return *messages* as the model reads them, up to where its answer begins."""
        raise BackendError("this model has no chat template of its own")

    def meta(self) -> Mapping[str, Any]:
        """Return what the model tells of itself, for `META` and beyond it."""
        return {}

    def unload(self) -> None:
        """Free memory, processes and connections. Called once, also after an error."""


class Backend(ABC):
    """One way to run models. Made once, without importing the library it wraps."""

    name: str
    options: ClassVar[type[Any]] = NoOptions
    sampling: ClassVar[type[Sampling]] = Sampling
    kinds: ClassVar[tuple[Kind, ...]] = ("chat",)
    file_kinds: ClassVar[tuple[Kind, ...]] = ()  # what it loads, where it makes more of it
    file_formats: ClassVar[tuple[str, ...]] = ("directory",)  # of "directory" and "gguf"
    preference: ClassVar[int] = 0  # the least is chosen where several can run a model
    other_names: ClassVar[tuple[str, ...]] = ()  # what infer_backend may call it too
    model_types: ClassVar[tuple[str, ...]] = ()
    extra: ClassVar[str] = ""
    modules: ClassVar[tuple[str, ...]] = ()
    is_remote: ClassVar[bool] = False
    needs_source: ClassVar[bool] = True
    option_prefix: ClassVar[str] = "backend."
    paced: ClassVar[frozenset[str]] = frozenset()
    """The options that only change how fast an answer comes or where it is made: all others count
    in `identity`, a new one too."""

    @property
    def is_installed(self) -> bool:
        """True when every library it wraps can be imported."""
        return all(importlib.util.find_spec(module) for module in self.modules)

    def require(self) -> None:
        """Raise BackendError naming the extra to install unless `is_installed`."""
        missing = [m for m in self.modules if not importlib.util.find_spec(m)]
        if missing:
            raise BackendError(
                f'backend "{self.name}" needs {", ".join(missing)}, not installed here\n'
                f"  pip install 'duckdb-llmsql[{self.extra}]'"
            )

    def kind_of(self, path: str, model_type: str) -> Kind:
        """What a model at *path* is when the user did not say; remote backends go by the name."""
        return self.kinds[0]

    def volunteers(self, path: str, said: Mapping[str, Any]) -> bool:
        """Return whether it may run the files at *path* where nobody asks for it by name.

        *said* are the options that it would be told, as the user spells them.
        """
        return True

    def discloses(self, spec: ModelSpec) -> Sequence[Disclosure]:
        """Return what the model of *spec* tells others that only the environment knows."""
        return ()

    @abstractmethod
    def load(self, spec: ModelSpec) -> Model:
        """Load the model; raises BackendError saying what is wrong with the source."""

    def identity(self, spec: ModelSpec) -> Mapping[str, Any]:
        """Return what decides an answer of *spec* besides the input and the sampling, for JSON.

        Equal ones answer alike; what names the deployment, and what is secret, is left out. Nothing
        is loaded: files count by their content, or by the name of the source where there are none.
        What is left to the hardware ("auto") counts as that word. A model type counts where it is
        one of the backend's own. Raises OptionError for options that cannot be read.
        """
        files = sources.fingerprint(place(spec))
        return {
            "backend": self.name,
            "kind": spec.kind,
            "model_type": spec.model_type if spec.model_type in self.model_types else None,
            "files": files or None,
            "source": None if files else spec.source,
            "options": self.deciding(self.options_of(spec)),
        }

    def options_of(self, spec: ModelSpec) -> Any:
        """Return the options of *spec*, which the catalog may have left as a mapping."""
        if isinstance(spec.options, self.options):
            return spec.options
        return read_options(self.options, spec.options or {}, owner=f'backend "{self.name}"')

    def decides(self, names: Iterable[str]) -> bool:
        """Return whether one of the options *names* changes answers; a key does not."""
        known = {o.name for o in fields(self.options) if o.repr and o.name not in self.paced}
        return not known.isdisjoint(names)

    def deciding(self, options: Any) -> dict[str, Any]:
        """Return those of *options* that change answers: neither paced nor secret."""
        return {
            option.name: getattr(options, option.name)
            for option in fields(options)
            if option.repr and option.name not in self.paced
        }


def place(spec: ModelSpec) -> str:
    """Return where the files of *spec* are now, which may have moved since; empty for none."""
    if not spec.path or Path(spec.path).exists():
        return spec.path
    try:
        return sources.locate(spec.source or spec.path)
    except BackendError:
        return ""
