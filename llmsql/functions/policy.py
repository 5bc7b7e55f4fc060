"""The option `on_error`: what the options of a call say about a row that fails.

It is no option of sampling: calls that differ in it share their answers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llmsql.errors import OptionError, suggestion
from llmsql.syntax.on_error import SIBLINGS

OPTION = "on_error"
_CHOICES = ("null", "raise", "capture")


def split(options: Mapping[str, Any] | None) -> tuple[str | None, dict[str, Any]]:
    """What *options* say of failed rows, "null", "raise" or nothing, and the other options.

    Options that are NULL are left out. Raises OptionError for any other value, and for "capture",
    which decides the type of the answer before any options are known.
    """
    given = {name: value for name, value in (options or {}).items() if value is not None}
    said = [given.pop(name) for name in list(given) if name.lower() == OPTION]
    if not said:
        return None, given
    policy = str(said[-1]).lower()
    if policy not in SIBLINGS:
        raise OptionError(
            f'option "{OPTION}" takes null, raise or capture, not "{said[-1]}"'
            f"{suggestion(policy, _CHOICES)}"
        )
    if policy == "capture":
        raise OptionError(
            f'option "{OPTION}" is "capture" where the type of the answer is settled already\n'
            f"  write it as a literal: {{'{OPTION}': 'capture'}}"
        )
    return policy, given
