"""The log holds each update once, however often the run was stopped."""

import json
import math
from pathlib import Path

import pytest

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


def test_tensorboard_has_the_same_values_and_forgets_what_was_cut(tmp_path: Path) -> None:
    pytest.importorskip("torch.utils.tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    with Log(tmp_path, 0, 0, True, True) as log:
        log.write(7, {"valid_loss": 3.0, "learning_rate": 0.5})
        length = log.flush()
        log.write(8, {"valid_loss": 9.0})
    with Log(tmp_path, length, 7, True, True) as log:
        log.write(8, {"valid_loss": 2.0, "learning_rate": 0.25})
    board = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    values = {tag: [(event.step, event.value) for event in board.Scalars(tag)] for tag in board.Tags()["scalars"]}
    assert values == {"valid/loss": [(7, 3.0), (8, 2.0)], "learning/rate": [(7, 0.5), (8, 0.25)]}
