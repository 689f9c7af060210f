"""Validation of a model on development pairs: the loss, and a metric on text that it really decodes."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from antiphon.config.sections import Config
from antiphon.data.batches import epoch_batches, pad
from antiphon.data.codec import Codec
from antiphon.data.corpus import Pair
from antiphon.data.slots import Slots
from antiphon.data.tokenizer import EOS, Tokenizer
from antiphon.decoding.torch_engine import TorchEngine
from antiphon.errors import UserError
from antiphon.evaluation import faults, metrics
from antiphon.nn.model import Model
from antiphon.seq2seq import Seq2Seq
from antiphon.training.device import Device
from antiphon.words import counted


@dataclass
class Validation:
    """The result of a validation."""

    loss: float  # nats a target piece
    score: metrics.Score | None = None  # of the run's metric; None: nothing was decoded
    samples: list[tuple[str, str, str]] = field(default_factory=list)  # source, output, reference
    warnings: list[str] = field(default_factory=list)


class Validator:
    """Development pairs, tokenised once for all validations."""

    def __init__(
        self, pairs: Sequence[Pair], source: Tokenizer, target: Tokenizer, config: Config, device: Device
    ) -> None:
        self.config, self.device, self.source, self.target = config, device, source, target
        self.pairs = pairs[: config.train.valid_sentences or None]
        limits = config.data.max_source_length, config.data.max_target_length
        codec = Codec(source, target, Slots(config.text.slots, config.text.slot_constants))
        encoded = zip(*codec.encode_pairs(pairs), strict=True)
        kept = [(s, t) for s, t in encoded if 0 < len(s) <= limits[0] and 0 < len(t) <= limits[1]]
        if not kept:
            raise UserError(
                f"none of {counted(len(pairs), 'development pair')} can be used: they are empty, or longer than "
                f"data.max_source_length = {limits[0]} or data.max_target_length = {limits[1]} pieces; raise these, or "
                "name other pairs in data.valid"
            )
        self.sources = [np.asarray(s) for s, _ in kept]
        self.targets = [np.asarray(t) for _, t in kept]

    @torch.no_grad()
    def loss(self, model: Model) -> float:
        """Negative log-likelihood in nats a target piece, EOS included."""
        model.eval()
        lengths = [np.array([len(row) for row in side], np.int32) for side in (self.sources, self.targets)]
        nll = pieces = 0.0
        for rows in epoch_batches(*lengths, size=4096, unit="tokens", seed=0, epoch=0):
            sources = torch.from_numpy(pad([self.sources[i] for i in rows], eos=EOS)).to(self.device.torch)
            targets = torch.from_numpy(pad([self.targets[i] for i in rows], eos=EOS)).to(self.device.torch)
            with self.device.products():
                loss = model.loss(sources, targets)
            nll += float(loss.nll)
            pieces += loss.pieces
        return nll / pieces

    def validate(self, model: Model, decode: bool) -> Validation:
        """Compute the loss and, if asked, decode greedily and compute the run's metric."""
        validation = Validation(self.loss(model))
        options = self.config.train
        if options.metric == "loss":
            validation.score = metrics.Score(
                "loss", validation.loss, "nats a target piece", False, scale="nats a target piece"
            )
        if decode:
            translator = Seq2Seq(TorchEngine(model, self.device.torch), self.config, self.source, self.target)
            outputs = [r.text for r in translator.generate([pair.source for pair in self.pairs], beam=1)]
            references = [pair.references for pair in self.pairs]
            validation.warnings = faults.warnings(outputs, references=references)
            if options.metric != "loss":
                validation.score = metrics.measure([options.metric], outputs, references)[options.metric]
            shown = self.pairs[: options.samples]
            validation.samples = [(p.source, o, p.target) for p, o in zip(shown, outputs, strict=False)]
        return validation
