"""Models on vLLM, in a process of their own on this machine. Spec B02.

Knows the options, and what of a model's files vLLM is to run. The process is `llmsql.process`'
business; what happens inside it is that of `served`, `engine` and `asking`.
"""

from __future__ import annotations

from llmsql import sources
from llmsql.backends.base import hosted
from llmsql.backends.base.hosted import Hosted, Share
from llmsql.backends.transformers.causal import Causal, located
from llmsql.backends.vllm.options import Options, Sampling
from llmsql.backends.vllm.order import Order
from llmsql.errors import BackendError
from llmsql.types import Kind, ModelSpec

PACED = (
    "device kv_cache_gb gpu_memory_utilization kv_cache_memory_bytes max_num_seqs block_size"
    " max_num_batched_tokens tensor_parallel_size pipeline_parallel_size enable_prefix_caching"
    " enable_chunked_prefill disable_log_stats cpu_offload_gb download_dir"
    " max_parallel_loading_workers distributed_executor_backend async_scheduling"
)


class Backend(Causal, hosted.Backend):
    """Models on vLLM, which batches whatever is asked, in a process of its own."""

    options = Options
    sampling = Sampling
    kinds = ("chat", "emb", "rerank")
    extra = "vllm"
    modules = ("vllm",)
    paced = frozenset(PACED.split())

    def start(self, spec: ModelSpec, share: Share) -> Hosted:
        """Start a process that loads the model; a GGUF file is converted on first use."""
        from llmsql.backends.vllm.model import Model

        self.require()
        options: Options = spec.options or Options()
        path, adapter = located(spec, options.base_model)
        own_kind = _own_kind(path, spec)
        _check_kind(spec, own_kind)
        order = Order.of(path, spec.kind, own_kind, options, adapter=adapter, gpus=spec.gpus)
        return Model(order, spec.source or path, share)


def _own_kind(path: str, spec: ModelSpec) -> Kind:
    try:
        return sources.kind_of(path)
    except BackendError:  # not known from its files; loading tells
        return spec.kind


def _check_kind(spec: ModelSpec, own_kind: Kind) -> None:
    """Refuse what vLLM does not make of the files."""
    if own_kind in (spec.kind, "chat"):
        return
    raise BackendError(
        f'"{spec.source or spec.path}" is a model for {own_kind}, which vLLM does not run for '
        f"{spec.kind}\n  set infer_backend='sentence_transformers', or leave out kind"
    )
