"""One server that speaks OpenAI's protocol: asking it, asking again, and what its refusals mean.

Posts JSON through aiohttp: ten times the requests of the vendor's client, whatever its transport. What
is asked, and what an answer means, is `model`'s business. No message ever holds the key.
"""

from __future__ import annotations

import email.utils
import json
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
# After all retries these are the server's state, and not about one row; so are these codes.
_SHARED = {301, 302, 307, 308, 401, 402, 403, 404, 405, 407, 429, 502, 503, 504}
_SHARED_CODES = {"insufficient_quota", "invalid_api_key", "model_not_found", "billing_not_active"}


class Refused(GenerationError):
    """The server answered, with an error or with something that is no answer."""

    def __init__(self, message: str, status: int, **about: Any) -> None:
        super().__init__(message)
        self.status = status
        self.code: str = str(about.get("code") or "")
        self.param: str = str(about.get("param") or "")
        self.retry_after: float = about.get("retry_after", 0.0)
        self.is_garbled: bool = about.get("is_garbled", False)

    @property
    def is_shared(self) -> bool:
        """True when every other row would be refused as well."""
        return self.status in _SHARED or self.code in _SHARED_CODES

    @property
    def may_pass(self) -> bool:
        """True when the same request may succeed later."""
        return (self.status in _PASSING or self.is_garbled) and self.code not in _SHARED_CODES


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
                answer = await self._ask("GET", "/models", None, min(self.max_retries, CHECK_RETRIES))
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
            raise BackendError(
                f'server "{address.shown(self.base)}" cannot be reached: {self._clean(str(error))}\n'
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
        status = response.status
        try:
            answer = json.loads(content)
        except ValueError:
            answer = None
        has_error = not isinstance(answer, (dict, list)) or "error" in answer and answer["error"]
        if 200 <= status < 300 and not has_error:
            return answer
        about = _about(answer)
        message = about.get("message") or content.decode(errors="replace") or response.reason
        if status < 300 and answer is None:
            message = f"the server's answer is not JSON: {message}"
        if location := response.headers.get("Location"):
            message = f"it has moved to {address.shown(location)}"
        raise Refused(
            self._clean(str(message)),
            status,
            code=about.get("code"),
            param=about.get("param"),
            retry_after=_seconds(response.headers),
            is_garbled=status < 300 and answer is None and "html" not in response.content_type,
        )

    def _may_pass(self, error: BaseException) -> bool:
        import aiohttp

        if isinstance(error, Refused):
            return error.may_pass and error.retry_after <= self.timeout
        if isinstance(error, (aiohttp.ClientSSLError, aiohttp.InvalidURL)):
            return False
        return isinstance(error, (aiohttp.ClientError, OSError, TimeoutError))

    def _translated(self, refused: Refused, path: str) -> LlmsqlError:
        ...

    def _clean(self, text: str) -> str:
        """Return what a server said without the key, and no longer than a message may be."""
        if self._key:
            text = text.replace(self._key, "***")
        return text.strip()[:LONGEST_MESSAGE]
