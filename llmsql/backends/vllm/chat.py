"""What is asked of a model that writes, and what its answers mean. Lives in vLLM's process."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np

from llmsql.backends.vllm.asking import Asking, Request, Requests, usage
from llmsql.backends.vllm.options import Sampling
from llmsql.backends.vllm.order import Order
from llmsql.errors import GenerationError
from llmsql.torch_models.wording import Asked, Wording, judging
from llmsql.types import Completion, Measured, Message, Prompt


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
        template = self.options.chat_format(self.tokenizer)
        self.wording = Wording(
            model,
            self.tokenizer,
            template=template,
            context=self.context,
            limit=self.options.limit,
            truncate=self.options.truncate,
        )
        self.has_template = bool(self.wording.template)
        self.cuts = self.options.cuts

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

        yes, no = self.wording.verdict()
        parameters = SamplingParams(
            temperature=0, max_tokens=1, logprob_token_ids=[*yes, *no], detokenize=False
        )
        return [
            tokens
            if isinstance(tokens, GenerationError)
            else Request(tokens, parameters, lambda output: _odds(output, yes, no))
            for tokens in self.wording.tokens(list(map(judging, pairs)))
        ]

    def count_tokens(self, inputs: Sequence[Any]) -> list[int]:
        """Return the tokens of each prompt or pair as the template writes it."""
        asked = [self._asked(one) if isinstance(one, Prompt) else judging(one) for one in inputs]
        found = self.wording.tokens(asked)
        return [0 if isinstance(tokens, GenerationError) else len(tokens) for tokens in found]

    def apply_chat_template(self, messages: Sequence[Message]) -> str:
        """Return *messages* as the chat template writes them."""
        return self.wording.rendered(messages)

    def _asked(self, prompt: Prompt) -> Asked:
        system = prompt.sampling.system or self.options.system_prompt
        answer = prompt.sampling.max_tokens
        return Asked(system, prompt.text, prompt.history, prompt.roles, answer)

    def _parameters(self, sampling: Any, read: int) -> Any:
        """What vLLM takes for *sampling*, of a prompt of which *read* tokens are read."""
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind, StructuredOutputsParams

        room = min(sampling.max_tokens, self.context - read)
        names = "temperature top_p top_k seed".split()
        more: dict[str, Any] = {}
        if isinstance(sampling, Sampling):
            names += (
                "min_p presence_penalty frequency_penalty repetition_penalty"
                " ignore_eos logprobs".split()
            )
            more["min_tokens"] = min(sampling.min_tokens, room)
            if sampling.form:
                more["structured_outputs"] = StructuredOutputsParams(**sampling.form)
        stop = sampling.stop + self.cuts
        ends = self.wording.ending(replace(sampling, stop=stop)) - self.wording.ends
        return SamplingParams(
            **{name: getattr(sampling, name) for name in names},
            **more,
            stop=list(stop),
            stop_token_ids=sorted(ends.union(getattr(sampling, "stop_token_ids", ()))),
            max_tokens=room,
            output_kind=RequestOutputKind.FINAL_ONLY,
        )


def _completion(output: Any, started: float) -> Completion | GenerationError:
    (answer,) = output.outputs
    if answer.finish_reason not in ("stop", "length"):
        return GenerationError(f"vLLM gave up this prompt ({answer.finish_reason})")
    first = getattr(output.metrics, "first_token_latency", None)
    return Completion(
        answer.text,
        answer.finish_reason,
        usage(output, len(answer.token_ids)),
        seconds=time.perf_counter() - started,
        first_token_seconds=first,
        prob=answer.cumulative_logprob,
    )


def _odds(output: Any, yes: Sequence[int], no: Sequence[int]) -> Measured[float] | GenerationError:
    (scores,) = output.outputs[0].logprobs

    def sum_of(tokens: Sequence[int]) -> float:
        return float(np.logaddexp.reduce([scores[token].logprob for token in tokens]))

    odds = sum_of(yes) - sum_of(no)
    if math.isnan(odds):
        return GenerationError("the passage was not scored")
    return Measured(odds, usage(output))
