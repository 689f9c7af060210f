"""Options that contradict each other are refused here, both named, before any work begins."""

from antiphon.config.kinds import CELLS
from antiphon.config.sections import Config, Model
from antiphon.config.shapes import shapes
from antiphon.errors import UserError


def check(config: Config) -> None:
    """Refuse options that contradict each other, naming both."""
    m = config.model
    conflicts = [
        (m.bridge == "backward" and not m.bidirectional, "model.bridge = 'backward' needs model.bidirectional = true"),
        (
            m.tie == "all" and not config.text.joint,
            "model.tie = 'all' needs text.joint = true: set model.tie = 'decoder', or text.joint = true",
        ),
        (
            m.coverage and not shapes(m).stepwise,
            "model.coverage needs model.decoder = 'bahdanau' or 'input_feeding'",
        ),
        (
            m.copy_source and not shapes(m).attends,
            f"model.copy_source needs attention, and model.decoder = '{m.decoder}' has none",
        ),
        (
            m.copy_source and not config.text.joint,
            "model.copy_source needs text.joint = true: what is copied must be a piece of the target's vocabulary",
        ),
        (
            config.train.coverage_loss > 0 and not m.coverage,
            "train.coverage_loss needs model.coverage = true",
        ),
        (
            m.decoder == "between" and m.decoder_layers < 2,
            "model.decoder = 'between' needs model.decoder_layers = 2 or more",
        ),
        (
            m.layer_norm == "gates" and not CELLS[m.cell].normalised,
            "model.layer_norm = 'gates' needs model.cell = 'lstm' or 'gru': set model.layer_norm = 'output'",
        ),
        (m.attention_size % m.heads != 0, "model.heads must divide model.attention_size"),
        (m.heads > 1 and m.score != "multi_head", "model.heads needs model.score = 'multi_head'"),
        (
            config.text.dropout > 0 and config.text.kind != "bpe",
            "text.dropout cuts BPE pieces: set text.dropout = 0, or text.kind = 'bpe'",
        ),
        (
            m.decoder == "initial" and m.bridge == "zero",
            "model.decoder = 'initial' with model.bridge = 'zero' never sees the source: "
            "set model.bridge = 'last' or 'dense'",
        ),
        (
            m.readout == "residual" and m.readout_size not in (0, m.decoder_hidden),
            "model.readout = 'residual' is as wide as the decoder: leave model.readout_size at 0",
        ),
        (
            config.train.weight_decay > 0 and config.train.optimiser != "adamw",
            "train.weight_decay needs train.optimiser = 'adamw'",
        ),
        (
            m.tie == "all" and len({config.train.source_vectors, config.train.target_vectors, ""}) == 3,
            "model.tie = 'all' has one embedding for both sides: name one file in train.source_vectors and none in "
            "train.target_vectors",
        ),
        (m.coverage and m.score == "multi_head", "model.coverage needs a model.score other than 'multi_head'"),
        (
            config.search.max_length and config.search.min_length > config.search.max_length,
            "search.min_length is above search.max_length",
        ),
    ]
    for wrong, message in conflicts:
        if wrong:
            raise UserError(message)
    _check_sizes(m)


def differences(old: Model, new: Model) -> list[str]:
    """The options of two models that differ, but for dropout and first weights, which change no network."""
    return [
        f"model.{name} was {value!r}, now {getattr(new, name)!r}"
        for name, value in old
        if getattr(new, name) != value and not name.startswith(("dropout_", "init"))
    ]


def _check_sizes(m: Model) -> None:
    """Refuse sizes that do not fit, with the numbers and what to set."""
    size = shapes(m)
    last, memory, attends = size.final, size.memory, size.attends
    if attends and m.score in ("dot", "scaled_dot") and memory != m.decoder_hidden:
        raise UserError(
            f"model.score = '{m.score}' compares states of one size, but the encoder's have {memory} units and the "
            f"decoder's {m.decoder_hidden}: set model.decoder_hidden = {memory}, or model.score = 'general'"
        )
    if m.bridge == "last" and last != m.decoder_hidden:
        raise UserError(
            f"model.bridge = 'last' hands {last} units to a decoder of {m.decoder_hidden}: "
            f"set model.decoder_hidden = {last}, or model.bridge = 'dense'"
        )
    if m.tie != "none" and size.readout != m.embedding:
        width = "decoder_hidden" if m.readout == "residual" else "readout_size"
        raise UserError(
            f"model.tie = '{m.tie}' needs a readout as wide as the embedding, but it has {size.readout} units "
            f"and the embedding {m.embedding}: set model.{width} = {m.embedding}, or model.tie = 'none'"
        )
    if m.readout == "residual" and attends and m.score != "multi_head" and memory != m.decoder_hidden:
        raise UserError(
            f"model.readout = 'residual' adds a context of {memory} units to a state of {m.decoder_hidden}: "
            f"set model.score = 'multi_head', or model.decoder_hidden = {memory}"
        )
