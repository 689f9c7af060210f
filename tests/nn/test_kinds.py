"""A new kind is one class and one entry; what does not know it refuses it, and computes nothing else instead."""

from pathlib import Path

import pytest
import torch
from tasks import SMALL, Told, options
from torch import Tensor

from antiphon import Seq2Seq
from antiphon.config import kinds, loading, memory
from antiphon.errors import UserError
from antiphon.export.export import export
from antiphon.nn import attention, decoder
from antiphon.nn.decoder import StepwiseDecoder
from antiphon.nn.model import Model, build
from antiphon.training.loop import train


class Distance(attention.Dot):
    """e_ti = -|s_t - W_a h_i|, by a class that inherits from one which the fused decoder knows."""

    def __init__(self, query_size: int, memory_size: int, attention_size: int) -> None:
        super().__init__(query_size, memory_size, attention_size)
        self.W_a = torch.nn.Linear(memory_size, query_size)

    def keys(self, h: Tensor) -> Tensor:
        return self.W_a(h)  # type: ignore[no-any-return]

    def e(self, s: Tensor, keys: Tensor) -> Tensor:
        return -torch.cdist(s, keys)


class Gated(decoder.Readout):
    """tanh(W [s_t; c_t] + b) of a readout's own, which the fused decoder does not know."""

    def forward(self, s: Tensor, c: Tensor | None, y: Tensor) -> Tensor:
        return torch.tanh(super().forward(s, c, y))


@pytest.fixture
def distance(monkeypatch: pytest.MonkeyPatch) -> None:
    """The score `distance`: one class and one entry."""
    entry = kinds.ScoreKind(
        "Distance", key=lambda n: n.query, parameters=lambda n: kinds.linear(n.memory, n.query)
    )  # fmt: skip
    monkeypatch.setattr(attention, "Distance", Distance, raising=False)
    monkeypatch.setitem(kinds.SCORES, "distance", entry)


def made(**over: object) -> Model:
    torch.manual_seed(0)
    return build(loading.load(over={"model": SMALL | {"score": "distance"} | over}).model, 12, 12)


@pytest.mark.usefixtures("distance")
@pytest.mark.parametrize("name", kinds.DECODERS)
def test_a_new_score_is_counted(name: str) -> None:
    chosen = {"decoder": name, "decoder_layers": 2, "coverage": kinds.DECODERS[name].stepwise}
    config = loading.load(over={"model": SMALL | chosen | {"score": "distance"}})
    real = sum(weight.numel() for weight in made(**chosen).parameters())
    assert memory.parameters(config.model, 12, 12) == real


@pytest.mark.usefixtures("distance")
@pytest.mark.parametrize("name", [name for name, kind in kinds.DECODERS.items() if kind.stepwise])
def test_the_fused_decoder_leaves_a_new_score_to_the_steps(name: str) -> None:
    new = made(decoder=name).decoder
    assert isinstance(new, StepwiseDecoder) and not new.fused
    assert made(decoder=name, score="dot").decoder.fused


@pytest.mark.usefixtures("distance")
def test_a_new_score_trains_and_decodes_but_is_not_exported(tmp_path: Path) -> None:
    config = options(tmp_path, model=SMALL | {"decoder": "bahdanau", "score": "distance"}, train={"steps": 6})
    train(config, tmp_path / "model", "", Told())
    model = Seq2Seq.load(tmp_path / "model")
    [result] = model.generate(["a b c"], beam=2)
    assert result.attention is not None and result.attention.shape[1] == 4
    with pytest.raises(UserError, match=r"model\.score = 'distance': cannot be exported to ONNX"):
        export(tmp_path / "model")


def test_an_unknown_score_is_refused_by_name(distance: None) -> None:
    with pytest.raises(UserError, match=r"model\.score = 'distanse'.*Input should be 'dot',.* or 'distance'"):
        made(score="distanse")


def test_a_new_readout_is_one_class_and_one_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoder, "Gated", Gated, raising=False)
    monkeypatch.setitem(kinds.READOUTS, "gated", kinds.ReadoutKind("Gated", kinds.READOUTS["linear"].parameters))
    over = {"score": "general", "decoder": "input_feeding", "readout": "gated"}
    model = made(**over)
    assert isinstance(model.decoder, StepwiseDecoder) and not model.decoder.fused
    config = loading.load(over={"model": SMALL | over})
    assert memory.parameters(config.model, 12, 12) == sum(weight.numel() for weight in model.parameters())


def test_a_cell_that_the_kernels_do_not_know_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(kinds.CELLS, "elman", kinds.CellKind("Recurrent", 1, ("s",), lambda i, h: h * (i + h + 2)))
    with pytest.raises(ValueError, match="elman"):
        made(score="general", cell="elman")
    with pytest.raises(UserError, match=r"model\.layer_norm = 'gates'"):
        made(score="general", cell="elman", layer_norm="gates")
