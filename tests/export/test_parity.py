"""Parity: how close the outputs of an exported model are to PyTorch's, and what is warned about."""

from pathlib import Path

import pytest
from folders import saved

from antiphon.errors import UserError
from antiphon.export.export import export
from antiphon.export.parity import parity, warnings

TEXTS = ["the red bird sings", "", "near", "green bird the", "loudly sings the green bird near the red"]


def test_parity_finds_equal_outputs_and_small_differences(tmp_path: Path) -> None:
    saved(tmp_path, {"decoder": "bahdanau", "cell": "gru", "score": "additive"})
    with pytest.raises(UserError, match="not exported"):
        parity(tmp_path, TEXTS, threads=1)
    export(tmp_path)
    report = parity(tmp_path, TEXTS, TEXTS, threads=1, max_length=6)
    assert set(report) == {"torch", "float32", "int8"}
    assert report["torch"]["difference"] == 0 and report["torch"]["texts"] == 5
    assert report["float32"]["equal"] == report["torch"]["equal"] == 1
    assert 0 < report["float32"]["difference"] < 1e-4 < report["int8"]["difference"] < 0.2  # 0: compared with itself
    assert report["float32"]["bleu"] == report["torch"]["bleu"]
    with pytest.raises(UserError, match="5 sources and 1 references"):
        parity(tmp_path, TEXTS, ["one"])
    assert parity(tmp_path, [], threads=1)["int8"] == {"texts": 0, "equal": 0, "difference": 0}


def test_losses_are_warned_about() -> None:
    report = {"torch": {"bleu": 30.0, "difference": 0}, "float32": {"bleu": 30.0, "difference": 2e-4}}
    report |= {"int8": {"bleu": 29.8, "difference": 0.1}, "int8, shortlist": {"bleu": 29.6, "difference": 0.1}}
    assert [line.split()[0] for line in warnings(report)] == ["float32", "int8,"]
