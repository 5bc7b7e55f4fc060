"""What is asked of vLLM's engine, in tokens, and what its outputs mean, by what a model is for.

Lives in vLLM's process. Tokens are made here, so that what is counted is what is read.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

import numpy as np

from llmsql.backends.transformers import JUDGE
from llmsql.backends.vllm.options import Options, Sampling
from llmsql.backends.vllm.order import Order
from llmsql.errors import BackendError, GenerationError
from llmsql.torch_models.wording import Asked, Wording
from llmsql.types import Completion, Measured, Message, Prompt, Usage


@dataclass(frozen=True)
class Request:
    """A prompt in tokens, vLLM's parameters for it, and how its output is read."""

    tokens: list[int]
    parameters: Any
    read: Callable[[Any], Any]


Requests = list[Request | GenerationError]


class Asking:
    """How a model is asked; what it can do is which methods it has."""

    dimension: int | None = None
    has_template = False

    def __init__(self, order: Order, llm: Any) -> None:
        self.options: Options = order.options
        self.tokenizer = llm.get_tokenizer()
        self.context: int = llm.model_config.max_model_len

    def count(self, inputs: Sequence[Any]) -> list[int]:
        """Return the tokens that are read of each input, 0 for one that is refused."""
        raise NotImplementedError

    def tokenize(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the tokens of each text alone."""
        return [self.tokenizer(text, verbose=False)["input_ids"] for text in texts]

    def rendered(self, messages: Sequence[Message]) -> str:
        """Return *messages* as the chat template writes them."""
        raise BackendError("this model has no chat template of its own")


class Chat(Asking):
    """A model that writes; it ranks by the log-odds of yes against no as its next word."""

    def __init__(self, order: Order, llm: Any) -> None:
        super().__init__(order, llm)
        text = SimpleNamespace(max_position_embeddings=self.context)
        model = SimpleNamespace(
            config=SimpleNamespace(get_text_config=lambda: text),
            generation_config=SimpleNamespace(
                eos_token_id=llm.model_config.try_get_generation_config().get("eos_token_id")
            ),
        )
        template = _template(self.options, self.tokenizer)
        self.wording = Wording(model, self.tokenizer, template=template, context=self.context)
        self.has_template = bool(self.wording.template)
        self.cuts = self.options.preset.cuts if self.options.preset else ()

    def generate(self, prompts: Sequence[Prompt]) -> Requests:
        """Return the request of each prompt, or why it cannot be asked."""
        started = time.perf_counter()
        found = self.wording.tokens([self._asked(prompt) for prompt in prompts])
        return [
            tokens
            if isinstance(tokens, GenerationError)
            else Request(
                tokens,
                self._parameters(prompt.sampling, len(tokens)),
                lambda output: _completion(output, started),
            )
            for prompt, tokens in zip(prompts, found, strict=True)
        ]

    def rerank(self, pairs: Sequence[tuple[str, str]]) -> Requests:
        """Return the request of each pair, which reads one token of the answer."""
        from vllm import SamplingParams

        yes, no = self.wording.word("yes"), self.wording.word("no")
        parameters = SamplingParams(
            temperature=0, max_tokens=1, logprob_token_ids=[*yes, *no], detokenize=False
        )
        return [
            tokens
            if isinstance(tokens, GenerationError)
            else Request(tokens, parameters, lambda output: _odds(output, yes, no))
            for tokens in self.wording.tokens(list(map(_judged, pairs)))
        ]

    def count(self, inputs: Sequence[Any]) -> list[int]:
        """Return the tokens of each prompt or pair as the template writes it."""
        asked = [self._asked(one) if isinstance(one, Prompt) else _judged(one) for one in inputs]
        found = self.wording.tokens(asked)
        return [0 if isinstance(tokens, GenerationError) else len(tokens) for tokens in found]

    def rendered(self, messages: Sequence[Message]) -> str:
        """Return *messages* as the chat template writes them."""
        return self.wording.rendered(messages)

    def _asked(self, prompt: Prompt) -> Asked:
        system = prompt.sampling.system or self.options.system_prompt
        return Asked(system, prompt.text, prompt.history, prompt.roles)

    def _parameters(self, sampling: Any, read: int) -> Any:
        """What vLLM takes for *sampling*, of a prompt of which *read* tokens are read."""
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind, StructuredOutputsParams

        names = "temperature top_p top_k seed".split()
        more: dict[str, Any] = {}
        if isinstance(sampling, Sampling):
            names += (
                "min_p min_tokens presence_penalty frequency_penalty repetition_penalty"
                " ignore_eos logprobs".split()
            )
            if sampling.form:
                more["structured_outputs"] = StructuredOutputsParams(**sampling.form)
        stop = sampling.stop + self.cuts
        ends = self.wording.ending(replace(sampling, stop=stop)) - self.wording.ends
        return SamplingParams(
            **{name: getattr(sampling, name) for name in names},
            **more,
            stop=list(stop),
            stop_token_ids=sorted(ends.union(getattr(sampling, "stop_token_ids", ()))),
            max_tokens=min(sampling.max_tokens, self.context - read),
            output_kind=RequestOutputKind.FINAL_ONLY,
        )


class Vectors(Asking):
    """A model that makes vectors, cut to `dimensions` and, unless told otherwise, of length 1."""

    def __init__(self, order: Order, llm: Any) -> None:
        super().__init__(order, llm)
        width = llm.model_config.embedding_size
        self.dimension = self.options.dimensions or width
        if self.dimension > width:
            raise BackendError(f"dimensions is {self.dimension}, but the model makes {width}")

    def embed(self, texts: Sequence[str]) -> Requests:
        """Return the request of each text."""
        from vllm import PoolingParams

        parameters = PoolingParams(task="embed", use_activation=False)
        return [Request(tokens, parameters, self._vector) for tokens in self._tokens(texts)]

    def count(self, inputs: Sequence[str]) -> list[int]:
        """Return the tokens of each text, with its prompt and after it is cut."""
        return list(map(len, self._tokens(inputs)))

    def _tokens(self, texts: Sequence[str]) -> list[list[int]]:
        if not texts:
            return []
        found = self.tokenizer(
            [(self.options.prompt or "") + text for text in texts],
            truncation=True,
            max_length=self.context,
            verbose=False,
        )["input_ids"]
        return [tokens or [self.tokenizer.eos_token_id or 0] for tokens in found]

    def _vector(self, output: Any) -> Measured[np.ndarray] | GenerationError:
        vector = output.outputs.data.float().numpy()[: self.dimension]
        if not math.isfinite(vector.sum()):
            return GenerationError(
                "the model's numbers overflow on this text\n  deploy it with dtype='float32'"
            )
        if self.options.normalize:
            vector = vector / max(float(np.linalg.norm(vector)), 1e-12)
        return Measured(np.asarray(vector, np.float32), _usage(output))


class Pairs(Asking):
    """A cross-encoder: it reads query and passage together, and gives its raw score."""

    def rerank(self, pairs: Sequence[tuple[str, str]]) -> Requests:
        """Return the request of each pair."""
        return [Request(tokens, _pooling(types), _score) for tokens, types in self._tokens(pairs)]

    def count(self, inputs: Sequence[tuple[str, str]]) -> list[int]:
        """Return the tokens of each pair, read as one, after it is cut."""
        return [len(tokens) for tokens, _ in self._tokens(inputs)]

    def _tokens(self, pairs: Sequence[tuple[str, str]]) -> list[tuple[list[int], list[int] | None]]:
        if not pairs:
            return []
        queries, passages = map(list, zip(*pairs, strict=True))
        found = self.tokenizer(
            queries, passages, truncation=True, max_length=self.context, verbose=False
        )
        types = found.get("token_type_ids") or [None] * len(pairs)
        return list(zip(found["input_ids"], types, strict=True))


def of_kind(order: Order, llm: Any) -> Asking:
    """Return how the model of *order* is asked."""
    if order.kind == "chat" or (order.kind, order.own_kind) == ("rerank", "chat"):
        return Chat(order, llm)
    return Vectors(order, llm) if order.kind == "emb" else Pairs(order, llm)


def _template(options: Options, tokenizer: Any) -> str | None:
    """The chat template to use instead of the model's own; a format's text begins as any does."""
    if options.preset is None:
        return options.chat_template
    start, jinja = tokenizer.bos_token, options.preset.jinja
    begins = tokenizer("")["input_ids"][:1] == [tokenizer.bos_token_id]
    is_missing = start and begins and not options.preset.user.startswith(start)
    return "{{ bos_token }}" + jinja if is_missing else jinja


def _judged(pair: tuple[str, str]) -> Asked:
    query, passage = pair
    return Asked(None, JUDGE.format(query=query, passage=passage))


def _usage(output: Any, written: int = 0) -> Usage:
    return Usage(len(output.prompt_token_ids), written, max(0, output.num_cached_tokens or 0))


def _completion(output: Any, started: float) -> Completion | GenerationError:
    (answer,) = output.outputs
    if answer.finish_reason not in ("stop", "length"):
        return GenerationError(f"vLLM gave up this prompt ({answer.finish_reason})")
    first = getattr(output.metrics, "first_token_latency", None)
    return Completion(
        answer.text,
        answer.finish_reason,
        _usage(output, len(answer.token_ids)),
        seconds=time.perf_counter() - started,
        first_token_seconds=first,
        prob=answer.cumulative_logprob,
    )


def _odds(output: Any, yes: Sequence[int], no: Sequence[int]) -> Measured[float]:
    (scores,) = output.outputs[0].logprobs

    def sum_of(tokens: Sequence[int]) -> float:
        return float(np.logaddexp.reduce([scores[token].logprob for token in tokens]))

    return Measured(sum_of(yes) - sum_of(no), _usage(output))


def _pooling(types: Sequence[int] | None) -> Any:
    """vLLM's parameters of a pair whose second text begins where *types* turn to 1."""
    from vllm import PoolingParams

    begin = None if types is None else list(types).index(1) if 1 in types else len(types)
    more = {} if begin is None else {"extra_kwargs": {"compressed_token_type_ids": begin}}
    return PoolingParams(task="classify", use_activation=False, **more)


def _score(output: Any) -> Measured[float] | GenerationError:
    (score,) = output.outputs.data.float().reshape(-1).tolist()
    if not math.isfinite(score):
        return GenerationError(
            "the model's numbers overflow on this pair\n  deploy it with dtype='float32'"
        )
    return Measured(score, _usage(output))
