"""What an answer of a server may be asked to be, beyond what every backend knows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from llmsql import types
from llmsql.errors import OptionError

OWN = frozenset(("messages", "model", "n", "stream"))
"""Fields of a request that decide what comes back, and so are not the user's."""


@dataclass(frozen=True)
class Sampling(types.Sampling):
    """How an answer is drawn, with what OpenAI's protocol adds.

    *json_schema* binds the answer to a schema, strictly. *reasoning_effort* is sent as it is, as
    vendors have different ones. *extra_body* is a JSON object of fields that the server takes and
    this has no option for.
    """

    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    json_schema: types.JsonObject | None = None
    reasoning_effort: str | None = None
    extra_body: types.JsonObject | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("presence_penalty", "frequency_penalty"):
            if not -2 <= getattr(self, name) <= 2:
                raise OptionError(f"{name} must be between -2 and 2, not {getattr(self, name)}")
        types.json_object("json_schema", self.json_schema)
        for name in types.json_object("extra_body", self.extra_body):
            if name in OWN:
                raise OptionError(f'extra_body may not hold "{name}": that is for llmsql to say')
            if name in self.__dataclass_fields__:
                raise OptionError(f'extra_body may not hold "{name}": it is an option of its own')


def fields(sampling: types.Sampling) -> dict[str, Any]:
    """The fields of a request that *sampling* asks for beyond what every server takes."""
    if not isinstance(sampling, Sampling):
        return {}
    found: dict[str, Any] = {}
    for name in ("presence_penalty", "frequency_penalty", "reasoning_effort"):
        if value := getattr(sampling, name):
            found[name] = value
    if schema := types.json_object("json_schema", sampling.json_schema):
        form = {"name": "answer", "schema": schema, "strict": True}
        found["response_format"] = {"type": "json_schema", "json_schema": form}
    return found | types.json_object("extra_body", sampling.extra_body)
