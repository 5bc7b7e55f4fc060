"""One prompt's way through llama.cpp: fitted to the limit, worded, asked, its answer checked."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from llmsql.backends.llamacpp import requests
from llmsql.backends.llamacpp.requests import Pieces
from llmsql.backends.llamacpp.server import Plan, Server
from llmsql.errors import BackendError, GenerationError
from llmsql.torch_models.room import Room
from llmsql.torch_models.wording import Asked, laid_out
from llmsql.types import Completion, Prompt

Take = Callable[[dict[str, Any]], bool]


class Chat:
    """Asks a server; *has_template* tells whether it knows how a conversation is written."""

    def __init__(self, server: Server, plan: Plan, *, has_template: bool) -> None:
        self.server = server
        self.options = plan.options
        self.room = Room(plan.size.context, plan.options.limit, plan.options.truncate)
        self.has_template = has_template

    def complete(
        self, job: tuple[int, tuple[int, Prompt]], stopped: threading.Event, *, is_shared: bool
    ) -> list[tuple[int, Completion | GenerationError]]:
        """
        Return the completion of one prompt with its index, or its error; *job* is a slot and these.

        Raises BackendError for a broken grammar where all rows have the same: *is_shared*.
        """
        slot, (index, prompt) = job
        has_more = bool(prompt.history) and not self.room.may_cut
        pieces = Pieces(stopped.is_set, prompt.timeout, may_cut=has_more)
        try:
            handle, body = self._request(self._limited(prompt))
            handle(body | {"id_slot": slot}, pieces.take)
        except GenerationError as error:
            return [(index, error)]
        except (BackendError, ValueError, RuntimeError) as error:
            # A chat template refuses what it is given, say.
            return [(index, GenerationError(f"llama.cpp refuses: {error}"))]
        answer = pieces.completion()
        if isinstance(answer, Completion):
            answer = requests.kept(answer, prompt.sampling)
        elif is_shared and "parse grammar" in str(answer):
            raise BackendError(f"{answer}\n  grammar takes GBNF, as llama.cpp describes it")
        return [(index, answer)]

    def count(self, prompt: Prompt) -> int:
        """The tokens of *prompt* as it is worded; 0 for one that would be refused."""
        try:
            return len(self.server.tokens(self._worded(self._limited(prompt))))
        except (GenerationError, BackendError, ValueError, RuntimeError):
            return 0

    def _request(self, prompt: Prompt) -> tuple[Callable[[dict[str, Any], Take], None], Any]:
        """The function of the server that takes *prompt*, and what it takes."""
        cuts = self.options.cuts
        body = {"stream": True, "stream_options": {"include_usage": True}}
        body |= requests.sampling(prompt.sampling, cuts)
        if not self.has_template:
            return self.server.engine.handle_completions, body | {"prompt": self._worded(prompt)}
        said = requests.messages(prompt, self.options.system_prompt)
        return self.server.engine.handle_chat_completions, body | {"messages": said}

    def _limited(self, prompt: Prompt) -> Prompt:
        """*prompt* without what was said first, as far as the room for its tokens asks for it."""
        if not self.room.may_cut or not (prompt.history or self.room.limit):
            return prompt  # llama.cpp counts the tokens itself
        place, tokens = self.room.start(
            prompt.history,
            prompt.sampling.max_tokens,
            lambda at: len(self.server.tokens(self._worded(_from(prompt, at)))),
        )
        if error := self.room.refusal(tokens, has_history=bool(prompt.history)):
            raise error
        return _from(prompt, place)

    def _worded(self, prompt: Prompt) -> str:
        """*prompt* as the model reads it."""
        if self.has_template:
            return self.server.rendered(requests.messages(prompt, self.options.system_prompt))
        system = prompt.sampling.system or self.options.system_prompt
        return laid_out(Asked(system, prompt.text, prompt.history, prompt.roles))


def _from(prompt: Prompt, place: int) -> Prompt:
    """*prompt* without the first *place* messages of what was said before."""
    return replace(prompt, history=prompt.history[place:]) if place else prompt
