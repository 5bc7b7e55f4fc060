"""What a server's refusals mean: whose fault they are, whether to ask again, and when.

Every server has its own form of them; this is the only place that knows.
"""

from __future__ import annotations

import email.utils
import random
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from llmsql.errors import GenerationError

if TYPE_CHECKING:
    import tenacity

FIRST_WAIT, LONGEST_WAIT = 0.25, 8.0

_PASSING = {408, 409, 425, 429, 500, 502, 503, 504, 520, 521, 522, 523, 524, 529}
OF_A_ROW = (403, 502, 503)
"""What a moderator refuses, and what is too long for a gateway, is no fault of other rows."""
# What these say after all retries is about the server or the account, and not about one row.
HINTS = {
    401: "set saas.api_key, or the environment variable OPENAI_API_KEY",
    402: "the account that saas.api_key belongs to needs credit",
    403: "saas.api_key must be one that may use this model",
    404: "saas.model or saas.base_url is wrong",
    407: "saas.proxies takes a user and a password: http://USER:PASSWORD@HOST:PORT",
    429: "ask less at a time, or raise saas.max_retries to wait longer",
    503: "raise saas.max_retries to wait longer",
}
_LIKE = {301: 404, 302: 404, 307: 404, 308: 404, 405: 404, 501: 404, 502: 503}
_LIKE_CODE = {
    "invalid_api_key": 401,
    "insufficient_quota": 402,
    "billing_not_active": 402,
    "model_not_found": 404,
    "web_page": 404,
}


class Refused(GenerationError):
    """The server answered, with an error or with something that is no answer."""

    def __init__(self, text: str, status: int, details: Mapping[str, Any]) -> None:
        super().__init__(f"the server answers {status}: {text}")
        self.text = text
        self.status = status
        self.code = str(details.get("code") or "")
        self.param = str(details.get("param") or "")
        self.retry_after: float = details.get("retry_after", 0.0)

    @property
    def hint(self) -> str:
        """What to do where every other row would be refused as well; else nothing."""
        like = _LIKE_CODE.get(self.code) or _LIKE.get(self.status, self.status)
        return HINTS.get(like, "")

    @property
    def may_pass(self) -> bool:
        """True when the same request may succeed later."""
        return self.code not in _LIKE_CODE and (self.status in _PASSING or self.code == "garbled")


def wait(state: tenacity.RetryCallState) -> float:
    """How long to wait before the next try: what the server asks for, or ever longer."""
    import tenacity

    longer = tenacity.wait_exponential(multiplier=FIRST_WAIT, max=LONGEST_WAIT)
    error = state.outcome.exception() if state.outcome else None
    seconds = max(longer(state), getattr(error, "retry_after", 0.0))
    return seconds + random.uniform(0, FIRST_WAIT)  # lest all that were refused come back at once


def details(answer: Any) -> dict[str, Any]:
    """What an answer says of an error, in the forms that servers have for it; empty without one."""
    error = answer.get("error") if isinstance(answer, dict) else None
    if isinstance(error, dict):
        return dict(error)
    return {"message": error} if error else {}


def seconds(headers: Mapping[str, str]) -> float:
    """How long the server asks to wait, told in seconds or as a date."""
    told = headers.get("Retry-After", "")
    try:
        return max(0.0, float(told))
    except ValueError:
        pass
    try:
        return max(0.0, email.utils.parsedate_to_datetime(told).timestamp() - time.time())
    except ValueError:
        return 0.0
