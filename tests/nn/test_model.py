"""Every cell, decoder and attention: teacher forcing equals stepping, and padding and batch size have no effect."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import LayerNorm
from variants import Options, variants

from antiphon.config import loading
from antiphon.data.tokenizer import BOS, EOS, PAD
from antiphon.errors import UserError
from antiphon.nn.model import Model, build, shifted

SMALL = {"embedding": 6, "encoder_hidden": 4, "decoder_hidden": 8, "attention_size": 6}


def made(options: Options) -> Model:
    torch.manual_seed(3)
    model = build(loading.load(over={"model": SMALL | options}).model, 11, 11)
    for weight in model.parameters():
        torch.nn.init.uniform_(weight, -0.5, 0.5)
    return model.double().eval()


SOURCES = torch.tensor([[4, 5, 6, 7, EOS], [8, 9, EOS, PAD, PAD], [5, 4, 10, EOS, PAD]])
TARGETS = torch.tensor([[6, 5, EOS, PAD], [9, 8, 7, EOS], [4, EOS, PAD, PAD]])


def stepped(model: Model, sources: Tensor, targets: Tensor) -> tuple[Tensor, Tensor | None]:
    """Log-probabilities [B, T, V] and alpha [B, T, S], one step at a time, with two equal hypotheses a sentence."""
    memory, state = model.encode(sources)
    state = {name: part.expand(-1, 2, *part.shape[2:]) for name, part in state.items()}
    scores, alphas = [], []
    for t in range(targets.shape[1]):
        tokens = shifted(targets)[:, t : t + 1].expand(-1, 2)
        logits, state, alpha = model.step(tokens, state, memory)
        torch.testing.assert_close(logits[:, 0], logits[:, 1])
        scores.append(logits[:, 0].log_softmax(-1))
        alphas.append(None if alpha is None else alpha[:, 0])
    return torch.stack(scores, 1), None if alphas[0] is None else torch.stack(alphas, 1)  # type: ignore[arg-type]


@pytest.mark.parametrize("options", variants(), ids=lambda o: "-".join(f"{v}" for v in o.values()))
@torch.no_grad()
def test_stepping_equals_teacher_forcing_whatever_the_batch(options: Options) -> None:
    model = made(options)
    readout, alpha = model(SOURCES, shifted(TARGETS))
    forced = model._logits(readout, alpha, SOURCES).log_softmax(-1)
    real = TARGETS != PAD
    by_step, step_alpha = stepped(model, SOURCES, TARGETS)
    torch.testing.assert_close(forced[real], by_step[real], atol=1e-9, rtol=0)
    if alpha is not None and step_alpha is not None:
        torch.testing.assert_close(alpha[real], step_alpha[real], atol=1e-6, rtol=0)
        torch.testing.assert_close(alpha.sum(-1), torch.ones_like(alpha.sum(-1)))
        assert alpha[1, :, 3:].abs().max() == 0  # padding is never attended to
    for i in range(3):
        source, target = SOURCES[i][SOURCES[i] != PAD][None], TARGETS[i][TARGETS[i] != PAD][None]
        readout, looking = model(source, shifted(target))
        alone = model._logits(readout, looking, source).log_softmax(-1)
        torch.testing.assert_close(forced[i][real[i]], alone[0], atol=1e-9, rtol=0)
    likelihood = -forced.gather(2, TARGETS.unsqueeze(-1)).squeeze(-1)[real].sum()
    loss = model.loss(SOURCES, TARGETS)
    torch.testing.assert_close(loss.nll, likelihood)
    assert loss.pieces == 9


@pytest.mark.parametrize("options", variants(), ids=lambda o: "-".join(f"{v}" for v in o.values()))
def test_every_weight_learns(options: Options) -> None:
    model = made(options)
    torch.autograd.backward(model.loss(SOURCES, TARGETS, 0.1).total)
    idle = [n for n, w in model.named_parameters() if w.grad is None or w.grad.abs().max() == 0]
    assert idle == []


@torch.no_grad()
def test_reading_backwards_is_reading_the_reversed_source() -> None:
    """Sutskever's reversal, against turning the real pieces round by hand."""
    backwards = made({"bidirectional": False, "reverse_source": True, "decoder": "initial"})
    forwards = made({"bidirectional": False, "decoder": "initial"})
    turned = torch.tensor([[7, 6, 5, 4, EOS], [9, 8, EOS, PAD, PAD], [10, 4, 5, EOS, PAD]])
    torch.testing.assert_close(backwards(SOURCES, shifted(TARGETS))[0], forwards(turned, shifted(TARGETS))[0])


@torch.no_grad()
def test_reversed_memory_is_in_the_sources_order() -> None:
    model = made({"bidirectional": False, "reverse_source": True})
    memory, _ = model.encode(SOURCES)
    changed = SOURCES.clone()
    changed[1, 0] = 10  # the first piece is read last before EOS, so only these two states change
    other, _ = model.encode(changed)
    differs = (memory.h - other.h).abs().amax(-1)[1] > 0
    assert differs.tolist()[:3] == [True, False, True]


@torch.no_grad()
def test_bahdanau_follows_the_papers_equations() -> None:
    """One step of A.2.2, with the matrices taken apart."""
    model = made({"cell": "gru", "decoder": "bahdanau", "score": "additive", "readout": "maxout", "readout_size": 6})
    memory, state = model.encode(SOURCES)
    s, E_y = state["s"][:, 0, 0], model.target_embedding(torch.full((3,), BOS))
    decoder: Any = model.decoder
    a = decoder.attention.score
    e = torch.tanh((s @ a.W_a.weight.T)[:, None] + memory.h @ a.U_a.weight.T + a.U_a.bias) @ a.v_a.weight[0]
    e[~memory.mask] = -torch.inf
    alpha = e.exp() / e.exp().sum(1, keepdim=True)
    c = (alpha[:, :, None] * memory.h).sum(1)
    W = decoder.readout.out
    U_o, C_o, V_o = W.weight.split([8, 8, 6], 1)
    t = s @ U_o.T + c @ C_o.T + E_y @ V_o.T + W.bias
    expected = torch.stack([t[:, ::2], t[:, 1::2]]).amax(0) @ model.output.weight.T + model.output.bias
    logits, _, seen = model.step(torch.full((3, 1), BOS), state, memory)
    torch.testing.assert_close(logits[:, 0], expected)
    torch.testing.assert_close(seen[:, 0], alpha)  # type: ignore[index]


@torch.no_grad()
def test_input_feeding_follows_the_papers_equations() -> None:
    """Two steps of Luong's section 3.3: the second reads the first's attentional vector."""
    model = made({"cell": "gru", "decoder": "input_feeding", "score": "dot", "readout": "tanh"})
    memory, state = model.encode(SOURCES)
    decoder: Any = model.decoder
    cell, W_c = decoder.stack.layers[0], decoder.readout.out
    s, fed = state["s"][:, 0, 0], torch.zeros(3, 8, dtype=torch.float64)
    for token in (BOS, 5):
        y = model.target_embedding(torch.full((3,), token))
        s = torch.gru_cell(
            torch.cat([y, fed], 1), s, *(getattr(cell, n) for n in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))
        )
        e = (memory.h @ s[:, :, None]).squeeze(2).masked_fill(~memory.mask, -torch.inf)
        c = (e.softmax(1)[:, :, None] * memory.h).sum(1)
        fed = torch.tanh(torch.cat([s, c], 1) @ W_c.weight.T + W_c.bias)
        logits, state, _ = model.step(torch.full((3, 1), token), state, memory)
    torch.testing.assert_close(logits[:, 0], fed @ model.output.weight.T + model.output.bias)


@torch.no_grad()
def test_coverage_sums_what_was_attended_to() -> None:
    model = made({"decoder": "bahdanau", "score": "additive", "coverage": True})
    memory, state = model.encode(SOURCES)
    total = torch.zeros(3, 1, 5, dtype=torch.float64)
    for token in (BOS, 4, 5):
        _, state, alpha = model.step(torch.full((3, 1), token), state, memory)
        assert alpha is not None
        total = total + alpha
        torch.testing.assert_close(state["coverage"], total)


@pytest.mark.parametrize("decoder", ["over_outputs", "bahdanau"])
def test_r_drop_adds_what_two_passes_differ_by(decoder: str) -> None:
    model = made({"decoder": decoder, "dropout_output": 0.3, "dropout_embedding": 0.2}).train()
    torch.manual_seed(5)
    loss = model.loss(SOURCES, TARGETS, r_drop=0.7)
    torch.manual_seed(5)
    readout, _ = model(SOURCES.repeat(2, 1), shifted(TARGETS).repeat(2, 1))
    log_p, log_q = (part[TARGETS != PAD] for part in model.output(readout).log_softmax(-1).chunk(2))
    y = TARGETS[TARGETS != PAD].unsqueeze(1)
    nll = -(log_p.gather(1, y) + log_q.gather(1, y)).sum() / 2
    apart = (log_p.exp() * (log_p - log_q) + log_q.exp() * (log_q - log_p)).sum() / 2
    assert float(apart.detach()) > 0.01 and loss.pieces == 9
    torch.testing.assert_close((loss.total, loss.nll), (nll + 0.7 / 2 * apart, nll.detach()))
    expected = torch.autograd.grad(nll + 0.7 / 2 * apart, list(model.parameters()), allow_unused=True)
    for got, want in zip(torch.autograd.grad(loss.total, list(model.parameters())), expected, strict=True):
        torch.testing.assert_close(got, want)
    nothing = made({"decoder": decoder}).train()  # without dropout both passes are one
    torch.testing.assert_close(nothing.loss(SOURCES, TARGETS, r_drop=5.0), nothing.loss(SOURCES, TARGETS))


def test_step_is_pure() -> None:
    model = made({"decoder": "input_feeding", "coverage": True, "score": "additive"})
    with torch.no_grad():
        memory, state = model.encode(SOURCES)
        before = {name: part.clone() for name, part in state.items()}
        first = model.step(torch.full((3, 1), BOS), state, memory)[0]
        again = model.step(torch.full((3, 1), BOS), state, memory)[0]
    torch.testing.assert_close(first, again, rtol=0, atol=0)
    for name, part in state.items():
        torch.testing.assert_close(part, before[name], rtol=0, atol=0)


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({"cell": "sru", "layer_norm": "gates"}, ["model.layer_norm = 'gates'", "model.cell = 'lstm' or 'gru'"]),
        ({"score": "dot", "decoder_hidden": 6}, ["model.score = 'dot'", "model.decoder_hidden = 8"]),
        ({"bridge": "last", "decoder_hidden": 6}, ["model.bridge = 'last'", "model.decoder_hidden = 8"]),
        ({"tie": "decoder", "readout_size": 5}, ["model.tie", "model.readout_size = 6"]),
        ({"readout": "residual", "decoder_hidden": 6}, ["model.readout", "model.decoder_hidden = 8"]),
    ],
)
def test_sizes_that_do_not_fit_say_what_to_set(options: Options, names: list[str]) -> None:
    with pytest.raises(UserError) as error:
        made(options)
    for name in names:
        assert name in str(error.value)


def test_every_layer_normalisation_has_the_epsilon_of_the_options() -> None:
    for options in ({"layer_norm": "gates"}, {"layer_norm": "output", "readout": "residual", "score": "multi_head"}):
        for epsilon in (1e-5, 1e-3):
            norms = [m for m in made({**options, "layer_norm_epsilon": epsilon}).modules() if isinstance(m, LayerNorm)]
            assert {norm.eps for norm in norms} == {epsilon}


def test_models_of_before_keep_their_epsilon() -> None:
    stored = loading.load(over={"model": SMALL}).model_dump()
    del stored["model"]["layer_norm_epsilon"]  # as folders had it before there was the option
    assert loading.from_dict(stored, "config.json").model.layer_norm_epsilon == 1e-5
