"""Every fact of a model that follows from its options, derived here once."""

from dataclasses import dataclass

from antiphon.config.kinds import BRIDGES, CELLS, DECODERS, READOUTS, SCORES, Sizes
from antiphon.config.sections import Model


@dataclass(frozen=True)
class Shapes:
    """Sizes in units; 0 where a model has no such thing."""

    directions: int  # of the encoder
    memory: int  # an encoder state h_i
    final: int  # the last states of all directions, side by side
    bridge: int  # what a map of the bridge reads
    attends: bool
    stepwise: bool  # a decoder state depends on what was attended to before it
    context: int  # c_t, or the source's one vector c
    key: int  # what a decoder state is compared with
    readout: int  # what the output layer reads
    feed: int  # what the decoder's first layer reads beside the embedding
    below: int  # decoder layers below the attention; all of them but in `between`
    state: tuple[str, ...]  # names of the parts of a layer's state


def shapes(m: Model) -> Shapes:
    """Derive the facts of a model from its options."""
    decoder, score, bridge = DECODERS[m.decoder], SCORES[m.score], BRIDGES[m.bridge]
    n = sizes(m)
    directions = _directions(m)
    final = m.encoder_hidden * directions
    readout = _readout(m)
    context = score.context(n) if decoder.attends else m.decoder_hidden if decoder.feed == "context" else 0
    return Shapes(
        directions=directions,
        memory=n.memory,
        final=final,
        bridge=m.encoder_hidden if bridge.source == "backward" else final if bridge.source else 0,
        attends=decoder.attends,
        stepwise=decoder.stepwise,
        context=context,
        key=score.key(n) if decoder.attends else 0,
        readout=readout,
        feed={"": 0, "context": context, "readout": readout}[decoder.feed],
        below=1 if decoder.between else m.decoder_layers,
        state=CELLS[m.cell].state,
    )


def sizes(m: Model) -> Sizes:
    """What the sizes of an attention follow from."""
    return Sizes(
        query=m.decoder_hidden,
        memory=m.encoder_hidden * (_directions(m) if m.merge == "concat" else 1),
        inner=m.attention_size,
        out=m.decoder_hidden if READOUTS[m.readout].adds else m.attention_size,
    )


def _directions(m: Model) -> int:
    return 2 if m.bidirectional else 1


def _readout(m: Model) -> int:
    if READOUTS[m.readout].adds:
        return m.decoder_hidden
    return m.readout_size or (m.decoder_hidden if m.tie == "none" else m.embedding)
