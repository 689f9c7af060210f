"""RNNLG: dialogue acts, normalised texts, and its own counts of BLEU and slot errors."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from antiphon.evaluation.metrics import measure
from antiphon.recipes.corpora import rnnlg
from antiphon.recipes.corpora.rnnlg import bleu_gentscorer, delexicalise, lexicalise, normalise, parse, slot_error

ACT = "inform(name=zeus 7;type=television;has_usb_port=true;price range=dontcare;accessories=remote and cable;family)"


def test_acts_are_read_as_rnnlg_reads_them() -> None:
    act = parse(ACT)
    assert act.kind == "inform"
    assert act.slots == [
        ("name", "zeus 7"), ("type", "television"), ("hasusbport", "yes"), ("pricerange", "dontcare"),
        ("accessories", "remote and cable"), ("family", "?"),
    ]  # fmt: skip
    assert parse("goodbye()") == ("goodbye", [])
    assert parse("inform(name='a b';name=c)").slots == [("name", "a b"), ("name", "c")]


def test_acts_of_one_meaning_differ_in_values_and_order_only() -> None:
    same = parse("inform(price=9;name=x;hasusbport=true)"), parse("inform(name=y;hasusbport=yes;price=8)")
    assert same[0].meaning == same[1].meaning
    assert same[0].meaning != parse("inform(name=y;hasusbport=no;price=8)").meaning
    assert same[0].meaning != parse("inform(name=y;name=z;hasusbport=yes;price=8)").meaning


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The Zeus 7 has 2 HDMI ports .", "the zeus 7 has 2 hdmi port -s"),
        ("It's 33.5 inches, isn't it?", "it is 33.5 inch -s , is not it ?"),
        ('a/b costs 1,000; the zeus\' price "x"', "a and b costs 1,000 , the zeus price x"),
        ("the tv's stand , 57 2000", "the tv 's stand , 572000"),
        ("actually the families' card & cards!", "actual -ly the family -s card and card -s !"),
    ],
)
def test_texts_are_normalised(text: str, expected: str) -> None:
    assert normalise(text) == expected


def test_values_go_and_come_back_in_the_acts_own_order() -> None:
    act = parse(ACT)
    hidden = delexicalise("the zeus 7 television comes with cable and remote", act)
    assert hidden == "the SLOT_NAME SLOT_TYPE comes with SLOT_ACCESSORIES"
    assert lexicalise(hidden, act) == "the zeus 7 television comes with remote and cable"


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def item(source: str, *references: str) -> dict[str, Any]:
    return {"source": source, "target": list(references)}


def test_slot_errors_by_hand() -> None:
    source = "inform(name=zeus 7;price=90 dollars;hasusbport=true;pricerange=dontcare)"  # three slots that count
    assert slot_error([item(source)], ["zeus 7 costs 90 dollars and has usb"]).value == 0
    assert slot_error([item(source)], ["zeus 7 has usb"]).value == pytest.approx(100 / 3)  # a price is missing
    assert slot_error([item(source)], ["zeus 7 costs 90 dollars , usb usb"]).value == pytest.approx(100 / 3)
    # Once more the name: RNNLG sees a value only at its first place.
    assert slot_error([item(source)], ["zeus 7 zeus 7 costs 90 dollars usb"]).value == 0
    both = [item(source), item("inform(name=x)")]
    assert slot_error(both, ["nothing", "x"]).value == pytest.approx(100 * 3 / 4)
    assert slot_error([item("?select(name=x;name=y)"), item("inform(name=x)")], ["", "x"]).value == 0


def test_bleu_is_sacrebleus_where_no_lengths_are_tied() -> None:
    items = [
        item("inform(name=x)", "the x is a good tv for you", "x is a very good and cheap tv set for all of you"),
        item("inform(name=y)", "y has two port -s and a stand"),
    ]
    outputs = ["the x is a very good tv for you all", "y has a stand and two port -s , too"]
    expected = measure(["bleu"], outputs, [i["target"] for i in items], tokenize="none")["bleu"].value
    assert 100 * bleu_gentscorer(items, outputs).value == pytest.approx(expected, abs=1e-3)


def test_pairs_have_the_references_of_all_acts_that_mean_the_same(tmp_path: Path) -> None:
    given = [
        ["inform(name=zeus 7;type=tv)", "the zeus 7 is a tv .", "base"],
        ["inform(name=ox;type=tv)", "a tv called ox .", "base"],
        ["inform(name=ox;hasusbport=false)", "no usb on ox", "base"],
    ]
    for name in ("train", "valid", "test"):
        (tmp_path / f"tv.{name}.json").write_text("# a comment\n" + json.dumps(given), encoding="utf-8")
    rnnlg.prepare({f"tv.{n}.json": tmp_path / f"tv.{n}.json" for n in ("train", "valid", "test")}, tmp_path, "tv")
    read = {n: rows(tmp_path / f"{n}.jsonl") for n in ("train", "test")}
    assert [pair["target"] for pair in read["train"]] == ["the zeus 7 is a tv", "a tv called ox", "no usb on ox"]
    assert read["test"][0]["target"] == ["the zeus 7 is a tv", "a tv called zeus 7"]
    assert read["test"][2]["target"] == ["no usb on ox"]


@pytest.mark.skipif("ANTIPHON_DATA" not in os.environ, reason="ANTIPHON_DATA names no folder of corpora")
@pytest.mark.parametrize(("domain", "counts"), [("laptop", [7944, 2649, 2649]), ("tv", [4221, 1407, 1407])])
def test_the_real_files(tmp_path: Path, domain: str, counts: list[int]) -> None:
    folder, names = Path(os.environ["ANTIPHON_DATA"]) / "rnnlg", ("train", "valid", "test")
    rnnlg.prepare({f"{domain}.{n}.json": folder / f"{domain}.{n}.json.gz" for n in names}, tmp_path, domain)
    pairs = [rows(tmp_path / f"{n}.jsonl") for n in names]
    assert [len(some) for some in pairs] == counts
    own = [pair["target"][0] for pair in pairs[2]]
    assert bleu_gentscorer(pairs[2], own).value == pytest.approx(1, abs=1e-5)
    assert slot_error(pairs[2], own).value < 12  # people leave slots out, or say them in other words
