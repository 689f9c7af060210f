"""What a training says: what is new, and nothing twice."""

from itertools import pairwise
from pathlib import Path

from tasks import log, options, run


def test_a_sample_and_a_warning_are_said_again_only_when_they_change(tmp_path: Path) -> None:
    untrained = options(tmp_path, train={"learning_rate": 1e-9, "epochs": 4.0, "samples": 2, "metric": "bleu"})
    _, told = run(tmp_path, untrained)
    assert told.text.count("validation loss") == 4
    for line in ("    source    ", "    reference ", "    output    ", "of the outputs repeat themselves"):
        assert told.text.count(line) == 1, told.text
    readme = (tmp_path / "model" / "README.md").read_text("utf-8")
    assert "## Samples" in readme and "antiphon train" in readme


def test_an_output_is_said_whenever_it_changes(tmp_path: Path) -> None:
    _, told = run(tmp_path, options(tmp_path, 600, train={"learning_rate": 0.02, "epochs": 6.0, "samples": 1}))
    outputs = [line for line in told.text.splitlines() if line.startswith("    output    ")]
    assert len(outputs) > 1 and all(a != b for a, b in pairwise(outputs))
    assert told.text.count("    source    ") == 1


def test_lines_come_from_the_log_and_the_end_names_the_best(tmp_path: Path) -> None:
    outcome, told = run(tmp_path, options(tmp_path, train={"steps": 30, "valid_every": 10}))
    losses = [line["valid_loss"] for line in log(tmp_path / "model") if "valid_loss" in line]
    said = [line for line in told.messages if line.startswith("update ")]
    assert len(said) == len(losses) == 3
    assert all(f"validation loss {loss:.3f}" in line for loss, line in zip(losses, said, strict=True))
    assert "200 training pairs, 30 development pairs" in told.messages[0] and "30 updates at most" in told.messages[0]
    assert "train.steps = 30 is reached" in told.messages[-1] and f"{outcome.best:.2f}" in told.messages[-1]
