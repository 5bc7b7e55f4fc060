"""An encoder as an ONNX file, converted once and kept, or the one that its directory came with.

Torch is needed to convert and never to run. Where what is converted is kept, and how it gets there
whole, is the business of `sources.conversions`.
"""

from __future__ import annotations

import contextlib
import glob
import importlib.util
import io
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from llmsql import sources
from llmsql.backends.onnxruntime import proof
from llmsql.backends.onnxruntime.description import Description
from llmsql.backends.onnxruntime.models import model
from llmsql.backends.onnxruntime.network import Network
from llmsql.backends.onnxruntime.options import Options
from llmsql.errors import BackendError, first_line
from llmsql.sources import conversions

OWN = Path("onnx", "model.onnx")
FILE = "model.onnx"
WRONG = 1e-3
_VERSION = 1  # counts up when the conversion changes, so that older results are not used
_CONVERTERS = ("torch", "transformers", "sentence_transformers", "onnx", "onnxscript")
_QUANTIZERS = ("onnx",)
_REFERENCE = ("torch", "sentence_transformers")


def file(description: Description, options: Options) -> Path:
    """Return the file that onnxruntime is to run, which is made unless it is there."""
    path = str(description.folder)
    found = description.folder / OWN
    if not found.exists():
        kept = conversions.once(place(path), path, lambda at: _export(description, options, at))
        found = kept / FILE
    elif _can(_REFERENCE):
        with contextlib.suppress(BackendError):  # there may be nothing to compare it with
            conversions.once(place(path), path, lambda at: _prove(found, description, options, at))
    if options.quantization == "false":
        return found
    return _quantized(found, description, options)


def place(path: str, quantization: str = "false") -> Path:
    """Return where what is made of the directory *path* is kept."""
    digest = sources.fingerprint(path)[:16]
    kept = conversions.directory() / "onnx"
    suffix = "" if quantization == "false" else f"-{quantization}"
    return kept / f"{Path(path).resolve().name}-{_VERSION}-{digest}{suffix}"


def proven(path: str, quantization: str = "false") -> proof.Proof | None:
    """Return how what was made of the directory *path* compares; None where nothing was made."""
    stem = f"{Path(path).resolve().name}-{_VERSION}-"
    if not any((conversions.directory() / "onnx").glob(f"{glob.escape(stem)}*")):
        return None  # without reading the weights
    return proof.read(place(path, quantization))


def _quantized(plain: Path, description: Description, options: Options) -> Path:
    path = str(description.folder)

    def make(at: Path) -> None:
        _require(_QUANTIZERS, f'quantizing "{path}"')
        with _translated(path, "quantized"):
            _quantize(plain, at / FILE)
        if _can(_REFERENCE):
            with contextlib.suppress(BackendError):
                _prove(at / FILE, description, options, at)

    return conversions.once(place(path, options.quantization), path, make) / FILE


def _quantize(plain: Path, target: Path) -> None:
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with _quiet():
        quantize_dynamic(
            plain,
            target,
            op_types_to_quantize=["MatMul"],
            per_channel=True,
            # Products of 8 and 8 bits overflow on a CPU without instructions for them.
            reduce_range=True,
            weight_type=QuantType.QInt8,
            use_external_data_format=True,
            extra_options={"MatMulConstBOnly": True},
        )


def _export(description: Description, options: Options, at: Path) -> None:
    """Write the network into the directory *at*, unless it is not the same one there."""
    path = str(description.folder)
    _require(_CONVERTERS, f'"{path}" has no {OWN.as_posix()}, and converting it')
    trust = options.trust_remote_code
    given = {"dtype": "float32", "device": "cpu", "trust_remote_code": trust}
    source = proof.reference(path, is_cross=description.is_cross, **given)
    with _translated(path, "converted"):
        _write(source.engine, at / FILE)
    source.unload()
    found = _prove(at / FILE, description, options, at)
    if not found.difference <= WRONG:  # it may be NaN
        raise BackendError(
            f'"{path}" answers differently once it is converted, by {found.difference:.2g}\n'
            "  set infer_backend='sentence_transformers'"
        )


def _write(engine: Any, target: Path) -> None:
    import torch

    network = engine[0].model
    with contextlib.suppress(AttributeError, ValueError):
        network.set_attn_implementation("eager")  # less of a graph, and as fast
    features = engine.preprocess(["a text", "a text that is longer than the other one"])
    names = [name for name in ("input_ids", "attention_mask", "token_type_ids") if name in features]
    sizes = {0: torch.export.Dim.DYNAMIC, 1: torch.export.Dim.DYNAMIC}
    with _quiet(), torch.inference_mode():
        torch.onnx.export(
            _plain(network.eval(), names),
            tuple(features[name] for name in names),
            str(target),
            input_names=names,
            output_names=["output"],
            dynamic_shapes=dict.fromkeys(names, sizes),
            dynamo=True,
            verbose=False,
        )


def _plain(network: Any, names: list[str]) -> Any:
    """Return *network* as a module of tensors: those called *names* in, its first one out."""
    import torch

    class Plain(torch.nn.Module):  # type: ignore[misc]  # torch is not looked at
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, input_ids: Any, attention_mask: Any, token_type_ids: Any = None) -> Any:
            given = {"input_ids": input_ids, "attention_mask": attention_mask}
            if "token_type_ids" in names:
                given["token_type_ids"] = token_type_ids
            return self.network(**given, return_dict=True)[0]

    return Plain()


def _prove(graph: Path, description: Description, options: Options, at: Path) -> proof.Proof:
    """Compare *graph* with what it was made of, and keep what comes of it in *at*."""
    is_cross = description.is_cross
    ours = model(Network(graph, description), "rerank" if is_cross else "emb", Options())
    try:
        found = proof.compared(
            ours,
            str(description.folder),
            is_cross=is_cross,
            trust_remote_code=options.trust_remote_code,
        )
    finally:
        ours.unload()
    proof.write(at, found)
    return found


def _can(modules: tuple[str, ...]) -> bool:
    return all(importlib.util.find_spec(module) for module in modules)


def _require(modules: tuple[str, ...], what: str) -> None:
    missing = [module for module in modules if not importlib.util.find_spec(module)]
    if missing:
        raise BackendError(
            f"{what} needs {', '.join(missing)}, not installed here\n"
            "  pip install 'duckdb-llmsql[onnx,sentence_transformers]'"
        )


@contextlib.contextmanager
def _translated(path: str, what: str) -> Iterator[None]:
    """Raise BackendError for what goes wrong inside, except where the disk is at fault."""
    try:
        yield
    except OSError:
        raise
    except Exception as error:  # torch, onnx and a model's own code
        if full := conversions.full_disk(error):
            raise full from None
        raise BackendError(
            f'"{path}" cannot be {what}: {first_line(error)}\n'
            "  set infer_backend='sentence_transformers'"
        ) from error


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep what converters print and warn of off the user's screen."""
    import logging

    unheard = io.StringIO()
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stdout(unheard),
            contextlib.redirect_stderr(unheard),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
