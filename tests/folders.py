"""Model folders of random weights, for the tests of what opens them."""

from pathlib import Path

import torch

from antiphon import model_folder
from antiphon.config import loading
from antiphon.config.sections import Config
from antiphon.data.tokenizer import Tokenizer
from antiphon.nn.model import Model, build

WORDS = ["the", "red", "bird", "sings", "loudly", "near", "green"]
V = 4 + len(WORDS)
SMALL = {"embedding": 6, "encoder_hidden": 4, "decoder_hidden": 8, "attention_size": 6}


def saved(path: Path, options: dict[str, object]) -> Model:
    """A model of random weights and its folder."""
    chosen: Config = loading.load(over={"model": SMALL | options, "text": {"kind": "word"}})
    tokenizer = Tokenizer.train([" ".join(WORDS)], chosen.text, V)
    assert len(tokenizer) == V
    torch.manual_seed(3)
    model = build(chosen.model, V, V)
    for weight in model.parameters():
        torch.nn.init.uniform_(weight, -0.5, 0.5)
    weights = {name: weight.detach().numpy() for name, weight in model.named_parameters()}
    model_folder.save(path, chosen, tokenizer, tokenizer, weights)
    return model.eval()
