"""Delexicalisation: what becomes a mark, what does not, and the way back."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tasks import SMALL, run

from antiphon import Seq2Seq
from antiphon.config import loading, sections
from antiphon.data.prepare import prepare
from antiphon.data.slots import Slots
from antiphon.errors import UserError

SLOTS = Slots(["name", "near", "price range"], ["dontcare", "Yes"])


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("name[The Owl], near[Quay 9]", "name[<name>], near[<near>]"),
        ("food[Thai], name[ The Owl ]", "food[Thai], name[ <name> ]"),
        ("inform(name='The Owl';near=Quay 9)", "inform(name='<name>';near=<near>)"),
        ('inform(price range="9, or 10",near=b)', 'inform(price range="<price_range>",near=<near>)'),
        (
            "inform(name=a, black , b;near=c, price range=d)",
            "inform(name=<name>;near=<near>, price range=<price_range>)",
        ),
        ("compare(name=a;name=b;name=c;name=d)", "compare(name=<name>;name=<name:2>;name=<name:3>;name=d)"),
        ("inform(name=dontcare;near=YES)", "inform(name=dontcare;near=YES)"),
        ("name[], near[ ]", "name[], near[ ]"),
        ("nickname[Owl], place near[Quay], name", "nickname[Owl], place near[Quay], name"),
    ],
)
def test_values_of_the_slots_become_marks(source: str, text: str) -> None:
    assert SLOTS.read(source).text == text
    assert SLOTS.read(source).fill(text) == source


def test_all_places_of_a_value_in_a_target_become_its_mark_as_whole_words_longer_values_first() -> None:
    source = SLOTS.read("name[Owl], near[The Owl House]")
    assert source.hide("Owl, by the owl  house: OWL; Owls") == "<name>, by <near>: <name>; Owls"


def test_equal_values_take_turns_and_the_last_has_what_follows() -> None:
    source = SLOTS.read("compare(name=a;near=9 kg;name=b;near=9 kg)")
    assert source.hide("a has 9 kg, b has 9 kg and 9 kg") == "<name> has <near>, <name:2> has <near:2> and <near:2>"


def test_a_value_missing_in_the_target_leaves_it_as_it_is() -> None:
    source = SLOTS.read("name[The Owl], near[Quay 9]")
    assert source.hide("A pub at the quay.") == "A pub at the quay."


def test_a_mark_without_a_value_is_left_standing() -> None:
    assert SLOTS.read("name[The Owl]").fill("<name> by <near>, <name:2>") == "The Owl by <near>, <name:2>"
    assert SLOTS.read("food[Thai]").fill("<name>") == "<name>"


def test_values_are_text_and_no_patterns() -> None:
    source = SLOTS.read(r"name[a\1 (b) $], near[.*]")
    assert source.hide(r"x a\1 (b) $ .*") == "x <name> <near>"
    assert source.fill("<name> <near>") == r"a\1 (b) $ .*"


def test_scripts_without_spaces_have_no_word_ends() -> None:
    assert SLOTS.read("name[春园]").hide("我去春园吃饭") == "我去<name>吃饭"


def test_without_slots_nothing_changes() -> None:
    source = Slots([]).read("name[The Owl]")
    assert (source.text, source.hide("The Owl"), source.fill("<name>")) == ("name[The Owl]", "The Owl", "<name>")


@given(st.lists(st.sampled_from(["name", "near", "food"]), max_size=5), st.data())
def test_the_way_back_is_exact_and_spans_point_at_the_raw_text(names: list[str], data: st.DataObject) -> None:
    value = st.text("abc Öß9-.'", min_size=1, max_size=8)
    raw = ", ".join(f"{name}[{data.draw(value)}]" for name in names)
    source = SLOTS.read(raw)
    assert source.fill(source.text) == raw
    marked = {(one.begin, one.end) for one in source.replacements}
    assert [raw[slice(*source.raw_span(span))] for span in sorted(marked)] == list(source.values.values())
    outside = [i for i in range(len(source.text)) if not any(b <= i < e for b, e in marked)]
    assert all(source.text[i] == raw[slice(*source.raw_span((i, i + 1)))] for i in outside)


@pytest.mark.parametrize("name", ["", "a]b", "<a>", "a:2", "_x"])
def test_a_bad_name_is_refused(name: str) -> None:
    with pytest.raises(UserError, match=r"text\.slots: .* must be letters"):
        Slots([name])


def model(folder: Path) -> sections.Config:
    """A run whose pairs say a name that differs in each."""
    rows = [f"name[{n} {m}], food[x]\tthe {n} {m} has x\n" for n in ("Ox", "Elk", "Gnu") for m in "abcdefghijklmnop"]
    (folder / "train.tsv").write_text("".join(rows), encoding="utf-8")
    return loading.load(
        over={
            "data": {"train": [str(folder / "train.tsv")], "valid": [str(folder / "train.tsv")]},
            "text": {"kind": "word", "size": 40, "joint": False, "slots": ["name"]},
            "model": SMALL,
            "train": {
                "epochs": 25.0, "batch": 16, "batch_unit": "sentences", "learning_rate": 1e-2, "tensorboard": False,
                "threads": 1, "precision": "float32", "device": "cpu", "metric": "exact_match", "valid_start": 24.0,
            },
        }
    )  # fmt: skip


def test_training_and_generating_use_the_marks_by_themselves(tmp_path: Path) -> None:
    outcome, _ = run(tmp_path, model(tmp_path))
    opened = Seq2Seq.load(outcome.model)
    assert "<name>" in opened.source.encode("<name>").pieces and "Elk" not in opened.target.to_json()
    unseen = "name[Zebu 7], food[x]"
    result = opened.generate([unseen], nbest=2)[0]
    assert result.text == "the Zebu 7 has x" and "<name>" in result.pieces
    assert result.candidates[0].text.count("<name>") == 0
    assert unseen[slice(*result.source_offsets[result.source_pieces.index("<name>")])] == "Zebu 7"
    assert outcome.metric == "exact_match" and outcome.best == 100
    assert opened.generate([unseen], prefixes=["the Zebu 7"])[0].text == "the Zebu 7 has x"
    scored = opened.score([unseen], ["the Zebu 7 has x"])[0]
    assert scored.text == "the Zebu 7 has x" and scored.log_prob == pytest.approx(result.log_prob, abs=1e-4)


def test_marks_are_learnt_and_stored_but_no_names(tmp_path: Path) -> None:
    prepared = prepare(tmp_path / "data", model(tmp_path))
    sources, targets = prepared.train.pairs(np.arange(2), 0)
    assert {prepared.source.decode(row.tolist()) for row in sources} == {"name[<name>], food[x]"}
    assert {prepared.target.decode(row.tolist()) for row in targets} == {"the <name> has x"}
    assert prepared.valid[0].target == "the Ox a has x"
    again = prepare(tmp_path / "data", model(tmp_path))
    assert len(again.source) == len(prepared.source)
