"""Small causal models of many architectures, with random weights, and what is asked of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from llmsql.backends import base
from llmsql.backends.transformers import Sampling
from llmsql.types import Completion, Prompt

Find = Callable[[str], base.Model]


def texts(model: base.Model, asked: Sequence[str], **sampling: Any) -> list[str]:
    """Return the answers of *model*, in order."""
    prompts = [Prompt(text, Sampling(**sampling)) for text in asked]
    answered = dict(model.generate(prompts))
    assert sorted(answered) == list(range(len(asked)))
    found = []
    for index in range(len(asked)):
        completion = answered[index]
        assert isinstance(completion, Completion), completion
        found.append(completion.text)
    return found


def by_library(model: Any, asked: Sequence[str], count: int) -> list[str]:
    """Return what the library's own generate answers, one prompt at a time."""
    import torch

    found = []
    for (tokens,) in (model.wording.tokens([(None, text)]) for text in asked):
        ids = torch.tensor([tokens])
        engine = model.decoder.model
        written = engine.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=count,
            do_sample=False,
            pad_token_id=0,
        )[0, len(tokens) :].tolist()
        ends = [at for at, token in enumerate(written) if token in model.wording.ends]
        text = model.wording.text(written[: min(ends, default=count)])
        found.append(text if ends else text.rstrip("\ufffd"))
    return found


def tiny(folder: Path, config: Any, template: str | None = None) -> Path:
    """Save a random model of *config* with a tokenizer of single bytes."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {letter: at for at, letter in enumerate(["<s>", "</s>", *alphabet])}
    tokenizer = Tokenizer(models.BPE(vocabulary, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", chat_template=template
    )
    torch.manual_seed(3)
    model = AutoModelForCausalLM.from_config(config)
    for weight in model.parameters():  # the usual beginning is too flat to tell mistakes apart
        if weight.dim() > 1:
            weight.data.normal_(std=0.3)
    model.save_pretrained(folder)
    wrapped.save_pretrained(folder)
    return folder


def config(name: str, **values: Any) -> Any:
    """Return a small configuration of the architecture *name*, for the vocabulary of `tiny`."""
    import transformers

    sizes = {
        "vocab_size": 258,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "bos_token_id": 0,
        "eos_token_id": 1,
        "pad_token_id": None,
    }
    return getattr(transformers, name)(**{**sizes, **values})


ARCHITECTURES: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("LlamaConfig", {"num_key_value_heads": 2, "max_position_embeddings": 256}),
    "gpt2": ("GPT2Config", {"n_positions": 256}),
    "bloom": ("BloomConfig", {}),
    "opt": (
        "OPTConfig",
        {"ffn_dim": 48, "max_position_embeddings": 256, "word_embed_proj_dim": 32},
    ),
    "mistral with a window": (
        "MistralConfig",
        {"num_key_value_heads": 2, "sliding_window": 16, "max_position_embeddings": 256},
    ),
    "gemma2 with a window": (
        "Gemma2Config",
        {"num_key_value_heads": 2, "head_dim": 8, "sliding_window": 16},
    ),
    "mamba": ("MambaConfig", {"state_size": 8}),
    "lfm2": (
        "Lfm2Config",
        {"num_key_value_heads": 2, "layer_types": ["conv", "full_attention"]},
    ),
}
