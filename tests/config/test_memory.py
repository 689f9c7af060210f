"""The arithmetic of a model's size, against the real model."""

from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from antiphon.config import loading, rules, sections
from antiphon.config.kinds import BRIDGES, CELLS, DECODERS, READOUTS, SCORES
from antiphon.config.memory import estimate, parameters
from antiphon.errors import UserError

model_options = st.fixed_dictionaries(
    {
        "cell": st.sampled_from(list(CELLS)),
        "embedding": st.sampled_from([6, 8]),
        "encoder_hidden": st.sampled_from([4, 8]),
        "encoder_layers": st.integers(1, 3),
        "bidirectional": st.booleans(),
        "merge": st.sampled_from(["concat", "sum"]),
        "bridge": st.sampled_from(list(BRIDGES)),
        "decoder": st.sampled_from(list(DECODERS)),
        "decoder_hidden": st.sampled_from([4, 8, 16]),
        "decoder_layers": st.integers(1, 3),
        "score": st.sampled_from(list(SCORES)),
        "attention_size": st.sampled_from([4, 6]),
        "coverage": st.booleans(),
        "copy_source": st.booleans(),
        "readout": st.sampled_from(list(READOUTS)),
        "readout_size": st.sampled_from([0, 6, 8]),
        "tie": st.sampled_from(["none", "decoder", "all"]),
        "layer_norm": st.sampled_from(["none", "output", "gates"]),
    }
)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.filter_too_much])
@given(options=model_options)
def test_parameters_are_those_of_the_real_model(options: dict[str, str | int | bool]) -> None:
    from antiphon.nn.model import build

    model = sections.Model(**options)  # type: ignore[arg-type]
    source, target = (13, 13) if model.tie == "all" else (11, 13)
    try:
        rules.check(sections.Config(model=model))
    except UserError:
        assume(False)
    real = build(model, source, target)
    assert parameters(model, source, target) == sum(p.numel() for p in real.parameters())


def test_estimate_follows_the_configuration() -> None:
    plain = estimate(loading.load(), 8000, 8000)
    assert plain.weights_bytes == 4 * plain.parameters
    assert plain.training_bytes > 4 * plain.weights_bytes  # weights, gradients, Adam's two moments, activations
    assert estimate(loading.load(sets=["train.optimiser='sgd'"]), 8000, 8000).training_bytes < plain.training_bytes
    assert estimate(loading.load(sets=["train.ema=0.99"]), 8000, 8000).training_bytes > plain.training_bytes
    apart = estimate(loading.load(sets=["text.joint=false"]), 500, 8000)
    assert (apart.source_vocabulary, plain.source_vocabulary) == (500, 8000) and apart.parameters < plain.parameters
