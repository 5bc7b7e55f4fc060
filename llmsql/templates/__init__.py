"""Chat formats by name, one TOML file each in this folder. Spec P10.

Owns how messages become a prompt, the generation parameters that go with it, and where an answer is
cut. A model's own chat format ("auto") is its tokenizer's business.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from llmsql.errors import OptionError, suggestion

AUTO = "auto"
_FOLDER = Path(__file__).parent
_ROLES = ("system", "user", "assistant")


@dataclass(frozen=True)
class Template:
    """
    A chat format: what each role's message is wrapped in, and what precedes the *answer*.

    Messages are joined by line ends. `{content}` stands for the message; a role without it is left
    out. *system_holds* is what a system message must be there for, and hold.
    """

    system: str
    user: str
    assistant: str
    answer: str
    system_holds: str | None = None
    cuts: tuple[str, ...] = ()
    generation: Mapping[str, Any] = field(default_factory=dict)

    def text(self, tokenizer: Any) -> str:
        """The Jinja of this format for *tokenizer*, which may want its first token written out.

        The text of a template gets no special tokens beyond those it writes.
        """
        start = tokenizer.bos_token
        begins = tokenizer("")["input_ids"][:1] == [tokenizer.bos_token_id]
        is_missing = start and begins and not self.user.startswith(start)
        return "{{ bos_token }}" + self.jinja if is_missing else self.jinja

    @property
    def jinja(self) -> str:
        """The format as a chat template, as tokenizers take it."""
        roles = "{% el".join(
            f"if message['role'] == '{role}' %}}{_wrapped(getattr(self, role))}" for role in _ROLES
        )
        return (
            f"{self._requirement()}{{% for message in messages %}}"
            f"{{% if not loop.first %}}{_literal(chr(10))}{{% endif %}}"
            f"{{% {roles}"
            "{% else %}{{ raise_exception('this template has no role ' ~ message['role']) }}"
            "{% endif %}{% endfor %}"
            "{% if add_generation_prompt and messages[-1]['role'] == 'user' %}"
            f"{_literal(chr(10) + self.answer)}{{% endif %}}"
        )

    def _requirement(self) -> str:
        if self.system_holds is None:
            return ""
        missing = "the text goes into a system message"
        if self.system_holds:
            missing += f", which must hold {self.system_holds}"
        return (
            "{% if messages[0]['role'] != 'system' or "
            f"{json.dumps(self.system_holds)} not in messages[0]['content'] %}}"
            f"{{{{ raise_exception({json.dumps(missing)}) }}}}{{% endif %}}"
        )


def names() -> list[str]:
    """Every template's name, and "auto" first."""
    return [AUTO, *sorted(path.stem for path in _FOLDER.glob("*.toml"))]


def find(name: str | None) -> Template | None:
    """Return the template called *name*, None for "auto"; OptionError with the nearest name."""
    if name is None or name.lower() == AUTO:
        return None
    if name.lower() not in names():
        raise OptionError(
            f'there is no template "{name}"{suggestion(name, names())}\n'
            f"  templates: {', '.join(names())}"
        )
    return _read(name.lower())


@cache
def _read(name: str) -> Template:
    said = tomllib.loads((_FOLDER / f"{name}.toml").read_text(encoding="utf-8"))
    return Template(**{**said, "cuts": tuple(said.get("cuts", ()))})


def _wrapped(text: str) -> str:
    """*text* as Jinja, with the message's content in its place."""
    before, found, after = text.partition("{content}")
    content = "{{ message['content'] }}" if found else ""
    return _literal(before) + content + _literal(after)


def _literal(text: str) -> str:
    # Inside an expression nothing is trimmed, as line ends beside a block would be.
    return f"{{{{ {json.dumps(text)} }}}}" if text else ""


class Formatted:
    """Options of a backend with a chat format: *template* names one, *chat_template* is one."""

    template: str | None
    chat_template: str | None

    @property
    def preset(self) -> Template | None:
        """The chat format that *template* names."""
        return find(self.template)

    @property
    def generation(self) -> Mapping[str, Any]:
        """What every call has where neither it nor the deployment says otherwise."""
        return self.preset.generation if self.preset else {}

    @property
    def cuts(self) -> tuple[str, ...]:
        """The stops that belong to the format, whatever a call's own are."""
        return self.preset.cuts if self.preset else ()

    def check_format(self) -> None:
        """Raise OptionError where both are given."""
        if self.preset and self.chat_template:
            raise OptionError("give template or chat_template, not both")

    def chat_format(self, tokenizer: Any) -> str | None:
        """The chat template to use instead of the model's own."""
        return self.preset.text(tokenizer) if self.preset else self.chat_template
