"""The kinds of models that tests go through: every cell, decoder, score, readout and bridge."""

import itertools
from typing import Any

from antiphon.config.kinds import BRIDGES, CELLS, DECODERS, READOUTS, SCORES

ATTENDING = [name for name, kind in DECODERS.items() if kind.attends and not kind.between]
BLIND = [name for name, kind in DECODERS.items() if not kind.attends]
STEPWISE = [name for name, kind in DECODERS.items() if kind.stepwise]
Options = dict[str, Any]


def variants() -> list[Options]:
    """Every cell with every decoder and score, and each other option at least once."""
    plain: list[Options] = [{"cell": c, "decoder": d} for c, d in itertools.product(CELLS, BLIND)]
    attending = [
        {"cell": c, "decoder": d, "score": s, "heads": 2 if SCORES[s].heads else 1}
        for c, d, s in itertools.product(CELLS, ATTENDING, SCORES)
    ]
    coverage = [
        {"decoder": d, "score": s, "coverage": True}
        for d, s in itertools.product(STEPWISE, SCORES)
        if not SCORES[s].heads
    ]
    readouts = [
        {"decoder": d, "readout": r}
        for d in ("bahdanau", "over_outputs", "initial")
        for r in READOUTS
        if not READOUTS[r].adds
    ]
    deep = [
        {"cell": c, "decoder": d, "encoder_layers": 3, "decoder_layers": 2, "residual": True, "layer_norm": n}
        for c, d, n in itertools.product(CELLS, ["input_feeding", "over_outputs"], ["output", "gates"])
        if n != "gates" or CELLS[c].normalised
    ]
    bridges = [{"bridge": b, "cell": c} for b in BRIDGES for c in CELLS]
    others: list[Options] = [
        {"decoder": "between", "decoder_layers": 2},
        {"decoder": "between", "decoder_layers": 3, "cell": "gru", "residual": True, "score": "multi_head", "heads": 3},
        {"decoder": "between", "decoder_layers": 3, "cell": "sru", "residual": True, "layer_norm": "output"},
        {"bidirectional": False, "reverse_source": True, "decoder": "initial"},
        {"decoder": "initial", "encoder_layers": 2},
        {"decoder": "initial", "decoder_layers": 2},
        {"reverse_source": True},
        {"merge": "sum", "readout": "residual", "score": "multi_head"},
        {"merge": "sum", "readout": "residual", "score": "multi_head", "layer_norm_epsilon": 0.1},
        {"layer_norm": "output", "layer_norm_epsilon": 0.1},
        {"layer_norm": "gates", "layer_norm_epsilon": 0.1},
        {"tie": "all"},
        {"tie": "decoder"},
    ]
    copying: list[Options] = [
        {"decoder": "bahdanau", "score": "additive", "cell": "gru", "copy_source": True, "readout": "maxout"},
        {"decoder": "input_feeding", "score": "general", "copy_source": True, "decoder_layers": 2},
        {"decoder": "input_feeding", "score": "additive", "copy_source": True, "coverage": True},
        {"decoder": "over_outputs", "score": "dot", "copy_source": True, "tie": "all"},
        {"decoder": "between", "decoder_layers": 2, "score": "multi_head", "copy_source": True, "cell": "sru"},
    ]
    return [*plain, *attending, *coverage, *readouts, *deep, *bridges, *others, *copying]
