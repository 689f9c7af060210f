"""ONNX Runtime answers as PyTorch does: every cell, decoder, attention and option, in float32 and nearly so in int8."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from folders import V, saved
from numpy.typing import NDArray
from variants import variants

from antiphon.config import loading
from antiphon.config.search import SearchOptions
from antiphon.data.tokenizer import BOS, EOS
from antiphon.decoding.engine import Engine, Step
from antiphon.decoding.onnx_engine import OnnxEngine
from antiphon.decoding.search import beam_search, sample, score
from antiphon.decoding.torch_engine import TorchEngine
from antiphon.errors import UserError
from antiphon.export.export import export

SOURCES = [[4, 5, 6, 7, EOS], [EOS], [8, 9, EOS], [5, 4, 10, EOS], [9, 9, 5, 8, 4, 7, EOS]]


def table(step: Step) -> NDArray[np.float32]:
    """Log p [B, K, V] in order of ids."""
    out = np.empty_like(step.scores)
    np.put_along_axis(out, step.ids, step.scores, 2)
    return out


def steps_of(engine: Engine) -> list[Step]:
    """Steps with rows that grow, change places and shrink, and sentences that go, the longest among them."""
    random = np.random.default_rng(0)
    state, B, before, steps = engine.start(SOURCES), len(SOURCES), 1, []
    for t, K in enumerate([1, 3, 3, 4, 2, 2]):
        tokens = np.full((B, K), BOS) if t == 0 else random.integers(2, V, (B, K))
        ask = random.integers(2, V, (B, K))
        step, state = engine.step(state, tokens, random.integers(0, before, (B, K)), V, ask)
        steps.append(step)
        if t in (1, 3):  # the second time no step lies between two of them
            state, B = engine.keep(engine.keep(state, np.arange(B)), np.arange(B - 1)), B - 1
        before = K
    return steps


def compare(onnx: OnnxEngine, torch: TorchEngine, tolerance: float) -> None:
    np.testing.assert_allclose(onnx.vectors(SOURCES), torch.vectors(SOURCES), atol=tolerance)
    for a, b in zip(steps_of(onnx), steps_of(torch), strict=True):
        assert a.scores.dtype == np.float32 and a.ids.dtype == np.int64 and a.scores.shape == b.scores.shape
        assert (np.diff(a.scores[..., : V - 2]) <= 0).all()
        np.testing.assert_allclose(table(a), table(b), atol=tolerance)
        np.testing.assert_allclose(a.asked, b.asked, atol=tolerance)
        assert (a.attention is None) == (b.attention is None)
        if a.attention is not None and b.attention is not None:
            np.testing.assert_allclose(a.attention, b.attention, atol=tolerance)
            assert (a.attention[b.attention == 0] == 0).all()  # padding


# Where parts of the graph meet that no variant of the model's tests joins.
MORE: list[dict[str, object]] = [
    {"embedding": 8, "encoder_layers": 2, "decoder_layers": 2, "residual": True},  # a first layer's input is added too
    {"embedding": 8, "decoder_layers": 3, "decoder": "between", "residual": True, "layer_norm": "gates"},
    {"encoder_layers": 2, "merge": "sum", "layer_norm": "gates", "reverse_source": True, "score": "additive"},
    {"encoder_layers": 2, "bidirectional": False, "cell": "gru", "layer_norm": "gates", "reverse_source": True},
    {"decoder": "context", "decoder_layers": 2, "readout": "maxout", "encoder_layers": 3},
    {"decoder": "context", "bidirectional": False, "readout": "residual"},
    {"decoder": "input_feeding", "readout": "maxout", "readout_size": 5, "decoder_layers": 2, "cell": "gru"},
    {"decoder": "input_feeding", "score": "scaled_dot", "coverage": True, "tie": "all", "readout_size": 6},
    {"decoder": "bahdanau", "score": "dot", "coverage": True, "decoder_layers": 2, "readout": "maxout"},
    {"decoder": "bahdanau", "score": "multi_head", "heads": 3, "layer_norm": "output", "bridge": "backward"},
    {
        "decoder": "between",
        "decoder_layers": 2,
        "readout": "linear",
        "tie": "decoder",
        "readout_size": 6,
        "bridge": "zero",
    },
    {"decoder": "initial", "readout": "linear", "embedding": 8, "tie": "all"},  # no readout layer at all
]


@pytest.mark.parametrize("options", variants() + MORE, ids=lambda o: "-".join(f"{v}" for v in o.values()))
def test_every_option_answers_as_pytorch_does(options: dict[str, object], tmp_path: Path) -> None:
    torch = TorchEngine(saved(tmp_path, options))
    export(tmp_path)
    onnx = OnnxEngine(tmp_path, threads=1)
    assert onnx.vocabulary == V
    compare(onnx, torch, 1e-5)
    search = SearchOptions(beam=4, nbest=2, max_length=9)
    for ours, theirs in zip(beam_search(onnx, SOURCES, search), beam_search(torch, SOURCES, search), strict=True):
        assert [h.ids for h in ours] == [h.ids for h in theirs]
        np.testing.assert_allclose([h.score for h in ours], [h.score for h in theirs], atol=1e-4)
    compare(OnnxEngine(tmp_path, "int8", threads=1), torch, 0.2)


@pytest.mark.parametrize("preset", sorted(loading.presets()))
def test_every_preset_answers_as_pytorch_does(preset: str, tmp_path: Path) -> None:
    """With smaller matrices, and else as it stands."""
    given = loading.load(preset=preset).model
    decoder = given.encoder_hidden and (4 if given.merge == "sum" or not given.bidirectional else 8)
    sizes = {"embedding": 4, "encoder_hidden": 4, "decoder_hidden": decoder, "attention_size": 4}
    options = given.model_dump() | sizes | {"readout_size": 4 if given.readout_size else 0}
    torch = TorchEngine(saved(tmp_path, options))
    export(tmp_path)
    compare(OnnxEngine(tmp_path, threads=1), torch, 1e-5)
    compare(OnnxEngine(tmp_path, "int8", threads=1), torch, 0.2)


@pytest.fixture(scope="module")
def attending(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, TorchEngine]:
    path = tmp_path_factory.mktemp("attending")
    engine = TorchEngine(saved(path, {"decoder": "input_feeding", "score": "additive", "coverage": True}))
    export(path)
    return path, engine


def test_samples_and_scores_are_pytorchs(attending: tuple[Path, TorchEngine]) -> None:
    path, torch = attending
    onnx = OnnxEngine(path, threads=1)
    options = SearchOptions(nbest=3, seed=4, max_length=8, top_p=0.9)
    for ours, theirs in zip(sample(onnx, SOURCES, options), sample(torch, SOURCES, options), strict=True):
        assert [h.ids for h in ours] == [h.ids for h in theirs]
    targets = [[4, 5], [6], [], [7, 8, 9, 10], [5, 5, 5]]
    for one, other in zip(score(onnx, SOURCES, targets), score(torch, SOURCES, targets), strict=True):
        np.testing.assert_allclose(one.token_log_probs, other.token_log_probs, atol=1e-5)
        np.testing.assert_allclose(one.attention, other.attention, atol=1e-5)  # type: ignore[arg-type]


def test_a_step_is_pure_and_k_may_pass_the_vocabulary(attending: tuple[Path, TorchEngine]) -> None:
    engine = OnnxEngine(attending[0], threads=1)
    begun, tokens = engine.start(SOURCES), np.full((5, 2), BOS)
    _, state = engine.step(begun, tokens, np.zeros((5, 2), np.int64), 1)
    before = {name: value.copy() for name, value in {**state.memory, **state.decoder}.items()}
    first, _ = engine.step(state, tokens, np.array([[1, 0]] * 5), V + 5)
    engine.keep(state, np.array([1, 2]))
    again, _ = engine.step(state, tokens, np.array([[1, 0]] * 5), V + 5)
    assert first.ids.shape == (5, 2, V) and len(set(first.ids[0, 0])) == V
    np.testing.assert_array_equal(first.scores, again.scores)
    assert (table(first)[..., [0, BOS]] == -np.inf).all()
    for name, value in {**state.memory, **state.decoder}.items():
        np.testing.assert_array_equal(value, before[name])


WITHOUT = """
import sys
sys.modules["torch"] = sys.modules["onnx"] = None
from antiphon import model_folder
from antiphon.decoding.onnx_engine import OnnxEngine
from antiphon.seq2seq import Seq2Seq
opened = model_folder.load(sys.argv[1])
model = Seq2Seq(OnnxEngine(sys.argv[1], "int8", threads=1), opened.config, opened.source, opened.target)
print([result.text for result in model.generate(["the red bird", "", "sings"], max_length=5)])
"""


def test_a_folder_answers_without_pytorch_and_without_its_weights(
    attending: tuple[Path, TorchEngine], tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(attending[0], copy)
    (copy / "model.safetensors").unlink()
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", WITHOUT, str(copy)], capture_output=True, encoding="utf-8", timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("'") == 6 and "''" in done.stdout


def test_what_cannot_be_opened_says_why(tmp_path: Path) -> None:
    saved(tmp_path, {})
    with pytest.raises(UserError, match="not exported to ONNX yet; run: antiphon export"):
        OnnxEngine(tmp_path)
    with pytest.raises(UserError, match="'int4': must be one of float32, int8"):
        OnnxEngine(tmp_path, "int4")
    export(tmp_path, ["float32"])
    with pytest.raises(UserError, match="no int8 graphs, only float32"):
        OnnxEngine(tmp_path, "int8")
    (tmp_path / "onnx" / "step.onnx").write_bytes(b"no graph")
    with pytest.raises(UserError, match=r"step\.onnx: cannot be opened"):
        OnnxEngine(tmp_path)
    export(tmp_path, ["float32"])
    saved(tmp_path, {"embedding": 8})
    with pytest.raises(UserError, match="exported from other weights"):
        OnnxEngine(tmp_path)
    (tmp_path / "onnx" / "meta.json").write_text(json.dumps({"format": "other"}), encoding="utf-8")
    with pytest.raises(UserError, match="not of this version"):
        OnnxEngine(tmp_path)
