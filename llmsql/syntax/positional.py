"""Templates with places counted from zero: `{0}`, `{}`, `{1:default}`, `{:all}`. Spec D05, S03."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Sequence

_PLACE = re.compile(r"(?<!\$)\{(-?\d*)(?::([^{}]*))?\}")


def fill(template: str, values: Sequence[str]) -> str:
    """Put *values* into *template*, in one pass: what was put in is not looked at again.

    `{}` counts for itself; a place without a value takes its default, or nothing. Braces around
    anything else stay as they are.
    """
    counter = itertools.count()

    def place(match: re.Match[str]) -> str:
        number, default = match[1], match[2]
        if not number and default == "all":
            return json.dumps(list(values), ensure_ascii=False)
        index = int(number) if number.strip("-") else next(counter)
        return values[index] if 0 <= index < len(values) else default or ""

    return _PLACE.sub(place, template)
