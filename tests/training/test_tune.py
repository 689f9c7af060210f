"""Looking for options: what may be varied, the best of all trials, pruning, and a study that was stopped."""

import importlib.util
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from tasks import PLAIN, SMALL, Told, write_pairs
from typer.testing import CliRunner

from antiphon import model_folder
from antiphon.cli.main import app
from antiphon.config import loading
from antiphon.config.sections import Config
from antiphon.errors import UserError
from antiphon.progress import Reporter
from antiphon.training import tune
from antiphon.training.loop import train
from antiphon.training.tune import Axis, axis

needs_optuna = pytest.mark.skipif(importlib.util.find_spec("optuna") is None, reason="Optuna is not installed")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("train.learning_rate=1e-4..1e-2", Axis("train.learning_rate", (1e-4, 1e-2), False, False, True)),
        ("model.dropout_output=0.0..0.5", Axis("model.dropout_output", (0.0, 0.5), False, False, False)),
        ("model.embedding=16..64", Axis("model.embedding", (16, 64), False, True, False)),
        ("train.clip=1..20", Axis("train.clip", (1, 20), False, False, True)),
        ("model.cell=lstm,gru", Axis("model.cell", ("lstm", "gru"), True)),
        ("model.tie=none,all", Axis("model.tie", ("none", "all"), True)),
        ("model.bidirectional=true,false", Axis("model.bidirectional", (True, False), True)),
        ("model.encoder_layers=1,2,4", Axis("model.encoder_layers", (1, 2, 4), True)),
    ],
)
def test_what_is_varied_is_read(text: str, expected: Axis) -> None:
    assert axis(text) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("train.learning_rat=1..2", r"unknown option train\.learning_rat.*learning_rate"),
        ("model.cell=lstm,rnn", r"--vary model\.cell=lstm,rnn: model\.cell = 'rnn'"),
        ("model.cell=lstm", "write section.key= and a range"),
        ("model.cell=lstm..gru", "from a number to a larger one"),
        ("train.clip=5.0..1.0", "from a number to a larger one"),
        ("model.dropout_output=0.0..1.5", r"model\.dropout_output = 1\.5"),
        ("train.clip", "write section.key= and a range"),
        ("clip=1..2", "section.key=value"),
    ],
)
def test_what_cannot_be_varied_is_told(text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        axis(text)


def toml_roundtrips(tmp_path: Path, chosen: Config) -> None:
    path = tmp_path / "roundtrip.toml"
    path.write_text(loading.to_toml(chosen), "utf-8")
    assert loading.load(files=[path]) == chosen


def test_a_configuration_as_toml_is_read_back(tmp_path: Path) -> None:
    sets = ["text.symbols=['<2de>', '\"\\ä']", 'data.train=["C:\\\\a.tsv", "b\'c"]', "train.learning_rate=1e-05"]
    toml_roundtrips(tmp_path, loading.load("base", sets=sets))
    toml_roundtrips(tmp_path, loading.load())


def test_without_optuna_the_command_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(UserError, match='install the extra "tune"'):
        list(tune.tune(loader(tmp_path), ["train.clip=1..2"], 1, tmp_path / "study", "", Told()))
    assert not (tmp_path / "study").exists()


def loader(place: Path, model: dict[str, Any] | None = None, **train: Any) -> tune.Load:
    """The configuration of a trial of four updates."""
    for seed, (name, count) in enumerate((("train", 60), ("valid", 20))):
        write_pairs(place / f"{name}.tsv", count, seed=seed)
    plain = PLAIN | {"steps": 4, "valid_every": 2, "metric": "loss"} | train
    over: dict[str, Any] = {
        "data": {name: [str(place / f"{name}.tsv")] for name in ("train", "valid")},
        "text": {"kind": "word", "size": 50}, "model": SMALL | (model or {}), "train": plain,
    }  # fmt: skip

    def load(more: Sequence[str], limited: bool) -> Config:
        return loading.load(sets=[*(["train.minutes=1"] if limited else []), *more], over=over)

    return load


VARY = ["train.learning_rate=1e-6..1e-1", "model.cell=lstm,gru"]


@needs_optuna
def test_the_best_options_are_found_and_written(tmp_path: Path) -> None:
    out = tmp_path / "study"
    lines = list(tune.tune(loader(tmp_path), VARY, 5, out, "antiphon tune", Told()))
    assert len(lines) == 6 and lines[-1].startswith("best: trial ")
    scores = {}
    for line in lines[:-1]:
        name, value, _ = line.split("\t")
        scores[int(name.removeprefix("trial "))] = float(value.removeprefix("loss ").removesuffix(" (pruned)"))
    best = min(scores, key=scores.__getitem__)
    assert lines[-1].startswith(f"best: trial {best}, loss {scores[best]:.2f}") and len(set(scores.values())) > 2
    written = loading.load(files=[out / "best.toml"])
    trained = model_folder.load(out / "trials" / f"{best:04d}").config
    assert trained.train.minutes == 1 and written.train.minutes == 0
    assert written == trained.model_copy(update={"train": trained.train.model_copy(update={"minutes": 0.0})})
    assert not list(out.glob("trials/*/run"))
    again = list(tune.tune(loader(tmp_path), VARY, 5, out, "", Told()))
    assert again == lines[-1:]
    assert len(list(tune.tune(loader(tmp_path), VARY, 6, out, "", Told()))) == 2
    with pytest.raises(UserError, match="study of other options"):
        list(tune.tune(loader(tmp_path), [*VARY, "train.clip=1..2"], 7, out, "", Told()))


@needs_optuna
def test_a_hopeless_trial_is_pruned(tmp_path: Path) -> None:
    """After five trials of two validations each, one that does not learn ends at its first."""
    out, told = tmp_path / "study", Told()
    load = loader(tmp_path)
    list(tune.tune(load, ["train.learning_rate=0.02,0.03"], 5, out, "", told))
    import optuna

    study = tune.open_study(load((), True), [axis("train.learning_rate=0.02,0.03")], out)
    bad = load(["train.learning_rate=1e-9"], True)
    trial = study.ask()
    seen = []

    def watch(value: float) -> str:
        seen.append(value)
        trial.report(value, len(seen))
        return "pruned" if trial.should_prune() else ""

    outcome = train(bad, tmp_path / "bad", "", told, watch)
    assert (outcome.updates, outcome.reason, len(seen)) == (2, "pruned", 1)
    study.tell(trial, state=optuna.trial.TrialState.PRUNED)
    assert tune.trials_ended(study) == 6


class Stopped(Told):
    """A reporter that notes each update of all trials, and ends the command at one of them."""

    def __init__(self, at: int = 0) -> None:
        super().__init__()
        self.at = at
        self.updates: list[float] = []

    def without_messages(self) -> Reporter:
        return self

    def show(self, stage: str, done: float, total: float | None, detail: str = "", elapsed: float = 0.0) -> None:
        if stage == "training":
            self.updates.append(done)
            if len(self.updates) == self.at:
                raise KeyboardInterrupt


@needs_optuna
def test_a_stopped_trial_is_resumed_and_counts_once(tmp_path: Path) -> None:
    load, whole, again = loader(tmp_path, checkpoint_every=1), Stopped(), Stopped()
    first, second, _ = tune.tune(load, VARY, 2, tmp_path / "whole", "", whole)
    assert whole.updates == [1, 2, 3, 4] * 2
    with pytest.raises(KeyboardInterrupt):
        list(tune.tune(load, VARY, 2, tmp_path / "stopped", "", Stopped(at=6)))
    resumed, _ = tune.tune(load, VARY, 2, tmp_path / "stopped", "", again)
    assert again.updates == [2, 3, 4]
    assert resumed.split("\t")[1:] == second.split("\t")[1:] != first.split("\t")[1:]


@needs_optuna
def test_options_that_contradict_each_other_fail_a_trial_alone(tmp_path: Path) -> None:
    load = loader(tmp_path, {"layer_norm": "gates"})
    lines = list(tune.tune(load, ["model.cell=lstm,sru"], 6, tmp_path / "study", "", Told()))
    failed = [line for line in lines if "failed" in line]
    assert len(lines) == 7 and 0 < len(failed) < 6
    assert all("model.cell = sru" in line and "needs model.cell = 'lstm' or 'gru'" in line for line in failed)
    with pytest.raises(UserError, match="none of 2 trials"):
        load = loader(tmp_path, {"bidirectional": False})
        list(tune.tune(load, ["model.bridge=backward,last"], 2, tmp_path / "other", "", Told()))


@needs_optuna
def test_the_command_line_tunes(tmp_path: Path) -> None:
    loader(tmp_path)
    sets = {"text.kind": "word", "text.dropout": "0.0", "text.size": 50, "train.steps": 2, "train.metric": "loss",
            "train.batch": 200, "train.threads": 1, "train.tensorboard": "false"}  # fmt: skip
    arguments = ["tune", "--train", str(tmp_path / "train.tsv"), "--valid", str(tmp_path / "valid.tsv"), "--preset",
                 "tiny", "--vary", "train.learning_rate=1e-3..1e-2", "--trials", "2", "--minutes", "1", "--quiet",
                 "--out", str(tmp_path / "study")]  # fmt: skip
    for name, value in sets.items():
        arguments += ["--set", f"{name}={value}"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert result.stdout.count("trial ") == 3 and "best: trial" in result.stdout
    best = tomllib.loads((tmp_path / "study" / "best.toml").read_text("utf-8"))
    assert best["preset"] == "tiny" and best["data"]["train"] == [str(tmp_path / "train.tsv")]
    other = CliRunner().invoke(app, [*arguments[: -len(sets) * 2 - 1], str(tmp_path)])
    assert other.exit_code == 2 and "holds no study" in other.output
