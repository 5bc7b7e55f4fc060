"""Models that are loaded when they are first asked something."""

from __future__ import annotations

from llmsql.backends import echo
from llmsql.backends.base import Model
from llmsql.runtime.lazy import LazyModel


def test_counting_tokens_loads_nothing() -> None:
    """Until the first call nobody knows how many tokens a text has; then the model does."""
    loaded: list[Model] = []

    def load() -> Model:
        loaded.append(echo.Model("emb", echo.Options()))
        return loaded[0]

    model = LazyModel("m", load, 8)
    assert model.count_tokens(["one two"]) is None
    assert not loaded
    list(model.embed(["one"]))
    assert model.count_tokens(["one two"]) == [2]
