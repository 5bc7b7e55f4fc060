"""Small random models in GGUF files, written by the library that defines the format."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from llmsql.types import Kind

WIDTH, LAYERS, HEADS, INNER, CONTEXT = 32, 2, 4, 64, 512
_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
_NORMAL, _CONTROL = 1, 3


def words() -> list[str]:
    """The vocabulary: special tokens, then characters as a word's beginning and as the rest."""
    characters = [chr(code) for code in range(33, 127)]
    return [*_SPECIAL, *("▁" + c for c in characters), *characters]


def encoder(folder: Path, kind: Kind = "emb", seed: int = 3) -> Path:
    """Write a random BERT: with mean pooling for vectors, or a head that ranks."""
    import gguf

    path = folder / f"{kind}.gguf"
    writer = gguf.GGUFWriter(path, "bert")
    writer.add_name("tiny")
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(HEADS)
    writer.add_layer_norm_eps(1e-12)
    writer.add_causal_attention(False)
    pooling = gguf.PoolingType.RANK if kind == "rerank" else gguf.PoolingType.MEAN
    writer.add_pooling_type(pooling)
    _add_tokenizer(writer)
    chance = np.random.default_rng(seed)
    for name, shape in _tensors(kind).items():
        weights = chance.normal(0, 0.3, shape).astype(np.float32)
        if "norm" in name:
            weights = np.ones(shape, np.float32) if name.endswith("weight") else weights * 0
        writer.add_tensor(name, weights)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _add_tokenizer(writer: Any) -> None:
    tokens = words()
    writer.add_tokenizer_model("bert")
    writer.add_token_list(tokens)
    writer.add_token_types([_CONTROL if t in _SPECIAL else _NORMAL for t in tokens])
    writer.add_token_type_count(2)
    writer.add_pad_token_id(0)
    writer.add_unk_token_id(1)
    writer.add_bos_token_id(2)
    writer.add_sep_token_id(3)
    writer.add_eos_token_id(3)
    writer.add_mask_token_id(4)


def _tensors(kind: Kind) -> dict[str, tuple[int, ...]]:
    """Names and shapes, as llama.cpp wants them of a BERT."""
    shapes: dict[str, tuple[int, ...]] = {
        "token_embd.weight": (len(words()), WIDTH),
        "token_types.weight": (2, WIDTH),
        "position_embd.weight": (CONTEXT, WIDTH),
        "token_embd_norm.weight": (WIDTH,),
        "token_embd_norm.bias": (WIDTH,),
    }
    for layer in range(LAYERS):
        for part, size in {
            "attn_q": (WIDTH, WIDTH),
            "attn_k": (WIDTH, WIDTH),
            "attn_v": (WIDTH, WIDTH),
            "attn_output": (WIDTH, WIDTH),
            "attn_output_norm": (WIDTH,),
            "ffn_up": (INNER, WIDTH),
            "ffn_down": (WIDTH, INNER),
            "layer_output_norm": (WIDTH,),
        }.items():
            shapes[f"blk.{layer}.{part}.weight"] = size
            shapes[f"blk.{layer}.{part}.bias"] = size[:1]
    if kind == "rerank":
        shapes |= {"cls.weight": (WIDTH, WIDTH), "cls.bias": (WIDTH,)}
        shapes |= {"cls.output.weight": (1, WIDTH), "cls.output.bias": (1,)}
    return shapes
