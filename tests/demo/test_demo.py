"""The demo, on a few pairs and with a tiny model: everything it makes and says."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from antiphon.demo import dates, demo
from antiphon.errors import UserError
from antiphon.progress import Reporter
from antiphon.seq2seq import Seq2Seq

TINY = [
    "text.kind=char", "model.embedding=16", "model.encoder_hidden=16", "model.decoder_hidden=32", "train.epochs=1",
    "train.valid_sentences=10", "train.threads=1", "train.tensorboard=false", "search.max_length=12",
]  # fmt: skip


@pytest.fixture
def few_dates(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for split, count in {"train": 300, "valid": 20, "test": 60, "unseen_pairs": 20}.items():
        monkeypatch.setitem(dates.COUNTS, split, count)  # type: ignore[misc]
    yield


def run(out: Path) -> list[str]:
    return list(demo.run(out, TINY, "antiphon demo", Reporter(quiet=True)))


@pytest.mark.usefixtures("few_dates")
def test_the_demo_makes_scores_examples_and_a_picture(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "demo model"
    lines = run(out)

    assert {path.stem for path in (out / "run" / "dates").iterdir()} == set(dates.COUNTS)
    results = json.loads((out / "results.json").read_text("utf-8"))
    assert set(results["scores"]) == {"test", "unseen_pairs"}
    assert {"antiphon", "python", "torch", "babel"} <= results["versions"].keys()
    assert results["command"] == "antiphon demo" and results["seconds"] > 0 and results["seed"] == 1
    assert (out / "attention.png").read_bytes().startswith(b"\x89PNG")

    table = {name: line for line in lines for name in demo.SPLITS.values() if line.startswith(name)}
    assert "60" in table["unseen dates"].split() and "20" in table["unseen language pairs"].split()
    assert any("seconds" in line for line in lines)

    test = [line.split("\t") for line in (out / "run" / "dates" / "test.tsv").read_text("utf-8").splitlines()]
    targets = dict(test)
    examples = [line for line in lines if "  ->  " in line]
    asked = {source.split()[0] for source in targets}
    assert {line.split()[0] for line in examples} == asked and len(asked) > 5
    outputs = dict(zip(targets, Seq2Seq.load(out).generate(list(targets)), strict=True))
    for line in examples:
        source, rest = line.split("  ->  ")
        wrong = outputs[source].text != targets[source]
        assert rest == outputs[source].text + (f"   WRONG, it is {targets[source]}" if wrong else "")
    right = sum(outputs[source].text == target for source, target in targets.items())
    assert results["scores"]["test"]["value"] == pytest.approx(100 * right / len(targets))

    command = next(line for line in lines if "antiphon generate" in line)
    assert command.startswith("  echo '<2") and "demo model'" in command

    capsys.readouterr()
    again = run(out)
    assert "finished" in capsys.readouterr().err
    assert again == lines


@pytest.mark.usefixtures("few_dates")
def test_the_demo_leaves_a_foreign_folder_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine", "utf-8")
    with pytest.raises(UserError, match="not empty"):
        run(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.mark.usefixtures("few_dates")
def test_data_that_were_cut_off_are_written_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(folder: Path) -> None:
        (folder / "train.tsv").write_text("half a", "utf-8")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(dates, "write", killed)
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path)
    run(tmp_path)
    assert len((tmp_path / "run" / "dates" / "train.tsv").read_text("utf-8").splitlines()) == 300
