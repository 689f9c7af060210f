"""Running recipes: whole small runs, with variants, seeds, prepared corpora and averages."""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import pytest

from antiphon.errors import UserError
from antiphon.evaluation import metrics
from antiphon.progress import Reporter
from antiphon.recipes import models, pairs, recipe, run, scoring
from antiphon.recipes.corpora.index import CORPORA, Corpus
from antiphon.recipes.fetch import text
from antiphon.seq2seq import Seq2Seq

WORDS = ["red", "blue", "green", "old", "new"]
PAIRS = [(f"{a} {b} {c}", f"{c} {b} {a}") for a in WORDS for b in WORDS for c in WORDS]
HEAD = """
title = "Three words turned round"
about = "made here"
preset = "tiny"
"""
TAIL = """
[config.text]
kind = "word"
dropout = 0
[config.train]
steps = 6
valid_every = 3
threads = 1
tensorboard = false
"""


@pytest.fixture
def corpora(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of corpora with one file of pairs."""
    folder = tmp_path / "corpora"
    folder.mkdir()
    (folder / "all.tsv").write_text("".join(f"{a}\t{b}\n" for a, b in PAIRS), encoding="utf-8", newline="\n")
    monkeypatch.setenv("ANTIPHON_DATA", str(folder))
    return folder


def written(corpora: Path, middle: str) -> Path:
    """A recipe of these pairs."""
    folder = corpora.parent / "recipes" / "turn"
    folder.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256((corpora / "all.tsv").read_bytes()).hexdigest()
    file = f'[files."all.tsv"]\nurl = "file:///nowhere"\nsha256 = "{digest}"\nlocal = "all.tsv"\n'
    (folder / "recipe.toml").write_text(HEAD + middle + TAIL + file, encoding="utf-8")
    return folder


SINGLE = """
metrics = ["exact_match", "bleu"]
samples = ["old new red"]
[[scores]]
name = "all"
pairs = "all.tsv"
[scores.published.bleu]
"a book" = 12.5
[scores.reach]
bleu = 99.0
[config.data]
train = ["all.tsv"]
held_out = 10
"""


def test_a_whole_run(corpora: Path) -> None:
    folder = written(corpora, SINGLE)
    out = corpora.parent / "out"
    results = run.run(folder, out, command="antiphon recipe run turn")
    assert json.loads((folder / "results.json").read_text("utf-8")) == results
    (row,) = results["rows"]
    assert row["sentences"] == len(PAIRS) and row["model"] == "turn" and row["seeds"] == [1]
    outputs = (out / "outputs" / "all-turn-seed1.txt").read_text("utf-8").splitlines()
    expected = metrics.measure(["exact_match", "bleu"], outputs, [target for _, target in PAIRS])
    assert {score["name"]: score["value"] for score in row["scores"]} == {n: s.value for n, s in expected.items()}
    assert row["scores"][1]["published"] == {"a book": 12.5} and row["scores"][1]["reach"] == 99.0
    assert results["models"][0]["updates"] == 6 and results["command"] == "antiphon recipe run turn"
    assert results["samples"][0]["outputs"][0][0] == "old new red"


def test_other_settings_leave_the_results_alone(corpora: Path) -> None:
    folder = written(corpora, SINGLE)
    results = run.run(folder, corpora.parent / "out", sets=["train.seed=5", "train.steps=3"])
    assert results["rows"][0]["seeds"] == [5] and results["models"][0]["updates"] == 3
    assert not (folder / "results.json").exists() and (corpora.parent / "out" / "results.json").is_file()


def halves(files: Mapping[str, Path], out: Path, least: int) -> None:
    """Two corpora of one, by their first word, with several references."""
    lines = [line.split("\t") for line in text(files["all.tsv"]).splitlines()]
    for name, words in (("warm", WORDS[:2]), ("cold", WORDS[2:])):
        rows = [{"source": a, "target": [b, a], "first": a.split()[0]} for a, b in lines if a.split()[0] in words]
        assert len(rows) >= least
        (out / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def begins(items: list[dict[str, Any]], outputs: list[str]) -> metrics.Score:
    """Outputs that begin as their source does."""
    right = [text.split()[:1] == [item["first"]] for item, text in zip(items, outputs, strict=True)]
    return metrics.Score("begins", 100 * mean(right), "begins", True)


SEVERAL = """
metrics = ["begins", "per", "perplexity"]
corpus = "halves"
prepare = { least = 10 }
seeds = [1, 2]
average = true
[[models]]
name = "warm"
[[models]]
name = "cold"
[models.config.model]
decoder = "context"
[[scores]]
name = "all"
pairs = "{model}.jsonl"
[[scores]]
name = "wide"
pairs = "{model}.jsonl"
models = ["cold"]
search = { beam = 7 }
metrics = ["per"]
[[scores]]
name = "again"
pairs = "{model}.jsonl"
models = ["cold"]
search = { beam = 4, nbest = 4 }
rescored_by = "warm"
weight = 1.0
metrics = ["per"]
[[scores]]
name = "together"
pairs = "{model}.jsonl"
models = ["cold"]
ensemble = 2
metrics = ["per", "perplexity"]
[config.data]
train = ["{model}.jsonl"]
held_out = 10
"""


RERANKED = """
metrics = ["repeats"]
corpus = "whole"
[[scores]]
name = "as they come"
pairs = "all.jsonl"
search = { beam = 6, nbest = 6 }
[[scores]]
name = "by faults"
pairs = "all.jsonl"
search = { beam = 6, nbest = 6 }
faults = 100.0
[[scores]]
name = "three"
pairs = "all.jsonl"
search = { beam = 6, nbest = 6 }
faults = 100.0
top = 3
[config.data]
train = ["all.tsv"]
held_out = 10
"""


def test_outputs_with_faults_come_later_and_several_can_be_measured(
    corpora: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def whole(files: Mapping[str, Path], out: Path) -> None:
        rows = [{"source": a, "target": [b]} for a, b in PAIRS[:20]]
        (out / "all.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")

    def faults(item: Mapping[str, Any], output: str) -> float:
        """Words that are not the source's last."""
        return float(sum(word != item["source"].split()[-1] for word in output.split()))

    def repeats(items: Sequence[Mapping[str, Any]], outputs: Sequence[str]) -> metrics.Score:
        counted = [faults(item, text) for item, text in zip(items, outputs, strict=True)]
        return metrics.Score("repeats", sum(counted), "repeats", False)

    monkeypatch.setitem(CORPORA, "whole", Corpus(whole, {"repeats": repeats}, faults))
    results = run.run(written(corpora, RERANKED), corpora.parent / "out")
    rows = {row["set"]: (row["sentences"], row["scores"][0]["value"]) for row in results["rows"]}
    model = Seq2Seq.load(corpora.parent / "out" / "models" / "turn" / "seed1")
    found = [[output.text for output in r.outputs] for r in model.generate([a for a, _ in PAIRS[:20]], beam=6, nbest=6)]
    counts = [
        sorted(faults({"source": a}, text) for text in texts) for (a, _), texts in zip(PAIRS, found, strict=False)
    ]
    plain = sum(faults({"source": a}, texts[0]) for (a, _), texts in zip(PAIRS, found, strict=False))
    assert rows["as they come"] == (20, plain)
    assert rows["by faults"] == (20, sum(some[0] for some in counts)) and rows["by faults"][1] < plain
    assert rows["three"] == (60, sum(sum(some[:3]) for some in counts))


def test_models_seeds_and_averages(corpora: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(CORPORA, "halves", Corpus(halves, {"begins": begins}))  # type: ignore[dict-item]
    folder, out = written(corpora, SEVERAL.replace("average = true\n", "")), corpora.parent / "out"
    part = run.run(folder, out, only=["cold"])
    assert {row["model"] for row in part["rows"]} == {"cold"} and not (folder / "results.json").exists()
    results = run.run(folder, out)
    *results["rows"], again, together = results["rows"]
    judge = Seq2Seq.ensemble([out / "models" / "warm" / f"seed{n}" for n in (1, 2)])
    items = scoring.examples(str(out / "data" / "prepared" / "cold.jsonl"))
    sources = [item["source"] for item in items]
    lists = Seq2Seq.load(out / "models" / "cold" / "seed1").generate(sources, beam=4, nbest=4)
    best = []
    for source, result in zip(sources, lists, strict=True):
        texts = [output.text for output in result.outputs]
        found = judge.score([source] * len(texts), texts)
        best.append(max(zip(found, texts, strict=True), key=lambda pair: pair[0].log_prob)[1])
    expected = metrics.measure(["per"], best, [item["target"] for item in items])["per"].value
    assert again["scores"][0]["values"][0] == pytest.approx(expected)
    assert together["seeds"] == [1, 2] and together["ensemble"] == 2
    assert [len(score["values"]) for score in together["scores"]] == [1, 1]
    assert together["scores"][1]["value"] < part["rows"][0]["scores"][2]["value"], "a mean of models fits better"
    assert [(row["set"], row["model"]) for row in results["rows"]] == [
        ("all", "warm"),
        ("all", "cold"),
        ("wide", "cold"),
    ]
    warm, cold, wide = results["rows"]
    assert cold == part["rows"][0], "trained models are kept"
    assert (warm["sentences"], cold["sentences"]) == (50, 75)
    assert wide["search"]["beam"] == 7 and [s["name"] for s in wide["scores"]] == ["per"]
    for score in warm["scores"]:
        assert len(score["values"]) == 2 and score["value"] == mean(score["values"])
        assert score["deviation"] == stdev(score["values"])
    seed2 = Seq2Seq.load(out / "models" / "warm" / "seed2")
    items = scoring.examples(str(out / "data" / "prepared" / "warm.jsonl"))
    outputs = [r.text for r in seed2.generate([item["source"] for item in items])]
    expected = metrics.measure(["per"], outputs, [item["target"] for item in items])["per"].value
    assert warm["scores"][1]["values"][1] == pytest.approx(expected)
    goals = 'pairs = "{model}.jsonl"\nreach = { per = 1.5 }\npublished = { per = { "Doe 2020" = 2.5 } }\n'
    text_of = SEVERAL.replace('pairs = "{model}.jsonl"\n', goals, 1)
    rows = run.run(written(corpora, text_of), out)["rows"]
    both = next(row for row in rows if row["set"] == "all" and row["model"] == "mean of 2")
    assert both["scores"][1]["values"] == [
        mean(pair) for pair in zip(*(r["scores"][1]["values"] for r in rows[:2]), strict=True)
    ]
    assert both["sentences"] == 125 and both["scores"][1]["published"] == {"Doe 2020": 2.5}
    assert [row["scores"][1]["reach"] for row in (*rows[:2], both)] == [None, None, 1.5], "the goal is the mean's"


WRITTEN = """
metrics = ["per"]
[[models]]
name = "back"
[models.config.data]
source = "2"
target = "1"
[[models]]
name = "both"
[models.config.data]
train = ["made.jsonl"]
held_out = 5
[[models.written]]
file = "made.jsonl"
texts = "texts.txt"
model = "back"
side = "source"
search = { beam = 1 }
[[scores]]
name = "all"
pairs = "all.tsv"
models = ["both"]
[config.data]
train = ["all.tsv"]
held_out = 10
"""


def test_a_model_writes_pairs_for_another(corpora: Path) -> None:
    folder, out = written(corpora, WRITTEN), corpora.parent / "out"
    texts = [b for _, b in PAIRS[:40]]
    (out / "data").mkdir(parents=True)
    (out / "data" / "texts.txt").write_text("\n".join(texts) + "\n", encoding="utf-8")
    results = run.run(folder, out, only=["both"])
    assert [model["name"] for model in results["models"]] == ["back", "both"]
    made = scoring.examples(str(out / "data" / "made.jsonl"))
    back = Seq2Seq.load(out / "models" / "back" / "seed1")
    expected = [r.text for r in back.generate(texts, beam=1)]
    assert made == [{"source": a, "target": b} for a, b in zip(expected, texts, strict=True) if a.strip()]
    with pytest.raises(UserError, match=r"made\.jsonl has changed; write the new run to another folder"):
        run.run(written(corpora, WRITTEN.replace("beam = 1", "beam = 2")), out, only=["both"])
    again = [r.text for r in back.generate(texts, beam=2)]
    made = scoring.examples(str(out / "data" / "made.jsonl"))
    assert made == [{"source": a, "target": b} for a, b in zip(again, texts, strict=True) if a.strip()]


def test_seeds_write_together(corpora: Path) -> None:
    together = WRITTEN.replace('name = "back"\n', 'name = "back"\nseeds = [1, 2]\n')
    together = together.replace('model = "back"\n', 'model = "back"\nensemble = 2\n')
    folder, out = written(corpora, together), corpora.parent / "out"
    texts = [b for _, b in PAIRS[:20]]
    (out / "data").mkdir(parents=True)
    (out / "data" / "texts.txt").write_text("\n".join(texts) + "\n", encoding="utf-8")
    run.run(folder, out)
    made = scoring.examples(str(out / "data" / "made.jsonl"))
    both = Seq2Seq.ensemble([out / "models" / "back" / f"seed{seed}" for seed in (1, 2)])
    expected = [r.text for r in both.generate(texts, beam=1)]
    assert made == [{"source": a, "target": b} for a, b in zip(expected, texts, strict=True) if a.strip()]
    with pytest.raises(UserError, match=r"several seeds together write pairs .* leave train\.seed out"):
        run.run(folder, out, sets=["train.seed=2"])
    with pytest.raises(UserError, match=r"an ensemble of 3 is to write made.jsonl, and 'back' has 2 seeds"):
        run.run(written(corpora, together.replace("ensemble = 2", "ensemble = 3")), out)


STARTED = """
metrics = ["per"]
[[models]]
name = "first"
[[models]]
name = "risky"
start = "first"
[models.config.train]
risk = "per"
risk_samples = 3
steps = 2
[[scores]]
name = "all"
pairs = "all.tsv"
models = ["risky"]
[config.data]
train = ["all.tsv"]
held_out = 10
"""


def test_a_model_starts_from_another(corpora: Path) -> None:
    folder, out = written(corpora, STARTED), corpora.parent / "out"
    results = run.run(folder, out, only=["risky"])
    assert [model["name"] for model in results["models"]] == ["first", "risky"]
    first, risky = (Seq2Seq.load(out / "models" / name / "seed1") for name in ("first", "risky"))
    assert risky.config.train.start == str(out / "models" / "first" / "seed1")
    assert risky.target.to_json() == first.target.to_json() and risky.config.train.risk == "per"
    text = (folder / "recipe.toml").read_text("utf-8")
    (folder / "recipe.toml").write_text(text.replace('start = "first"', 'start = "frist"'), "utf-8")
    with pytest.raises(UserError, match=r"'risky' is to start from 'frist'.*did you mean 'first'"):
        recipe.load(folder)


def test_the_mean_over_models(corpora: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(CORPORA, "halves", Corpus(halves, {"begins": begins}))  # type: ignore[dict-item]
    middle = SEVERAL.replace("seeds = [1, 2]", "seeds = [1]").replace("ensemble = 2", "")
    for line in ('models = ["cold"]', 'rescored_by = "warm"'):
        middle = middle.replace(line, "")
    results = run.run(written(corpora, middle), corpora.parent / "out")
    *rows, first, second, _, _ = results["rows"]
    assert (first["model"], first["sentences"]) == ("mean of 2", 125)
    ours = [row["scores"][1]["value"] for row in rows if row["set"] == "all"]
    assert first["scores"][1]["value"] == pytest.approx(mean(ours))
    assert second["set"] == "wide"


def test_perplexity_is_of_all_pieces(corpora: Path) -> None:
    folder, out = written(corpora, SINGLE), corpora.parent / "out"
    run.run(folder, out)
    model = Seq2Seq.load(out / "models" / "turn" / "seed1")
    sources, targets = [a for a, _ in PAIRS], [b for _, b in PAIRS]
    each = [p for result in model.score(sources, targets) for p in result.token_log_probs]
    assert len(each) == 4 * len(PAIRS)
    whole = [result.log_prob for result in model.score(sources, targets)]
    letters = sum(len(text.replace(" ", "")) + 1 for text in targets)
    found = scoring.perplexity(model, sources, targets, "character_perplexity")
    assert found.value == pytest.approx(math.exp(-sum(whole) / letters))
    words = [p for result in model.score(sources, targets) for p in result.token_log_probs[:-1]]
    found = scoring.perplexity(model, sources, targets, "word_perplexity")
    assert found.value == pytest.approx(math.exp(-mean(words)))
    assert scoring.perplexity(model, sources, targets).value == pytest.approx(math.exp(-mean(each)))


def test_unknown_names_are_told(corpora: Path) -> None:
    folder = written(corpora, SEVERAL)
    with pytest.raises(UserError, match="no model is called 'wram'; did you mean 'warm'"):
        run.run(folder, corpora.parent / "out", only=["wram"])
    with pytest.raises(UserError, match="no corpus is called 'halves'"):
        run.run(folder, corpora.parent / "out")


def test_every_projects_recipe_makes_configurations(tmp_path: Path) -> None:
    root = Path(__file__).parents[2] / "recipes"
    for folder in recipe.find(root).values():
        loaded = recipe.load(folder)
        assert not loaded.corpus or loaded.corpus in CORPORA
        for variant in loaded.models:
            files = {name: tmp_path / name for name in loaded.files}
            assert models.configure(loaded, variant, 1, files, tmp_path).data.train


def test_pairs_are_prepared_again_when_the_recipe_or_the_corpus_changes(
    corpora: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared: list[int] = []

    def counted(files: Mapping[str, Path], out: Path, least: int) -> None:
        prepared.append(least)
        halves(files, out, least)

    loaded = recipe.load(written(corpora, SEVERAL))
    for least, version, times in ((10, 1, 1), (10, 1, 1), (11, 1, 2), (11, 2, 3), (11, 2, 3)):
        corpus = Corpus(counted, {"begins": begins}, version=version)  # type: ignore[dict-item]
        monkeypatch.setitem(CORPORA, "halves", corpus)
        changed = loaded.model_copy(update={"prepare": {"least": least}})
        files = pairs.collect(changed, corpora.parent / "data", Reporter(quiet=True))
        assert sorted(files) == ["all.tsv", "cold.jsonl", "warm.jsonl"] and len(prepared) == times


def test_models_bring_those_that_they_need(corpora: Path) -> None:
    middle = WRITTEN.replace('name = "both"', 'name = "both"\nstart = "first"', 1)
    middle = middle.replace(
        'metrics = ["per"]\n', 'metrics = ["per"]\n[[models]]\nname = "first"\n[[models]]\nname = "other"\n'
    )
    loaded = recipe.load(written(corpora, middle))
    chosen = run.select(loaded, ["both"], corpora)
    assert [variant.name for variant in chosen] == ["first", "back", "both"]


def test_rows_that_need_a_model_that_is_left_out_are_left_out(corpora: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(CORPORA, "halves", Corpus(halves, {"begins": begins}))  # type: ignore[dict-item]
    results = run.run(written(corpora, SEVERAL), corpora.parent / "out", only=["cold"])
    assert {row["set"] for row in results["rows"]} == {"all", "wide", "together"}


def test_what_cannot_work_is_told_before_the_work(corpora: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = written(corpora, SINGLE.replace('"bleu"]', '"bluee"]'))
    with pytest.raises(UserError, match="no metric is called 'bluee'; did you mean 'bleu'"):
        run.run(folder, corpora.parent / "out")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UserError, match="a recipe runs in one process"):
        run.run(folder, corpora.parent / "out")
    assert not (corpora.parent / "out").exists()
