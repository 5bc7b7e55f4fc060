"""An OpenAI-compatible API over the echo model, which stops and cuts as it is asked to."""

from __future__ import annotations

import base64
from typing import Any

from llmsql.backends import echo
from llmsql.types import Prompt, Sampling, bare
from tests.servers import Reply, Request

_MODELS = {kind: echo.Model(kind, echo.Options()) for kind in ("chat", "emb", "rerank")}


def answer(request: Request) -> Reply:
    """Answer models, chat completions, embeddings and rerank; 404 for anything else."""
    kind = request.path.removeprefix("/v1/")
    if kind == "models":
        return Reply({"object": "list", "data": [{"id": "echo"}]})
    answers = {"chat/completions": _chat, "embeddings": _embeddings, "rerank": _rerank}
    if kind not in answers:
        return Reply({"error": {"message": "Not Found"}}, 404)
    return Reply(answers[kind](request.body))


def _chat(body: dict[str, Any]) -> dict[str, Any]:
    stop = body.get("stop") or []
    sampling = Sampling(
        stop=(stop,) if isinstance(stop, str) else tuple(stop),
        max_tokens=body.get("max_tokens") or body.get("max_completion_tokens") or 1000,
    )
    prompt = Prompt(body["messages"][-1]["content"], sampling)
    ((_, completion),) = _MODELS["chat"].generate([prompt])
    message = {"role": "assistant", "content": completion.text}
    choice = {"index": 0, "message": message, "finish_reason": completion.finish_reason}
    counts = completion.usage
    usage = {"prompt_tokens": counts.input_tokens, "completion_tokens": counts.output_tokens}
    return {"object": "chat.completion", "choices": [choice], "usage": usage}


def _embeddings(body: dict[str, Any]) -> dict[str, Any]:
    vectors = {index: bare(result) for index, result in _MODELS["emb"].embed(body["input"])}
    data = [
        {"index": index, "embedding": base64.b64encode(vector.astype("<f4").tobytes()).decode()}
        for index, vector in vectors.items()
    ]
    return {"object": "list", "data": data}


def _rerank(body: dict[str, Any]) -> dict[str, Any]:
    scores = dict(_MODELS["rerank"].rerank([(body["query"], text) for text in body["documents"]]))
    return {"results": [{"index": i, "relevance_score": bare(s)} for i, s in scores.items()]}
