"""One server that speaks OpenAI's protocol: asking it, asking again, and what its refusals mean.

Posts JSON through aiohttp, which takes ten times the requests of the vendor's own client. What is
asked, and what an answer means, is `model`'s business. No message ever holds the key.
"""

from __future__ import annotations

import email.utils
import json
import random
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from llmsql.backends.openai import address
from llmsql.errors import BackendError, GenerationError, LlmsqlError

if TYPE_CHECKING:
    import aiohttp
    import tenacity

CONNECT_SECONDS = 10.0
FIRST_WAIT, LONGEST_WAIT = 0.25, 8.0
CHECK_RETRIES = 2
LONGEST_MESSAGE = 500

_PASSING = {408, 409, 425, 429, 500, 502, 503, 504, 520, 521, 522, 523, 524, 529}
# What these say after all retries is about the server or the account, and not about one row.
_HINTS = {
    401: "set saas.api_key, or the environment variable OPENAI_API_KEY",
    402: "the account that saas.api_key belongs to needs credit",
    403: "saas.api_key must be one that may use this model",
    404: "saas.model or saas.base_url is wrong",
    429: "ask less at a time, or raise saas.max_retries to wait longer",
    503: "raise saas.max_retries to wait longer",
}
_LIKE = {301: 404, 302: 404, 307: 404, 308: 404, 405: 404, 407: 403, 502: 503, 504: 503}
_LIKE_CODE = {
    "invalid_api_key": 401,
    "insufficient_quota": 402,
    "billing_not_active": 402,
    "model_not_found": 404,
    "web_page": 404,
}


class Refused(GenerationError):
    """The server answered, with an error or with something that is no answer."""

    def __init__(self, text: str, status: int, about: Mapping[str, Any] | None = None) -> None:
        super().__init__(f"the server answers {status}: {text}")
        about = about or {}
        self.text = text
        self.status = status
        self.code = str(about.get("code") or "")
        self.param = str(about.get("param") or "")
        self.retry_after: float = about.get("retry_after", 0.0)

    @property
    def hint(self) -> str:
        """What to do where every other row would be refused as well; else nothing."""
        alike = _LIKE_CODE.get(self.code) or _LIKE.get(self.status, self.status)
        return _HINTS.get(alike, "")

    @property
    def may_pass(self) -> bool:
        """True when the same request may succeed later."""
        return self.code not in _LIKE_CODE and (self.status in _PASSING or self.code == "garbled")


class Client:
    """A server, and the session in which it is asked. Made and used inside the event loop."""

    def __init__(self, bases: list[str], key: str, *, timeout: float, max_retries: int) -> None:
        self.bases = bases
        self.base = bases[0]
        self.models: list[str] = []
        self.timeout = timeout
        self.max_retries = max_retries
        self._key = key
        self._session: aiohttp.ClientSession | None = None
        self._proxy: str | None = None

    async def open(
        self, concurrency: int, organization: str | None, proxy: str | None, local: str | None
    ) -> None:
        """Open the session; connections follow when they are needed."""
        import aiohttp

        headers = {"Authorization": f"Bearer {self._key}"} if self._key else {}
        if organization:
            headers["OpenAI-Organization"] = organization
        connect = min(CONNECT_SECONDS, self.timeout)
        self._proxy = proxy
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=concurrency, local_addr=(local, 0) if local else None
            ),
            headers=headers,
            timeout=aiohttp.ClientTimeout(total=self.timeout, sock_connect=connect),
        )

    async def close(self) -> None:
        """Close every connection."""
        if self._session is not None:
            await self._session.close()

    async def find(self) -> None:
        """Find the form of the address that answers, and the models there.

        A server without a list of models is fine; a wrong key, or no server, is a BackendError.
        """
        for base in self.bases:
            self.base = base
            try:
                answer = await self._ask(
                    "GET", "/models", None, min(self.max_retries, CHECK_RETRIES)
                )
            except Refused as refused:
                if refused.status == 401:
                    raise self._translated(refused, "/models") from refused
                if refused.status in (200, 404, 405):
                    continue
                return  # a key may be allowed to ask and not to list, a server may still be loading
            listed = answer.get("data") if isinstance(answer, dict) else None
            self.models = [str(m["id"]) for m in listed or () if isinstance(m, dict) and "id" in m]
            return
        self.base = self.bases[0]

    async def post(self, path: str, body: Mapping[str, Any]) -> Any:
        """Return the answer to *body*; BackendError where all would fail, else GenerationError."""
        try:
            return await self._ask("POST", path, body, self.max_retries)
        except Refused as refused:
            error = self._translated(refused, path)
            if error is refused:
                raise
            raise error from refused

    async def _ask(self, method: str, path: str, body: Any, retries: int) -> Any:
        import aiohttp
        import tenacity

        again = tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception(self._may_pass),
            stop=tenacity.stop_after_attempt(retries + 1),
            wait=_wait,
            reraise=True,
        )
        try:
            return await again(self._once, method, path, body)
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            place, reason = address.shown(self.base), self._clean(str(error))
            raise BackendError(
                f'server "{place}" cannot be reached: {reason}\n'
                "  is it running? saas.base_url says where it is"
            ) from error
        except TimeoutError as error:
            raise GenerationError(
                f"no answer from the server within {self.timeout:g} seconds\n"
                "  saas.timeout says how long to wait"
            ) from error
        except (aiohttp.ClientError, OSError) as error:
            text = self._clean(str(error) or type(error).__name__)
            raise GenerationError(f"the connection to the server broke: {text}") from error

    async def _once(self, method: str, path: str, body: Any) -> Any:
        assert self._session is not None
        async with self._session.request(
            method, self.base + path, json=body, proxy=self._proxy, allow_redirects=False
        ) as response:
            content = await response.read()
        try:
            answer = json.loads(content)
        except ValueError:
            answer = None
        about = _about(answer)
        if response.status == 200 and answer is not None and not about:
            return answer
        text = about.get("message") or content.decode(errors="replace") or response.reason or ""
        status = response.status
        if status < 300 and not about:
            text = f"this is not JSON: {text}"
            about["code"] = "web_page" if "html" in response.content_type else "garbled"
        elif isinstance(about.get("code"), int) and status == 200:
            status = about["code"]  # a proxy that wraps the error of another server
        if "Location" in response.headers:
            text = f"moved to {address.shown(response.headers['Location'])}"
        about["retry_after"] = _seconds(response.headers)
        raise Refused(self._clean(str(text)), status, about)

    def _may_pass(self, error: BaseException) -> bool:
        import aiohttp

        if isinstance(error, Refused):
            return error.may_pass and error.retry_after <= self.timeout
        if isinstance(error, (aiohttp.ClientSSLError, aiohttp.InvalidURL)):
            return False
        return isinstance(error, (aiohttp.ClientError, OSError, TimeoutError))

    def _translated(self, refused: Refused, path: str) -> LlmsqlError:
        """The BackendError that *refused* means where it is about every row, else itself."""
        if not refused.hint:
            return refused
        models = f"\n  its models: {', '.join(self.models[:10])}" if self.models else ""
        return BackendError(
            f'server "{address.shown(self.base)}" answers {refused.status} to {path}: '
            f"{refused.text}\n  {refused.hint}{models if refused.hint == _HINTS[404] else ''}"
        )

    def _clean(self, text: str) -> str:
        """Return what a server said without the key, and no longer than a message may be."""
        if self._key:
            text = text.replace(self._key, "***")
        return " ".join(text.split())[:LONGEST_MESSAGE]


def _wait(state: tenacity.RetryCallState) -> float:
    """How long to wait before the next try: what the server asks for, or ever longer."""
    import tenacity

    longer = tenacity.wait_exponential_jitter(FIRST_WAIT, LONGEST_WAIT, jitter=FIRST_WAIT)(state)
    error = state.outcome.exception() if state.outcome else None
    asked = getattr(error, "retry_after", 0.0)
    return max(longer, asked + random.uniform(0, FIRST_WAIT) if asked else 0)


def _about(answer: Any) -> dict[str, Any]:
    """What an answer says of an error, in the forms that servers have for it; empty without one."""
    error = answer.get("error") if isinstance(answer, dict) else None
    if isinstance(error, dict):
        return dict(error)
    return {"message": error} if error else {}


def _seconds(headers: Mapping[str, str]) -> float:
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
