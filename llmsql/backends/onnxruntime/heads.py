"""From the states of a text's tokens to its vector, as the modules of sentence-transformers do it.

Reads the modules' own files, and needs numpy alone; what it does not know it refuses.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from llmsql.encoders import unit
from llmsql.errors import BackendError
from llmsql.sources.files import read_json

Pool = Callable[[np.ndarray, np.ndarray], np.ndarray]
Head = Callable[[np.ndarray], np.ndarray]


def _mean(states: np.ndarray, mask: np.ndarray) -> np.ndarray:
    found: np.ndarray = _sum(states, mask) / _count(mask)
    return found


def _mean_sqrt_len(states: np.ndarray, mask: np.ndarray) -> np.ndarray:
    found: np.ndarray = _sum(states, mask) / np.sqrt(_count(mask))
    return found


def _weighted_mean(states: np.ndarray, mask: np.ndarray) -> np.ndarray:
    weights = mask * np.arange(1, mask.shape[1] + 1, dtype=np.float32)
    return _mean(states, weights)


def _first(states: np.ndarray, mask: np.ndarray) -> np.ndarray:
    return states[:, 0]


def _last(states: np.ndarray, mask: np.ndarray) -> np.ndarray:
    ends = np.maximum(mask.sum(axis=1).astype(np.int64) - 1, 0)
    found: np.ndarray = states[np.arange(len(states)), ends]
    return found


def _max(states: np.ndarray, mask: np.ndarray) -> np.ndarray:
    found: np.ndarray = np.where(mask[:, :, None] > 0, states, -np.inf).max(axis=1)
    return found


def _sum(states: np.ndarray, weights: np.ndarray) -> np.ndarray:
    found: np.ndarray = np.matmul(weights[:, None, :], states)[:, 0]
    return found


def _count(weights: np.ndarray) -> np.ndarray:
    found: np.ndarray = np.maximum(weights.sum(axis=1, keepdims=True), np.float32(1e-9))
    return found


POOLS: Mapping[str, Pool] = {
    "mean": _mean,
    "cls": _first,
    "max": _max,
    "lasttoken": _last,
    "mean_sqrt_len_tokens": _mean_sqrt_len,
    "weightedmean": _weighted_mean,
}
"""By the name of the mode; each takes states (texts, tokens, numbers) and a float32 mask."""

_FLAGS = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}

ACTIVATIONS: Mapping[str, Head] = {
    "Identity": lambda rows: rows,
    "Tanh": np.tanh,
    "ReLU": lambda rows: np.maximum(rows, np.float32(0)),
}


def pool(folder: Path) -> Pool:
    """Return the pooling that *folder* describes, several modes side by side."""
    about = read_json(folder / "config.json")
    if about.get("include_prompt") is False:
        raise _unknown(folder, "a pooling that leaves out the prompt")
    pools = []
    for mode in _modes(about):
        if mode not in POOLS:
            raise _unknown(folder, f'the pooling "{mode}"')
        pools.append(POOLS[mode])
    if len(pools) == 1:
        return pools[0]
    return lambda states, mask: np.concatenate([one(states, mask) for one in pools], axis=1)


def _modes(about: Mapping[str, Any]) -> list[str]:
    """The modes of a pooling, which older files write as one flag each."""
    named = about.get("pooling_mode")
    if named:
        return [named] if isinstance(named, str) else list(named)
    return [mode for flag, mode in _FLAGS.items() if about.get(flag)] or ["mean"]


def head(kind: str, folder: Path) -> Head | None:
    """Return what the module *kind* in *folder* does to rows; None where it does nothing."""
    if kind == "Dropout":
        return None
    if kind == "Normalize":
        return unit
    if kind == "Dense":
        return _dense(folder)
    raise _unknown(folder, f'the module "{kind}"')


def _dense(folder: Path) -> Head:
    from safetensors.numpy import load_file

    activation = str(read_json(folder / "config.json").get("activation_function", "Identity"))
    known = ACTIVATIONS.get(activation.rpartition(".")[2])
    if known is None:
        raise _unknown(folder, f'the activation "{activation}"')
    weights = load_file(folder / "model.safetensors")
    matrix = weights["linear.weight"].astype(np.float32).T
    bias = weights.get("linear.bias", np.zeros(1)).astype(np.float32)
    return lambda rows: known(rows @ matrix + bias)


def _unknown(folder: Path, what: str) -> BackendError:
    return BackendError(
        f'"{folder}" is {what}, which backend "onnxruntime" does not know\n'
        "  set infer_backend='sentence_transformers'"
    )
