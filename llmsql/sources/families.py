"""The model types of Byzer-LLM: what each says a model is for. Spec B05, B06.

A type that names a backend (saas/openai, debug) is that backend's; the types here are of models on
this machine, which any backend may run that can.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from llmsql.types import Kind

PREFIX = "custom/"
AUTO = "custom/auto"


@dataclass(frozen=True)
class Family:
    """
    What a model type says: the *kind*, or nothing, and the *options* that were its defaults.

    *purpose* is what a model is for that nothing here can run.
    """

    kind: Kind | None = None
    options: Mapping[str, str] = field(default_factory=dict)
    purpose: str = ""


_CHAT = Family("chat")
FAMILIES: dict[str, Family] = {
    "auto": Family(),
    **dict.fromkeys(
        "llama llama2 qwen chatglm chatglm2 chatglm6b moss alpha_moss dolly falcon starcode"
        " baichuan baichuan2 zephyr".split(),
        _CHAT,
    ),
    "bge": Family("emb"),
    "m3e": Family("emb", {"normalize": "false"}),
    "bge_rerank": Family("rerank"),
    "visualglm": Family(purpose="answers about images"),
    "qwen_vl_chat": Family(purpose="answers about images"),
    "stable_diffusion": Family(purpose="images"),
    "bark": Family(purpose="speech from text"),
    "whisper": Family(purpose="text from speech"),
    "qa": Family(purpose="answers from an index of documents"),
}
"""Each type without `custom/`, which may be left out."""


def find(model_type: str) -> Family | None:
    """Return what *model_type* says, None where it is no type of Byzer-LLM."""
    return FAMILIES.get(model_type.lower().removeprefix(PREFIX))


def names() -> list[str]:
    """Every type that can be deployed, as scripts write it."""
    return [PREFIX + name for name, family in FAMILIES.items() if not family.purpose]
