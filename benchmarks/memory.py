"""Peak memory of a process that asks an engine through SQL over one that uses its library.

Each has a process of its own, which loads the same files and answers the same inputs.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import tempfile
import textwrap
from functools import cache
from typing import Any

from benchmarks.engines import _names, _texts
from benchmarks.table import Line
from llmsql import sources
from llmsql.backends.onnxruntime import conversion as onnx_conversion
from llmsql.torch_models import conversion

PEAK = """
def peak():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))
"""
GIVEN = """
import json, sys
paths, prompts, texts = json.load(open(sys.argv[1])).values()
"""
SQL = """
import warnings
import llmsql
warnings.simplefilter("ignore")
con = llmsql.connect()
con.execute("RUN command AS LLM WHERE localModelDir='{model}' AND infer_backend='{backend}'"
            " AND udfName='ask'{options}")
con.execute("CREATE TABLE inputs AS SELECT unnest($1) AS x", [{inputs}])
con.execute("SELECT count(ask(x{sampling})) FROM inputs").fetchall()
"""
TRANSFORMERS = """
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
path = paths["smollm2 plain"]
tokenizer = AutoTokenizer.from_pretrained(path, padding_side="left")
model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32)
asked = [tokenizer.apply_chat_template([{"role": "user", "content": p}], tokenize=False,
                                       add_generation_prompt=True) for p in prompts]
batch = tokenizer(asked, return_tensors="pt", padding=True, add_special_tokens=False)
with torch.inference_mode():
    model.generate(**batch, do_sample=False, max_new_tokens=16,
                   pad_token_id=tokenizer.eos_token_id)
"""
SENTENCE_TRANSFORMERS = """
from sentence_transformers import SentenceTransformer
model = SentenceTransformer(paths["minilm"], device="cpu")
model.encode(texts, batch_size=32, normalize_embeddings=True)
"""
ONNXRUNTIME = """
import numpy as np
import onnxruntime
from pathlib import Path
from tokenizers import Tokenizer
session = onnxruntime.InferenceSession(paths["minilm onnx"])
tokenizer = Tokenizer.from_file(str(next(Path(paths["minilm"]).rglob("tokenizer.json"))))
tokenizer.enable_truncation(256)
tokenizer.enable_padding()
inputs = [one.name for one in session.get_inputs()]
for start in range(0, len(texts), 32):
    batch = tokenizer.encode_batch(texts[start : start + 32])
    columns = {"input_ids": "ids", "attention_mask": "attention_mask", "token_type_ids": "type_ids"}
    session.run(None, {name: np.array([getattr(one, columns[name]) for one in batch], np.int64)
                       for name in inputs})
"""
LLAMACPP = """
from concurrent.futures import ThreadPoolExecutor
import xllamacpp
params = xllamacpp.CommonParams()
params.model.path = paths["smollm2"]
params.n_ctx, params.n_parallel, params.warmup = 512 * 8, 8, False
params.cache_ram_mib = 0
server = xllamacpp.Server(params)
def ask(text):
    server.handle_chat_completions({"messages": [{"role": "user", "content": text}],
                                    "max_tokens": 16, "temperature": 0})
with ThreadPoolExecutor(8) as threads:
    list(threads.map(ask, prompts))
"""
CHAT = {"model": "smollm2", "inputs": "prompts", "sampling": ", {'max_tokens': 16}"}
EMB = {"model": "minilm", "inputs": "texts", "sampling": ""}
LIBRARIES = {
    "transformers": (TRANSFORMERS, {**CHAT, "options": " AND dtype='float32'"}),
    "sentence_transformers": (SENTENCE_TRANSFORMERS, {**EMB, "options": ""}),
    "onnxruntime": (ONNXRUNTIME, {**EMB, "options": ""}),
    "xllamacpp": (
        LLAMACPP,
        {**CHAT, "options": " AND `backend.n_parallel`='8' AND `backend.context`='512'"},
    ),
}


def run() -> list[Line]:
    """A line for each engine that is installed."""
    return [_line(name) for name in LIBRARIES if importlib.util.find_spec(name)]


def _line(library: str) -> Line:
    script, said = LIBRARIES[library]
    backend = "llamacpp" if library == "xllamacpp" else library
    ours = _peak(SQL.format(backend=backend, **said))
    theirs = _peak(script)
    return Line(
        f"{library}, {'SmolLM2' if said['model'] == 'smollm2' else 'MiniLM'}: peak memory of a"
        " process with SQL / of one with the library alone",
        "≤ 1.1",
        f"{ours / theirs:.2f} ({ours >> 10:,} and {theirs >> 10:,} MiB)",
    )


def _peak(script: str) -> int:
    """The most memory, in KiB, that a process had while it ran *script*; the better of two runs."""
    text = textwrap.dedent(PEAK + GIVEN + script) + '\nprint("PEAK", peak(), flush=True)\n'
    given = json.dumps(_given())
    return min(_measured(text, given) for _ in range(2))


@cache
def _given() -> dict[str, Any]:
    """The inputs, and where the models' files are: what only we find, no library imports us for."""
    paths = {name: sources.locate(name) for name in ("smollm2", "minilm")}
    return {
        "paths": {
            **paths,
            "smollm2 plain": str(conversion.plain(paths["smollm2"])),
            "minilm onnx": str(onnx_conversion.place(paths["minilm"]) / onnx_conversion.FILE),
        },
        "prompts": [f"What do people do in the city of {name}?" for name in _names(64)],
        "texts": _texts(2_000),
    }


def _measured(text: str, given: str) -> int:
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        file.write(given)
        file.flush()
        done = subprocess.run(
            [sys.executable, "-c", text, file.name], capture_output=True, text=True, check=False
        )
    found = [line for line in done.stdout.splitlines() if line.startswith("PEAK ")]
    if not found:
        raise RuntimeError(done.stderr[-2000:])
    return int(found[-1].split()[1])
