"""Initial weights: our own, and those that the papers state.

Our own keep every signal at a size that a gate can use. An embedding of norm 1 behind a Glorot matrix gives a gate
about 0.1, so that an LSTM hardly sees what it reads, its states are small, and all that is made of them is smaller
still; the first hundreds of updates go into making the weights larger. So a map that reads an embedding gives half a
unit to each gate, and the readout and the output layer are as much larger as a state is smaller than 1.
Where layers are normalised, their outputs have that size already, and larger weights were measured to learn slower.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from antiphon.config.kinds import CELLS
from antiphon.nn.attention import Additive
from antiphon.nn.layers import Recurrent
from antiphon.nn.sru import SRU

if TYPE_CHECKING:
    from antiphon.nn.model import Model

EMBEDDED = 0.5  # standard deviation of what an embedding gives to a gate; with 1.0 small tasks were learnt less well
TIED = 0.4  # standard deviation of embeddings that are the output layer too: large to be read, not too large to score
READOUT = 3.0  # times Glorot: a readout's states and contexts are about a third of 1
TIED_READOUT = 0.5  # times Glorot, before an output layer whose rows are `TIED` embeddings


def initialise(model: "Model", scheme: str, scale: float) -> None:
    """Set every weight of a model, drawing from PyTorch's generator.

    Args:
        model: the module whose weights are set in place.
        scheme: `default` (Glorot, orthogonal recurrence, forget gates of LSTM and SRU open, wide maps of embeddings,
            readout and output layer), `uniform` (Sutskever 2014, Luong 2015), `bahdanau2015` (B.1 there) or `keras`
            (TensorFlow's tutorial: Glorot uniform over all gates at once).
        scale: half-width of `uniform`.
    """
    if scheme == "uniform":
        for weight in model.parameters():
            nn.init.uniform_(weight, -scale, scale)
    else:
        matrix, embedding = SCHEMES[scheme]
        for module in model.modules():
            _set(module, matrix, whole_kernels=scheme == "keras")
        for module in model.modules():  # last, since an output layer may share an embedding's weights
            if isinstance(module, nn.Embedding):
                embedding(module.weight)
        if scheme == "bahdanau2015":
            _bahdanau_alignment(model)
        else:
            _open_forget_gates(model)
        if scheme == "default":
            _widen(model)
    for module in model.modules():
        if isinstance(module, nn.LayerNorm):
            module.reset_parameters()


def _normal(std: float) -> Callable[[Tensor], Tensor]:
    return lambda weight: nn.init.normal_(weight, 0.0, std)


def _unit_rows(weight: Tensor) -> Tensor:
    return nn.init.normal_(weight, 0.0, weight.shape[1] ** -0.5)


def _narrow(weight: Tensor) -> Tensor:
    return nn.init.uniform_(weight, -0.05, 0.05)


# scheme -> (matrices, embeddings)
SCHEMES: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]] = {
    "default": (nn.init.xavier_uniform_, _unit_rows),
    "bahdanau2015": (_normal(0.01), _normal(0.01)),
    "keras": (nn.init.xavier_uniform_, _narrow),
}


def _set(module: nn.Module, matrix: Callable[[Tensor], Tensor], whole_kernels: bool) -> None:
    if isinstance(module, Recurrent):
        if whole_kernels:
            matrix(module.weight_ih)
            matrix(module.weight_hh)
        else:
            for block in module.weight_ih.data.chunk(CELLS[module.cell].gates):
                matrix(block)
            for block in module.weight_hh.data.chunk(CELLS[module.cell].gates):
                nn.init.orthogonal_(block)
        nn.init.zeros_(module.bias_ih)
        nn.init.zeros_(module.bias_hh)
    elif isinstance(module, SRU):
        for block in [module.weight_ih.data] if whole_kernels else module.weight_ih.data.chunk(3):
            matrix(block)
        nn.init.zeros_(module.bias_ih)
        nn.init.zeros_(module.v)
    elif isinstance(module, nn.Linear):
        matrix(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif not isinstance(module, nn.Embedding | nn.LayerNorm) and any(True for _ in module.parameters(recurse=False)):
        raise TypeError(f"initial weights of a {type(module).__name__} are not defined")


@torch.no_grad()
def _widen(model: "Model") -> None:
    """Give signals the size that gates and the output layer can use, from the embeddings to the logits."""
    target, output = model.target_embedding, model.output
    tied = output.weight is target.weight
    if not tied:
        nn.init.normal_(output.weight, 0.0, output.in_features**-0.5)
    if any(isinstance(norm, nn.LayerNorm) for norm in model.encoder.norms):
        return  # what layers give has the size that it should have
    if tied:
        nn.init.normal_(target.weight, 0.0, TIED)
    readers = [(layer, model.source_embedding) for layer in model.encoder.layers[0].children()]
    for layer, embedding in [*readers, (model.decoder.stack.layers[0], target)]:
        assert isinstance(layer, Recurrent | SRU)
        size = embedding.embedding_dim
        std = TIED if embedding.weight is output.weight else size**-0.5
        nn.init.normal_(layer.weight_ih[:, :size], 0.0, EMBEDDED * size**-0.5 / std)
    if isinstance(model.decoder.readout.out, nn.Linear):
        model.decoder.readout.out.weight *= TIED_READOUT if tied else READOUT


def _open_forget_gates(model: nn.Module) -> None:
    for module in model.modules():
        if isinstance(module, SRU) or (isinstance(module, Recurrent) and module.cell == "lstm"):
            with torch.no_grad():
                module.bias_ih[module.hidden : 2 * module.hidden] = 1.0


def _bahdanau_alignment(model: nn.Module) -> None:
    for module in model.modules():
        if isinstance(module, Additive):
            nn.init.normal_(module.W_a.weight, 0.0, 0.001)
            nn.init.normal_(module.U_a.weight, 0.0, 0.001)
            nn.init.zeros_(module.v_a.weight)
