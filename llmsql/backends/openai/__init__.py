"""Any server that speaks OpenAI's protocol: the vendor's own, vLLM, llama.cpp, Ollama, a gateway.

Knows the options, and how to find the server. Requests are `model`'s business, the wire `client`'s.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from llmsql.backends import base
from llmsql.backends.openai import address
from llmsql.backends.openai.sampling import Sampling
from llmsql.errors import BackendError, OptionError
from llmsql.types import Disclosure, Kind, ModelSpec


@dataclass(frozen=True)
class Options:
    """What RUN command AS LLM accepts for this backend; *timeout* is for one try, in seconds.

    *api_key* may be written `${env:NAME}`; without it $OPENAI_API_KEY is used where it is set.
    """

    base_url: str = address.DEFAULT
    api_key: str | None = field(default=None, repr=False)
    model: str | None = None
    timeout: float = 600.0
    max_retries: int = 10
    dimensions: int | None = None
    batch_texts: int = 256
    organization: str | None = None
    proxies: str | None = None
    local_address: str | None = None

    def __post_init__(self) -> None:
        if not self.base_url.lower().startswith(("http://", "https://")):
            raise OptionError(
                f'saas.base_url "{address.shown(self.base_url)}" is no address of a server\n'
                "  it looks like https://host/v1"
            )
        if self.timeout <= 0:
            raise OptionError(f"saas.timeout must be above 0, not {self.timeout:g}")
        if self.max_retries < 0:
            raise OptionError(f"saas.max_retries must be 0 or more, not {self.max_retries}")
        for name in ("dimensions", "batch_texts"):
            if (value := getattr(self, name)) is not None and value < 1:
                raise OptionError(f"saas.{name} must be 1 or more, not {value}")


class Backend(base.Backend):
    """Models behind an OpenAI-compatible server."""

    options = Options
    sampling = Sampling
    kinds = ("chat", "emb", "rerank")
    model_types = ("saas/openai", "saas/official_openai")
    extra = "openai"
    modules = ("aiohttp", "tenacity")
    is_remote = True
    option_prefix = "saas."
    paced = frozenset("timeout max_retries batch_texts organization proxies local_address".split())

    def kind_of(self, path: str, model_type: str) -> Kind:
        """What the model's name says it is for."""
        name = path.lower()
        return "emb" if "embed" in name else "rerank" if "rerank" in name else "chat"

    def identity(self, spec: ModelSpec) -> Mapping[str, Any]:
        """Return what decides an answer: the server, the model's name there, and the dimensions.

        A deployment that names no model means whichever one the server has. Raises BackendError for
        an address that is none.
        """
        options: Options = self.options_of(spec)
        known = self.deciding(options) | {"base_url": address.plain(options.base_url)}
        source = known.pop("model") or spec.source
        known_types = {"model_type": None}  # all speak the same protocol
        return {**super().identity(spec), **known_types, "source": source, "options": known}

    def discloses(self, spec: ModelSpec) -> Sequence[Disclosure]:
        """Return the variable that holds the key, unless it is OpenAI's and goes there."""
        options: Options = self.options_of(spec)
        variable = address.variable(options.api_key, address.bases(options.base_url)[0])
        if not variable:
            return ()
        where = address.origin(options.base_url)
        if options.proxies:
            where += f" by {address.shown(options.proxies)}"
        is_own = (variable, where) == (address.KEY_VARIABLE, address.origin(address.DEFAULT))
        return () if is_own else (Disclosure(variable, where),)

    def load(self, spec: ModelSpec) -> base.Model:
        """Find the server, see that it takes the key, and learn what it has to tell."""
        self.require()
        # asyncio comes with these, and every backend is looked at when one is chosen
        from llmsql.backends.openai.client import Client
        from llmsql.backends.openai.loop import Loop
        from llmsql.backends.openai.model import Model

        options: Options = spec.options or Options()
        bases = address.bases(options.base_url)
        key = _checked(address.key(options.api_key, bases[0]), bases[0])
        client = Client(
            bases,
            key,
            timeout=options.timeout,
            max_retries=options.max_retries,
            query=address.query(options.base_url),
        )
        model = Model(
            options.model or spec.source,
            client,
            Loop(f"llmsql-{spec.name}-http"),
            concurrency=max(1, spec.concurrency),
            batch_texts=options.batch_texts,
            dimensions=options.dimensions,
        )
        try:
            proxy = address.proxy(options.proxies, bases[0])
            model.open(options.organization, proxy, options.local_address)
            if spec.kind == "emb":
                model.measure()
        except BaseException:
            model.unload()
            raise
        return model


def _checked(key: str, base: str) -> str:
    if not key and base == address.DEFAULT:
        raise BackendError(
            f'server "{base}" wants a key\n'
            f"  set saas.api_key, or the environment variable {address.KEY_VARIABLE}"
        )
    if not (key.isascii() and key.isprintable()):
        raise BackendError(
            "saas.api_key holds a character that no key has\n  copy it again, on one line"
        )
    return key
