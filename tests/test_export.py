"""Export: all or nothing, deterministic, small in int8; and parity with PyTorch on texts."""

import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import safetensors.numpy
from test_onnx_engine import saved

from antiphon import export as exporting
from antiphon import folder
from antiphon.errors import UserError
from antiphon.export import export, parity
from antiphon.onnx_graph import quantised

TEXTS = ["the red bird sings", "", "near", "green bird the", "loudly sings the green bird near the red"]


def test_an_export_is_what_the_report_says_and_valid(tmp_path: Path) -> None:
    saved(tmp_path, {})
    report = export(tmp_path)
    names = {"encoder.onnx", "step.onnx", "encoder.int8.onnx", "step.int8.onnx"}
    assert report.folder == tmp_path / "onnx" and set(report.files) == names
    assert {p.name for p in report.folder.iterdir()} == {*names, "meta.json"}
    for name, size in report.files.items():
        assert (report.folder / name).stat().st_size == size
    for name in ("encoder.onnx", "step.onnx"):  # int8 has operators of onnxruntime, which onnx does not know
        onnx.checker.check_model(report.folder / name, full_check=True)
    before = {path.name: path.read_bytes() for path in report.folder.iterdir()}
    export(tmp_path)
    assert {path.name: path.read_bytes() for path in report.folder.iterdir()} == before


def test_exporting_one_precision_takes_the_other_away(tmp_path: Path) -> None:
    saved(tmp_path, {})
    export(tmp_path)
    assert set(export(tmp_path, ["int8"]).files) == {"encoder.int8.onnx", "step.int8.onnx"}
    assert {p.name for p in (tmp_path / "onnx").iterdir()} == {"encoder.int8.onnx", "step.int8.onnx", "meta.json"}


def test_int8_is_a_quarter_of_float32(tmp_path: Path) -> None:
    sizes = {"embedding": 128, "encoder_hidden": 128, "decoder_hidden": 256, "attention_size": 128, "tie": "all"}
    saved(tmp_path, sizes)
    files = export(tmp_path).files
    for name in ("encoder", "step"):
        assert files[f"{name}.int8.onnx"] < 0.27 * files[f"{name}.onnx"]


def test_rounding_to_int8_is_off_by_half_a_step_at_most() -> None:
    weight = np.random.default_rng(0).normal(size=(5, 7)).astype(np.float32)
    weight[2] = 0
    rows, scale = quantised(weight)
    assert rows.dtype == np.int8 and np.abs(rows.astype(int)).max(1).tolist() == [64, 64, 0, 64, 64]
    assert (np.abs(rows * scale[:, None] - weight) <= scale[:, None] / 2 + 1e-7).all()


def test_parity_finds_equal_outputs_and_small_differences(tmp_path: Path) -> None:
    saved(tmp_path, {"decoder": "bahdanau", "cell": "gru", "score": "additive"})
    with pytest.raises(UserError, match="not exported"):
        parity(tmp_path, TEXTS, threads=1)
    export(tmp_path)
    report = parity(tmp_path, TEXTS, TEXTS, threads=1, max_length=6)
    assert set(report) == {"torch", "float32", "int8"}
    assert report["torch"]["difference"] == 0 and report["torch"]["texts"] == 5
    assert report["float32"]["equal"] == report["torch"]["equal"] == 1
    assert report["float32"]["difference"] < 1e-4 < report["int8"]["difference"] < 0.2
    assert report["float32"]["bleu"] == report["torch"]["bleu"]
    with pytest.raises(UserError, match="5 sources and 1 references"):
        parity(tmp_path, TEXTS, ["one"])
    assert parity(tmp_path, [], threads=1)["int8"] == {"texts": 0, "equal": 0, "difference": 0}


def test_what_cannot_be_exported_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved(tmp_path, {})
    with pytest.raises(UserError, match="'int4': must be one of"):
        export(tmp_path, ["int4"])
    with pytest.raises(UserError, match="must be one of"):
        export(tmp_path, [])
    export(tmp_path, ["float32"])
    monkeypatch.setattr(exporting, "LIMIT", 100)
    with pytest.raises(UserError, match=r"encoder\.onnx: would have 0\.0 GB"):
        export(tmp_path)
    assert {p.name for p in (tmp_path / "onnx").iterdir()} == {"encoder.onnx", "step.onnx", "meta.json"}  # as before
    weights = folder.load(tmp_path).weights()
    weights["bridge.another"] = weights.pop("bridge.state.0.weight")
    safetensors.numpy.save_file(weights, tmp_path / "model.safetensors")
    monkeypatch.undo()
    with pytest.raises(UserError, match=r"has no weight 'bridge\.state\.0\.weight'"):
        export(tmp_path)
    monkeypatch.setitem(sys.modules, "onnx", None)
    for name in ("antiphon.onnx_model", "antiphon.onnx_graph"):
        monkeypatch.delitem(sys.modules, name)
        monkeypatch.delattr(name)
    with pytest.raises(UserError, match="pip install onnx"):
        export(tmp_path)
