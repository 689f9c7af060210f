"""Initial weights, as the papers state them."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from antiphon.config.kinds import CELLS
from antiphon.nn.attention import Additive
from antiphon.nn.layers import Recurrent
from antiphon.nn.sru import SRU


def initialise(model: nn.Module, scheme: str, scale: float) -> None:
    """Set every weight of a model, drawing from PyTorch's generator.

    Args:
        model: the module whose weights are set in place.
        scheme: `default` (Glorot, orthogonal recurrence, forget gates of LSTM and SRU open), `uniform` (Sutskever
            2014, Luong 2015), `bahdanau2015` (B.1 there) or `keras` (TensorFlow's tutorial: Glorot uniform over all
            gates at once).
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
