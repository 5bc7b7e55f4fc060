"""One server that speaks OpenAI's protocol: asking it, asking again, and what its refusals mean.

Posts JSON through aiohttp, which takes ten times the requests of the vendor's own client. What is
asked, and what an answer means, is `model`'s business. No message ever holds the key.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from llmsql.backends.openai import address, answers, refusals
from llmsql.backends.openai.refusals import Refused
from llmsql.errors import BackendError, GenerationError, LlmsqlError

if TYPE_CHECKING:
    import aiohttp

CONNECT_SECONDS = 10.0
CHECK_RETRIES, CHECK_SECONDS = 2, 20.0
LONGEST_MESSAGE = 500
HOPELESS = 8
"""So many requests whose retries are used up, with no answer among them: the server is broken."""

Result = TypeVar("Result")


@dataclass(frozen=True)
class Posted(Generic[Result]):
    """What was read of an answer, how long it took, and how often it was asked for again."""

    result: Result
    seconds: float
    retries: int


@dataclass
class Tries:
    """How often something has been asked for again so far."""

    again: int = 0


class Client:
    """A server, and the session in which it is asked: opened and closed inside the event loop."""

    def __init__(
        self, bases: list[str], key: str, *, timeout: float, max_retries: int, query: str = ""
    ) -> None:
        self.bases = bases
        self.query = query
        self.base = bases[0]
        self.models: list[str] = []
        self.retrying = 0
        self._answered_at = 0.0
        self.in_vain = 0
        self.timeout = timeout
        self.max_retries = max_retries
        self._key = key
        self._session: aiohttp.ClientSession | None = None
        self._headers: dict[str, str] = {}
        self._proxy: str | None = None

    async def open(
        self, concurrency: int, organization: str | None, proxy: str | None, local: str | None
    ) -> None:
        """Open the session; connections follow when they are needed."""
        import aiohttp

        if self._key:
            self._headers["Authorization"] = f"Bearer {self._key}"
        if organization:
            self._headers["OpenAI-Organization"] = organization
        connect = min(CONNECT_SECONDS, self.timeout)
        self._proxy = proxy
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=concurrency, local_addr=(local, 0) if local else None
            ),
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
                async with asyncio.timeout(CHECK_SECONDS):
                    answer = await self._ask(
                        "GET", "/models", None, CHECK_RETRIES, longest=CHECK_SECONDS / 4
                    )
            except Refused as refused:
                is_guessed = base != self.bases[0] and not base.endswith("/v1")
                if is_guessed or refused.status in (200, 404, 405):
                    continue
                if refused.status in (401, 407):
                    raise self._translated(refused, "/models") from refused
                return  # a key may be allowed to ask and not to list, a server may still be loading
            except (GenerationError, TimeoutError) as error:
                raise BackendError(
                    f'server "{address.shown(base)}" does not answer: {str(error) or "too slow"}'
                ) from error
            listed = answer.get("data") if isinstance(answer, dict) else None
            self.models = [str(m["id"]) for m in listed or () if isinstance(m, dict) and "id" in m]
            return
        self.base = self.bases[0]

    async def post(
        self,
        path: str,
        body: Mapping[str, Any],
        read: Callable[[Any], Result],
        *,
        is_many: bool = False,
    ) -> Posted[Result]:
        """Return what *read* makes of the answer to *body*.

        Raises BackendError where all other rows would fail as well, else GenerationError. A request
        that *is_many* is not repeated after a 500: whoever asks does better to divide it.
        """
        started, tries = time.perf_counter(), Tries()

        def measured(error: GenerationError) -> GenerationError:
            error.seconds, error.retries = time.perf_counter() - started, tries.again
            return error

        try:
            answer = await self._ask(
                "POST", path, body, self.max_retries, is_many=is_many, tries=tries
            )
        except GenerationError as wrong:
            error = self._translated(measured(wrong), path, started)
            self._count(error, tries, is_many=is_many)
            if error is wrong:
                raise
            raise error from wrong
        self._answered_at, self.in_vain = time.perf_counter(), 0
        try:
            return Posted(read(answer), self._answered_at - started, tries.again)
        except GenerationError as wrong:
            text = self._scrubbed(str(wrong))[:LONGEST_MESSAGE]
        raise measured(GenerationError(text))  # out here, lest the unscrubbed text stay as context

    async def _ask(
        self,
        method: str,
        path: str,
        body: Any,
        retries: int,
        *,
        is_many: bool = False,
        tries: Tries | None = None,
        longest: float | None = None,
    ) -> Any:
        """Ask until there is an answer, counting in *tries*; the network's errors become ours.

        A server that asks to wait for more than *longest* seconds, by default the timeout, is not.
        """
        import aiohttp

        def may_pass(error: BaseException) -> bool:
            if getattr(error, "retry_after", 0.0) > (longest or self.timeout):
                return False
            return self._may_pass(error) and not (is_many and getattr(error, "status", 0) == 500)

        try:
            once = partial(self._once, method, path, body)
            return await self._patiently(once, retries, may_pass, tries or Tries())
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
        except (aiohttp.ClientError, OSError, UnicodeError) as error:
            text = self._clean(address.shown(str(error)) or type(error).__name__)
            raise GenerationError(f"the connection to the server broke: {text}") from error

    async def _patiently(
        self,
        once: Callable[[], Awaitable[Any]],
        retries: int,
        may_pass: Callable[[BaseException], bool],
        tries: Tries,
    ) -> Any:
        import tenacity

        try:
            return await once()
        except Exception as error:
            if not retries or not may_pass(error):
                raise
            failed = [error]

        async def again() -> Any:
            if failed:
                raise failed.pop()
            tries.again += 1
            return await once()

        # Only now: at each call tenacity inspects what it is given, at a third of a request's cost.
        self.retrying += 1
        try:
            return await tenacity.AsyncRetrying(
                retry=tenacity.retry_if_exception(may_pass),
                stop=tenacity.stop_after_attempt(retries + 1),
                wait=refusals.wait,
                reraise=True,
            )(again)
        finally:
            self.retrying -= 1

    async def _once(self, method: str, path: str, body: Any) -> Any:
        import aiohttp

        assert self._session is not None
        garbage, status = "", 200
        try:
            async with self._session.request(
                method,
                self.base + path + self.query,
                json=body,
                headers=self._headers,  # as the session's own they would go to the proxy too
                proxy=self._proxy,
                allow_redirects=False,
            ) as response:
                content = await response.read()
        except aiohttp.ClientResponseError as error:
            is_proxy = isinstance(error, aiohttp.ClientHttpProxyError)
            garbage = f"broken HTTP: {error.message}"
            status = error.status if is_proxy else 200
        if garbage:  # out here, because aiohttp's error carries our headers, with the key
            code = "garbled" if status == 200 else ""
            raise Refused(self._clean(garbage), status, {"code": code})
        try:
            answer = json.loads(content)
        except ValueError:
            answer = None
        details = refusals.details(answer)
        if response.status < 300 and answer is not None and not details:
            return answer
        raise self._refused(response, content, details)

    def _refused(
        self, response: aiohttp.ClientResponse, content: bytes, details: dict[str, Any]
    ) -> Refused:
        status = response.status
        text = details.get("message") or content.decode(errors="replace") or response.reason or ""
        if status < 300 and not details:
            text = f"this is not JSON: {text}"
            details["code"] = "web_page" if "html" in response.content_type else "garbled"
        elif status < 300 and isinstance(details.get("code"), int):
            status = details["code"]  # a gateway that wraps the error of another server
        if 300 <= status < 400:
            text = f"moved to {address.shown(response.headers.get('Location', ''))}"
        details["retry_after"] = refusals.seconds(response.headers)
        return Refused(self._clean(str(text)), status, details)

    def _may_pass(self, error: BaseException) -> bool:
        import aiohttp

        if isinstance(error, Refused):
            return error.may_pass
        if isinstance(error, (aiohttp.ClientSSLError, aiohttp.InvalidURL)):
            return False
        return isinstance(error, (aiohttp.ClientError, OSError, TimeoutError))

    def _translated(self, refused: GenerationError, path: str, started: float = 0) -> LlmsqlError:
        """The BackendError that *refused* means where it is about every row, else itself.

        A server is not down that answered others since *started*, nor a key wrong that it took.
        """
        if not isinstance(refused, Refused) or not refused.hint:
            return refused
        since = 0 if refused.status == 403 else started
        if refused.status in refusals.OF_A_ROW and self._answered_at > since:
            return refused
        hint = refused.hint
        if refused.retry_after > self.timeout:
            asked = f"{refused.retry_after:g} s, and saas.timeout is {self.timeout:g}"
            hint = f"it asks to wait {asked}: wait, or raise that"
        if hint == refusals.HINTS[404] and self.models:
            hint += f"\n  its models: {', '.join(self.models[:10])}"
        return BackendError(
            f'server "{address.shown(self.base)}" answers {refused.status} to {path}: '
            f"{refused.text}\n  {hint}"
        )

    def _count(self, error: LlmsqlError, tries: Tries, *, is_many: bool) -> None:
        """Raise BackendError where *error* is the last of so many after all retries."""
        if is_many or not self.max_retries or tries.again < self.max_retries:
            return
        self.in_vain += 1
        if self.in_vain >= HOPELESS and isinstance(error, GenerationError):
            place = address.shown(self.base)
            raise BackendError(f'server "{place}" fails on every row: {error}') from error

    def _clean(self, text: str) -> str:
        """Return what a server said, on one line, no longer than a message may be, scrubbed."""
        return " ".join(self._scrubbed(text).split())[:LONGEST_MESSAGE]

    def _scrubbed(self, text: str) -> str:
        text = answers.whole(text)
        for secret in filter(None, (self._key, self.query)):
            text = text.replace(secret, "***")
        return text
