"""Options that contradict each other are refused here, both named, before any work begins."""

from collections.abc import Callable
from dataclasses import dataclass

from antiphon.config.kinds import BRIDGES, CELLS, READOUTS, SCORES
from antiphon.config.sections import Config, Model
from antiphon.config.shapes import Shapes, shapes
from antiphon.errors import UserError


@dataclass(frozen=True)
class Rule:
    """What may not be, and what a user reads then."""

    broken: Callable[[Config, Shapes], bool]
    message: str  # `{m.score}` stands for an option of the model, `{n.memory}` for a size


RULES = {
    # the source
    "backward bridge": Rule(
        lambda c, n: BRIDGES[c.model.bridge].source == "backward" and not c.model.bidirectional,
        "model.bridge = '{m.bridge}' needs model.bidirectional = true",
    ),
    "last state of another size": Rule(
        lambda c, n: (
            BRIDGES[c.model.bridge].source != ""
            and not BRIDGES[c.model.bridge].maps
            and n.bridge != c.model.decoder_hidden
        ),
        "model.bridge = '{m.bridge}' passes {n.bridge} units to a decoder of {m.decoder_hidden}: "
        "set model.decoder_hidden = {n.bridge}, or model.bridge = 'dense'",
    ),
    "source never seen": Rule(
        lambda c, n: BRIDGES[c.model.bridge].source == "" and not n.context,
        "model.decoder = '{m.decoder}' with model.bridge = '{m.bridge}' never sees the source: "
        "set model.bridge = 'last' or 'dense'",
    ),
    # attention
    "score of another size": Rule(
        lambda c, n: n.attends and SCORES[c.model.score].equal and n.memory != c.model.decoder_hidden,
        "model.score = '{m.score}' compares states of one size, but the encoder's have {n.memory} units and the "
        "decoder's {m.decoder_hidden}: set model.decoder_hidden = {n.memory}, or model.score = 'general'",
    ),
    "heads that do not divide": Rule(
        lambda c, n: c.model.attention_size % c.model.heads != 0,
        "model.heads = {m.heads} must divide model.attention_size = {m.attention_size}",
    ),
    "heads of another score": Rule(
        lambda c, n: c.model.heads > 1 and not SCORES[c.model.score].heads,
        "model.heads = {m.heads} needs model.score = 'multi_head'",
    ),
    "attention between layers": Rule(
        lambda c, n: n.below >= c.model.decoder_layers and c.model.decoder == "between",
        "model.decoder = 'between' needs model.decoder_layers = 2 or more",
    ),
    "coverage without steps": Rule(
        lambda c, n: c.model.coverage and not n.stepwise,
        "model.coverage needs model.decoder = 'bahdanau' or 'input_feeding'",
    ),
    "coverage with heads": Rule(
        lambda c, n: c.model.coverage and SCORES[c.model.score].heads,
        "model.coverage needs a model.score other than '{m.score}'",
    ),
    "loss of coverage": Rule(
        lambda c, n: c.train.coverage_loss > 0 and not c.model.coverage,
        "train.coverage_loss needs model.coverage = true",
    ),
    # copying
    "copying without attention": Rule(
        lambda c, n: c.model.copy_source and not n.attends,
        "model.copy_source needs attention, and model.decoder = '{m.decoder}' has none",
    ),
    "copying between vocabularies": Rule(
        lambda c, n: c.model.copy_source and not c.text.joint,
        "model.copy_source needs text.joint = true: what is copied must be a piece of the target's vocabulary",
    ),
    "two passes with copying": Rule(
        lambda c, n: c.train.r_drop > 0 and c.model.copy_source,
        "train.r_drop compares the vocabulary's distributions, so it cannot be used with model.copy_source",
    ),
    # layers and readout
    "normalised gates": Rule(
        lambda c, n: c.model.layer_norm == "gates" and not CELLS[c.model.cell].normalised,
        "model.layer_norm = 'gates' needs model.cell = 'lstm' or 'gru': set model.layer_norm = 'output'",
    ),
    "size of a sum": Rule(
        lambda c, n: READOUTS[c.model.readout].adds and c.model.readout_size not in (0, c.model.decoder_hidden),
        "model.readout = '{m.readout}' is as wide as the decoder: leave model.readout_size at 0",
    ),
    "context of another size": Rule(
        lambda c, n: READOUTS[c.model.readout].adds and n.context not in (0, c.model.decoder_hidden),
        "model.readout = '{m.readout}' adds a context of {n.context} units to a state of {m.decoder_hidden}: "
        "set model.score = 'multi_head', or model.decoder_hidden = {n.context}",
    ),
    # shared embeddings
    "one embedding for two vocabularies": Rule(
        lambda c, n: c.model.tie == "all" and not c.text.joint,
        "model.tie = 'all' needs text.joint = true: set model.tie = 'decoder', or text.joint = true",
    ),
    "readout of another size": Rule(
        lambda c, n: c.model.tie != "none" and not READOUTS[c.model.readout].adds and n.readout != c.model.embedding,
        "model.tie = '{m.tie}' needs a readout as wide as the embedding, but it has {n.readout} units and the "
        "embedding {m.embedding}: set model.readout_size = {m.embedding}, or model.tie = 'none'",
    ),
    "decoder of another size": Rule(
        lambda c, n: c.model.tie != "none" and READOUTS[c.model.readout].adds and n.readout != c.model.embedding,
        "model.tie = '{m.tie}' needs a readout as wide as the embedding, but model.readout = '{m.readout}' has "
        "{n.readout} units and the embedding {m.embedding}: set model.decoder_hidden = {m.embedding}, or "
        "model.tie = 'none'",
    ),
    "one embedding from two files": Rule(
        lambda c, n: c.model.tie == "all" and len({c.train.source_vectors, c.train.target_vectors, ""}) == 3,
        "model.tie = 'all' has one embedding for both sides: name one file in train.source_vectors and none in "
        "train.target_vectors",
    ),
    # text, training and search
    "dropout of merges": Rule(
        lambda c, n: c.text.dropout > 0 and c.text.kind != "bpe",
        "text.dropout skips merges of BPE: set text.dropout = 0, or text.kind = 'bpe'",
    ),
    "weight decay": Rule(
        lambda c, n: c.train.weight_decay > 0 and c.train.optimiser != "adamw",
        "train.weight_decay needs train.optimiser = 'adamw'",
    ),
    "shortest above longest": Rule(
        lambda c, n: 0 < c.search.max_length < c.search.min_length,
        "search.min_length is above search.max_length",
    ),
}


def check(config: Config) -> None:
    """Refuse options that contradict each other.

    Raises:
        UserError: naming the options of the first rule that is broken, and what to set.
    """
    size = shapes(config.model)
    for rule in RULES.values():
        if rule.broken(config, size):
            raise UserError(rule.message.format(m=config.model, n=size))


def differences(old: Model, new: Model) -> list[str]:
    """The options of two models that differ, but for dropout and initial weights, which change no network."""
    return [
        f"model.{name} was {value!r}, now {getattr(new, name)!r}"
        for name, value in old
        if getattr(new, name) != value and not name.startswith(("dropout_", "init"))
    ]
