"""The keys of `RUN command AS LLM`: what each means, how else it is spelled, whose it is.

Owns names. What the values mean is `choice`'s business, and the backend's.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from llmsql import generation
from llmsql.errors import StatementError, suggestion

OWN = {
    "action": "what to do: infer",
    "udfName": "the name of the SQL function",
    "pretrainedModelType": "the type of the model: custom/auto, custom/llama2, saas/openai, …",
    "localModelDir": "a directory, a GGUF file, a packaged name or a Hugging Face id",
    "baseModelDir": "the model that an adapter in localModelDir belongs to, where it does not say",
    "kind": "chat, emb or rerank, where neither the type nor the files say it",
    "infer_backend": "the backend, where the best installed one is not wanted",
    "config": "a YAML or JSON file of keys like these; those of the statement count first",
    "devices": "the number of the CUDA device; -1 leaves the choice to the backend",
    "num_gpus": "GPUs for the model, 0 for the CPU",
    "maxConcurrency": "replicas",
    "workerMaxConcurrency": "requests in flight for each replica",
    "reconnect": "true: offer a model that the database remembers, without loading it",
    "modelTable": "accepted: models are read from localModelDir",
    "localPathPrefix": "accepted: models are read where they are",
    "modelWaitServerReadyTimeout": "accepted: a model is loaded when the statement returns",
    "dataWaitServerReadyTimeout": "accepted: there is no server to wait for",
    "debugMode": "accepted",
    "sourceSchema": "accepted: a model's function says its own types",
    "outputSchema": "accepted: a model's function says its own types",
}
"""The keys of the statement itself; every other key is an option of the backend."""

OTHER_SPELLINGS = {
    "model": "modelTable",
    "gpus_per_worker": "num_gpus",
    "num_workers": "maxConcurrency",
    "worker_concurrency": "workerMaxConcurrency",
}
WITHOUT_EFFECT = (
    "localPathPrefix modelWaitServerReadyTimeout dataWaitServerReadyTimeout debugMode sourceSchema"
    " outputSchema".split()
)

OTHER_OPTIONS = {
    "longcontextmode": "long_context",
    "normalize_embeddings": "normalize",
    "n_ctx": "context",
    "context_window": "context",
    "num_gpu_layers": "n_gpu_layers",
    "ngl": "n_gpu_layers",
    "override_chat_template": "chat_template",
}
"""Options of backends, folded, as Byzer-LLM and Kuwa spell them, and what they are called here."""

OPTIONS_WITHOUT_EFFECT = frozenset(
    {"use_cache", "message_format", "infermode", "use_fp16", "swap_space", "worker_use_ray"}
)
"""Options of Byzer-LLM, folded, that are accepted where the backend has no such option."""


@dataclass(frozen=True)
class Keys:
    """What a statement or a file says: its *own* keys, *options* of the backend, *defaults*."""

    own: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    defaults: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, pairs: Mapping[str, Any]) -> Keys:
        """Sort *pairs*; raises StatementError for a key that is given twice."""
        by_folded = {key.lower(): key for key in OWN} | OTHER_SPELLINGS
        own: dict[str, str] = {}
        options: dict[str, Any] = {}
        defaults: dict[str, Any] = {}
        for key, value in pairs.items():
            name = by_folded.get(key.lower())
            if name in own:
                raise StatementError(f'the key "{name}" is given twice')
            if name:
                own[name] = value if isinstance(value, str) else json.dumps(value)
            elif prefix := _prefix(key):
                # Where a request may carry an option of the backend, a deployment can have it.
                is_option = key[len(prefix) :].lower() in OTHER_OPTIONS
                (options if is_option else defaults)[key[len(prefix) * is_option :]] = value
            else:
                options[key] = value
        return cls(own, options, generation.ours(defaults))

    def over(self, lower: Keys) -> Keys:
        """Return these keys, and those of *lower* that are not among them."""
        return Keys(
            {**lower.own, **self.own},
            {**lower.options, **self.options},
            {**lower.defaults, **self.defaults},
        )


def option_name(key: str, prefix: str, known: Collection[str]) -> str:
    """*key* without the backend's *prefix*, which it may have, as one of *known* if it is one."""
    for each in (prefix, "backend."):
        if key.lower().startswith(each):
            key = key[len(each) :]
            break
    other = OTHER_OPTIONS.get(key.lower(), "")
    return other if other in known else key.lower() if key.lower() in known else key


def misspelt(key: str, options: Iterable[str]) -> str:
    """`; did you mean …?` where one of *options* is nearly the statement's own *key*."""
    near = next((name for name in options if suggestion(name, [key])), None)
    return f'; did you mean "{key}" by "{near}"?' if near else ""


def _prefix(key: str) -> str:
    return next((p for p in generation.PREFIXES if key.lower().startswith(p)), "")
