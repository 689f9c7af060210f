"""Conversations as sources: marks, limits, and a chat that builds what training built."""

from typing import Any

import pytest

from antiphon.chat import Chat
from antiphon.config import loading
from antiphon.config.sections import Dialogue
from antiphon.data.dialogue import Turn, alternating, context, pairs
from antiphon.data.tokenizer import Tokenizer
from antiphon.errors import UserError

OPTIONS = Dialogue(turns=3)
SAID = ["hello", "hello , you", "a table please", "for when", "for two"]


def test_a_source_is_the_last_turns_behind_their_marks() -> None:
    turns = [Turn("<a>", "one"), Turn("<b>", " two\nlines "), Turn("<a>", "three")]
    assert context(turns) == "<a> one<b> two lines<a> three"
    assert context(turns, 2) == "<b> two lines<a> three"
    assert context(turns, 9) == context(turns)


def test_the_last_turn_is_the_users() -> None:
    assert [turn.mark for turn in alternating(SAID, OPTIONS)] == ["<user>", "<model>", "<user>", "<model>", "<user>"]
    assert [turn.mark for turn in alternating(SAID[:2], OPTIONS)] == ["<model>", "<user>"]


def test_every_turn_but_the_first_is_an_answer() -> None:
    made = pairs(SAID, OPTIONS)
    assert [target for _, target in made] == SAID[1:]
    assert made[0][0] == "<user> hello"
    assert made[3][0] == "<user> hello , you<model> a table please<user> for when"


def test_marks_are_symbols_of_the_text() -> None:
    chosen = loading.load(over={"dialogue": {"turns": 2}, "text": {"symbols": ["<x>"]}})
    assert chosen.text.symbols == ["<x>", "<user>", "<model>"]
    assert loading.load().text.symbols == []
    again = loading.from_dict(chosen.model_dump(mode="json"), "a folder")
    assert again == chosen


class Echo:
    """A model that answers with what it reads."""

    def __init__(self, turns: int, longest: int = 256) -> None:
        over: dict[str, dict[str, Any]] = {
            "dialogue": {"turns": turns},
            "data": {"max_source_length": longest},
            "text": {"kind": "word"},
        }
        self.config = loading.load(over=over)
        self.source = Tokenizer.train(SAID, self.config.text, 60)
        self.read: list[str] = []

    def generate(self, texts: list[str], **options: Any) -> list[Any]:
        self.read += texts
        return [type("Result", (), {"text": f"answer {len(self.read)}"})]


def chat(model: Echo) -> Chat:
    return Chat(model)  # type: ignore[arg-type]


def test_a_chat_reads_what_training_would_have() -> None:
    model = Echo(turns=3)
    talk = chat(model)
    for text in ("hello", "a table please", "for two"):
        talk.say(text)
    assert talk.texts == ["hello", "answer 1", "a table please", "answer 2", "for two", "answer 3"]
    for n, read in enumerate(model.read):
        assert read == pairs(talk.texts[: 2 * n + 2], model.config.dialogue)[-1][0]
    talk.reset()
    talk.say("hello")
    assert model.read[-1] == "<user> hello"


def test_old_turns_are_left_out_whole_where_the_model_reads_no_further() -> None:
    model = Echo(turns=9, longest=10)
    talk = chat(model)
    talk.say("a table please for two")
    talk.say("a table please")
    assert model.read[-1] == "<model> answer 1<user> a table please"
    talk.say("please " * 20)
    assert model.read[-1] == "<user> " + " ".join(["please"] * 20)


def test_other_models_hold_no_conversation() -> None:
    with pytest.raises(UserError, match="not trained on conversations"):
        chat(Echo(turns=0))
