"""A network in a file, its tokenizer, and what they need to know of each other.

Knows onnxruntime and tokenizers. Batches and answers are the business of `engine`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from llmsql.backends.onnxruntime.description import Description
from llmsql.errors import BackendError, first_line
from llmsql.sources.files import read_json

_MADE: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "position_ids": lambda mask: np.broadcast_to(np.arange(mask.shape[1]), mask.shape),
}
_READ = ("input_ids", "attention_mask", "token_type_ids")
_STATES = ("last_hidden_state", "token_embeddings", "logits")


class Network:
    """An open network of *description*, which any number of threads may call."""

    def __init__(self, file: Path, description: Description) -> None:
        self.description = description
        self.tokenizer = _tokenizer(description)
        self._session = _session(file)
        self._types = {i.name: _TYPES.get(i.type, np.int64) for i in self._session.get_inputs()}
        unknown = sorted(self._types.keys() - {*_READ, *_MADE})
        if unknown:
            raise BackendError(
                f'"{file}" wants the inputs {", ".join(unknown)}, which an encoder has not\n'
                "  set infer_backend='sentence_transformers'"
            )
        outputs = [output.name for output in self._session.get_outputs()]
        self._output = next((name for name in _STATES if name in outputs), outputs[0])

    def run(self, encodings: Sequence[Any]) -> np.ndarray:
        """Return the row of each of *encodings*: vectors of a text, or the scores of a pair."""
        width = max(1, *map(len, encodings))
        ids = np.full((len(encodings), width), self.description.pad, dtype=np.int64)
        mask, kinds = np.zeros_like(ids), np.zeros_like(ids)
        for row, encoding in enumerate(encodings):
            ids[row, : len(encoding)] = encoding.ids
            mask[row, : len(encoding)] = 1
            if "token_type_ids" in self._types:
                kinds[row, : len(encoding)] = encoding.type_ids
        given = dict(zip(_READ, (ids, mask, kinds), strict=True))
        given |= {name: make(mask) for name, make in _MADE.items() if name in self._types}
        feed = {name: given[name].astype(kind) for name, kind in self._types.items()}
        states = self._session.run([self._output], feed)[0].astype(np.float32, copy=False)
        return self._rows(states, mask.astype(np.float32))

    def _rows(self, states: np.ndarray, mask: np.ndarray) -> np.ndarray:
        if self.description.is_cross:
            return states.reshape(len(states), -1)
        rows = self.description.pool(states, mask)
        for head in self.description.heads:
            rows = head(rows)
        return rows


_TYPES = {"tensor(int64)": np.int64, "tensor(int32)": np.int32}


def _session(file: Path) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    # Batches run side by side: threads within one would wait for each other at every operator.
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    try:
        return onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its exceptions have no class in common
        raise BackendError(
            f'onnxruntime cannot read "{file}": {first_line(error)}\n'
            "  copy the model again, or delete the file: it is made anew"
        ) from error


def _tokenizer(description: Description) -> Any:
    from tokenizers import Tokenizer
    from tokenizers.normalizers import Lowercase, Sequence

    file = description.network / "tokenizer.json"
    if not file.exists():
        raise BackendError(
            f'"{description.network}" has no tokenizer.json\n'
            "  set infer_backend='sentence_transformers'"
        )
    try:
        tokenizer = Tokenizer.from_file(str(file))
    except Exception as error:  # a plain Exception
        raise BackendError(f'tokenizers cannot read "{file}": {first_line(error)}') from error
    own = description.network / "sentence_bert_config.json"
    if own.exists() and read_json(own).get("do_lower_case"):
        before = [tokenizer.normalizer] if tokenizer.normalizer else []
        tokenizer.normalizer = Sequence([Lowercase(), *before])
    tokenizer.no_padding()
    return tokenizer
