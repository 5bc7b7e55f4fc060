"""Run causal language models through transformers, in this process.

Takes a directory, a GGUF file or a Hugging Face id in the cache. In float32 a greedy or seeded
answer is the same alone and in any batch; in bfloat16 or float16 rounding differs with the batch.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from llmsql import sources, templates, types
from llmsql.backends import base
from llmsql.errors import BackendError, GenerationError, OptionError
from llmsql.types import Completion, Kind, Message, ModelSpec, Prompt, Usage

if TYPE_CHECKING:
    from llmsql.torch_models.decoding import Decoder
    from llmsql.torch_models.rows import Row
    from llmsql.torch_models.wording import Asked, Wording

JUDGE = (
    "Query: {query}\n\nPassage: {passage}\n\n"
    "Does the passage answer the query? Answer with yes or no only."
)
EMBEDDING_TOKENS = 2048
Bits = Literal["4", "8", "true", "false"]


@dataclass(frozen=True)
class Options:
    """
    What RUN command AS LLM accepts for this backend.

    *quantization* is a number of bits ("true" is 4) and needs CUDA; *quatization* is the same, as
    older scripts spell it. *batch_size* rows run side by side, 0 chooses. *template* names a chat
    format, *chat_template* is one; without them the model's own is used, as with "auto".
    *system_prompt* is used where a call gives none. *base_model* is the model that an adapter
    belongs to, *long_context* stretches a rotary model to 16384 tokens.
    """

    device: str = "auto"
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    quantization: Bits = "false"
    quatization: Bits = "false"
    llm_int8_threshold: float = 6.0
    context: int | None = None
    batch_size: int = 0
    template: str | None = None
    chat_template: str | None = None
    system_prompt: str | None = None
    trust_remote_code: bool = False
    base_model: str | None = None
    long_context: bool = False

    def __post_init__(self) -> None:
        if self.batch_size < 0:
            raise OptionError(f"batch_size must be 0 or more, not {self.batch_size}")
        if self.context is not None and self.context < 2:
            raise OptionError(f"context must be 2 or more, not {self.context}")
        if self.preset and self.chat_template:
            raise OptionError("give template or chat_template, not both")

    @property
    def preset(self) -> templates.Template | None:
        """The chat format that *template* names."""
        return templates.find(self.template)

    @property
    def generation(self) -> Mapping[str, Any]:
        """What every call has where neither it nor the deployment says otherwise."""
        return self.preset.generation if self.preset else {}

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
    stop_token_ids: tuple[int, ...] = ()

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
    file_kinds = ("chat",)
    extra = "transformers"
    modules = ("torch", "transformers")

    def kind_of(self, path: str, model_type: str) -> Kind:
        """Read it from the model's files."""
        return sources.kind_of(sources.adapted(path)[0])

    def load(self, spec: ModelSpec) -> base.Model:
        """Load the model onto the GPU where there is one; a GGUF file is converted on first use."""
        self.require()
        options: Options = spec.options or Options()
        path = spec.path or sources.locate(spec.source)
        path, adapter = sources.adapted(path, options.base_model)
        sources.check(path)
        if adapter:
            sources.adapters.check(adapter)
        _check_causal(spec.source or path, path)
        return _loaded(spec, path, adapter, options)


class Model(base.Model):
    """
    A causal language model.

    `generate` decodes. `rerank` asks the model whether the passage answers the query, and returns
    the log-odds of yes against no as its next word: 0 is undecided, and no decoding is needed.
    `embed` pools what it has read of a text.
    """

    def __init__(
        self,
        decoder: Decoder,
        wording: Wording,
        system: str | None = None,
        cuts: tuple[str, ...] = (),
    ) -> None:
        self.decoder: Decoder | None = decoder
        self.wording = wording
        self.system = system
        self.cuts = cuts
        self.device = str(decoder.model.device)

    def generate(self, prompts: Sequence[Prompt]) -> base.Answered:
        """Yield the completion of each prompt, the first to end first."""
        from llmsql.torch_models.wording import Asked

        started = time.perf_counter()
        samplings = [self._cut(prompt.sampling) for prompt in prompts]
        asked = [
            Asked(p.sampling.system or self.system, p.text, p.history, p.roles) for p in prompts
        ]
        rows = yield from self._rows(asked, samplings)
        for row in self._ready().run(rows):
            usage = Usage(len(row.prompt), len(row.written), row.cached)
            seconds = time.perf_counter() - started
            yield row.index, row.error or Completion(row.text, row.finish or "stop", usage, seconds)

    def embed(self, texts: Sequence[str]) -> base.Embedded:
        """Yield the vector of each text, the longest texts first."""
        from llmsql.torch_models import pooling

        decoder = self._ready()
        tokens = [(self.wording.plain(text) or [0])[: self.wording.context] for text in texts]
        return pooling.vectors(
            decoder.model,
            tokens,
            step_tokens=max(decoder.step_tokens, EMBEDDING_TOKENS),
            is_padded=decoder.is_attention,
        )

    def rerank(self, pairs: Sequence[tuple[str, str]]) -> base.Scored:
        """Yield the log-odds of yes against no for each (query, passage)."""
        from llmsql.torch_models.wording import Asked

        asked = [Asked(None, JUDGE.format(query=q, passage=p)) for q, p in pairs]
        rows = yield from self._rows(asked, [types.Sampling(max_tokens=1)] * len(pairs))
        yes, no = self.wording.word("yes"), self.wording.word("no")
        for row, scores in self._ready().score(rows):
            if scores is None:
                yield row.index, row.error or GenerationError("the passage was not scored")
            else:
                yield row.index, float(scores[yes].logsumexp(0) - scores[no].logsumexp(0))

    def tokenize(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the tokens of each text."""
        return [self.wording.plain(text) for text in texts]

    def apply_chat_template(self, messages: Sequence[Message]) -> str:
        """Return *messages* as the model reads them."""
        return self.wording.rendered(messages)

    def meta(self) -> Mapping[str, Any]:
        """Return what the model's files say."""
        engine = self._ready().model
        return {
            "max_model_len": self.wording.context,
            "architectures": list(engine.config.architectures or [type(engine).__name__]),
            "support_chat_template": bool(self.wording.template),
            "message_format": bool(self.wording.template),
            "dtype": str(engine.dtype).removeprefix("torch."),
        }

    def unload(self) -> None:
        """Free the weights and what was cached of prompts."""
        from llmsql.torch_models import placement

        self.decoder = None
        placement.release()

    def _cut(self, sampling: types.Sampling) -> types.Sampling:
        """*sampling* with the stops that belong to the chat format, whatever a call's own are."""
        return replace(sampling, stop=sampling.stop + self.cuts) if self.cuts else sampling

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
            ends = self.wording.ending(sampling).union(getattr(sampling, "stop_token_ids", ()))
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


def _loaded(spec: ModelSpec, path: str, adapter: str | None, options: Options) -> Model:
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
        is_long=options.long_context,
    )
    model, tokenizer = loading.load(spec.source or path, path, place, adapter)
    if device.type == "cuda":
        # Half of what the weights left: the other half is for the steps themselves.
        slots, step_tokens, memory = 256, 8192, torch.cuda.mem_get_info(device)[0] // 2
    else:
        slots, step_tokens, memory = 64, 256, 2 << 30
    decoder = Decoder(
        model, slots=options.batch_size or slots, step_tokens=step_tokens, memory=memory
    )
    template = _template(options, tokenizer)
    wording = Wording(model, tokenizer, template=template, context=options.context)
    cuts = options.preset.cuts if options.preset else ()
    return Model(decoder, wording, options.system_prompt, cuts)


def _template(options: Options, tokenizer: Any) -> str | None:
    """The chat template to use instead of the model's own."""
    if options.preset is None:
        return options.chat_template
    start = tokenizer.bos_token
    begins = tokenizer("")["input_ids"][:1] == [tokenizer.bos_token_id]
    if start and begins and not options.preset.user.startswith(start):
        # The text of a template gets no special tokens beyond those it writes.
        return "{{ bos_token }}" + options.preset.jinja
    return options.preset.jinja
