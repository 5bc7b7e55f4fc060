"""llama.cpp's server in this process: how it starts, and what it says besides answers.

Work is handed to it by function call. Only tokens and chat templates have no such call: they go
over its HTTP door, which listens on localhost alone, behind a path and a key that nobody knows.
"""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
from dataclasses import replace
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from llmsql.backends.llamacpp import sizing
from llmsql.backends.llamacpp.options import Options
from llmsql.backends.llamacpp.sizing import Size
from llmsql.errors import BackendError
from llmsql.sources import gguf
from llmsql.torch_models import numbers
from llmsql.types import Kind

SILENT, ERRORS, TALKATIVE = -1, 1, 3
_SECONDS = 60
_LEAST_STEP = 512  # tokens, as llama.cpp has it
POOLING = {1: "MEAN", 2: "CLS", 3: "LAST", 4: "RANK"}
"""What the number in a GGUF file means; 0 and nothing are a model that was not made for vectors."""


class Plan(NamedTuple):
    """What is started: the *file*, what it is for, how large; *template* replaces its own."""

    file: str
    kind: Kind
    size: Size
    options: Options
    template: str | None = None
    pooling: str = ""


class Server:
    """A running llama.cpp; `engine` has its handle_* functions, which many threads may call."""

    def __init__(self, plan: Plan) -> None:
        import xllamacpp

        self._secret = secrets.token_urlsafe(24)
        params = _params(plan, TALKATIVE if plan.options.verbose else SILENT)
        params.api_keys, params.api_prefix = [self._secret], "/" + self._secret
        try:
            self.engine: Any = xllamacpp.Server(params)
        except Exception as error:  # whatever the binding makes of a C++ exception
            reason = _reason(plan) or str(error)
            is_memory = "alloc" in reason or "memory" in reason
            advice = (
                "a smaller context or n_parallel takes less memory" if is_memory else gguf.AGAIN
            )
            raise BackendError(f'"{plan.file}" cannot be loaded: {reason}\n  {advice}') from error
        self._address = urlsplit(self.engine.listening_address).netloc

    def tokens(self, text: str) -> list[int]:
        """Return the tokens of *text*, with those that every text begins and ends with."""
        body = {"content": text, "add_special": True, "parse_special": True}
        tokens: list[int] = self._post("/tokenize", body)["tokens"]
        return tokens

    def rendered(self, messages: list[dict[str, str]]) -> str:
        """Return *messages* as the chat template writes them; BackendError where it fails."""
        return str(self._post("/apply-template", {"messages": messages})["prompt"])

    def _post(self, path: str, body: dict[str, Any]) -> Any:
        import http.client

        connection = http.client.HTTPConnection(self._address, timeout=_SECONDS)
        headers = {"Authorization": f"Bearer {self._secret}", "Content-Type": "application/json"}
        try:
            connection.request("POST", f"/{self._secret}{path}", json.dumps(body), headers)
            answer = json.loads(connection.getresponse().read())
        except (OSError, ValueError, http.client.HTTPException) as error:
            raise BackendError(f"llama.cpp does not answer: {error}") from None
        finally:
            connection.close()
        if "error" in answer:
            raise BackendError(f"llama.cpp says: {answer['error'].get('message')}")
        return answer


def gpus() -> list[int]:
    """Return the free bytes of each GPU that this build of llama.cpp can use."""
    import xllamacpp

    types = xllamacpp.ggml_backend_dev_type
    kinds = (types.GGML_BACKEND_DEVICE_TYPE_GPU, types.GGML_BACKEND_DEVICE_TYPE_IGPU)
    return [d["memory_free"] for d in xllamacpp.get_device_info() if d["type"] in kinds]


def placed(options: Options, wanted: float) -> Options:
    """Return *options* for one GPU where no more is *wanted*: llama.cpp lays a model over all."""
    if options.device == "auto" and wanted <= 1 and options.n_gpu_layers != 0 and gpus():
        return replace(options, device="cuda:0")
    return options


def check_gpus(wanted: float) -> None:
    """Raise BackendError where *wanted* GPUs are more than this build of llama.cpp can use."""
    if wanted > 1 and wanted > (count := len(gpus())):
        raise BackendError(numbers.larger(wanted, count))


def memory(options: Options, share: float) -> int:
    """Return the bytes free where the cache will be, a *share* of them if that is below 1.

    Raises BackendError where there is no such GPU.
    """
    if options.device == "cpu" or options.n_gpu_layers == 0:
        return sizing.free_memory()
    found = gpus()
    number = _gpu(options)
    if number is not None and number >= len(found):
        raise BackendError(
            f'there is no device "{options.device}" for llama.cpp: this build sees {len(found)} '
            "GPUs\n  a wheel for CUDA comes from the index that xllamacpp's README names"
        )
    if not found:
        return sizing.free_memory()
    free = found[number] if number is not None else sum(found)
    return int(free * share) if 0 < share < 1 else free


def _params(plan: Plan, verbosity: int) -> Any:
    import xllamacpp

    options, (context, slots) = plan.options, plan.size
    params = xllamacpp.CommonParams()
    params.model.path, params.verbosity = plan.file, verbosity
    params.n_ctx, params.n_parallel = context * slots, slots
    params.n_batch = max(options.n_batch, slots)
    params.warmup = False
    params.cache_ram_mib = 0  # a prompt is asked once: llmsql keeps the answers
    params.n_ctx_checkpoints = 0  # they would take memory that `sizing` knows nothing of
    params.n_threads_http = 2
    params.ui = params.endpoint_slots = False
    if options.n_threads:
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = options.n_threads
    if not options.use_mmap:
        params.load_mode = xllamacpp.llama_load_mode.LLAMA_LOAD_MODE_NONE
    _place(params, options)
    if plan.kind == "chat":
        _make_chat(params, plan)
    else:
        _make_encoder(params, plan)
    return params


def _place(params: Any, options: Options) -> None:
    import xllamacpp

    params.n_gpu_layers = 0 if options.device == "cpu" else options.n_gpu_layers
    number = _gpu(options)
    if number is not None:
        params.main_gpu = number
        params.split_mode = xllamacpp.llama_split_mode.LLAMA_SPLIT_MODE_NONE


def _gpu(options: Options) -> int | None:
    """The number of the one GPU that is wanted, None where any will do."""
    name, _, number = options.device.partition(":")
    return int(number or 0) if name == "cuda" else None


def _make_chat(params: Any, plan: Plan) -> None:
    import xllamacpp

    # The answer is what the model wrote: no thoughts or calls of tools are taken out of it.
    params.reasoning_format = xllamacpp.common_reasoning_format.COMMON_REASONING_FORMAT_NONE
    params.force_pure_content_parser = True
    if plan.template:
        params.chat_template = plan.template


def _make_encoder(params: Any, plan: Plan) -> None:
    import xllamacpp

    params.embedding = True
    # A text that is pooled has to be read in one step.
    params.n_batch = params.n_ubatch = max(plan.size.context, _LEAST_STEP)
    params.pooling_type = getattr(
        xllamacpp.llama_pooling_type, f"LLAMA_POOLING_TYPE_{plan.pooling}"
    )


def _reason(plan: Plan) -> str:
    """Why *plan* fails, found out by trying it in a process whose stderr can be read.

    llama.cpp tells its log, and stderr belongs to everybody in this process.
    """
    given = repr((plan.file, plan.kind, tuple(plan.size), plan.template, plan.pooling))
    program = f"from {__name__} import retry; retry({given}, {plan.options!r})"
    program = f"from {Options.__module__} import Options; {program}"
    try:
        run = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, timeout=_SECONDS,
            check=False, errors="replace",
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return ""
    said = [line.partition(" E ")[2].strip() for line in run.stderr.splitlines() if " E " in line]
    causes = [line.partition("error loading model: ")[2] for line in said]
    return next(filter(None, causes), said[0].partition(": ")[2] if said else "")


def retry(given: tuple[str, Kind, tuple[int, int], str | None, str], options: Options) -> None:
    """Start once more what did not start, for the errors in llama.cpp's log."""
    import xllamacpp

    file, kind, size, template, pooling = given
    plan = Plan(file, kind, Size(*size), options, template, pooling)
    xllamacpp.Server(_params(plan, ERRORS))
