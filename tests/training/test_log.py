"""The log holds each update once, however often the run was stopped."""

import json
import math
from pathlib import Path

import pytest

from antiphon.training import log as module
from antiphon.training.log import Log


def lines(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text("utf-8").splitlines()]


def test_a_continued_log_is_cut_back_to_its_checkpoint(tmp_path: Path) -> None:
    with Log(tmp_path, 0, 0, False, True) as log:
        log.write(1, {"loss": 2.0})
        length = log.flush()
        log.write(2, {"loss": 1.5})
    with Log(tmp_path, length, 1, False, True) as log:
        assert log.flush() == length  # also where nothing was written since
        log.write(2, {"loss": 1.0})
        assert log.flush() == (tmp_path / "log.jsonl").stat().st_size
    assert lines(tmp_path) == [{"step": 1, "loss": 2.0}, {"step": 2, "loss": 1.0}]


def test_a_log_that_was_lost_begins_anew(tmp_path: Path) -> None:
    with Log(tmp_path, 1000, 9, False, True) as log:
        assert log.flush() == 0
        log.write(10, {"loss": 1.0})
    assert lines(tmp_path) == [{"step": 10, "loss": 1.0}]


def test_what_json_cannot_say_is_null(tmp_path: Path) -> None:
    with Log(tmp_path, 0, 0, False, True) as log:
        log.write(1, {"loss": math.nan, "gradient": math.inf, "rate": 0.5})
    assert (tmp_path / "log.jsonl").read_text("utf-8") == '{"step": 1, "loss": null, "gradient": null, "rate": 0.5}\n'


def test_only_the_first_process_writes(tmp_path: Path) -> None:
    with Log(tmp_path / "run", 0, 0, True, False) as log:
        log.write(1, {"loss": 1.0})
        assert log.flush() == 0
    assert not (tmp_path / "run").exists()


def test_tensorboard_gets_the_same_values_and_forgets_what_was_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[object] = []

    class Board:
        def __init__(self, folder: str, purge_step: int) -> None:
            calls.append((Path(folder).name, purge_step))

        def add_scalar(self, name: str, value: float, step: int) -> None:
            calls.append((name, value, step))

        def close(self) -> None:
            calls.append("closed")

    tensorboard = pytest.importorskip("torch.utils.tensorboard")
    monkeypatch.setattr(tensorboard, "SummaryWriter", Board)
    with Log(tmp_path, 0, 7, True, True) as log:
        log.write(8, {"valid_loss": 2.0, "learning_rate": 0.1})
    assert calls == [("tensorboard", 8), ("valid/loss", 2.0, 8), ("learning/rate", 0.1, 8), "closed"]


def test_tensorboard_writes_files(tmp_path: Path) -> None:
    pytest.importorskip("torch.utils.tensorboard")
    with Log(tmp_path, 0, 0, True, True) as log:
        log.write(1, {"valid_loss": 2.0})
    assert module._board(tmp_path / "again", 3) is not None
    assert len(list((tmp_path / "tensorboard").glob("events.out.tfevents.*"))) == 1
