"""Export: all or nothing, deterministic, small in int8; what cannot be exported is refused."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import safetensors.numpy
from folders import saved
from typer.testing import CliRunner

from antiphon import model_folder
from antiphon.cli.main import app
from antiphon.config import kinds
from antiphon.data.tokenizer import BOS, EOS
from antiphon.decoding.engine import Engine
from antiphon.decoding.onnx_engine import OnnxEngine
from antiphon.decoding.torch_engine import TorchEngine
from antiphon.errors import UserError
from antiphon.export import export as exporting
from antiphon.export import output as output_layer
from antiphon.export.encoder import encoder
from antiphon.export.export import export
from antiphon.export.graph import quantised
from antiphon.export.parity import parity
from antiphon.export.step import step
from antiphon.seq2seq import Seq2Seq

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


PAIRS = [("the red bird", "green bird"), ("sings", "near the bird"), ("", "loudly"), ("near", "")]


def test_a_shortlist_is_exported_used_and_taken_away(tmp_path: Path) -> None:
    saved(tmp_path, {"decoder": "input_feeding", "score": "additive", "tie": "all", "readout_size": 6})
    export(tmp_path)
    with pytest.raises(UserError, match="has no shortlist; run: antiphon export"):
        Seq2Seq.load(tmp_path, engine="onnx", shortlist=True)
    assert "shortlist.safetensors" in export(tmp_path, training=PAIRS).files
    answers = [
        Seq2Seq.load(tmp_path, engine=engine, threads=1, shortlist=True).generate(["green bird"], max_length=9)
        for engine in ("torch", "onnx")
    ]
    assert answers[0][0].text == answers[1][0].text
    assert answers[0][0].score == pytest.approx(answers[1][0].score, abs=1e-4)
    for engine in ("torch", "onnx", "onnx-int8"):
        full = Seq2Seq.load(tmp_path, engine=engine, threads=1)
        model = Seq2Seq.load(tmp_path, engine=engine, threads=1, shortlist=True)
        assert model.shortlist is not None
        source = model.source.encode_ids(["green bird"])
        allowed = model.shortlist.allowed(source)
        for result in model.generate(["green bird"], beam=3, nbest=3, max_length=9):
            for text in (output.text for output in result.outputs):
                assert set(model.target.encode(text).ids) <= set(allowed.tolist())
        # A piece that is not on the list can be asked for by a prefix, and no score depends on the list.
        outside = [i for i in range(4, len(model.target)) if i not in allowed]
        assert outside
        word = model.target.decode(outside[:1])
        [result] = model.generate(["green bird"], prefixes=[word], max_length=4)
        assert result.text.startswith(word)
        scored = [m.score(["green bird"], [word])[0].log_prob for m in (full, model)]
        assert scored[0] == scored[1]
    rows = parity(tmp_path, TEXTS, TEXTS, threads=1, max_length=6)
    assert list(rows) == ["torch", "float32", "int8", "float32, shortlist", "int8, shortlist"]
    export(tmp_path)
    assert not (tmp_path / "onnx" / "shortlist.safetensors").exists()
    saved(tmp_path, {"decoder": "initial"})
    with pytest.raises(UserError, match="this model has none"):
        export(tmp_path, training=PAIRS)


def test_on_a_list_p_is_the_models_own_over_the_list(tmp_path: Path) -> None:
    saved(tmp_path, {"decoder": "bahdanau", "score": "dot"})
    export(tmp_path, training=PAIRS)
    engine, allowed = OnnxEngine(tmp_path, threads=1), np.array([1, 3, 5, 8])
    tokens, parents = np.full((2, 1), BOS), np.zeros((2, 1), np.int64)
    full, _ = engine.step(engine.start([[4, EOS], [5, 6, EOS]]), tokens, parents, 11)
    step, _ = engine.step(engine.start([[4, EOS], [5, 6, EOS]], allowed), tokens, parents, 11, np.full((2, 1), 5))
    log_p = np.empty((2, 11), np.float32)
    np.put_along_axis(log_p, full.ids[:, 0], full.scores[:, 0], 1)
    expected = log_p[:, allowed] - np.log(np.exp(log_p[:, allowed]).sum(1, keepdims=True))
    assert step.ids.shape == (2, 1, 4) and (np.sort(step.ids[:, 0]) == allowed).all()
    for b in range(2):
        np.testing.assert_allclose(step.scores[b, 0], expected[b, np.searchsorted(allowed, step.ids[b, 0])], atol=1e-5)
        np.testing.assert_allclose(step.asked[b, 0], expected[b, 2], atol=1e-5)


def test_the_best_of_a_large_vocabulary_are_the_best(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Looked for in groups, the last of which is not full."""
    monkeypatch.setattr(output_layer, "GROUPED", 2)
    monkeypatch.setattr(output_layer, "GROUP", 4)
    torch = TorchEngine(saved(tmp_path, {"decoder": "bahdanau", "score": "dot"}))
    export(tmp_path)
    tokens, parents = np.full((2, 1), BOS), np.zeros((2, 1), np.int64)
    sources = [[4, EOS], [5, 6, EOS]]
    engines: list[Engine] = [OnnxEngine(tmp_path, threads=1), torch]
    for k in (1, 2, 5, 9):
        steps = [engine.step(engine.start(sources), tokens, parents, k)[0] for engine in engines]
        assert (steps[0].ids == steps[1].ids).all()
        np.testing.assert_allclose(steps[0].scores, steps[1].scores, atol=1e-5)
    last, _ = engines[0].step(engines[0].start(sources), tokens, parents, 11)
    assert last.ids.max() < 11 and (last.scores[..., 9:] == -np.inf).all()


def test_the_command_writes_a_shortlist_and_a_row_for_each_way_to_run(tmp_path: Path) -> None:
    model, data = tmp_path / "model", tmp_path / "pairs.tsv"
    saved(model, {"decoder": "bahdanau", "score": "dot"})
    data.write_text("".join(f"{a}\t{b}\n" for a, b in PAIRS[:2]), encoding="utf-8")
    done = CliRunner().invoke(app, ["export", str(model), "--shortlist", str(data), "--data", str(data)])
    assert done.exit_code == 0, done.output
    rows = [line for line in done.stdout.splitlines() if "BLEU" in line]
    assert [row[:18].strip() for row in rows] == ["torch", "float32", "int8", "float32, shortlist", "int8, shortlist"]
    assert "100.0% of 2 outputs equal to PyTorch's" in rows[1]
    done = CliRunner().invoke(app, ["generate", str(model), str(data), "--source", "1", "--shortlist"])
    assert done.exit_code == 0 and len(done.stdout.splitlines()) == 2, done.output


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
    weights = model_folder.load(tmp_path).weights()
    weights["bridge.another"] = weights.pop("bridge.state.0.weight")
    safetensors.numpy.save_file(weights, tmp_path / "model.safetensors")
    monkeypatch.undo()
    with pytest.raises(UserError, match=r"weight 'bridge\.state\.0\.weight' is missing"):
        export(tmp_path)


def test_a_model_that_copies_has_no_shortlist(tmp_path: Path) -> None:
    saved(tmp_path, {"copy_source": True})
    with pytest.raises(UserError, match="a model that copies"):
        export(tmp_path, training=[("a", "b")])
    assert not (tmp_path / "onnx").exists()


KINDS: dict[str, dict[str, Any]] = {
    "cell": kinds.CELLS,
    "decoder": kinds.DECODERS,
    "score": kinds.SCORES,
    "readout": kinds.READOUTS,
    "bridge": kinds.BRIDGES,
}


@pytest.mark.parametrize("option", [*KINDS, "merge", "layer_norm"])
def test_an_unknown_kind_is_refused_by_its_name(option: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model is never written as if it were of another kind."""
    saved(tmp_path, {})
    opened = model_folder.load(tmp_path)
    model = opened.config.model
    if option in KINDS:
        monkeypatch.setitem(KINDS[option], "made_up", KINDS[option][getattr(model, option)])
    changed = model.model_copy(update={option: "made_up"})
    with pytest.raises(UserError, match=f"model.{option} = 'made_up': cannot be exported"):
        for write in (encoder, step):
            write(changed, exporting.ModelWeights(opened), False)


WITHOUT_ONNX = """
import sys
sys.modules["onnx"] = None
from antiphon.errors import UserError
from antiphon.export.export import export
try:
    export(sys.argv[1])
except UserError as e:
    print(e)
"""


def test_exporting_asks_for_the_package_that_it_needs(tmp_path: Path) -> None:
    saved(tmp_path, {})
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_ONNX, str(tmp_path)], capture_output=True, encoding="utf-8", timeout=60
    )
    assert 'install the extra "train"' in done.stdout, done.stderr
    assert not (tmp_path / "onnx").exists()
