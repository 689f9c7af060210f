"""Strings in, results out: the one route of Python, the command line and evaluation.

Shapes: N texts, D size of a vector.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from antiphon import model_folder
from antiphon.config.search import SearchOptions
from antiphon.config.sections import Config
from antiphon.data.codec import Codec, Source
from antiphon.data.slots import Slots
from antiphon.data.tokenizer import Pieces, Tokenizer
from antiphon.decoding import search
from antiphon.decoding.batching import budgeted, shared
from antiphon.decoding.engine import Engine
from antiphon.decoding.ensemble import EnsembleEngine
from antiphon.decoding.hypothesis import Hypothesis
from antiphon.decoding.mbr import Ranker
from antiphon.decoding.opening import open_engine, open_shortlist
from antiphon.decoding.shortlist import Shortlist
from antiphon.errors import UserError
from antiphon.request import PerText, Request, segmentations
from antiphon.result import Output, Result

__all__ = ["Output", "Result", "Seq2Seq"]

T = TypeVar("T")
R = TypeVar("R")

WINDOW = 16  # batches of texts read ahead and sorted by length


@dataclass(frozen=True)
class Seq2Seq:
    """A model with its tokenizers."""

    engine: Engine
    config: Config
    source: Tokenizer
    target: Tokenizer
    shortlist: Shortlist | None = None  # outputs have only its pieces

    @cached_property
    def codec(self) -> Codec:
        """Texts to ids and back."""
        slots = Slots(self.config.text.slots, self.config.text.slot_constants)
        return Codec(self.source, self.target, slots)

    @classmethod
    def load(
        cls, folder: str | Path, device: str = "auto", threads: int = 0, engine: str = "auto", shortlist: bool = False
    ) -> "Seq2Seq":
        """Open a model folder. Random numbers of the caller are not touched.

        Args:
            folder: what a training wrote.
            device: `auto` (a GPU if there is one), `cpu`, `cuda`, `cuda:1`.
            threads: processor threads, for the whole process in PyTorch; 0: all cores.
            engine: `torch`, `onnx` or `onnx-int8` (see `antiphon export`), or `auto`: ONNX Runtime in float32 where the
                folder was exported so and no GPU is asked for, else PyTorch.
            shortlist: write only pieces that the exported shortlist has for a batch's sources, which is faster in ONNX
                Runtime; `score` does not use it.

        Raises:
            UserError: the folder cannot be opened (see `model_folder.load`), its weights do not fit its configuration,
                it was not exported, PyTorch is not installed, or there is no such device or engine.
        """
        opened = model_folder.load(folder)
        allowed = open_shortlist(opened) if shortlist else None
        opened_engine = open_engine(opened, engine, device, threads)
        return cls(opened_engine, opened.config, opened.source, opened.target, allowed)

    @classmethod
    def ensemble(
        cls,
        folders: Sequence[str | Path],
        weights: Sequence[float] = (),
        device: str = "auto",
        threads: int = 0,
        engine: str = "auto",
    ) -> "Seq2Seq":
        """Open several models as one: their probabilities are averaged at each step; see `EnsembleEngine`.

        Args:
            folders: models with equal vocabularies, such as trainings with several seeds. The first one's
                configuration says how to search.
            weights: how much each counts, in proportion; empty: all the same.
            device, threads, engine: as of `load`, for each.

        Raises:
            UserError: as of `load`; vocabularies differ; weights are not one for each.
        """
        models = [cls.load(folder, device, threads, engine) for folder in folders]
        for folder, model in zip(folders, models, strict=True):
            for side in ("source", "target"):
                if getattr(model, side).to_json() != getattr(models[0], side).to_json():
                    raise UserError(
                        f"{folder} splits the {side} into other pieces than {folders[0]}: models of an ensemble need "
                        "equal vocabularies; train them on the same prepared data with other seeds"
                    )
        members = EnsembleEngine([model.engine for model in models], weights)
        return cls(members, models[0].config, models[0].source, models[0].target)

    def generate(
        self,
        texts: Sequence[str],
        *,
        prefixes: Sequence[str] | None = None,
        wanted: Sequence[Sequence[str]] | None = None,
        unwanted: Sequence[Sequence[str]] | None = None,
        sample: bool = False,
        order: Ranker | None = None,
        batch: int = 64,
        **options: Any,
    ) -> list[Result]:
        """Write an output for each text. Results do not depend on what else is asked, or on `batch`, but for what int8
        and a shortlist change (see `onnx_engine`).

        An empty or blank text has an empty result. Of a text longer than `data.max_source_length` pieces only the
        beginning is read, and `truncated` is set.

        Args:
            texts: the sources.
            prefixes: for each source, what its output must begin with. A prefix is split into pieces on its own, so its
                last word may go on ("Der Hu" as "Der Hund"), though the model may know that word by other pieces.
                Spaces at its end are left out, because a piece carries the space before it.
            wanted: for each source, phrases that its output must hold; see `phrases.Wanted`.
            unwanted: for each source, phrases that its output must not hold. Pieces of a phrase are forbidden, and with
                them any longer word that begins with the same pieces; another segmentation of the phrase is not.
            sample: sample outputs instead of searching for the most probable one.
            order: a function of a source and its `nbest` outputs that gives their positions, best first: a user's own
                choice among them, or `mbr.least_risk()`.
            batch: texts decoded at a time.
            **options: those of `SearchOptions`; what is not given is as `[search]` of the configuration says.

        Returns:
            One result a text, in their order.

        Raises:
            UserError: an option is unknown or out of its range, or prefixes are not as many as texts.
        """
        if isinstance(texts, str):
            raise UserError("generate takes a list of texts: write generate([text])")
        if prefixes is not None and len(prefixes) != len(texts):
            raise UserError(f"{len(prefixes)} prefixes for {len(texts)} texts: give one for each; '' asks for nothing")
        for name, phrases in (("wanted", wanted), ("unwanted", unwanted)):
            if phrases is not None and len(phrases) != len(texts):
                raise UserError(f"{len(phrases)} lists of {name} phrases for {len(texts)} texts: give one for each")
        return list(
            self.stream(
                texts, prefixes=prefixes, wanted=wanted, unwanted=unwanted, sample=sample, order=order, batch=batch,
                **options,
            )
        )  # fmt: skip

    def stream(
        self,
        texts: Iterable[str],
        *,
        prefixes: Iterable[str] | None = None,
        wanted: Iterable[Sequence[str]] | None = None,
        unwanted: Iterable[Sequence[str]] | None = None,
        sample: bool = False,
        order: Ranker | None = None,
        batch: int = 64,
        window: int = 0,
        **options: Any,
    ) -> Iterator[Result]:
        """Write an output for each of any number of texts, in flat memory; see `generate`.

        Args:
            window: texts read ahead, to sort them by length; 0: 16 batches; 1: each is answered before the next is
                read, as a dialogue needs.
        """
        if isinstance(texts, str):
            raise UserError("stream takes an iterable of texts: write stream([text])")
        if batch < 1 or window < 0:
            raise UserError(f"batch = {batch} and window = {window}: at least 1 text a batch, and 0 or more ahead")
        chosen = SearchOptions.over(self.config.search, options)
        if sample and wanted is not None:
            raise UserError("wanted phrases need beam search, not sampling: leave out sample")
        asked = (
            PerText(prefixes, "", "prefixes"),
            PerText(wanted, [], "lists of phrases"),
            PerText(unwanted, [], "lists of phrases"),
        )
        return self._stream(iter(texts), asked, sample, order, batch, window or WINDOW * batch, chosen)

    def score(self, sources: Sequence[str], targets: Sequence[str], **options: Any) -> list[Result]:
        """Give the log p of given targets (forced decoding).

        Args:
            sources, targets: the pairs.
            **options: length_penalty, alpha, coverage_penalty: the penalties of the `score`.

        Returns:
            One result a pair, in their order; its `text` is the target.

        Raises:
            UserError: unequal numbers of sources and targets, or a bad option.
        """
        if isinstance(sources, str) or isinstance(targets, str):
            raise UserError("score takes lists of texts: write score([source], [target])")
        if len(sources) != len(targets):
            raise UserError(f"{len(sources)} sources and {len(targets)} targets: give one target for each source")
        chosen = SearchOptions.over(self.config.search, options)
        requests = self._requests(sources, 0)
        ids = self.codec.encode_targets([request.source for request in requests], targets)
        batches = budgeted([(len(one.ids), len(row) + 1) for one, row in zip(requests, ids, strict=True)])

        def scored(rows: list[int]) -> list[Hypothesis]:
            return search.score(self.engine, [requests[i].ids for i in rows], [ids[i] for i in rows], chosen)

        results: dict[int, Result] = {}
        for rows, hypotheses in zip(batches, self._mapped(scored, batches), strict=True):
            for i, hypothesis in zip(rows, hypotheses, strict=True):
                results[i] = self._result(requests[i], [self._output(targets[i], hypothesis)])
        return [results[i] for i in range(len(requests))]

    def vectors(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Encode texts and give each as one vector: the decoder's first state of all layers (Sutskever 2014, figure 2).

        Args:
            texts: the sources, none of them blank.

        Returns:
            Vectors [N, D], in their order.

        Raises:
            UserError: a text is blank.
        """
        requests = self._requests(texts, 0)
        for request in requests:
            if not request.source.ids:
                raise UserError(f"text {request.number + 1} is blank: it has no vector")
        return np.concatenate([self.engine.vectors([request.ids]) for request in requests])

    def _stream(
        self,
        texts: Iterator[str],
        asked: tuple[PerText[str], PerText[Sequence[str]], PerText[Sequence[str]]],
        sample: bool,
        order: Ranker | None,
        batch: int,
        window: int,
        options: SearchOptions,
    ) -> Iterator[Result]:
        begin = 0
        while ahead := list(islice(texts, window)):
            prefixes, wanted, unwanted = asked
            count = len(ahead)
            requests = self._requests(
                ahead, begin, prefixes.take(count, begin), wanted.take(count, begin), unwanted.take(count, begin)
            )
            results = {request.number: _blank() for request in requests if not request.source.ids}
            work = sorted((one for one in requests if one.source.ids), key=lambda one: -len(one.source.ids))
            batches = shared(work, batch, self.engine.workers)
            searched = self._mapped(partial(self._search, sample, options), batches)
            for some, groups in zip(batches, searched, strict=True):
                for request, outputs in zip(some, self._outputs(some, groups), strict=True):
                    results[request.number] = self._result(request, _ordered(order, request, outputs))
            yield from (results[request.number] for request in requests)
            begin += count
        for part in asked:
            part.finish(begin)

    def _requests(
        self,
        texts: Sequence[str],
        begin: int,
        prefixes: Sequence[str] | None = None,
        wanted: Sequence[Sequence[str]] | None = None,
        unwanted: Sequence[Sequence[str]] | None = None,
    ) -> list[Request]:
        """Texts as requests, the first of them with the number `begin`."""
        most, none = self.config.data.max_source_length, [()] * len(texts)
        sources = self.codec.encode_sources([text if text.strip() else "" for text in texts])
        forced = self.codec.encode_targets(sources, [prefix.rstrip() for prefix in prefixes or [""] * len(texts)])
        required, forbidden = (
            [
                segmentations(self.target, [source.text.hide(phrase) for phrase in some], must)
                for source, some in zip(sources, phrases or none, strict=True)
            ]
            for phrases, must in ((wanted, True), (unwanted, False))
        )
        rows = zip(sources, forced, required, forbidden, strict=True)
        return [
            Request(number, Source(source.text, source.ids[:most]), len(source.ids) > most, prefix, must, must_not)
            for number, (source, prefix, must, must_not) in enumerate(rows, start=begin)
        ]

    def _mapped(self, function: Callable[[T], R], batches: Sequence[T]) -> Iterator[R]:
        """The function of each batch, in their order; as many at a time as suits the engine."""
        workers = min(self.engine.workers, len(batches))
        if workers < 2:
            yield from map(function, batches)
            return
        pool = ThreadPoolExecutor(workers)
        try:
            yield from pool.map(function, batches)
        finally:
            pool.shutdown(cancel_futures=True)

    def _search(self, sample: bool, options: SearchOptions, requests: Sequence[Request]) -> list[list[Hypothesis]]:
        sources, prefixes = [one.ids for one in requests], [one.prefix for one in requests]
        wanted, unwanted = [one.wanted for one in requests], [one.unwanted for one in requests]
        allowed = None
        if self.shortlist is not None:
            required = [ids for phrases in wanted for ways in phrases for ids in ways]
            allowed = self.shortlist.allowed(sources, {piece for row in (*prefixes, *required) for piece in row})
        if sample:
            numbers = [one.number for one in requests]
            return search.sample(self.engine, sources, options, prefixes, numbers, unwanted, allowed)
        return search.beam_search(self.engine, sources, options, prefixes, wanted, unwanted, allowed)

    def _outputs(self, requests: Sequence[Request], groups: Sequence[Sequence[Hypothesis]]) -> Iterator[list[Output]]:
        """The hypotheses of each request as outputs, their ids decoded all at once."""
        sources = [request.source for request, group in zip(requests, groups, strict=True) for _ in group]
        texts = iter(self.codec.decode(sources, [one.ids for group in groups for one in group]))
        for group in groups:
            yield [self._output(next(texts), one) for one in group]

    def _output(self, text: str, hypothesis: Hypothesis) -> Output:
        return Output(
            text,
            hypothesis.score,
            hypothesis.log_prob,
            hypothesis.token_log_probs.tolist(),
            hypothesis.finished,
            hypothesis.attention,
            partial(self.target.pieces, hypothesis.ids),
        )

    def _result(self, request: Request, outputs: list[Output]) -> Result:
        return Result(outputs, partial(self.codec.pieces, request.source), request.truncated)


def _blank() -> Result:
    """The result of a blank text."""
    return Result([Output("", 0.0, 0.0, [], True, None, list)], partial(Pieces, [], [], []))


def _ordered(order: Ranker | None, request: Request, outputs: list[Output]) -> list[Output]:
    """Outputs in the order that a user's function gives them."""
    if order is None:
        return outputs
    text = request.source.text
    positions = order(text.fill(text.text), [output.text for output in outputs])
    if sorted(positions) != list(range(len(outputs))):
        raise UserError(f"order gave {list(positions)} for {len(outputs)} outputs: give each position from 0 once")
    return [outputs[i] for i in positions]
