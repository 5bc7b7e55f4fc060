"""SQL on vLLM over vLLM's own `LLM.chat`: speed, start and memory.

`.venv-vllm/bin/python -m benchmarks.vllm_engine`, by hand: it needs an environment with vLLM. Every
engine has its own process, and answers in turn with the others, so that all see the same machine.
"""

from __future__ import annotations

import importlib.util
import json
import os
import statistics
import subprocess
import sys
import time
from typing import Any

from benchmarks.table import Line, markdown, seconds

PROMPTS, TOKENS, ROUNDS, STARTS = 64, 24, 5, 1
SETTINGS = {"max_model_len": 2048, "kv_cache_memory_bytes": 1 << 30}

BARE = """
import json, os, sys, time
os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
def main():
    settings = json.loads(sys.argv[1])
    import vllm
    llm = vllm.LLM(enforce_eager=True, disable_log_stats=True, **settings)
    taken = vllm.SamplingParams(temperature=0, max_tokens=24, ignore_eos=True)
    for line in sys.stdin:
        asked = [[{"role": "user", "content": text}] for text in json.loads(line)]
        started = time.perf_counter()
        answered = llm.chat(asked, taken, use_tqdm=False)
        print("TOOK", time.perf_counter() - started, len(answered), flush=True)
if __name__ == "__main__":
    main()
"""


class Bare:
    """vllm.LLM in a process, as a script of one's own would use it."""

    def __init__(self, path: str, dtype: str) -> None:
        settings = json.dumps({**SETTINGS, "model": path, "dtype": dtype})
        self.popen = subprocess.Popen(
            [sys.executable, "-c", BARE, settings],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def ask(self, prompts: list[str]) -> float:
        """Answer *prompts*; returns the seconds it took."""
        assert self.popen.stdin and self.popen.stdout
        self.popen.stdin.write(json.dumps(prompts) + "\n")
        self.popen.stdin.flush()
        for line in self.popen.stdout:
            if line.startswith("TOOK "):
                return float(line.split()[1])
        raise RuntimeError("vllm.LLM ended")

    def end(self) -> None:
        """Let it end by itself, and wait."""
        self.popen.communicate()


class Ours:
    """The same model as a SQL function."""

    def __init__(self) -> None:
        import llmsql

        self.con = llmsql.connect()
        self.con.execute(
            "RUN command AS LLM WHERE localModelDir='smollm2' AND infer_backend='vllm'"
            " AND `backend.block_size`='128'"  # vLLM's own on a CPU: both share as much
            f" AND udfName='ask' AND `backend.context`='{SETTINGS['max_model_len']}'"
            " AND `backend.kv_cache_gb`='1' AND `gen.ignore_eos`='true'"
            f" AND `gen.max_tokens`='{TOKENS}'"
        )
        self.model: Any = self.con.engine.deployments.get("ask").model

    def ask(self, prompts: list[str]) -> float:
        """Answer *prompts*, a table of them; returns the seconds it took."""
        import warnings

        import pyarrow as pa

        self.con.register("prompts", pa.table({"p": prompts}))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # answers are cut on purpose
            return seconds(lambda: self.con.execute("SELECT count(ask(p)) FROM prompts").fetchall())

    def end(self) -> None:
        """Close the database, and the engine with it."""
        self.con.close()


def run() -> list[Line]:
    """Start both, a few times; then let them answer in turn."""
    from llmsql import sources
    from llmsql.torch_models import conversion

    path = conversion.plain(sources.locate("smollm2"))
    starts: dict[str, list[float]] = {"ours": [], "bare": []}
    dtype = ""
    for turn in range(STARTS + 1):  # of the first, the files are not in memory yet
        began = time.perf_counter()
        ours = Ours()
        ours.ask(_prompts(-1, 1))
        starts["ours"].append(time.perf_counter() - began)
        dtype = ours.model.meta()["dtype"]
        if turn < STARTS:
            ours.end()
        began = time.perf_counter()
        bare = Bare(path, dtype)
        bare.ask(_prompts(-1, 1))
        starts["bare"].append(time.perf_counter() - began)
        if turn < STARTS:
            bare.end()
    memory = _mebibytes(os.getpid(), ours.model.pids[0]), _mebibytes(bare.popen.pid)
    pairs = [(ours.ask(_prompts(n)), bare.ask(_prompts(n))) for n in range(ROUNDS)]
    ours.end()
    bare.end()
    return [_speed(pairs), _start(starts), _memory(memory)]


def _speed(pairs: list[tuple[float, float]]) -> Line:
    ours, bare = (min(times) for times in zip(*pairs, strict=True))
    ratios = ", ".join(f"{bare / ours:.2f}" for ours, bare in pairs)
    return Line(
        f"SmolLM2 on vLLM, {PROMPTS} distinct prompts of {TOKENS} tokens: SQL / vllm.LLM.chat,"
        " both with vLLM's own blocks of 128 tokens",
        "≥ 0.95",
        f"{bare / ours:.2f}, best of {ROUNDS} (SQL {PROMPTS / ours:.1f}, vLLM {PROMPTS / bare:.1f}"
        f" prompts/s; median {statistics.median(b / o for o, b in pairs):.2f} of {ratios})",
    )


def _start(starts: dict[str, list[float]]) -> Line:
    ours, bare = (min(starts[name][1:]) for name in ("ours", "bare"))
    return Line(
        "SmolLM2 on vLLM, from the statement to the first answer / vllm.LLM from its import",
        "≤ 1.1",
        f"{ours / bare:.2f} ({ours:.1f} and {bare:.1f} s)",
    )


def _memory(memory: tuple[int, int]) -> Line:
    return Line(
        "SmolLM2 on vLLM: memory that is a process's own, ours / vllm.LLM's",
        "report",
        f"{memory[0] / memory[1]:.2f} ({memory[0]:,} and {memory[1]:,} MiB)",
    )


def _mebibytes(*pids: int) -> int:
    import psutil

    family = {one.pid: one for pid in pids for one in psutil.Process(pid).children(recursive=True)}
    family |= {pid: psutil.Process(pid) for pid in pids}
    if os.getpid() in pids:  # whose other children are no part of it
        family = {pid: psutil.Process(pid) for pid in pids}
    return sum(one.memory_full_info().uss for one in family.values()) >> 20


def _prompts(turn: int, count: int = PROMPTS) -> list[str]:
    return [f"Name one thing that people do in town {turn}-{n}." for n in range(count)]


if __name__ == "__main__":
    if importlib.util.find_spec("vllm") is None:
        sys.exit("vLLM is not installed here: make test-engines makes an environment that has it")
    print(markdown(run()))
