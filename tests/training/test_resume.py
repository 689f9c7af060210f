"""A run that is killed, however, ends with the weights of one that was not, bit for bit."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tasks import last_checkpoint, log, options, run, same, weights

from antiphon.config.sections import Config
from antiphon.errors import UserError
from antiphon.training import checkpoint, loop
from antiphon.training.loop import train
from antiphon.training.validate import Validator

ROOT = Path(__file__).parents[1]

# Trains, and kills its own process at each point named; `kill` is SIGKILL, or on Windows TerminateProcess.
DRIVER = '''
import json, os, signal, sys, torch
from pathlib import Path
from antiphon.config import loading
from antiphon.training import checkpoint, loop
from antiphon.training.run import Run
from antiphon.training.validate import Validator
from safetensors.torch import save

points, options, parent = json.loads(sys.argv[1]), json.loads(sys.argv[2]), Path(sys.argv[3])
loop.LOG_EVERY = 4
count = {}

def kill():
    os.kill(os.getpid(), getattr(signal, "SIGKILL", signal.SIGTERM))

def at(number, owner, name, instead=lambda *_: kill()):
    """Kill at the given call of a function."""
    whole = getattr(owner, name)
    def patched(*args):
        count[name] = count.get(name, 0) + 1
        return (instead if count[name] == number else whole)(*args)
    setattr(owner, name, patched)

def half(tensors, path, meta):
    content = save(tensors, meta)
    Path(path).write_bytes(content[: len(content) // 2])
    kill()

def renamed(place, number, before):
    """Kill at a rename in some folder: before it, or when it is done."""
    def patched(path, target):
        here = path.parent == place
        count["renames"] = count.get("renames", 0) + here
        last = here and count["renames"] == number
        if last and before:
            kill()
        os.replace(path, target)
        if last:
            kill()
    Path.replace = patched

def at_an_epochs_end(run):
    advance(run)
    if run.state.epoch == 2 and run.state.position == 0:
        kill()

# One import of everything serves all points where a process can fork; the first optimiser imports more.
torch.optim.SGD([torch.zeros(1)])
for point in points:
    if len(points) == 1 or os.fork() == 0:
        break
    os.wait()
else:
    sys.exit()
out = parent / point
match point:
    case "before a checkpoint": at(1, Run, "checkpoint")
    case "in an update": at(22, Run, "batch")
    case "in a checkpoint": at(3, checkpoint, "save_file", half)
    case "before a checkpoint's rename": renamed(out / "run" / "checkpoints", 3, before=True)
    case "after a checkpoint's rename": renamed(out / "run" / "checkpoints", 4, before=False)
    case "in a validation": at(2, Validator, "loss")
    case "in the model folder": renamed(out, 5, before=False)
    case "at an epoch's end": advance, Run.advance = Run.advance, at_an_epochs_end
loop.train(loading.from_dict(options, "test"), out, "antiphon train")
'''
POINTS = [
    "before a checkpoint", "in an update", "in a checkpoint", "before a checkpoint's rename",
    "after a checkpoint's rename", "in a validation", "in the model folder", "at an epoch's end",
]  # fmt: skip


def everything(folder: Path) -> Config:
    """A run with all that has a state: dropouts, averages, BPE-dropout, sampled inputs, Adam, a plateau."""
    return options(
        folder,
        text={"kind": "bpe", "size": 60, "byte_fallback": False, "dropout": 0.2, "dropout_copies": 2},
        model={"dropout_recurrent": 0.2, "dropout_word": 0.1, "dropout_embedding": 0.1},
        train={
            "ema": 0.9, "average_last": 2, "scheduled_sampling": 0.5, "scheduled_sampling_steps": 10, "accumulate": 2,
            "valid_every": 5, "checkpoint_every": 3, "schedule": "plateau", "plateau_patience": 1, "warmup": 4,
            "learning_rate": 0.02, "label_smoothing": 0.1, "epochs": 3.3, "metric": "chrf", "valid_sentences": 4,
        },
    )  # fmt: skip


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the run that nothing stopped, in `model`."""
    folder = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "LOG_EVERY", 4)
        outcome, _ = run(folder, everything(folder))
    assert outcome.updates == 23 and outcome.reason == "train.epochs = 3.3 is reached"
    return folder


@pytest.fixture(scope="module")
def killed(whole: Path) -> Path:
    """A folder with a run for each point at which one was killed."""
    script = whole / "driver.py"
    script.write_text(DRIVER, encoding="utf-8")
    for points in [POINTS] if hasattr(os, "fork") else [[point] for point in POINTS]:
        arguments = [json.dumps(points), json.dumps(everything(whole).model_dump()), str(whole)]
        done = subprocess.run([sys.executable, str(script), *arguments], capture_output=True, text=True, timeout=300)
        assert "Error" not in done.stderr, done.stderr
    return whole


def last_state(out: Path) -> dict[str, Any]:
    """How far the last checkpoint has come; nothing where there is none."""
    loaded = checkpoint.load(out / "run" / "checkpoints")
    return dict(loaded[1]["state"]) if loaded else {}


def check_same(out: Path, reference: Path) -> None:
    assert same(weights(out / "model.safetensors"), weights(reference / "model.safetensors"))
    assert same(last_checkpoint(out), last_checkpoint(reference))
    lines, expected = log(out), log(reference)
    assert [(line["step"], sorted(line)) for line in lines] == [(line["step"], sorted(line)) for line in expected]
    measured = [line for line in lines if "valid_loss" in line]
    assert measured == [line for line in expected if "valid_loss" in line]
    assert not [p for p in out.rglob("*") if "partial" in p.name or "unfinished" in p.name]


@pytest.mark.parametrize("point", POINTS)
def test_a_killed_run_ends_with_the_same_weights(point: str, killed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = killed / point
    assert not last_state(out).get("finished"), "it was not killed"
    monkeypatch.setattr(loop, "LOG_EVERY", 4)
    run(killed, everything(killed), point)
    assert last_state(out)["finished"]
    check_same(out, killed / "model")


def test_the_same_command_goes_on_after_a_kill_from_outside(tmp_path: Path) -> None:
    chosen = options(tmp_path, train={"epochs": 8.0, "valid_every": 10})
    command = [sys.executable, "-m", "antiphon.cli", "train", "--preset", "tiny"]
    for section, values in chosen.model_dump(exclude={"preset"}).items():
        command += [part for key, v in values.items() for part in ("--set", f"{section}.{key}={json.dumps(v)}")]
    command += ["--out", str(tmp_path / "killed")]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, encoding="utf-8") as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("update 20,"):
                process.kill()
                break
        process.stderr.read()
    assert process.returncode != 0
    again = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", timeout=120)
    assert again.returncode == 0 and "resuming from update" in again.stderr, again.stderr
    run(tmp_path, chosen, "whole")
    check_same(tmp_path / "killed", tmp_path / "whole")


def test_a_finished_run_says_so_and_changes_nothing(whole: Path) -> None:
    out = whole / "model"
    before = {p: (p.stat().st_mtime_ns, p.stat().st_size) for p in out.rglob("*")}
    outcome, told = run(whole, everything(whole))
    assert "this training is finished (train.epochs = 3.3 is reached)" in told.text and outcome.updates == 23
    assert {p: (p.stat().st_mtime_ns, p.stat().st_size) for p in out.rglob("*")} == before


def test_more_epochs_go_on_and_end_as_if_asked_for_at_once(tmp_path: Path) -> None:
    short, long = (options(tmp_path, train={"epochs": n, "ema": 0.9}) for n in (2.0, 4.0))
    run(tmp_path, short)
    outcome, told = run(tmp_path, long)
    assert "resuming from update 26" in told.text and outcome.updates == 52 and outcome.epochs == 4
    run(tmp_path, long, "whole")
    check_same(tmp_path / "model", tmp_path / "whole")
    fewer, told = run(tmp_path, short)
    assert "finished (train.epochs = 2 is reached)" in told.text and fewer.updates == 52


COSINE = {"schedule": "cosine", "learning_rate": 0.02, "warmup": 3, "valid_every": 8, "ema": 0.9}


def rates(out: Path) -> list[float]:
    return [line["learning_rate"] for line in log(out) if "learning_rate" in line]


def test_a_finished_cosine_is_extended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "LOG_EVERY", 1)
    _, told = run(tmp_path, options(tmp_path, train={**COSINE, "steps": 20}))
    assert "run the same command with a larger train.steps" in told.text
    shutil.copytree(tmp_path / "model", tmp_path / "stopped")
    longer = options(tmp_path, train={**COSINE, "steps": 60})
    outcome, told = run(tmp_path, longer)
    assert outcome.updates == 60 and "its learning rate rises again from zero" in told.text
    course = rates(tmp_path / "model")
    assert len(course) == 60 and course[19] < 1e-3 and course[20] < course[19] + 2e-3
    peak = course.index(max(course[20:]))
    assert 25 <= peak <= 30 and course[20 : peak + 1] == sorted(course[20 : peak + 1])
    assert course[peak:] == sorted(course[peak:], reverse=True) and course[-1] < 1e-4

    def stop(*_: object, decode: bool) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):  # stopped at update 24, resumed from 20
        patch.setattr(Validator, "validate", stop)
        run(tmp_path, longer, "stopped")
    run(tmp_path, longer, "stopped")
    check_same(tmp_path / "stopped", tmp_path / "model")
    assert rates(tmp_path / "stopped") == course


def test_an_unfinished_cosine_may_be_given_another_end(tmp_path: Path) -> None:
    def stop(_: float) -> str:
        return "enough"

    first = options(tmp_path, train={**COSINE, "steps": 40})
    train(first, tmp_path / "model", watch=stop)
    outcome, told = run(tmp_path, options(tmp_path, train={**COSINE, "steps": 24}))
    assert "resuming from update 8" in told.text and "rises again" in told.text and outcome.updates == 24
    outcome, told = run(tmp_path, options(tmp_path, train={**COSINE, "steps": 16}))
    assert outcome.updates == 24 and "this training is finished (train.steps = 16 is reached)" in told.text


def test_early_stopping_is_not_undone_by_a_later_end(tmp_path: Path) -> None:
    stuck = {**COSINE, "learning_rate": 1e-9, "patience": 2, "valid_every": 4}
    run(tmp_path, options(tmp_path, train={**stuck, "steps": 100}))
    _, told = run(tmp_path, options(tmp_path, train={**stuck, "steps": 200}))
    assert "finished (no better exact_match in train.patience = 2 validations)" in told.text


def test_patience_and_steps_may_be_raised(tmp_path: Path) -> None:
    def limited(**train_options: int) -> str:
        return run(tmp_path, options(tmp_path, train={"learning_rate": 1e-9, **train_options}))[0].reason

    assert limited(patience=2) == "no better exact_match in train.patience = 2 validations"
    assert limited(patience=4) == "no better exact_match in train.patience = 4 validations"
    assert limited(patience=0, steps=70) == "train.steps = 70 is reached"
    assert limited(patience=0, steps=75) == "train.steps = 75 is reached"


def test_a_killed_end_is_made_up_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A checkpoint of the last update, before the last validation, must not pass for the end."""
    chosen = options(tmp_path, train={"steps": 6, "checkpoint_every": 6})

    def stop(*_: object, decode: bool) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Validator, "validate", stop)
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path, chosen)
    assert not (tmp_path / "model" / "model.safetensors").exists()
    outcome, _ = run(tmp_path, chosen)
    assert outcome.updates == 6 and outcome.best is not None and (tmp_path / "model" / "model.safetensors").exists()


def test_options_that_an_older_version_did_not_have_are_no_change(tmp_path: Path) -> None:
    chosen = options(tmp_path, train={"steps": 4})
    run(tmp_path, chosen)
    folder = tmp_path / "model" / "run" / "checkpoints"
    loaded = checkpoint.load(folder)
    assert loaded is not None
    tensors, meta = loaded
    del meta["config"]["train"]["coverage_loss"]
    checkpoint.save(folder, meta["state"]["update"], tensors, meta)
    outcome, _ = run(tmp_path, options(tmp_path, train={"steps": 6}))
    assert outcome.updates == 6
    with pytest.raises(
        UserError, match=r"model\.coverage was false, now true; train\.coverage_loss was 0\.0, now 0\.5"
    ):
        model = {"decoder": "bahdanau", "score": "additive", "coverage": True}
        run(tmp_path, options(tmp_path, train={"steps": 8, "coverage_loss": 0.5}, model=model))


def test_other_options_are_refused_by_name(whole: Path, tmp_path: Path) -> None:
    other = everything(whole)
    other = other.model_copy(update={"train": other.train.model_copy(update={"learning_rate": 0.5, "epochs": 9.0})})
    with pytest.raises(UserError, match=r"\(train\.learning_rate was 0\.02, now 0\.5\); write the new one to another"):
        run(whole, other)
    deeper = options(whole, model={"encoder_layers": 2})
    with pytest.raises(UserError, match=r"text\.kind was"):
        run(whole, deeper)


def test_a_corpus_may_move(tmp_path: Path) -> None:
    chosen = options(tmp_path, train={"epochs": 1.0})
    run(tmp_path, chosen)
    (tmp_path / "train.tsv").rename(tmp_path / "moved.tsv")
    data = chosen.data.model_copy(update={"train": [str(tmp_path / "moved.tsv")]})
    longer = chosen.train.model_copy(update={"epochs": 2.0})
    assert run(tmp_path, chosen.model_copy(update={"data": data, "train": longer}))[0].updates == 26


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    chosen = options(tmp_path)
    foreign = tmp_path / "thesis"
    foreign.mkdir()
    (foreign / "chapter.tex").write_text("x", encoding="utf-8")
    with pytest.raises(UserError, match=r"thesis is not empty and holds no training"):
        run(tmp_path, chosen, "thesis")
    with pytest.raises(UserError, match=r"train\.tsv is a file; name a folder"):
        run(tmp_path, chosen, "train.tsv")
    assert [p.name for p in foreign.iterdir()] == ["chapter.tex"]
