"""Strings in, results out: the one route of Python, the command line and evaluation.

Shapes: S source pieces, EOS counted; U output pieces.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from antiphon import model_folder
from antiphon.config.search import SearchOptions
from antiphon.config.sections import Config
from antiphon.data.slots import Delexicalised, Slots
from antiphon.data.tokenizer import EOS, UNK, Pieces, Tokenizer
from antiphon.decoding import onnx_engine, search
from antiphon.decoding.engine import Engine
from antiphon.decoding.ensemble import EnsembleEngine
from antiphon.decoding.hypothesis import Hypothesis
from antiphon.decoding.mbr import Order
from antiphon.decoding.onnx_engine import Listed, OnnxEngine
from antiphon.decoding.shortlist import Shortlist
from antiphon.errors import UserError, near
from antiphon.model_folder import ModelFolder
from antiphon.result import Candidate, Result

if TYPE_CHECKING:
    from antiphon.nn.model import Model

__all__ = ["Candidate", "Result", "Seq2Seq"]

T = TypeVar("T")
R = TypeVar("R")

WINDOW = 16  # batches of texts read ahead and sorted by length
SCORED = 1 << 14  # source and target pieces, padding included, of a batch that is scored
ENGINES = ("auto", "torch", "onnx", "onnx-int8")


class _Asked(NamedTuple):
    """What is asked of one text's outputs."""

    prefix: list[int]  # what they begin with
    wanted: list[list[list[int]]]  # phrases that they hold, each in all its cuts
    unwanted: list[list[list[int]]]  # phrases that they do not hold


class _Job(NamedTuple):
    """A text on its way to a result."""

    number: int  # its place in the whole input
    text: Delexicalised
    source: list[int]  # as far as it is read
    truncated: bool
    asked: "_Asked"

    @property
    def ids(self) -> list[int]:
        return [*self.source, EOS]


@dataclass(frozen=True)
class Seq2Seq:
    """A model with its tokenizers."""

    engine: Engine
    config: Config
    source: Tokenizer
    target: Tokenizer
    shortlist: Shortlist | None = None  # outputs keep to it, if there is one and the engine is ONNX Runtime's

    @cached_property
    def slots(self) -> Slots:
        """The slots whose values are marks in what the model reads and writes."""
        return Slots(self.config.text.slots, self.config.text.slot_constants)

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
            shortlist: write only pieces that the exported shortlist has for a batch's sources, which is faster. In
                ONNX Runtime only; scores of texts that are there already do not use it.

        Raises:
            UserError: the folder cannot be opened (see `folder.load`), its weights do not fit its configuration, it was
                not exported, PyTorch is not installed, or there is no such device or engine.
        """
        if engine not in ENGINES:
            raise UserError(f"no engine is called '{engine}'{near(engine, ENGINES)}")
        opened = model_folder.load(folder)
        found: Engine | None = None
        if engine.startswith("onnx") or (engine == "auto" and device in ("auto", "cpu")):
            exported = onnx_engine.current(opened.path)
            if exported or engine != "auto":
                precision = "int8" if engine == "onnx-int8" else "float32"
                found = OnnxEngine(opened.path, precision, threads)
        if shortlist and found is None:
            raise UserError("a shortlist is for exported models: choose the engine onnx or onnx-int8")
        listed = onnx_engine.shortlist(opened.path, len(opened.source), len(opened.target)) if shortlist else None
        used = found or _torch_engine(opened, device, threads)
        return cls(used, opened.config, opened.source, opened.target, listed)

    @classmethod
    def ensemble(
        cls,
        folders: Sequence[str | Path],
        weights: Sequence[float] = (),
        device: str = "auto",
        threads: int = 0,
        engine: str = "auto",
    ) -> "Seq2Seq":
        """Open several models as one: their probabilities are averaged at each step; see `ensemble.EnsembleEngine`.

        Args:
            folders: models with equal vocabularies, such as trainings with several seeds. The first one's
                configuration says how to search.
            weights: how much each counts, in proportion; none given: all the same.
            device, threads, engine: as of `load`, for each.

        Raises:
            UserError: as of `load`; vocabularies differ; weights are not one for each.
        """
        models = [cls.load(folder, device, threads, engine) for folder in folders]
        for folder, model in zip(folders, models, strict=True):
            for side in ("source", "target"):
                if getattr(model, side).to_json() != getattr(models[0], side).to_json():
                    raise UserError(
                        f"{folder} cuts the {side} into other pieces than {folders[0]}: models of an ensemble need "
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
        order: Order | None = None,
        batch: int = 64,
        **options: Any,
    ) -> list[Result]:
        """Write an output for each text. Results do not depend on what else is asked, or on
        `batch`, but for what int8 and a shortlist change (see `onnx_engine`).

        An empty or blank text has an empty result. Of a text longer than `data.max_source_length` pieces only the
        beginning is read, and `truncated` is set.

        Args:
            texts: the sources.
            prefixes: for each source, what its output must begin with. A prefix is cut into pieces on its own, so its
                last word may go on ("Der Hu" as "Der Hund"), though the model may know that word by other pieces.
                Spaces at its end are left out, because a piece carries the space before it.
            wanted: for each source, phrases that its output must hold; see `phrases.Wanted`.
            unwanted: for each source, phrases that its output must not hold. Pieces of a phrase are kept out, and with
                them any longer word that begins with the same pieces; another cut of the phrase is not.
            sample: draw outputs at random instead of looking for the most probable.
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
        for name, given in (("wanted", wanted), ("unwanted", unwanted)):
            if given is not None and len(given) != len(texts):
                raise UserError(f"{len(given)} lists of {name} phrases for {len(texts)} texts: give one for each")
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
        order: Order | None = None,
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
            raise UserError("stream takes texts one after the other: write stream([text])")
        if batch < 1 or window < 0:
            raise UserError(f"batch = {batch} and window = {window}: at least 1 text a batch, and 0 or more ahead")
        chosen = SearchOptions.over(self.config.search, options)
        if sample and wanted is not None:
            raise UserError("wanted phrases are looked for by a beam, not drawn: leave out sample")
        asked = _Side(prefixes, ""), _Side(wanted, []), _Side(unwanted, [])
        return self._stream(iter(texts), asked, sample, order, batch, window or WINDOW * batch, chosen)

    def score(self, sources: Sequence[str], targets: Sequence[str], **options: Any) -> list[Result]:
        """Give the log p of targets that are there already (forced decoding).

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
        jobs = self._jobs(sources, 0)
        ids = self.target.encode_ids([job.text.hide(text) for job, text in zip(jobs, targets, strict=True)])
        batches = _budgeted([(len(job.source) + 1, len(row) + 1) for job, row in zip(jobs, ids, strict=True)])

        def scored(rows: list[int]) -> list[Hypothesis]:
            return search.score(self.engine, [jobs[i].ids for i in rows], [ids[i] for i in rows], chosen)

        results: dict[int, Result] = {}
        for rows, found in zip(batches, self._mapped(scored, batches), strict=True):
            results |= {i: self._result(jobs[i], targets[i], [one]) for i, one in zip(rows, found, strict=True)}
        return [results[i] for i in range(len(jobs))]

    def vectors(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Read texts and give each as one vector: the decoder's first state of all layers (Sutskever 2014, figure 2).

        Args:
            texts: the sources, none of them blank.

        Returns:
            Vectors [N, D], in their order.

        Raises:
            UserError: a text is blank, or the model does not run in PyTorch.
        """
        vectors = getattr(self.engine, "vectors", None)
        if vectors is None:
            raise UserError("sentence vectors need the engine torch: Seq2Seq.load(folder, engine='torch')")
        jobs = self._jobs(texts, 0)
        for job in jobs:
            if not job.source:
                raise UserError(f"text {job.number + 1} is blank: it has no vector")
        return np.concatenate([vectors([job.ids]) for job in jobs])

    def _stream(
        self,
        texts: Iterator[str],
        asked: "tuple[_Side[str], _Side[Sequence[str]], _Side[Sequence[str]]]",
        sample: bool,
        order: Order | None,
        batch: int,
        window: int,
        options: SearchOptions,
    ) -> Iterator[Result]:
        begin = 0
        while ahead := list(islice(texts, window)):
            count = len(ahead)
            prefixes, held, kept_out = asked
            jobs = self._jobs(
                ahead, begin, prefixes.take(count, begin), held.take(count, begin), kept_out.take(count, begin)
            )
            results = {job.number: _nothing() for job in jobs if not job.source}
            work = sorted((job for job in jobs if job.source), key=lambda job: -len(job.source))
            batches = _shared(work, batch, self.engine.workers)
            for some, found in zip(batches, self._mapped(partial(self._search, sample, options), batches), strict=True):
                if order is not None:
                    found = [self._ordered(order, job, group) for job, group in zip(some, found, strict=True)]
                written = self.target.decode_all([hypotheses[0].ids for hypotheses in found])
                for job, text, hypotheses in zip(some, written, found, strict=True):
                    results[job.number] = self._result(job, job.text.fill(text), hypotheses)
            yield from (results[job.number] for job in jobs)
            begin += len(ahead)
        for side in asked:
            side.finish(begin)

    def _jobs(
        self,
        texts: Sequence[str],
        begin: int,
        prefixes: Sequence[str] | None = None,
        wanted: Sequence[Sequence[str]] | None = None,
        unwanted: Sequence[Sequence[str]] | None = None,
    ) -> list[_Job]:
        """Cut texts into pieces; of blank ones nothing is left. `begin`: the number of the first."""
        most, none = self.config.data.max_source_length, [()] * len(texts)
        hidden = [self.slots.read(text if text.strip() else "") for text in texts]
        sources = self.source.encode_ids([text.text for text in hidden])
        begun = zip(hidden, prefixes or [""] * len(texts), strict=True)
        forced = self.target.encode_ids([text.hide(prefix.rstrip()) for text, prefix in begun])
        held, kept_out = (
            [
                self._cuts([text.hide(phrase) for phrase in phrases], must)
                for text, phrases in zip(hidden, side or none, strict=True)
            ]
            for side, must in ((wanted, True), (unwanted, False))
        )
        asked = map(_Asked, forced, held, kept_out)
        return [
            _Job(number, text, source[:most], len(source) > most, one)
            for number, (text, source, one) in enumerate(zip(hidden, sources, asked, strict=True), start=begin)
        ]

    def _cuts(self, phrases: Sequence[str], must: bool) -> list[list[list[int]]]:
        """Each phrase as the vocabulary cuts it behind a space, and behind an opening bracket.

        What the vocabulary cannot write is refused where it must be written, and else never occurs.
        """
        found = []
        for phrase in map(str.strip, phrases):
            if not phrase:
                continue
            spaced, (_, *inside) = self.target.encode_ids([phrase, f"({phrase}"])
            read = self.target.decode_all([spaced, inside])
            cuts = [cut for cut, text in zip((spaced, inside), read, strict=True) if text.strip() == phrase]
            if cuts or UNK not in spaced:
                found.append(cuts or [spaced])
            elif must:
                raise UserError(
                    f"the model cannot write the wanted phrase '{phrase}': it has pieces for a part of it only"
                )
        return found

    @staticmethod
    def _checked(order: Sequence[int], count: int) -> Sequence[int]:
        if sorted(order) != list(range(count)):
            raise UserError(f"order gave {list(order)} for {count} outputs: give each position from 0 once")
        return order

    def _ordered(self, order: Order, job: _Job, found: list[Hypothesis]) -> list[Hypothesis]:
        fill = job.text.fill
        texts = [fill(text) for text in self.target.decode_all([hypothesis.ids for hypothesis in found])]
        return [found[i] for i in self._checked(order(fill(job.text.text), texts), len(found))]

    def _mapped(self, function: Callable[[T], R], batches: Sequence[T]) -> Iterator[R]:
        """The function of each batch, in their order; as many at a time as the engine can best do."""
        workers = min(self.engine.workers, len(batches))
        if workers < 2:
            yield from map(function, batches)
            return
        pool = ThreadPoolExecutor(workers)
        try:
            yield from pool.map(function, batches)
        finally:
            pool.shutdown(cancel_futures=True)

    def _search(self, sample: bool, options: SearchOptions, jobs: Sequence[_Job]) -> list[list[Hypothesis]]:
        sources, prefixes = [job.ids for job in jobs], [job.asked.prefix for job in jobs]
        wanted, unwanted = [job.asked.wanted for job in jobs], [job.asked.unwanted for job in jobs]
        engine = self.engine
        if self.shortlist and isinstance(engine, OnnxEngine):
            held = [cut for phrases in wanted for cuts in phrases for cut in cuts]
            engine = Listed(engine, self.shortlist, {piece for row in (*prefixes, *held) for piece in row})
        if sample:
            return search.sample(engine, sources, options, prefixes, [job.number for job in jobs], unwanted)
        return search.beam_search(engine, sources, options, prefixes, wanted, unwanted)

    def _result(self, job: _Job, text: str, found: Sequence[Hypothesis]) -> Result:
        first, *others = found
        return Result(
            text,
            first.score,
            first.log_prob,
            first.token_log_probs.tolist(),
            first.finished,
            first.attention,
            partial(self.target.pieces, first.ids),
            partial(_cut, self.source, job.text, self.config.data.max_source_length),
            job.truncated,
            [self._candidate(job, hypothesis) for hypothesis in others],
        )

    def _candidate(self, job: _Job, found: Hypothesis) -> Candidate:
        return Candidate(
            job.text.fill(self.target.decode(found.ids)),
            found.score,
            found.log_prob,
            found.token_log_probs.tolist(),
            found.finished,
            self.target.pieces(found.ids),
        )


class _Side(Generic[T]):
    """Something that is given for each text, such as prefixes, or for none."""

    def __init__(self, given: Iterable[T] | None, nothing: T) -> None:
        self.rest = None if given is None else iter(given)
        self.nothing = nothing

    def take(self, count: int, begin: int) -> list[T]:
        """What belongs to the next texts, of which `begin` came before."""
        if self.rest is None:
            return [self.nothing] * count
        some = list(islice(self.rest, count))
        if len(some) < count:
            raise UserError(f"only {begin + len(some)} {self._name()}: give one for each text; {self._empty()}")
        return some

    def finish(self, count: int) -> None:
        """See that nothing is left over."""
        if self.rest is not None and next(self.rest, None) is not None:
            raise UserError(f"only {count} texts: give one of the {self._name()} for each text; {self._empty()}")

    def _name(self) -> str:
        return "prefixes" if self.nothing == "" else "lists of phrases"

    def _empty(self) -> str:
        return f"{self.nothing!r} asks for nothing"


def _nothing() -> Result:
    """The result of an empty text."""
    return Result("", 0.0, 0.0, [], True, None, list, partial(Pieces, [], [], []))


def _shared(work: Sequence[_Job], batch: int, workers: int) -> list[Sequence[_Job]]:
    """Batches of at most so many, of like size, and as many for each worker."""
    count = -(-len(work) // (batch * workers)) * workers
    size = max(1, -(-len(work) // max(1, count)))
    return [work[begin : begin + size] for begin in range(0, len(work), size)]


def _cut(tokenizer: Tokenizer, text: Delexicalised, most: int) -> Pieces:
    """The pieces of a source, as far as they are read; their places are those in the raw text."""
    source = tokenizer.encode(text.text)
    return Pieces(source.ids[:most], source.pieces[:most], [text.raw_span(span) for span in source.offsets[:most]])


def _budgeted(lengths: Sequence[tuple[int, int]]) -> list[list[int]]:
    """Batches of pairs of like length, none above the budget of pieces unless it is a single pair."""
    batches: list[list[int]] = []
    rows: list[int] = []
    longest = 0, 0  # source, target
    for i in sorted(range(len(lengths)), key=lambda i: lengths[i]):
        wider = max(longest[0], lengths[i][0]), max(longest[1], lengths[i][1])
        if rows and sum(wider) * (len(rows) + 1) > SCORED:
            batches.append(rows)
            rows, wider = [], lengths[i]
        rows.append(i)
        longest = wider
    return [*batches, rows] if rows else batches


def _torch_engine(opened: ModelFolder, device: str, threads: int) -> Engine:
    try:
        import torch
    except ModuleNotFoundError as e:
        if e.name != "torch":
            raise
        raise UserError('to run a model PyTorch is needed: pip install "antiphon[train]"') from e
    from antiphon.decoding.torch_engine import TorchEngine
    from antiphon.nn.model import build

    if threads:
        torch.set_num_threads(threads)
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as e:
        raise UserError(f"device {device}: {str(e).splitlines()[0]}; known: auto, cpu, cuda, cuda:1") from e
    try:
        with torch.random.fork_rng(devices=[]):  # first weights are drawn, in vain
            model = build(opened.config.model, len(opened.source), len(opened.target), draw=False)
    except (UserError, RuntimeError, ValueError) as e:  # PyTorch's own, where a changed file asks for the impossible
        raise UserError(f"{opened.path / model_folder.CONFIG}: no such model can be made: {e}") from e
    _fill(model, opened)
    return TorchEngine(model, device)


def _fill(model: "Model", opened: ModelFolder) -> None:
    """Set a model's parameters to the folder's, which must be the same by name and shape."""
    import torch

    path, weights = opened.path / model_folder.WEIGHTS, opened.weights()
    advice = "the folder's files are of different models: copy it again, or train again"
    for name, parameter in model.named_parameters():
        expected = list(parameter.shape)
        if name not in weights:
            raise UserError(f"{path}: has no weight '{name}' of shape {expected}; {advice}")
        found = weights.pop(name)
        if list(found.shape) != expected:
            raise UserError(
                f"{path}: weight '{name}' has shape {list(found.shape)}, but the configuration and the vocabularies "
                f"ask for {expected}; {advice}"
            )
        with torch.no_grad():
            parameter.copy_(torch.tensor(found))
    if weights:
        raise UserError(f"{path}: weight '{min(weights)}' is not in a model of this configuration; {advice}")
