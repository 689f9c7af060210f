"""E2E: the official files become pairs, references together."""

import json
import os
from pathlib import Path

import pytest

from antiphon.data.corpus import read
from antiphon.recipes.corpora import e2e

FILES = {
    "trainset.csv": 'mr,ref\n"name[Bo], food[Thai]",Bo is Thai.\n"name[Bo], food[Thai]","Thai food, at Bo."\n',
    "devset.csv": "mr,ref\nname[Bo],Bo costs Â£20.\nname[Ox],Ox.\nname[Bo],It is Bo.\n",
    "testset_w_refs.csv": '"mr","ref"\n"name[Ox]","The ""Ox""."\n',
}


def rows(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def test_references_stand_together_but_in_training(tmp_path: Path) -> None:
    for name, text in FILES.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    e2e.prepare({name: tmp_path / name for name in FILES}, tmp_path)
    assert [row["target"] for row in rows(tmp_path / "train.jsonl")] == ["Bo is Thai.", "Thai food, at Bo."]
    assert rows(tmp_path / "valid.jsonl") == [
        {"source": "name[Bo]", "target": ["Bo costs £20.", "It is Bo."]},
        {"source": "name[Ox]", "target": ["Ox."]},
    ]
    assert rows(tmp_path / "test.jsonl") == [{"source": "name[Ox]", "target": ['The "Ox".']}]
    assert next(read(str(tmp_path / "valid.jsonl"))).references == ["Bo costs £20.", "It is Bo."]


def test_measures_take_all_references() -> None:
    items = [{"source": "name[Bo]", "target": ["Bo costs twenty pounds.", "It is Bo."]}]
    for name in ("bleu_mteval", "rouge_l"):
        assert e2e.MEASURES[name](items, ["It is Bo."]).value == pytest.approx(100)


@pytest.mark.parametrize(
    ("output", "wrong"),
    [
        ("Bo is a cheap pub by the river, near The Owl.", 0),
        ("Near the owl, Bo is an inexpensive pub at the riverside.", 0),
        ("Bo is a pub by the river near The Owl.", 1),  # no price
        ("A cheap restaurant in the city centre near The Owl.", 3),  # no name, no pub, another area
        ("Bo is a cheap family-friendly pub by the river near The Owl, rated 5 out of 5.", 2),
        ("Bo is a cheap pub by the river near <near>.", 2),
    ],
)
def test_faults_are_slots_missed_or_added(output: str, wrong: int) -> None:
    item = {"source": "name[Bo], eatType[pub], priceRange[cheap], area[riverside], near[The Owl]"}
    assert e2e.faults(item, output) == wrong
    assert e2e.MEASURES["slot_faults"]([item, item], [output, output]).value == wrong


@pytest.mark.skipif("ANTIPHON_DATA" not in os.environ, reason="ANTIPHON_DATA names no folder of corpora")
def test_the_real_files(tmp_path: Path) -> None:
    folder = Path(os.environ["ANTIPHON_DATA"]) / "e2e_nlg"
    e2e.prepare({name: folder / f"{name}.gz" for name in FILES}, tmp_path)
    counts = [len(rows(tmp_path / f"{name}.jsonl")) for name in ("train", "valid", "test")]
    assert counts == [42061, 547, 630]
