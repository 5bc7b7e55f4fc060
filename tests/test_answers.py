"""What the functions of udfs/ make of answers as models write them."""

from __future__ import annotations

from typing import Any

import pytest

import llmsql
from llmsql.backends import echo
from llmsql.types import Completion, Prompt


class Saying(echo.Model):
    """A model that says one thing, whatever it is asked."""

    said = ""

    def _answer(self, prompt: Prompt) -> Completion:
        return Completion(self.said)


@pytest.mark.parametrize(
    ("sql", "said", "value"),
    [
        ("ai_classify('t', ['food', 'weather'])", "Weather", "weather"),
        ("ai_classify('t', ['food', 'weather'])", "**Food.**", "food"),
        ("ai_classify('t', ['food', 'weather'])", "_food_", "food"),
        ("ai_classify('t', ['food', 'weather'])", "It is seafood", None),
        ("ai_classify('t', ['food', 'weather'])", "Neither", None),
        ("ai_classify('t', ['pic', 'épicé'])", "épicé", "épicé"),
        ("ai_classify('t', ['pic'])", "épicé", None),
        ("ai_classify('t', ['C', 'C++', 'C#'])", "C++, not C#", "C++"),
        ("ai_classify('t', ['C', 'C++', 'C#'])", "c.", "C"),
        ("ai_classify('t', ['not urgent', 'urgent'])", "Not urgent!", "not urgent"),
        ("ai_classify('t', string_split('weather, food, toys', ','))", "food", " food"),
        ("ai_classify('t', ['Food ', 'weather'])", "It is food.", "Food "),
        ("ai_classify('t', ['food' || chr(10), chr(160)])", "food", "food\n"),
        ("ai_classify('t', ['very  good', 'good'])", "Very\ngood", "very  good"),
        ("ai_classify('t', ['  ', ''])", "", None),
        ("ai_score('t', 'polite')", "Score: 7.5/10", 7.5),
        ("ai_score('t', 'polite')", "I cannot say", None),
        ("ai_extract('t', 'name')", " None.\n", None),
        ("ai_extract('t', 'name')", "Anna", "Anna"),
        ("ai_extract('t', 'name')", "東京 (none)", "東京 (none)"),
        ("ai_extract('t', 'name')", "_None_", None),
        ("ai_filter('t', 'Is it?')", "Yes, it is.", True),
        ("ai_filter('t', 'Is it?')", "no", False),
        ("ai_filter('t', 'Is it?')", "Noël is in it: yes", True),
        ("ai_filter('t', 'Is it?')", "éno", None),
        ("ai_filter('t', 'Is it?')", "no_answer", None),
        ("ai_filter('t', 'Is it?')", "答え：\n**No**", False),
    ],
)
def test_answer(sql: str, said: str, value: Any) -> None:
    """Marks around a label are none of it, and other words are no label."""
    with llmsql.connect() as con:
        con.execute("RUN command AS LLM WHERE pretrainedModelType='debug' AND udfName='chat'")
        model = con.engine.deployments.get("chat").model = Saying("chat", echo.Options())
        model.said = said
        assert con.execute(f"SELECT {sql}").fetchall() == [(value,)]
