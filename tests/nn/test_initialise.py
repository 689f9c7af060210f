"""First weights against the statistics that the papers give, computed without the code under test."""

import math

import pytest
import torch
from torch import Tensor, nn

from antiphon.config import loading
from antiphon.config.kinds import CELLS
from antiphon.nn.attention import Additive
from antiphon.nn.initialise import initialise
from antiphon.nn.layers import Recurrent
from antiphon.nn.model import Model, build
from antiphon.nn.sru import SRU

SCHEMES = ["default", "uniform", "bahdanau2015", "keras"]
SIZES = {"embedding": 48, "encoder_hidden": 40, "decoder_hidden": 80, "attention_size": 64}


def made(scheme: str, **options: object) -> Model:
    torch.manual_seed(5)
    return build(loading.load(over={"model": SIZES | {"init": scheme} | options}).model, 300, 400)


def is_uniform(weight: Tensor, half_width: float) -> bool:
    """Whether the values fill [-w, w] evenly: the range, and the first four moments of a uniform variable."""
    x = weight.detach().double().flatten() / half_width
    slack = 8 / math.sqrt(x.numel())
    moments = [x.mean().abs(), (x.square().mean() - 1 / 3).abs(), (x**4).mean().sub(1 / 5).abs()]
    return bool(x.abs().max() <= 1 + 1e-5) and all(m < slack for m in moments)


def is_normal(weight: Tensor, std: float) -> bool:
    """Whether the values are N(0, std^2): mean, variance and fourth moment."""
    x = weight.detach().double().flatten() / std
    slack = 8 / math.sqrt(x.numel())
    return bool(
        x.mean().abs() < slack and (x.square().mean() - 1).abs() < 2 * slack and ((x**4).mean() - 3).abs() < 12 * slack
    )


def glorot(fan_in: int, fan_out: int) -> float:
    """Half-width of Glorot and Bengio 2010, eq. 16."""
    return math.sqrt(6 / (fan_in + fan_out))


def cells(model: nn.Module) -> list[Recurrent]:
    return [m for m in model.modules() if isinstance(m, Recurrent)]


def linears(model: nn.Module) -> list[nn.Linear]:
    return [m for m in model.modules() if isinstance(m, nn.Linear)]


def embeddings(model: nn.Module) -> list[nn.Embedding]:
    return [m for m in model.modules() if isinstance(m, nn.Embedding)]


def gates(weight: Tensor, layer: Recurrent) -> list[Tensor]:
    return list(torch.split(weight.detach(), layer.hidden))


def biases(model: nn.Module) -> list[Tensor]:
    """Every bias but the LSTM's forget gates and layer normalisation's."""
    of_cells = [b for m in cells(model) for b in (m.bias_ih, m.bias_hh)]
    return [*of_cells, *(m.bias for m in linears(model) if m.bias is not None)]


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_uniform_draws_every_weight_alike(cell: str) -> None:
    model = made("uniform", cell=cell, init_scale=0.08, decoder="bahdanau", score="additive")
    for name, weight in model.named_parameters():
        assert weight.abs().max() <= 0.08, name
        assert weight.abs().max() > 0, name
    assert is_uniform(torch.cat([w.flatten() for w in model.parameters()]), 0.08)


@pytest.mark.parametrize("scheme", ["default", "bahdanau2015"])
@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_recurrent_matrices_are_orthogonal_gate_by_gate(scheme: str, cell: str) -> None:
    for layer in cells(made(scheme, cell=cell, encoder_layers=2)):
        for gate in gates(layer.weight_hh, layer):
            torch.testing.assert_close(gate @ gate.T, torch.eye(layer.hidden), atol=1e-5, rtol=0)
        first, second, *_ = gates(layer.weight_hh, layer)
        assert not torch.equal(first, second)


def test_default_is_glorot_where_no_embedding_is_read() -> None:
    model = made("default", cell="gru", encoder_layers=2, decoder_layers=2, decoder="bahdanau", score="additive")
    for layer in cells(model):
        reads = 0 if layer.input_size == 80 else 48  # the columns of an embedding; the context comes behind it
        for gate in gates(layer.weight_ih, layer):
            assert not reads or is_normal(gate[:, :reads], 0.5)
            assert reads == layer.input_size or is_uniform(gate[:, reads:], glorot(layer.input_size, layer.hidden))
    readout, output = model.decoder.readout.out, model.output
    for linear in linears(model):
        if linear not in (readout, output):
            assert is_uniform(linear.weight, glorot(linear.in_features, linear.out_features))
    assert isinstance(readout, nn.Linear)
    assert is_uniform(readout.weight, 3 * glorot(readout.in_features, readout.out_features))
    assert is_normal(output.weight, 1 / math.sqrt(output.in_features))
    for table in embeddings(model):
        assert is_normal(table.weight, 1 / math.sqrt(48))
        assert table.weight.norm(dim=1).mean().item() == pytest.approx(1, abs=0.05)
    assert all(not bias.any() for bias in biases(model))


def test_normalised_layers_begin_with_glorot_and_embeddings_of_norm_one() -> None:
    model = made("default", layer_norm="output", tie="all")
    assert is_normal(model.target_embedding.weight, 1 / math.sqrt(48))
    for layer in cells(model):
        for gate in gates(layer.weight_ih, layer):
            assert is_uniform(gate, glorot(layer.input_size, layer.hidden))


@pytest.mark.parametrize("tie", ["none", "decoder", "all"])
@pytest.mark.parametrize("cell", CELLS)
def test_an_embedding_gives_half_a_unit_to_a_gate(cell: str, tie: str) -> None:
    model = made("default", cell=cell, tie=tie, decoder="input_feeding")
    ids = torch.arange(4, 300)
    encoder, decoder = model.encoder.layers[0][0], model.decoder.stack.layers[0]  # type: ignore[index]
    for layer, table in ((encoder, model.source_embedding), (decoder, model.target_embedding)):
        assert isinstance(layer, Recurrent | SRU)
        given = table(ids) @ layer.weight_ih[:, :48].T
        assert given.std().item() == pytest.approx(0.5, abs=0.05)


def test_bahdanau_is_the_papers_section_b1() -> None:
    model = made("bahdanau2015", cell="gru", decoder="bahdanau", score="additive", readout="maxout", bridge="backward")
    (alignment,) = (m for m in model.modules() if isinstance(m, Additive))
    assert is_normal(alignment.W_a.weight, 0.001)
    assert is_normal(alignment.U_a.weight, 0.001)
    assert not alignment.v_a.weight.any()
    assert all(not bias.any() for bias in biases(model))
    own = {id(m) for m in alignment.modules()}
    others = [m.weight for m in linears(model) if id(m) not in own] + [t.weight for t in embeddings(model)]
    for weight in [*others, *(layer.weight_ih for layer in cells(model))]:
        assert is_normal(weight, 0.01)


def test_keras_is_glorot_with_narrow_embeddings() -> None:
    model = made("keras", cell="gru", score="multi_head")
    for linear in linears(model):
        assert is_uniform(linear.weight, glorot(linear.in_features, linear.out_features))
    for table in embeddings(model):
        assert is_uniform(table.weight, 0.05)
    for layer in cells(model):  # Keras draws a cell's kernel as one matrix
        assert is_uniform(layer.weight_ih, glorot(layer.input_size, 3 * layer.hidden))
        assert is_uniform(layer.weight_hh, glorot(layer.hidden, 3 * layer.hidden))
    assert all(not bias.any() for bias in biases(model))


@pytest.mark.parametrize(("scheme", "opened"), [("default", 1.0), ("keras", 1.0), ("bahdanau2015", 0.0)])
def test_forget_gates_begin_open(scheme: str, opened: float) -> None:
    for layer in cells(made(scheme, cell="lstm")):
        i, f, g, o = gates(layer.bias_ih + layer.bias_hh, layer)
        assert f.eq(opened).all()
        assert not torch.cat([i, g, o]).any()


@pytest.mark.parametrize(("scheme", "opened"), [("default", 1.0), ("keras", 1.0), ("bahdanau2015", 0.0)])
def test_the_sru_begins_as_the_others(scheme: str, opened: float) -> None:
    layers = [m for m in made(scheme, cell="sru").modules() if isinstance(m, SRU)]
    assert len(layers) == 3
    for layer in layers:
        u, f, r = torch.split(layer.bias_ih, layer.hidden)
        assert f.eq(opened).all() and not torch.cat([u, r, layer.v]).any()
        blocks, rows = (1, 3 * layer.hidden) if scheme == "keras" else (3, layer.hidden)
        for weight in torch.split(layer.weight_ih, 3 * layer.hidden // blocks):
            if scheme == "default" and layer.input_size == 48:
                assert is_normal(weight, 0.5)
            elif scheme == "bahdanau2015":
                assert is_normal(weight, 0.01)
            else:
                assert is_uniform(weight, glorot(layer.input_size, rows))


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("kind", ["output", "gates"])
def test_layer_normalisation_begins_as_the_identity(scheme: str, kind: str) -> None:
    norms = [m for m in made(scheme, layer_norm=kind).modules() if isinstance(m, nn.LayerNorm)]
    assert norms
    assert all(m.weight.eq(1).all() and m.bias.eq(0).all() for m in norms)


@pytest.mark.parametrize("tie", ["decoder", "all"])
def test_tied_weights_begin_as_an_embedding(tie: str) -> None:
    model = made("default", tie=tie)
    assert model.output.weight is model.target_embedding.weight
    assert is_normal(model.output.weight, 0.4)
    readout = model.decoder.readout.out
    assert isinstance(readout, nn.Linear)
    assert is_uniform(readout.weight, glorot(readout.in_features, readout.out_features) / 2)
    if tie == "decoder":
        assert is_normal(model.source_embedding.weight, 1 / math.sqrt(48))


@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_seed_decides(scheme: str) -> None:
    model = made(scheme, cell="lstm", layer_norm="gates", decoder="bahdanau", score="additive")
    again = made(scheme, cell="lstm", layer_norm="gates", decoder="bahdanau", score="additive")
    for (name, weight), (_, same) in zip(model.named_parameters(), again.named_parameters(), strict=True):
        assert torch.equal(weight, same), name
    before = model.encoder.layers[0][0].weight_hh.detach().clone()  # type: ignore[index]
    initialise(model, scheme, 0.1)
    assert not torch.equal(before, model.encoder.layers[0][0].weight_hh)  # type: ignore[index]


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("scheme", SCHEMES)
def test_every_weight_is_set(scheme: str, cell: str) -> None:
    """What was there before leaves no trace."""
    norm = "output" if CELLS[cell].element_wise else "gates"
    options = {"cell": cell, "decoder": "bahdanau", "score": "additive", "readout": "maxout", "layer_norm": norm}
    model = made(scheme, **options)
    for weight in model.parameters():
        nn.init.constant_(weight, 77.0)
    initialise(model, scheme, 0.1)
    assert [n for n, w in model.named_parameters() if w.eq(77).any()] == []
    assert CELLS[cell].gates * 40 == len(model.encoder.layers[0][0].weight_ih)  # type: ignore[index]
