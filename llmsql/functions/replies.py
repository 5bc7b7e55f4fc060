"""Asking a model what JSON requests want, and its answers as JSON of generation B. Spec S01, S10.

An answer is {"output", "input", "metadata", "history"}. What a request means is `wishes`' business.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from llmsql.backends.base import META
from llmsql.errors import GenerationError
from llmsql.functions import wishes
from llmsql.functions.wishes import Task, Wish
from llmsql.runtime.deployments import Deployment
from llmsql.runtime.scheduler import Asking
from llmsql.types import Completion, Measured, Message, Prompt, Usage, bare

Replies = Iterator[tuple[int, Completion | GenerationError]]


@dataclass(frozen=True)
class Requests(Asking):
    """How requests are asked; those that are drawn are kept apart from those that are not."""

    is_deterministic: bool

    def prompt(self, deployment: Deployment, key: str) -> Prompt | None:
        """The prompt in a request that has one."""
        wish = wishes.read(key, deployment)
        return wish.prompt if wish is not None and wish.task == "generate" else None

    def ask(self, deployment: Deployment, keys: Sequence[str]) -> Replies:
        """Yield the answer of each request, those that want the same of the model together."""
        members: dict[Task, list[tuple[int, Wish]]] = {}
        for index, text in enumerate(keys):
            wish = wishes.read(text, deployment)
            assert wish is not None, "NULL is never asked"
            if not _is_unicode(wish.given):
                yield index, GenerationError("the request holds half of a character")
                continue
            members.setdefault(wish.task, []).append((index, wish))
        for task, some in members.items():
            started = time.perf_counter()
            for at, answer in _ASKED[task](deployment, [wish for _, wish in some]):
                index, wish = some[at]
                if not isinstance(answer, GenerationError):
                    seconds = time.perf_counter() - started
                    answer = _reply(wish, answer, deployment, seconds)
                yield index, answer


def _generated(deployment: Deployment, some: list[Wish]) -> Iterable[tuple[int, Any]]:
    return deployment.model.generate([wish.prompt for wish in some])


def _embedded(deployment: Deployment, some: list[Wish]) -> Iterable[tuple[int, Any]]:
    for index, vector in deployment.model.embed([wish.prompt.text for wish in some]):
        if isinstance(vector, GenerationError):
            yield index, vector
        else:  # in the fewest digits that make the same FLOAT
            numbers = [float(str(number)) for number in bare(vector)]
            cost = vector if isinstance(vector, Measured) else None
            yield index, replace(cost, value=numbers) if cost else numbers


def _ranked(deployment: Deployment, some: list[Wish]) -> Iterable[tuple[int, Any]]:
    """Score the pairs of all requests at once; a list of pairs comes back the best first."""
    places = [(index, at) for index, wish in enumerate(some) for at in range(len(wish.pairs))]
    scores: list[dict[int, Any]] = [{} for _ in some]
    asked = [some[index].pairs[at] for index, at in places]
    for place, score in deployment.model.rerank(asked):
        index, at = places[place]
        scores[index][at] = score
        wish, found = some[index], scores[index]
        if len(found) == len(wish.pairs):
            each = [found[at] for at in range(len(found))]
            yield index, _together(_ranking(wish, [*map(bare, each)]), each)


def _together(ranking: Any, scores: Sequence[Any]) -> Any:
    """*ranking* with what all its *scores* cost, where that is known."""
    costs = [score for score in scores if isinstance(score, Measured)]
    if not costs or isinstance(ranking, GenerationError):
        return ranking
    read, written = (
        sum(told) if (told := [n for n in numbers if n is not None]) else None
        for numbers in zip(
            *((c.usage.input_tokens, c.usage.output_tokens) for c in costs), strict=True
        )
    )
    seconds = max((cost.seconds or 0.0 for cost in costs), default=None)
    retries = sum(cost.retries for cost in costs)
    return Measured(ranking, Usage(read, written), seconds, retries, costs[0].replica)


def _ranking(wish: Wish, scores: Sequence[Any]) -> Any:
    failed = next((score for score in scores if isinstance(score, GenerationError)), None)
    if failed is not None:
        return failed
    found = [[list(pair), score] for pair, score in zip(wish.pairs, scores, strict=True)]
    return found[0] if wish.is_pair else sorted(found, key=lambda pair: -pair[1])


def _tokenized(deployment: Deployment, some: list[Wish]) -> Iterable[tuple[int, Any]]:
    return enumerate(deployment.model.tokenize([wish.prompt.text for wish in some]))


def _templated(deployment: Deployment, some: list[Wish]) -> Iterable[tuple[int, Any]]:
    for index, wish in enumerate(some):
        yield index, deployment.model.apply_chat_template(wish.prompt.history)


def _described(deployment: Deployment, some: list[Wish]) -> Iterable[tuple[int, Any]]:
    return ((index, meta(deployment)) for index in range(len(some)))


_ASKED: Mapping[Task, Callable[[Deployment, list[Wish]], Iterable[tuple[int, Any]]]] = {
    "generate": _generated,
    "embed": _embedded,
    "rerank": _ranked,
    "tokenize": _tokenized,
    "apply_chat_template": _templated,
    "meta": _described,
}


def _is_unicode(given: Mapping[str, Any]) -> bool:
    """False for a text that was cut within a surrogate pair: it cannot be written as UTF-8."""
    try:
        json.dumps(given, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True


def meta(deployment: Deployment) -> dict[str, Any]:
    """What is known of the model of *deployment*. Spec P06."""
    model, backend, spec = deployment.model, deployment.backend, deployment.spec
    told = model.meta()  # which loads a model that is not yet
    return {
        "model_deploy_type": "saas" if backend.is_remote else "proprietary",
        "backend": "saas" if backend.is_remote else backend.name,
        "kind": spec.kind,
        "devices": [model.device],
        "dim": model.dimension,
        **META,
        **told,
    }


def _reply(wish: Wish, answer: Any, deployment: Deployment, seconds: float) -> Completion:
    """Write *answer*, which was there *seconds* after it was asked for, as JSON."""
    completion = answer if isinstance(answer, Completion) else None
    output = completion.text if completion else bare(answer)
    said = list(wish.prompt.history)
    if completion:
        said += [Message("user", wish.prompt.text), Message("assistant", completion.text)]
    reply = {
        "output": output,
        "input": wish.given,
        "metadata": _metadata(completion, deployment, seconds),
        "history": [asdict(message) for message in said],
    }
    text = json.dumps(reply, ensure_ascii=False)
    if completion:
        return replace(completion, text=text)
    if not isinstance(answer, Measured):
        return Completion(text)
    return Completion(
        text,
        usage=answer.usage,
        seconds=answer.seconds,
        retries=answer.retries,
        replica=answer.replica,
    )


def _metadata(
    completion: Completion | None, deployment: Deployment, seconds: float
) -> dict[str, Any]:
    """What there is to say of an answer, times in milliseconds."""
    reason = completion.finish_reason if completion else None
    completion = completion or Completion("")
    usage, first = completion.usage, completion.first_token_seconds
    seconds = completion.seconds or seconds
    return {
        "request_id": str(uuid.uuid4()),
        "input_tokens_count": usage.input_tokens,
        "generated_tokens_count": usage.output_tokens,
        "time_cost": round(seconds * 1000, 3),
        "first_token_time": None if first is None else round(first * 1000, 3),
        "speed": round(usage.output_tokens / seconds, 3)
        if seconds and usage.output_tokens is not None
        else None,
        "prob": completion.prob,
        "finish_reason": reason,
        "model": deployment.name,
    }
