"""The `--%chat` cell: a form above free text, as the SQL it stands for. Spec D12."""

from __future__ import annotations

import re

from llmsql.errors import StatementError, suggestion
from llmsql.syntax import quote

_FIRST = re.compile(r"\s*--%chat[ \t\r]*(?:\n|\Z)")
_FIELD = re.compile(r"--%(\w+)[ \t]*=?[ \t]*(.*)")
_FORM = frozenset({"model", "input", "output", "format"})
_PARAMETERS = frozenset(
    {"system_msg", "user_role", "assistant_role", "system_role", "temperature", "top_p",
     "max_length", "embedding", "image"}
)  # fmt: skip


def is_cell(text: str) -> bool:
    """True for a chat cell, whatever its form says."""
    return _FIRST.match(text) is not None


def read(text: str) -> str | None:
    """Return the script that the cell *text* means, or None where it is no chat cell.

    The answer is the table `output`, in one column `q`; what is shown is the answer's text. With
    `input`, each row of that table is a conversation that goes on.
    """
    first = _FIRST.match(text)
    if first is None:
        return None
    form, instruction = _fields(text[first.end() :])
    model = quote.identifier(form.get("model", "chat"))
    output = quote.identifier(form.get("output", "output"))
    parameters = {k: v for k, v in form.items() if k not in _FORM}
    asked = f"llm_param({quote.text_map({'instruction': instruction, **parameters})})"
    source = ""
    if "input" in form:
        asked = f"llm_stack(q, {asked})"
        source = f" FROM {quote.identifier(form['input'])}"
    shown = "llm_result(q)"
    if form.get("format", "").lower() == "html":
        shown = f"'<pre>' || {_escaped(shown)} || '</pre>'"
    return (
        f"CREATE OR REPLACE TEMP TABLE {output} AS SELECT {model}({asked}) AS q{source};\n"
        f"SELECT {shown} AS answer FROM {output}"
    )


def is_complete(text: str) -> bool | None:
    """Whether a blank line has ended the cell *text* at the prompt; None where it is no cell."""
    return text.endswith("\n\n") if _FIRST.match(text) else None


def _fields(text: str) -> tuple[dict[str, str], str]:
    """The form's fields, and the free text below them."""
    form: dict[str, str] = {}
    lines = text.split("\n")
    while lines and (match := _FIELD.fullmatch(lines[0].strip())):
        key, value = match[1], match[2].strip()
        if key not in _FORM | _PARAMETERS:
            raise StatementError(
                f'a chat cell has no field "{key}"{suggestion(key, _FORM | _PARAMETERS)}\n'
                f"  fields: {', '.join(sorted(_FORM | _PARAMETERS))}"
            )
        form[key] = value
        lines.pop(0)
    instruction = "\n".join(lines).strip()
    if not instruction:
        raise StatementError("a chat cell needs text below its fields: what is asked")
    return form, instruction


def _escaped(text: str) -> str:
    return f"replace(replace({text}, '&', '&amp;'), '<', '&lt;')"
