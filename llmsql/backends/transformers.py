"""Run causal language models through transformers, in this process.

Takes a directory, a GGUF file or a Hugging Face id in the cache. In float32 a greedy or seeded
answer is the same alone and in any batch; in bfloat16 or float16 rounding differs with the batch.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from llmsql import sources, types
from llmsql.backends import base
from llmsql.errors import BackendError, GenerationError, OptionError
from llmsql.types import Completion, Kind, ModelSpec, Prompt, Usage

if TYPE_CHECKING:
    from llmsql.torch_models.decoding import Decoder
    from llmsql.torch_models.rows import Row
    from llmsql.torch_models.wording import Wording

JUDGE = (
    "Query: {query}\n\nPassage: {passage}\n\n"
    "Does the passage answer the query? Answer with yes or no only."
)
Asked = tuple[str | None, str]
Bits = Literal["4", "8", "true", "false"]


@dataclass(frozen=True)
class Options:
    """
    What RUN command AS LLM accepts for this backend.

    *quantization* is a number of bits ("true" is 4) and needs CUDA; *quatization* is the same, as
    older scripts spell it. *batch_size* rows run side by side, 0 chooses. *chat_template* is used
    instead of the model's own, *system_prompt* where a call gives none.
    """

    device: str = "auto"
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    quantization: Bits = "false"
    quatization: Bits = "false"
    llm_int8_threshold: float = 6.0
    context: int | None = None
    batch_size: int = 0
    chat_template: str | None = None
    system_prompt: str | None = None
    trust_remote_code: bool = False

    def __post_init__(self) -> None:
        if self.batch_size < 0:
            raise OptionError(f"batch_size must be 0 or more, not {self.batch_size}")
        if self.context is not None and self.context < 2:
            raise OptionError(f"context must be 2 or more, not {self.context}")

    @property
    def bits(self) -> int:
        """How many bits a weight is stored in, 0 for all of them."""
        given = self.quatization if self.quantization == "false" else self.quantization
        return {"4": 4, "8": 8, "true": 4}.get(given, 0)


@dataclass(frozen=True)
class Sampling(types.Sampling):
    """How an answer is drawn, with what transformers adds."""

    min_p: float = 0.0
    min_tokens: int = 0
    repetition_penalty: float = 1.0
    no_repeat_ngram_size: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.min_p <= 1:
            raise OptionError(f"min_p must be between 0 and 1, not {self.min_p}")
        if self.repetition_penalty <= 0:
            raise OptionError(f"repetition_penalty must be above 0, not {self.repetition_penalty}")


class Backend(base.Backend):
    """Causal language models in PyTorch."""

    options = Options
    sampling = Sampling
    kinds = ("chat", "rerank")
    extra = "transformers"
    modules = ("torch", "transformers")

    def kind_of(self, path: str, model_type: str) -> Kind:
        """Read it from the model's files."""
        return sources.kind_of(path)

    def load(self, spec: ModelSpec) -> base.Model:
        """Load the model onto the GPU where there is one; a GGUF file is converted on first use."""
        self.require()
        path = spec.path or sources.locate(spec.source)
        sources.check(path)
        _check_causal(spec.source or path, path)
        return _loaded(spec, path, spec.options or Options())


class Model(base.Model):
    """
    A causal language model.

    `generate` decodes. `rerank` asks the model whether the passage answers the query, and returns
    the log-odds of yes against no as its next word: 0 is undecided, and no decoding is needed.
    """

    def __init__(self, decoder: Decoder, wording: Wording, system: str | None = None) -> None:
        self.decoder: Decoder | None = decoder
        self.wording = wording
        self.system = system
        self.device = str(decoder.model.device)

    def generate(self, prompts: Sequence[Prompt]) -> base.Answered:
        """Yield the completion of each prompt, the first to end first."""
        samplings = [prompt.sampling for prompt in prompts]
        asked: list[Asked] = [(p.sampling.system or self.system, p.text) for p in prompts]
        rows = yield from self._rows(asked, samplings)
        for row in self._ready().run(rows):
            usage = Usage(len(row.prompt), len(row.written), row.cached)
            yield row.index, row.error or Completion(row.text, row.finish or "stop", usage)

    def rerank(self, pairs: Sequence[tuple[str, str]]) -> base.Scored:
        """Yield the log-odds of yes against no for each (query, passage)."""
        asked: list[Asked] = [(None, JUDGE.format(query=q, passage=p)) for q, p in pairs]
        rows = yield from self._rows(asked, [types.Sampling(max_tokens=1)] * len(pairs))
        yes, no = self.wording.word("yes"), self.wording.word("no")
        for row, scores in self._ready().score(rows):
            if scores is None:
                yield row.index, row.error or GenerationError("the passage was not scored")
            else:
                yield row.index, float(scores[yes].logsumexp(0) - scores[no].logsumexp(0))

    def unload(self) -> None:
        """Free the weights and what was cached of prompts."""
        from llmsql.torch_models import placement

        self.decoder = None
        placement.release()

    def _ready(self) -> Decoder:
        if self.decoder is None:
            raise BackendError("this model was unloaded")
        return self.decoder

    def _rows(
        self, asked: list[Asked], samplings: list[types.Sampling]
    ) -> Generator[tuple[int, GenerationError], None, list[Row]]:
        """Yield the rows that cannot be asked, and return the others."""
        from llmsql.torch_models.rows import Row

        rows: list[Row] = []
        for index, tokens in enumerate(self.wording.tokens(asked)):
            if isinstance(tokens, GenerationError):
                yield index, tokens
                continue
            sampling = samplings[index]
            limit = min(sampling.max_tokens, self.wording.context - len(tokens))
            ends = self.wording.ending(sampling)
            rows.append(Row(index, tokens, sampling, limit, ends, self.wording.text))
        return rows


def _check_causal(source: str, path: str) -> None:
    try:
        kind = sources.kind_of(path)
    except BackendError:  # not known from its files; loading tells
        return
    if kind != "chat":
        raise BackendError(
            f'"{source}" does not write text, it is for {kind}; this backend runs causal models\n'
            "  set infer_backend='sentence_transformers'"
        )


def _loaded(spec: ModelSpec, path: str, options: Options) -> Model:
    import torch

    from llmsql.torch_models import loading, placement
    from llmsql.torch_models.decoding import Decoder
    from llmsql.torch_models.wording import Wording

    device = placement.device(options.device)
    dtype = placement.dtype(options.dtype, device)
    place = loading.Place(
        device,
        dtype,
        placement.quantization(options.bits, options.llm_int8_threshold, device, dtype),
        trust_remote_code=options.trust_remote_code,
        is_spread=spec.gpus > 1,
    )
    model, tokenizer = loading.load(spec.source or path, path, place)
    if device.type == "cuda":
        # Half of what the weights left: the other half is for the steps themselves.
        slots, step_tokens, memory = 256, 8192, torch.cuda.mem_get_info(device)[0] // 2
    else:
        slots, step_tokens, memory = 64, 256, 2 << 30
    decoder = Decoder(
        model, slots=options.batch_size or slots, step_tokens=step_tokens, memory=memory
    )
    wording = Wording(model, tokenizer, template=options.chat_template, context=options.context)
    return Model(decoder, wording, options.system_prompt)
