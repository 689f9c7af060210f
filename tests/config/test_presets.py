"""The presets against the papers' own tables: sizes, initial weights, schedule, search; and each of them learns."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from antiphon.config import loading, sections
from antiphon.data.tokenizer import EOS
from antiphon.nn.decoder import ParallelDecoder
from antiphon.nn.model import Model, build

PAPERS = ["sutskever2014", "cho2014", "bahdanau2015", "luong2015", "tensorflow_tutorial"]
SIZED = ["tiny", "small", "base"]  # for more and more data
OURS = [*SIZED, "fast"]


def full(name: str) -> Model:
    """The preset at its own size, without memory or values."""
    c = loading.load(name)
    with torch.device("meta"):
        return build(c.model, c.text.source_size or c.text.size, c.text.size)


def little(name: str, width: int = 16, vocabulary: int = 50, **options: object) -> Model:
    """The preset with `width` decoder units, all other sizes in proportion."""
    m = loading.load(name).model
    keys = ("embedding", "encoder_hidden", "decoder_hidden", "attention_size", "readout_size")
    sizes = {k: round(getattr(m, k) * width / m.decoder_hidden) for k in keys}
    torch.manual_seed(1)
    return build(loading.load(name, over={"model": sizes | options}).model, vocabulary, vocabulary)


def shapes(model: nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(weight.shape) for name, weight in model.named_parameters()}


def parameters(model: nn.Module) -> int:
    return sum(weight.numel() for weight in model.parameters())


def stated(name: str, section: str, **facts: Any) -> None:
    """Options as stated, and written in the preset's own file rather than left to a default that may change."""
    options = getattr(loading.load(name), section)
    assert {key: getattr(options, key) for key in facts} == facts
    assert facts.keys() <= loading._preset(name)[section].keys()


def words(name: str, source: int, target: int) -> None:
    stated(name, "text", kind="word", size=target, joint=False, byte_fallback=False)
    assert (loading.load(name).text.source_size or target) == source


def half_width(weight: Tensor) -> float:
    return weight.abs().max().item()


def test_every_preset_is_listed_with_what_it_is() -> None:
    listed = loading.presets()
    assert list(listed) == sorted([*PAPERS, *OURS, "demo"])
    assert all(20 < len(line) < 120 for line in listed.values())


@pytest.mark.parametrize("name", PAPERS + OURS)
def test_presets_are_complete_to_initialisation_and_optimiser(name: str) -> None:
    written = loading._preset(name)
    assert {"text", "model", "train", "search"} <= written.keys()
    assert {"kind", "size", "joint"} <= written["text"].keys()
    sizes = {"embedding", "encoder_hidden", "encoder_layers", "decoder_hidden", "decoder_layers"}
    assert sizes | {"cell", "bidirectional", "bridge", "decoder", "readout", "tie"} <= written["model"].keys()
    assert {"optimiser", "learning_rate", "clip", "batch", "batch_unit"} <= written["train"].keys()
    assert {"beam", "length_penalty"} <= written["search"].keys()
    assert loading.from_dict(loading.load(name).model_dump(), name) == loading.load(name)


def test_sutskever() -> None:
    model = full("sutskever2014")
    # Section 3.4: 384M parameters, 64M of them recurrent, 32M a side. Biases come on top.
    embeddings_and_softmax = (160_000 + 80_000 + 80_000) * 1000
    recurrent = sum(math.prod(s) for n, s in shapes(model).items() if "layers" in n and len(s) == 2)
    assert recurrent == 64_000_000
    assert embeddings_and_softmax + recurrent == 384_000_000
    assert parameters(model) == 384_000_000 + 80_000 + 8 * 8000
    assert model.encoder.directions == 1 and model.encoder.reverse and model.decoder.attention is None
    words("sutskever2014", 160_000, 80_000)
    stated("sutskever2014", "model", encoder_layers=4, decoder_layers=4, bridge="last", decoder="initial")
    stated("sutskever2014", "model", cell="lstm", reverse_source=True, init="uniform", init_scale=0.08)
    stated("sutskever2014", "train", optimiser="sgd", learning_rate=0.7, schedule="halving", decay=0.5)
    stated("sutskever2014", "train", decay_start=5.0, decay_every=0.5, epochs=7.5, clip=5.0)
    stated("sutskever2014", "train", batch=128, batch_unit="sentences", normalise="sentences", patience=0)
    stated("sutskever2014", "search", beam=12, length_penalty="none")
    weights = list(little("sutskever2014").parameters())
    assert all(0.04 < half_width(w) <= 0.08 for w in weights)


def test_cho() -> None:
    shape = shapes(full("cho2014"))
    assert shape["source_embedding.weight"] == shape["target_embedding.weight"] == (15_000, 100)
    assert shape["encoder.layers.0.0.weight_ih"] == (3000, 100)
    assert shape["decoder.stack.layers.0.weight_ih"] == (3000, 100 + 1000)  # y_{t-1} and c at every step
    assert shape["decoder.readout.out.weight"] == (2 * 500, 1000 + 1000 + 100)  # O_h, O_c, O_y; pairs to 500
    assert shape["summary.weight"] == shape["bridge.state.0.weight"] == (1000, 1000)  # V and V'
    assert shape["output.weight"] == (15_000, 500)
    words("cho2014", 15_000, 15_000)
    stated("cho2014", "model", cell="gru", bidirectional=False, decoder="context", init="bahdanau2015")
    stated("cho2014", "train", optimiser="adadelta", rho=0.95, epsilon=1e-6, learning_rate=1.0)
    stated("cho2014", "train", batch=64, batch_unit="sentences", normalise="sentences", clip=0.0)


def test_bahdanau() -> None:
    shape = shapes(full("bahdanau2015"))
    n, m, aligned, l = 1000, 620, 1000, 500  # noqa: E741 as named in A.2.3
    assert shape["source_embedding.weight"] == shape["target_embedding.weight"] == (30_000, m)
    for direction in (0, 1):
        assert shape[f"encoder.layers.0.{direction}.weight_ih"] == (3 * n, m)
        assert shape[f"encoder.layers.0.{direction}.weight_hh"] == (3 * n, n)
    assert shape["decoder.stack.layers.0.weight_ih"] == (3 * n, m + 2 * n)  # W and C
    assert shape["decoder.attention.score.W_a.weight"] == (aligned, n)
    assert shape["decoder.attention.score.U_a.weight"] == (aligned, 2 * n)
    assert shape["decoder.attention.score.v_a.weight"] == (1, aligned)
    assert shape["bridge.state.0.weight"] == (n, n)  # W_s
    assert shape["decoder.readout.out.weight"] == (2 * l, n + 2 * n + m)  # U_o, C_o, V_o
    assert shape["output.weight"] == (30_000, l)  # W_o
    words("bahdanau2015", 30_000, 30_000)
    stated("bahdanau2015", "data", max_source_length=50, max_target_length=50)
    stated("bahdanau2015", "model", bridge="backward", decoder="bahdanau", score="additive", readout="maxout")
    stated("bahdanau2015", "train", optimiser="adadelta", rho=0.95, epsilon=1e-6, clip=1.0)
    stated("bahdanau2015", "train", batch=80, batch_unit="sentences", normalise="sentences")
    model = little("bahdanau2015", 100, 500)
    alignment = {n.split(".")[-2]: w for n, w in model.named_parameters() if "score" in n and n.endswith("weight")}
    assert alignment["W_a"].std().item() == pytest.approx(0.001, rel=0.05)
    assert alignment["U_a"].std().item() == pytest.approx(0.001, rel=0.05)
    assert not alignment["v_a"].any()
    assert not any(w.any() for n, w in model.named_parameters() if "bias" in n)
    for name, weight in model.named_parameters():
        if "weight_hh" in name:
            for gate in torch.split(weight.detach(), 100):
                torch.testing.assert_close(gate @ gate.T, torch.eye(100), atol=1e-5, rtol=0)
        elif "bias" not in name and "score" not in name:
            assert weight.std().item() == pytest.approx(0.01, rel=0.05), name


def test_luong() -> None:
    shape = shapes(full("luong2015"))
    assert shape["source_embedding.weight"] == shape["target_embedding.weight"] == (50_000, 1000)
    assert shape["decoder.stack.layers.0.weight_ih"] == (4000, 1000 + 1000)  # input feeding
    assert shape["decoder.stack.layers.3.weight_ih"] == shape["encoder.layers.3.0.weight_ih"] == (4000, 1000)
    assert shape["decoder.readout.out.weight"] == (1000, 2000)  # W_c of eq. 5
    assert shape["output.weight"] == (50_000, 1000)
    words("luong2015", 50_000, 50_000)
    stated("luong2015", "data", max_source_length=50, max_target_length=50)
    stated("luong2015", "model", cell="lstm", encoder_layers=4, decoder_layers=4, reverse_source=True)
    stated("luong2015", "model", decoder="input_feeding", score="dot", readout="tanh", bridge="last")
    stated("luong2015", "model", dropout_embedding=0.2, dropout_recurrent=0.2, init="uniform", init_scale=0.1)
    stated("luong2015", "train", optimiser="sgd", learning_rate=1.0, schedule="halving", decay=0.5)
    stated("luong2015", "train", decay_start=8.0, decay_every=1.0, epochs=12.0, clip=5.0)
    stated("luong2015", "train", batch=128, batch_unit="sentences", normalise="sentences")
    assert all(0.05 < half_width(w) <= 0.1 for w in little("luong2015").parameters())


def test_tensorflow_tutorial() -> None:
    shape = shapes(full("tensorflow_tutorial"))
    assert shape["source_embedding.weight"] == shape["target_embedding.weight"] == (5000, 256)
    for layer in ("encoder.layers.0.0", "encoder.layers.0.1", "decoder.stack.layers.0"):
        assert shape[f"{layer}.weight_ih"] == shape[f"{layer}.weight_hh"] == (768, 256)
    for projection in ("W_q", "W_k", "W_v", "W_o"):
        assert shape[f"decoder.attention.{projection}.weight"] == (256, 256)
    assert shape["decoder.readout.out.weight"] == (256,)  # layer normalisation
    assert shape["output.weight"] == (5000, 256)
    assert not [name for name in shape if "bridge" in name]
    words("tensorflow_tutorial", 5000, 5000)
    stated("tensorflow_tutorial", "text", normalise="tensorflow")
    stated("tensorflow_tutorial", "model", merge="sum", bridge="zero", decoder="over_outputs", readout="residual")
    stated("tensorflow_tutorial", "model", score="multi_head", heads=1, init="keras")
    stated("tensorflow_tutorial", "model", layer_norm_epsilon=1e-3)  # Keras's default
    stated("tensorflow_tutorial", "train", optimiser="adam", learning_rate=1e-3, clip=0.0, epsilon=1e-7)
    stated("tensorflow_tutorial", "train", batch=64, batch_unit="sentences", normalise="tokens")
    stated("tensorflow_tutorial", "train", metric="loss", patience=3, valid_every=100, steps=10_000)
    stated("tensorflow_tutorial", "search", beam=1, max_length=50)
    model = little("tensorflow_tutorial", 256, 1000)
    assert half_width(model.source_embedding.weight) == pytest.approx(0.05, rel=0.01)
    assert half_width(model.output.weight) == pytest.approx(math.sqrt(6 / (256 + 1000)), rel=0.01)
    sources, targets = batch(1000)
    loss = model.eval().loss(sources, targets)
    assert loss.nll.item() / loss.pieces == pytest.approx(math.log(1000), rel=0.1)  # the tutorial's sanity check


def test_our_own_grow_with_the_data() -> None:
    sizes = [parameters(full(name)) for name in SIZED]
    assert [round(size / 1e6) for size in sizes] == [1, 9, 40]
    for name in SIZED:
        c = loading.load(name)
        assert c.model.tie == "all" and c.text.joint and c.train.label_smoothing == 0.1
        assert c.model.decoder == ("between" if name == "small" else "over_outputs") and c.model.bidirectional
    tiny, small, base = (loading.load(name) for name in SIZED)
    assert tiny.text.size < small.text.size < base.text.size
    assert tiny.train.batch < small.train.batch < base.train.batch
    assert tiny.model.dropout_recurrent > small.model.dropout_recurrent > base.model.dropout_recurrent


def test_fast_has_no_recurrent_matrices() -> None:
    model = full("fast")
    assert not any("weight_hh" in name for name in shapes(model))  # no matrix waits for a step
    assert round(parameters(model) / 1e5) == 23
    assert isinstance(model.decoder, ParallelDecoder)


def batch(vocabulary: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(2)
    sides = [torch.randint(4, vocabulary, (8, length), generator=generator) for length in (6, 5)]
    source, target = (torch.cat([side, torch.full((8, 1), EOS)], 1) for side in sides)
    return source, target


def optimiser(o: sections.Train, model: nn.Module) -> torch.optim.Optimizer:
    if o.optimiser == "sgd":
        return torch.optim.SGD(model.parameters(), o.learning_rate)
    if o.optimiser == "adadelta":
        return torch.optim.Adadelta(model.parameters(), o.learning_rate, o.rho, o.epsilon)
    return torch.optim.Adam(model.parameters(), o.learning_rate, (o.beta1, o.beta2), o.epsilon)


@pytest.mark.parametrize("name", PAPERS + OURS)
def test_one_step_of_the_papers_optimiser_lowers_the_loss(name: str) -> None:
    options = loading.load(name).train
    model = little(name).eval()  # dropout would blur the comparison
    sources, targets = batch(50)
    loss = model.loss(sources, targets, options.label_smoothing)
    torch.autograd.backward(loss.total / (len(targets) if options.normalise == "sentences" else loss.pieces))
    assert all(w.grad is not None and w.grad.isfinite().all() for w in model.parameters())
    if options.clip:
        nn.utils.clip_grad_norm_(model.parameters(), options.clip)
    optimiser(options, model).step()
    with torch.no_grad():
        assert model.loss(sources, targets, options.label_smoothing).total < loss.total
