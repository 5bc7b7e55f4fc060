"""Where a server is: the forms in which people write its address, and the key it is asked with."""

from __future__ import annotations

import os
import re
import urllib.parse

from llmsql.errors import BackendError

DEFAULT = "https://api.openai.com/v1"
KEY_VARIABLE = "OPENAI_API_KEY"
_REFERENCE = re.compile(r"\$\{env:(\w+)\}")
_ENDPOINTS = ("/chat/completions", "/completions", "/embeddings", "/rerank", "/models")


def bases(address: str) -> list[str]:
    """The addresses that *address* may mean, the likeliest first.

    People write the host, the host with /v1, or the whole address of one endpoint.
    """
    try:
        parts = urllib.parse.urlsplit(address)
        _ = parts.port  # what is no number may be a password with a slash in it
    except ValueError as error:
        raise BackendError(f'"{shown(address)}" is no address of a server') from error
    path = parts.path.rstrip("/")
    for endpoint in _ENDPOINTS:
        path = path.removesuffix(endpoint)
    shorter = path.removesuffix("/v1")
    if not path:
        paths = ["/v1", ""]
    elif path != shorter:
        paths = [path, shorter]
    else:
        paths = [path, path + "/v1"]
    return [f"{parts.scheme}://{parts.netloc}{p}" for p in paths]


def query(address: str) -> str:
    """Return what each request to *address* is to have behind its path: api-version, or nothing."""
    asked = urllib.parse.urlsplit(address).query
    return f"?{asked}" if asked else ""


def plain(address: str) -> str:
    """Return the likeliest of `bases`, without what is nobody's business: user, password, query."""
    parts = urllib.parse.urlsplit(bases(address)[0])
    host = parts.netloc.rpartition("@")[2].lower()
    return f"{parts.scheme}://{host}{parts.path}"


def shown(address: str) -> str:
    """Return *address* as a message may show it: without the user and password it may hold."""
    hidden = re.sub(r"//(?:[^/\s]*|[^/\s:]*:(?!\d+(?:/|$))\S*)@", "//", address)
    return re.sub(r"[^\s/@:'\"{]+:[^\s/@]+@", "", hidden)


def origin(address: str) -> str:
    """Return the scheme, host and port of *address*."""
    parts = urllib.parse.urlsplit(plain(address))
    return f"{parts.scheme.lower()}://{parts.netloc}"


def variable(given: str | None, base: str) -> str:
    """Return the variable of the environment that the key comes from, empty where from none."""
    if "@" in urllib.parse.urlsplit(base).netloc:
        return ""
    named = _REFERENCE.fullmatch((given or "").strip())
    return named[1] if named else KEY_VARIABLE if given is None else ""


def key(given: str | None, base: str) -> str:
    """Return the key to use at *base*: the given one, else OPENAI_API_KEY's.

    Without one it is empty. An address with a user and a password takes none.
    """
    if "@" in urllib.parse.urlsplit(base).netloc:
        if given is not None:
            raise BackendError(
                "saas.base_url holds a user and a password, and there is saas.api_key as well\n"
                "  a request has one of them: leave out the other"
            )
        return ""
    return (os.environ.get(KEY_VARIABLE, "") if given is None else given).strip()


def proxy(given: str | None, address: str) -> str | None:
    """Return the proxy on the way to *address*: the given one, else the environment's."""
    import urllib.request

    parts = urllib.parse.urlsplit(address)
    if given or urllib.request.proxy_bypass(parts.hostname or ""):
        return given
    return urllib.request.getproxies().get(parts.scheme)
