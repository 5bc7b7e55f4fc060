"""A GGUF file as a plain directory of safetensors, made once and kept.

Transformers reads a GGUF file slowly and cannot save what it read. The directory loads in a
fraction of the time, and other engines read it too. It is found again by the file's path, size and
time.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import torch

from llmsql.errors import BackendError, first_line
from llmsql.sources import check, conversions, gguf
from llmsql.torch_models import placement

_VERSION = 1  # counts up when the conversion changes, so that older results are not used


def plain(path: str) -> str:
    """
    Return the directory that holds the GGUF file *path* in plain form; any other path as it is.

    Converts on first use. Two processes may ask at once: one works, the other waits for it, and
    nobody ever sees a half-written directory.
    """
    if not Path(path).is_file():
        return path
    place = _place(Path(path).resolve())
    return str(conversions.once(place, path, lambda building: _make(path, building)))


def _place(file: Path) -> Path:
    state = file.stat()
    key = f"{_VERSION}\0{file}\0{state.st_size}\0{state.st_mtime_ns}"
    digest = hashlib.blake2b(key.encode(), digest_size=8).hexdigest()
    return conversions.directory() / "models" / f"{file.stem}-{digest}"


def _make(path: str, building: Path) -> None:
    check(path)
    try:
        with placement.quiet(), _without_bar():
            _convert(Path(path), str(building))
    except ImportError as error:
        raise BackendError(f'cannot read the GGUF file "{path}": {error}') from error
    except OSError:
        raise
    except Exception as error:  # whatever a broken file makes the library raise
        if full := conversions.full_disk(error):
            raise full from None
        if placement.is_out_of_memory(error):
            raise BackendError(
                f'there is not enough memory to convert "{path}"\n'
                "  set infer_backend='llamacpp', which runs the file as it is"
            ) from error
        raise BackendError(
            f'cannot read the GGUF file "{path}": {first_line(error)}\n  {gguf.AGAIN}'
        ) from error


@contextlib.contextmanager
def _without_bar() -> Iterator[None]:
    """Keep the bar of transformers' GGUF reader off the screen, which heeds no switch of its own.

    Standard error stays as it is: other threads write to it.
    """
    from tqdm.auto import tqdm  # type: ignore[import-untyped]
    from transformers import modeling_gguf_pytorch_utils as reader

    reader.tqdm = partial(tqdm, disable=True)
    try:
        yield
    finally:
        reader.tqdm = tqdm


def _convert(file: Path, target: str) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    found = {"gguf_file": file.name, "dtype": torch.bfloat16}
    packed = AutoModelForCausalLM.from_pretrained(file.parent, **found, **_unpacked())
    tokenizer = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
    values = packed.config.to_dict()
    values.pop("quantization_config", None)
    config = type(packed.config).from_dict(values)
    with torch.device("meta"):  # to draw random weights first takes seconds, and twice the memory
        model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    model.load_state_dict(packed.state_dict(), assign=True)
    model.tie_weights()
    model.generation_config = packed.generation_config
    model.save_pretrained(target)
    tokenizer.save_pretrained(target)


def _unpacked() -> dict[str, object]:
    """Return the argument that unpacks quantized weights, where transformers would keep them."""
    try:
        from transformers import GgufConfig
    except ImportError:
        return {}
    return {"quantization_config": GgufConfig(dequantize=True)}
