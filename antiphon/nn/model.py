"""A sequence-to-sequence model: embeddings, encoder, bridge, decoder, output layer.

Shapes: B sentences, S source pieces, T target positions, K hypotheses a sentence, E embedding, R readout, V vocabulary.
Ids are padded on the right with PAD; sources end with EOS; targets are fed from BOS and predicted up to EOS.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from antiphon.config import sections
from antiphon.config.shapes import shapes, sizes
from antiphon.data.tokenizer import BOS, PAD
from antiphon.nn.attention import Memory
from antiphon.nn.attention import attention as attend
from antiphon.nn.copying import Copier, copied, coverage_loss
from antiphon.nn.decoder import Bridge, Named, ParallelDecoder, Stack, StepwiseDecoder, readout
from antiphon.nn.dropout import Dropout
from antiphon.nn.encoder import Encoder
from antiphon.nn.fused.output_loss import chunk_rows, log_p_of, output_loss
from antiphon.nn.initialise import initialise


class Loss(NamedTuple):
    """What a batch cost, summed over its target pieces."""

    total: Tensor  # []  label-smoothed cross entropy, in nats; this is what is differentiated
    nll: Tensor  # []  negative log-likelihood, in nats
    pieces: int  # target pieces, EOS included


class Model(nn.Module):
    """p(y_t | y_<t, x) of an encoder and a decoder."""

    def __init__(
        self,
        source_embedding: nn.Embedding,
        target_embedding: nn.Embedding,
        encoder: Encoder,
        summary: nn.Module | None,
        bridge: Bridge,
        decoder: ParallelDecoder | StepwiseDecoder,
        output: nn.Linear,
        copier: Copier | None = None,
        *,
        dropout_embedding: float,
        dropout_word: float,
        dropout_output: float,
    ) -> None:
        super().__init__()
        self.source_embedding, self.target_embedding = source_embedding, target_embedding
        self.encoder, self.summary, self.bridge, self.decoder, self.output = encoder, summary, bridge, decoder, output
        self.copier = copier
        self.dropout_embedding = Dropout(dropout_embedding)
        self.dropout_word = Dropout(dropout_word)
        self.dropout_output = Dropout(dropout_output)

    @property
    def vocabulary(self) -> int:
        """Number of target pieces."""
        return self.output.weight.shape[0]

    def encode(self, sources: Tensor) -> tuple[Memory, Named]:
        """Read sources [B, S]; return the memory and the decoder's state before the first piece (K = 1)."""
        mask = sources != PAD
        h, final = self.encoder(self._embed(self.source_embedding, sources), mask)
        last = final[-1][0].flatten(1)  # [B, R H]
        weighed, keys = (h, h) if self.decoder.attention is None else self.decoder.attention.prepare(h)
        memory = Memory(weighed, keys, mask, sources, last if self.summary is None else torch.tanh(self.summary(last)))
        return memory, self.decoder.start(self.bridge(final), memory)

    def step(self, tokens: Tensor, state: Named, memory: Memory) -> tuple[Tensor, Named, Tensor | None]:
        """One step of every hypothesis: pieces before [B, K] -> logits [B, K, V], new state, alpha [B, K, S]."""
        readout, state, alpha = self.decoder.step(self._embed(self.target_embedding, tokens), state, memory)
        return self._logits(self.dropout_output(readout), alpha, memory.ids), state, alpha

    def forward(self, sources: Tensor, targets: Tensor) -> tuple[Tensor, Tensor | None]:
        """Teacher-forced readouts [B, T, R] and alpha [B, T, S] for sources [B, S] and target inputs [B, T]."""
        memory, state = self.encode(sources)
        readout, alpha = self.decoder(self._embed(self.target_embedding, targets), state, memory)
        return self.dropout_output(readout), alpha

    def loss(
        self,
        sources: Tensor,
        targets: Tensor,
        smoothing: float = 0.0,
        inputs: Tensor | None = None,
        coverage: float = 0.0,
        r_drop: float = 0.0,
    ) -> Loss:
        """Cross entropy of targets [B, T] (ending in EOS, padded) given sources [B, S].

        Args:
            sources: source ids.
            targets: target ids.
            smoothing: label smoothing.
            inputs: pieces fed instead of the shifted targets, for scheduled sampling [B, T].
            coverage: weight of `coverage_loss` in the total.
            r_drop: weight of the disagreement between two passes with dropouts of their own (Wu 2021, eq. 4); the loss
                is the mean of both passes'.
        """
        inputs, passes = shifted(targets) if inputs is None else inputs, 2 if r_drop else 1
        readout, alpha = self(sources.repeat(passes, 1), inputs.repeat(passes, 1))
        real = targets != PAD
        copying = None
        if self.copier is not None:
            copying = self.copier.gate(readout)[real], copied(alpha, sources, targets)[real]
        y = targets[real]
        if r_drop:  # both readouts of a position beside each other
            r, y, real = torch.stack(readout.chunk(2), 2)[real].flatten(0, 1), y.repeat_interleave(2), real.repeat(2, 1)
        else:
            r = readout[real]
        total, nll = output_loss(r, self.output.weight, self.output.bias, y, smoothing, copying, r_drop)
        if coverage:
            total = total + coverage * coverage_loss(alpha, real)
        return Loss(total / passes, nll / passes, len(y) // passes)

    def log_p(self, sources: Tensor, targets: Tensor, rows: Tensor) -> Tensor:
        """log p of targets [N, T] (ending in EOS, padded), each given one of the sources [B, S], in nats. [N]

        Args:
            sources: source ids; each is read once.
            targets: target ids.
            rows: which source each target is for [N].
        """
        memory, state = self.encode(sources)
        memory, state = Memory(*(part[rows] for part in memory)), {name: part[rows] for name, part in state.items()}
        readout, alpha = self.decoder(self._embed(self.target_embedding, shifted(targets)), state, memory)
        readout, real = self.dropout_output(readout), targets != PAD
        log_p = log_p_of(readout[real], self.output.weight, self.output.bias, targets[real])
        if self.copier is not None:
            gate, mass = self.copier.gate(readout)[real], copied(alpha, memory.ids, targets)[real].to(log_p.dtype)
            copying = F.logsigmoid(-gate) + mass.clamp_min(torch.finfo(mass.dtype).tiny).log()
            log_p = torch.logaddexp(F.logsigmoid(gate) + log_p, copying)
        return log_p.new_zeros(targets.shape).masked_scatter(real, log_p).sum(1)

    @torch.no_grad()
    def guesses(self, sources: Tensor, targets: Tensor) -> Tensor:
        """Pieces sampled from the model at each teacher-forced position of targets [B, T], for scheduled sampling."""
        readout, alpha = self(sources, shifted(targets))
        rows, samples = max(1, chunk_rows(self.vocabulary) // len(targets)), []
        for t in range(0, targets.shape[1], rows):
            part = slice(t, t + rows)
            logits = self._logits(readout[:, part], alpha[:, part] if alpha is not None else None, sources)
            p = logits.float().softmax(-1).nan_to_num(1.0)  # the loss will say what NaN means
            samples.append(p.flatten(0, 1).multinomial(1).view(p.shape[:2]))
        return torch.cat(samples, 1)

    def _logits(self, readout: Tensor, alpha: Tensor | None, sources: Tensor) -> Tensor:
        """Readouts [B, Q, R] -> [B, Q, V], whose softmax is p; with copying, log p itself."""
        logits = self.output(readout)
        if self.copier is None or alpha is None:
            return logits
        return self.copier(logits, self.copier.gate(readout), alpha, sources)

    def _embed(self, embedding: nn.Embedding, ids: Tensor) -> Tensor:
        x = self.dropout_embedding(embedding(ids))  # [B, T, E]
        if self.training and self.dropout_word.p:
            x = x * self.dropout_word(x.new_ones(*ids.shape, 1))
        return x


def shifted(targets: Tensor) -> Tensor:
    """The decoder's inputs: targets [B, T] moved right behind BOS."""
    return torch.cat([torch.full_like(targets[:, :1], BOS), targets[:, :-1]], 1)


def build(options: sections.Model, source_vocabulary: int, target_vocabulary: int, draw: bool = True) -> Model:
    """Make a model with its initial weights; the one place that reads the model's configuration.

    Args:
        options: the `[model]` section, which `config.rules` has checked.
        source_vocabulary: number of source pieces.
        target_vocabulary: number of target pieces.
        draw: draw the initial weights, which takes long for large models; False where others replace them.
    """
    o, size = options, shapes(options)
    encoder = Encoder(
        o.cell, o.embedding, o.encoder_hidden, o.encoder_layers, bidirectional=o.bidirectional, merge=o.merge,
        residual=o.residual, reverse=o.reverse_source, layer_norm=o.layer_norm, dropout=o.dropout_recurrent,
    )  # fmt: skip
    attention = attend(o.score, sizes(o), o.heads, o.coverage) if size.attends else None
    summary = nn.Linear(size.final, size.context) if size.context and not size.attends else None
    stack = _stack(o, o.embedding + size.feed, size.below)
    above = o.decoder_layers - size.below
    upper = _stack(o, o.decoder_hidden + size.context, above) if above else None
    read = readout(o.readout, o.decoder_hidden, size.context, o.embedding, size.readout)
    decoder: ParallelDecoder | StepwiseDecoder
    if attention and size.stepwise:
        decoder = StepwiseDecoder(
            stack, attention, read,
            feeding=o.decoder == "input_feeding", feed_size=size.readout, alpha_counts=o.copy_source,
        )  # fmt: skip
    else:
        decoder = ParallelDecoder(stack, attention, upper, read, context=summary is not None)
    target_embedding = nn.Embedding(target_vocabulary, o.embedding)
    model = Model(
        target_embedding if o.tie == "all" else nn.Embedding(source_vocabulary, o.embedding),
        target_embedding,
        encoder,
        summary,
        Bridge(o.bridge, o.cell, size.bridge, o.decoder_hidden, o.decoder_layers),
        decoder,
        nn.Linear(size.readout, target_vocabulary),
        Copier(size.readout) if o.copy_source else None,
        dropout_embedding=o.dropout_embedding,
        dropout_word=o.dropout_word,
        dropout_output=o.dropout_output,
    )
    if o.tie != "none":
        model.output.weight = target_embedding.weight
    for module in model.modules():
        if isinstance(module, nn.LayerNorm):
            module.eps = o.layer_norm_epsilon
    if draw:
        initialise(model, o.init, o.init_scale)
    return model


def _stack(o: sections.Model, input_size: int, layers: int) -> Stack:
    return Stack(
        o.cell, input_size, o.decoder_hidden, layers,
        residual=o.residual, layer_norm=o.layer_norm, dropout=o.dropout_recurrent,
    )  # fmt: skip
