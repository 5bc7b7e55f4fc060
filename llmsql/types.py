"""Values that cross layers: what a model is asked, what it answers, what is deployed.

Frozen, hashable where they serve as keys, and free of behaviour beyond reading options.
"""

from __future__ import annotations

import dataclasses
import json
import math
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, NamedTuple, NewType, TypeVar

from llmsql.errors import OptionError, suggestion

Kind = Literal["chat", "emb", "rerank"]
KINDS: tuple[Kind, ...] = typing.get_args(Kind)
DEFAULT_MAX_TOKENS = 256


@dataclass(frozen=True)
class Sampling:
    """How an answer is drawn. A backend that takes more options subclasses this."""

    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    max_tokens: int = DEFAULT_MAX_TOKENS
    stop: tuple[str, ...] = ()
    seed: int | None = None
    system: str | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.temperature < float("inf"):
            raise OptionError(f"temperature must be 0 or more, not {self.temperature}")
        if not 0 < self.top_p <= 1:
            raise OptionError(f"top_p must be above 0 and at most 1, not {self.top_p}")
        if self.max_tokens < 1:
            raise OptionError(f"max_tokens must be 1 or more, not {self.max_tokens}")
        if self.seed is not None and not -(2**63) <= self.seed < 2**63:
            raise OptionError(f"seed must fit into 64 bits, which {self.seed} does not")
        if "" in self.stop:
            raise OptionError("stop must not be an empty text")

    @property
    def is_deterministic(self) -> bool:
        """True when the same prompt gives the same answer in another statement as well."""
        return self.temperature == 0 or self.seed is not None


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation."""

    role: str
    content: str


@dataclass(frozen=True, slots=True)
class Roles:
    """What stands before each turn where a model has no chat template; may be empty."""

    user: str = ""
    assistant: str = ""
    system: str = ""


@dataclass(frozen=True, slots=True)
class Prompt:
    """One thing a chat model is asked, with what was said before, oldest first.

    *timeout* is how many seconds the answer may take, for a backend that can stop waiting.
    """

    text: str
    sampling: Sampling
    history: tuple[Message, ...] = ()
    roles: Roles | None = None
    timeout: float | None = None


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens read, written, and of those read the ones found in a prefix cache.

    None is not known, as of a server that does not tell; it is never 0.
    """

    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Completion:
    """One answer of a chat model; *finish_reason* is "length" where max_tokens cut it.

    *seconds* passed until it was there, *first_token_seconds* until it began, and *prob* is the sum
    of its tokens' log-probabilities: each where the backend can tell. *retries* is how often it was
    asked for again, *replica* the number of the one of several processes that answered.
    """

    text: str
    finish_reason: Literal["stop", "length"] = "stop"
    usage: Usage = Usage()
    seconds: float | None = field(default=None, compare=False)
    first_token_seconds: float | None = field(default=None, compare=False)
    prob: float | None = None
    retries: int = field(default=0, compare=False)
    replica: int = field(default=0, compare=False)


Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class Measured(Generic[Value]):
    """A vector or a score, and what it cost; *seconds* passed until it was there.

    Where many share a request, each has its share of the tokens, and the first has the *retries*:
    sums are those of the requests.
    """

    value: Value
    usage: Usage
    seconds: float | None = field(default=None, compare=False)
    retries: int = field(default=0, compare=False)
    replica: int = field(default=0, compare=False)


def bare(result: Any) -> Any:
    """Return the value of a `Measured` one; anything else as it is."""
    return result.value if isinstance(result, Measured) else result


@dataclass(frozen=True)
class Terms:
    """
    On what terms a model is asked: what it costs, and whether its answers are kept on disk.

    Prices are for a million tokens, in any currency, the same for all models of a database; None is
    unknown.
    """

    price_input: float | None = None
    price_output: float | None = None
    cache: bool = True

    def __post_init__(self) -> None:
        for name in ("price_input", "price_output"):
            price = getattr(self, name)
            if price is not None and not 0 <= price < float("inf"):
                raise OptionError(f"{name} must be 0 or more, not {price}")

    def cost(self, input_tokens: float | None, output_tokens: float | None) -> float | None:
        """What so many tokens cost; None where a price or a number is unknown."""
        priced = ((self.price_input, input_tokens), (self.price_output, output_tokens))
        if self.price_input is None and self.price_output is None:
            return None
        if any(price and tokens is None for price, tokens in priced):
            return None
        return sum((price or 0.0) * (tokens or 0) for price, tokens in priced) / 1e6


def split_terms(
    options: Mapping[str, Any], prefixes: tuple[str, ...] = ()
) -> tuple[dict[str, Any], dict[str, Any]]:
    """What *options* say of terms, by name, and the other options.

    One of *prefixes* may stand before the name of a term.
    """
    names = {f.name for f in dataclasses.fields(Terms)}
    terms: dict[str, Any] = {}
    rest: dict[str, Any] = {}
    for key, value in options.items():
        name = key.lower()
        for prefix in prefixes:
            name = name.removeprefix(prefix)
        (terms if name in names else rest)[name if name in names else key] = value
    return terms, rest


class Disclosure(NamedTuple):
    """A *variable* of the environment that goes to *address* as a key, where it is set."""

    variable: str
    address: str


@dataclass(frozen=True)
class ModelSpec:
    """What is to be deployed: everything a backend needs to load it.

    *source* is what the user wrote (a directory, a file, a packaged name, a Hugging Face id),
    *path* where its files were found; both are empty for a remote model. *kind* is settled before
    loading. *why* says why it is this backend; no database remembers that.
    """

    name: str
    kind: Kind
    backend: str
    source: str = ""
    path: str = ""
    model_type: str = "custom/auto"
    options: Any = None
    gpus: float = 0.0
    replicas: int = 1
    concurrency: int = 1
    defaults: Mapping[str, Any] = field(default_factory=dict)
    terms: Terms = Terms()
    why: str = field(default="", compare=False)


Options = TypeVar("Options")


def read_options(
    cls: type[Options],
    given: Mapping[str, Any],
    *,
    owner: str,
    prefix: str = "",
    also: tuple[str, ...] = (),
) -> Options:
    """Make a *cls* from *given*, whose values may be text; None keeps the default.

    All wrong options are named at once. Raises OptionError; *owner* is who takes the options, as
    the message calls it, and *prefix* is what the user wrote before each name. *also* are options
    that were taken out of *given* before. A class with a method `opened` is asked which of its
    subclasses has fields for what is given.
    """
    cls = getattr(cls, "opened", lambda _: cls)(given)
    hints = typing.get_type_hints(cls)
    fields = {f.name: f for f in dataclasses.fields(cls) if f.init}  # type: ignore[arg-type]
    values: dict[str, Any] = {}
    wrong: list[str] = []
    for key, value in given.items():
        name = key.lower()
        if name not in fields:
            known = ", ".join(prefix + f for f in (*fields, *also))
            wrong.append(
                f'{owner} has no option "{prefix}{key}"{suggestion(name, (*fields, *also))}\n'
                f"  its options: {known or 'none'}"
            )
        elif value is not None:
            try:
                values[name] = coerce(value, hints[name])
            except (TypeError, ValueError, OverflowError):
                wanted = type_name(hints[name])
                shown = repr(value) if fields[name].repr else "what was given"  # perhaps a secret
                wrong.append(f'option "{prefix}{key}" of {owner} takes {wanted}, not {shown}')
    if wrong:
        raise OptionError("\n".join(wrong))
    return cls(**values)


JsonObject = NewType("JsonObject", str)
"""A JSON object as text; an option of this type takes a STRUCT or a MAP, too."""


def json_object(name: str, text: str | None) -> dict[str, Any]:
    """The JSON object in the option *name*, empty where it is not given; OptionError if none."""
    if text is None:
        return {}
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise OptionError(f"{name} is not JSON: {error}") from None
    if not isinstance(found, dict):
        raise OptionError(f"{name} must be a JSON object, {{…}}")
    return found


def coerce(value: Any, wanted: Any) -> Any:
    """Return *value* as the type *wanted*; raises ValueError or TypeError where it is not one."""
    origin, args = typing.get_origin(wanted), typing.get_args(wanted)
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in args:
            return None
        return coerce(value, next(a for a in args if a is not type(None)))
    if origin is Literal:
        text = str(value).lower()
        if text not in args:
            raise ValueError(value)
        return text
    if origin is tuple:
        items = [value] if isinstance(value, str) else value
        return tuple(coerce(item, args[0]) for item in items)
    return _SCALARS[wanted](value)


def type_name(wanted: Any) -> str:
    """Name the type *wanted* as a user would: "an integer", "one of a, b"."""
    origin, args = typing.get_origin(wanted), typing.get_args(wanted)
    if origin in (typing.Union, types.UnionType):
        return type_name(next(a for a in args if a is not type(None)))
    if origin is Literal:
        return "one of " + ", ".join(map(str, args))
    if origin is tuple:
        return "a list of texts"
    names = {
        int: "an integer",
        float: "a number",
        bool: "true or false",
        JsonObject: "a JSON object",
    }
    return names.get(wanted, "a text")


def _boolean(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    text = str(value).strip().lower()
    if text not in ("true", "false", "1", "0"):
        raise ValueError(value)
    return text in ("true", "1")


def _integer(value: Any) -> int:
    if isinstance(value, bool):
        raise ValueError(value)
    if isinstance(value, float) and math.isinf(value):
        raise ValueError(value)
    number = int(value)
    if not isinstance(value, str) and number != value:
        raise ValueError(value)
    return number


def _number(value: Any) -> float:
    if isinstance(value, bool):
        raise ValueError(value)
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(value)
    return number


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(value)
    return value


def _json_text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict) else _text(value)


_SCALARS: dict[Any, Any] = {
    int: _integer,
    float: _number,
    bool: _boolean,
    str: _text,
    JsonObject: _json_text,
}
