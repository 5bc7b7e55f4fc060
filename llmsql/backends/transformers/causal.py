"""What backends of causal language models have in common, whichever library runs a step of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from llmsql import sources
from llmsql.backends import base
from llmsql.errors import BackendError
from llmsql.torch_models import numbers
from llmsql.torch_models.wording import JUDGE
from llmsql.types import Kind, ModelSpec


class Causal(base.Backend):
    """A backend whose options are those of `torch_models`, and whose models may be adapters."""

    def kind_of(self, path: str, model_type: str) -> Kind:
        """Read it from the model's files."""
        return sources.kind_of(sources.adapted(path)[0])

    def identity(self, spec: ModelSpec) -> Mapping[str, Any]:
        """Return what decides an answer: of a judge what it is asked, of an adapter its base too.

        The base model counts by its files. Where they are not here its name is all there is to say.
        """
        judge = JUDGE if spec.kind == "rerank" else None
        known: dict[str, Any] = {**super().identity(spec), "judge": judge}
        files = base.place(spec)
        if not files:
            return known
        try:
            path, adapter = sources.adapted(files, self.options_of(spec).base_model)
        except BackendError:
            return known
        known["options"].pop("base_model")
        return {**known, "base": sources.fingerprint(path) if adapter else None}

    def deciding(self, options: Any) -> dict[str, Any]:
        """Return the options that change answers: a template counts by its text."""
        return {
            **super().deciding(options),
            "device": numbers.deciding_device(options.dtype, options.device),
            "template": asdict(options.preset) if options.preset else None,
        }


def located(spec: ModelSpec, base_model: str | None) -> tuple[str, str | None]:
    """Return where the model of *spec* is, and its adapter; BackendError where files are wrong."""
    path, adapter = sources.adapted(spec.path or sources.locate(spec.source), base_model)
    sources.check(path)
    if adapter:
        sources.adapters.check(adapter)
    return path, adapter
