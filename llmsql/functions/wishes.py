"""What a JSON request wants of a model: Byzer-LLM's keys, read and checked. Spec S02 and S10.

Knows names, spellings and types. Asking the model, and what its answer looks like, is `replies`'
business.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from llmsql import generation
from llmsql.errors import OptionError, suggestion
from llmsql.runtime.deployments import Deployment
from llmsql.types import Kind, Message, Prompt, Roles, Sampling, coerce, read_options, type_name

Task = Literal["generate", "embed", "rerank", "tokenize", "apply_chat_template", "meta"]
Pair = tuple[str, str]

SPELLINGS = {**generation.OTHER_NAMES, "system_msg": "system"}
"""What other engines call options of ours."""

FLAGS: Mapping[str, Task] = {
    "meta": "meta",
    "tokenizer": "tokenize",
    "apply_chat_template": "apply_chat_template",
    "embed_rerank": "rerank",
    "embedding": "embed",
}
"""Keys that say "true" to ask for something else than an answer; the first one counts."""

ROLES = {"user_role": "user", "assistant_role": "assistant", "system_role": "system"}
MEDIA = ("image", "voice", "rate")
ABOUT = {
    "instruction": "what is asked",
    "query": "the same, by another name",
    "history": "the messages before it: [{role, content}, …], which llm_stack() writes",
    "timeout_s": "seconds a remote model may take",
    "user_role": "what stands before the question, for a model without a chat template",
    "assistant_role": "what stands before the answer, as above",
    "system_role": "what stands before the system message, as above",
    "meta": "true: describe the model",
    "tokenizer": "true: the tokens of the instruction",
    "apply_chat_template": "true: the instruction, a list of messages, as the model reads it",
    "embed_rerank": "true: score the instruction, a pair [query, passage] or a list of them",
    "embedding": "true: the vector of the instruction",
    "image": "refused: no model here reads images yet",
    "voice": "refused: no model here hears yet",
    "rate": "refused, as above",
}
"""The keys of a request itself; the others are options of sampling."""

OWN = tuple(ABOUT)

_BY_KIND: Mapping[Kind, Task] = {"chat": "generate", "emb": "embed", "rerank": "rerank"}


@dataclass(frozen=True, slots=True)
class Wish:
    """
    One request, read.

    *given* is the request as it was written. *prompt* is what is asked; its history is all the
    messages where a chat template is to be applied. *pairs* are what is to be ranked, and *is_pair*
    says that it was one pair, not a list.
    """

    task: Task
    given: Mapping[str, Any]
    prompt: Prompt
    pairs: tuple[Pair, ...] = ()
    is_pair: bool = False

    @property
    def is_deterministic(self) -> bool:
        """True when the same request gives the same answer in another statement as well."""
        return self.task != "generate" or self.prompt.sampling.is_deterministic


def read(text: str, deployment: Deployment) -> Wish | None:
    """Read the request *text* to *deployment*; None where its instruction is NULL.

    Raises OptionError for what is no request, for unknown keys and for values of a wrong type.
    """
    given = _object(text)
    own, options = _sorted(given, deployment)
    task = _task(own, deployment.spec.kind)
    if task == "meta":
        return Wish(task, given, Prompt("", Sampling()))
    instruction = _instruction(own)
    if instruction is None:
        return None
    if task == "apply_chat_template":
        said = messages(instruction, "instruction")
        return Wish(task, given, Prompt("", Sampling(), history=said))
    if task == "rerank":
        pairs, is_pair = _pairs(instruction)
        return Wish(task, given, Prompt("", Sampling()), pairs, is_pair)
    if not isinstance(instruction, str):
        instruction = json.dumps(instruction, ensure_ascii=False)
    if task != "generate":
        return Wish(task, given, Prompt(instruction, Sampling()))
    names = {field: own[key] for key, field in ROLES.items() if own.get(key)}
    prompt = Prompt(
        instruction,
        _sampling(options, deployment),
        history=messages(own["history"], "history") if own.get("history") else (),
        roles=Roles(**names) if names else None,
        timeout=_value(own, "timeout_s", float),
    )
    return Wish(task, given, prompt)


def messages(value: Any, key: str) -> tuple[Message, ...]:
    """Read *value*, the messages of a conversation as JSON, which stand under *key*."""
    found = _listed(value)
    if found is not None and all(isinstance(turn, Mapping) for turn in found):
        turns = [(turn.get("role"), turn.get("content")) for turn in found]
        if all(isinstance(role, str) and isinstance(said, str) for role, said in turns):
            return tuple(Message(role, said) for role, said in turns)
    raise OptionError(
        f'"{key}" is a list of messages here, not {_shown(value)}\n'
        """  for example: [{"role": "user", "content": "Hello"}]"""
    )


def _object(text: str) -> dict[str, Any]:
    try:
        given = json.loads(text)
    except (ValueError, RecursionError):
        given = None
    if not isinstance(given, dict):
        raise OptionError(
            f"a request is a JSON object, not {_shown(text)}\n"
            "  llm_param(MAP {'instruction': '…'}) makes one"
        )
    return given


def _sorted(
    given: Mapping[str, Any], deployment: Deployment
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The keys of requests, and the options of the model, in our spelling; NULL says nothing."""
    own: dict[str, Any] = {}
    plain: dict[str, Any] = {}
    prefixed: dict[str, Any] = {}
    known = [field.name for field in dataclasses.fields(deployment.backend.sampling)]
    for key, value in given.items():
        name = key.lower()
        prefix = next((prefix for prefix in generation.PREFIXES if name.startswith(prefix)), "")
        name = name.removeprefix(prefix)
        option = SPELLINGS.get(name, name)
        if not prefix and name in OWN:
            own[name] = value
        elif option not in known and name in generation.WITHOUT_EFFECT:
            continue
        elif prefix:
            prefixed[option] = _option(name, value)
        elif option in known:
            plain[option] = _option(name, value)
        else:
            raise _unknown(key, [*OWN, *SPELLINGS, *known])
    for key in MEDIA:
        if own.get(key):
            raise OptionError(f'model "{deployment.name}" reads text only: it takes no "{key}"')
    options = {**plain, **prefixed}
    return own, {name: value for name, value in options.items() if value is not None}


def _option(name: str, value: Any) -> Any:
    """Read *value* as far as its type in a request differs: a list may be text there."""
    if isinstance(value, str) and (name == "stop" or name in generation.LISTS):
        parts = value.split(",") if name in generation.LISTS else [value]
        return _listed(value) or [part for part in parts if part]
    return value


def _unknown(key: str, known: Iterable[str]) -> OptionError:
    return OptionError(
        f'a request has no key "{key}"{suggestion(key, known)}\n'
        f"  its keys: {', '.join(OWN)}; "
        "system_msg, temperature, top_p, max_length, stopping_sequences; "
        "other options of the model are written gen.NAME"
    )


def _task(own: Mapping[str, Any], kind: Kind) -> Task:
    wanted = [task for key, task in FLAGS.items() if _value(own, key, bool)]
    if wanted == ["embed"] and kind == "rerank":
        return "rerank"
    return wanted[0] if wanted else _BY_KIND[kind]


def _instruction(own: Mapping[str, Any]) -> Any:
    for key in ("instruction", "query"):
        if key in own:
            return own[key]
    raise OptionError(
        'a request says what it wants as "instruction", which is missing\n'
        "  llm_param(MAP {'instruction': '…'})"
    )


def _sampling(options: dict[str, Any], deployment: Deployment) -> Sampling:
    given: dict[str, Any] = {**deployment.spec.defaults, **options}
    system = given.pop("system", None)  # which may differ from row to row: it is not kept

    def make() -> Any:
        return read_options(deployment.backend.sampling, given, owner=f'model "{deployment.name}"')

    sampling: Sampling = deployment.sampling(repr(given), make)
    return replace(sampling, system=str(system)) if system else sampling


def _pairs(value: Any) -> tuple[tuple[Pair, ...], bool]:
    """The pairs of texts in *value*, and whether it is one alone."""
    found = _listed(value) or []
    is_alone = _is_pair(found)
    pairs = [found] if is_alone else found
    if not pairs or not all(map(_is_pair, pairs)):
        raise OptionError(
            f'"instruction" is a query and a passage here, or a list of such pairs, not '
            f"{_shown(value)}\n"
            """  for example: ["Where is the key?", "It hangs on the wall."]"""
        )
    return tuple((query, passage) for query, passage in pairs), is_alone


def _is_pair(value: Any) -> bool:
    is_list = isinstance(value, list) and len(value) == 2
    return is_list and all(isinstance(part, str) for part in value)


def _value(own: Mapping[str, Any], key: str, wanted: Any) -> Any:
    value = own.get(key)
    if value is None or value == "":
        return None
    try:
        return coerce(value, wanted)
    except (TypeError, ValueError) as error:
        raise OptionError(
            f'"{key}" of a request takes {type_name(wanted)}, not {_shown(value)}'
        ) from error


def _listed(value: Any) -> list[Any] | None:
    """A list, perhaps written as JSON text."""
    if isinstance(value, str) and value.lstrip().startswith("["):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return None
    return value if isinstance(value, list) else None


def _shown(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return f'"{text if len(text) <= 60 else text[:59] + "…"}"'
