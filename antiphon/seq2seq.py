"""Strings in, results out: the one route of Python, the command line and evaluation.

Shapes: S source pieces, EOS counted; U output pieces.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, fields
from itertools import islice, zip_longest
from numbers import Integral, Real
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from antiphon import folder as model_folder
from antiphon import search
from antiphon.config import Config
from antiphon.engine import Engine
from antiphon.errors import UserError, near
from antiphon.folder import ModelFolder
from antiphon.hypothesis import Hypothesis, Options
from antiphon.text import EOS, Pieces, Tokenizer

if TYPE_CHECKING:
    from antiphon.nn.model import Model

WINDOW = 16  # batches of texts read ahead and sorted by length
SCORED = 1 << 14  # source and target pieces, padding included, of a batch that is scored
ENGINES = ("auto", "torch", "onnx", "onnx-int8")
KINDS: dict[type, type] = {bool: bool, int: Integral, float: Real, str: str}


@dataclass
class Candidate:
    """One more output for a text."""

    text: str
    score: float
    log_prob: float
    token_log_probs: list[float]
    finished: bool
    pieces: list[str]


@dataclass(eq=False)  # arrays do not compare to one truth
class Result:
    """What the model made of a text."""

    text: str
    score: float  # what outputs are ranked by: log p over the length penalty, with the coverage penalty
    log_prob: float  # log p of all pieces, and of EOS where finished; in nats
    token_log_probs: list[float]  # [U (+ 1)] the same, each
    finished: bool  # False: cut off at the maximum length
    pieces: list[str]  # [U] spaces are shown as "▁"
    source_pieces: list[str]  # [S - 1]
    source_offsets: list[tuple[int, int]]  # [S - 1] the characters of the source that each piece stands for
    attention: NDArray[np.float32] | None  # [U (+ 1), S] the last row and column are EOS's; None without attention
    alignment: list[tuple[int, int]]  # for each output piece its most attended source piece, EOS excluded
    truncated: bool = False  # the source was longer than `data.max_source_length` and its end was not read
    candidates: list[Candidate] = field(default_factory=list)  # the next best, or the other samples, with nbest > 1

    def as_dict(self, attention: bool = False) -> dict[str, Any]:
        """Plain lists, numbers and strings, as JSON has them.

        Args:
            attention: keep the attention, which is large.
        """
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        values["candidates"] = [asdict(candidate) for candidate in self.candidates]
        values["alignment"] = [list(pair) for pair in self.alignment]
        values["source_offsets"] = [list(span) for span in self.source_offsets]
        values.pop("attention")
        if attention:
            values["attention"] = None if self.attention is None else self.attention.tolist()
        return values


class _Job(NamedTuple):
    """A text on its way to a result."""

    number: int  # its place in the whole input
    source: Pieces  # as far as it is read
    truncated: bool
    prefix: list[int]

    @property
    def ids(self) -> list[int]:
        return [*self.source.ids, EOS]


@dataclass(frozen=True)
class Seq2Seq:
    """A model with its tokenizers."""

    engine: Engine
    config: Config
    source: Tokenizer
    target: Tokenizer

    @classmethod
    def load(cls, folder: str | Path, device: str = "auto", threads: int = 0, engine: str = "auto") -> "Seq2Seq":
        """Open a model folder. Random numbers of the caller are not touched.

        Args:
            folder: what a training wrote.
            device: `auto` (a GPU if there is one), `cpu`, `cuda`, `cuda:1`.
            threads: processor threads, for the whole process in PyTorch; 0: all cores.
            engine: `torch`, `onnx` or `onnx-int8` (see `antiphon export`), or `auto`: ONNX Runtime in float32 where the
                folder was exported so and no GPU is asked for, else PyTorch.

        Raises:
            UserError: the folder cannot be opened (see `folder.load`), its weights do not fit its configuration, it was
                not exported, PyTorch is not installed, or there is no such device or engine.
        """
        if engine not in ENGINES:
            raise UserError(f"no engine is called '{engine}'{near(engine, ENGINES)}")
        opened = model_folder.load(folder)
        found: Engine | None = None
        if engine.startswith("onnx") or (engine == "auto" and device in ("auto", "cpu")):
            from antiphon import onnx_engine

            exported = onnx_engine.current(opened.path)
            if exported or engine != "auto":
                precision = "int8" if engine == "onnx-int8" else "float32"
                found = onnx_engine.OnnxEngine(opened.path, precision, threads)
        return cls(found or _torch_engine(opened, device, threads), opened.config, opened.source, opened.target)

    def generate(
        self,
        texts: Sequence[str],
        *,
        prefixes: Sequence[str] | None = None,
        sample: bool = False,
        batch: int = 64,
        **options: Any,
    ) -> list[Result]:
        """Write an output for each text. Results do not depend on what else is asked, or on `batch`.

        An empty or blank text has an empty result. Of a text longer than `data.max_source_length` pieces only the
        beginning is read, and `truncated` is set.

        Args:
            texts: the sources.
            prefixes: for each source, what its output must begin with. A prefix is cut into pieces on its own, so its
                last word may go on ("Der Hu" as "Der Hund"), though the model may know that word by other pieces.
                Spaces at its end are left out, because a piece carries the space before it.
            sample: draw outputs at random instead of looking for the most probable.
            batch: texts decoded at a time.
            **options: see `Options`: beam, nbest, length_penalty, alpha, coverage_penalty, min_length, max_length,
                block_ngrams, no_unk; with `sample` temperature, top_k, top_p, min_p, seed. What is not given is as
                `[search]` of the model's configuration says.

        Returns:
            One result a text, in their order.

        Raises:
            UserError: an option is unknown or out of its range, or prefixes are not as many as texts.
        """
        if isinstance(texts, str):
            raise UserError("generate takes a list of texts: write generate([text])")
        if prefixes is not None and len(prefixes) != len(texts):
            raise UserError(f"{len(prefixes)} prefixes for {len(texts)} texts: give one for each; '' asks for nothing")
        return list(self.stream(texts, prefixes=prefixes, sample=sample, batch=batch, **options))

    def stream(
        self,
        texts: Iterable[str],
        *,
        prefixes: Iterable[str] | None = None,
        sample: bool = False,
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
        chosen = self._options(options)
        return self._stream(self._jobs(texts, prefixes), sample, batch, window or WINDOW * batch, chosen)

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
        chosen = self._options(options)
        jobs = [self._job(i, source) for i, source in enumerate(sources)]
        ids = self.target.encode_ids(targets)
        results: list[Result | None] = [None] * len(jobs)
        for rows in _budgeted([(len(job.source.ids) + 1, len(row) + 1) for job, row in zip(jobs, ids, strict=True)]):
            found = search.score(self.engine, [jobs[i].ids for i in rows], [ids[i] for i in rows], chosen)
            for i, hypothesis in zip(rows, found, strict=True):
                result = self._result(jobs[i], [hypothesis])
                result.text = targets[i]
                results[i] = result
        return [result for result in results if result is not None]

    def _options(self, given: dict[str, Any]) -> Options:
        known = {f.name: f.default for f in fields(Options)}
        for name, value in given.items():
            if name not in known:
                raise UserError(f"no option of the search is called '{name}'{near(name, known)}")
            kind = type(known[name])
            if not isinstance(value, KINDS[kind]) or isinstance(value, bool) != (kind is bool):
                raise UserError(f"{name} = {value!r}: must be of the type {kind.__name__}, such as {known[name]!r}")
        return Options(**(self.config.search.model_dump() | given))

    def _jobs(self, texts: Iterable[str], prefixes: Iterable[str] | None) -> Iterator[_Job]:
        if prefixes is None:
            yield from (self._job(i, text) for i, text in enumerate(texts))
            return
        for i, (text, prefix) in enumerate(zip_longest(texts, prefixes)):
            if text is None or prefix is None:
                fewer = "texts" if text is None else "prefixes"
                raise UserError(f"only {i} {fewer}: give one prefix for each text; '' asks for nothing")
            yield self._job(i, text, prefix)

    def _job(self, number: int, text: str, prefix: str = "") -> _Job:
        most = self.config.data.max_source_length
        source = self.source.encode(text) if text.strip() else Pieces([], [], [])
        cut = Pieces(source.ids[:most], source.pieces[:most], source.offsets[:most])
        return _Job(number, cut, len(source.ids) > most, self.target.encode(prefix.rstrip()).ids)

    def _stream(
        self, jobs: Iterator[_Job], sample: bool, batch: int, window: int, options: Options
    ) -> Iterator[Result]:
        while ahead := list(islice(jobs, window)):
            results = {job.number: _nothing() for job in ahead if not job.source.ids}
            work = sorted((job for job in ahead if job.source.ids), key=lambda job: -len(job.source.ids))
            for begin in range(0, len(work), batch):
                some = work[begin : begin + batch]
                for job, found in zip(some, self._search(some, sample, options), strict=True):
                    results[job.number] = self._result(job, found)
            yield from (results[job.number] for job in ahead)

    def _search(self, jobs: Sequence[_Job], sample: bool, options: Options) -> list[list[Hypothesis]]:
        sources, prefixes = [job.ids for job in jobs], [job.prefix for job in jobs]
        if sample:
            return search.sample(self.engine, sources, options, prefixes, [job.number for job in jobs])
        return search.beam_search(self.engine, sources, options, prefixes)

    def _result(self, job: _Job, found: Sequence[Hypothesis]) -> Result:
        first, *others = [self._candidate(hypothesis) for hypothesis in found]
        attention = found[0].attention
        return Result(
            **vars(first),
            source_pieces=job.source.pieces,
            source_offsets=job.source.offsets,
            attention=attention,
            alignment=_alignment(attention, len(first.pieces)),
            truncated=job.truncated,
            candidates=others,
        )

    def _candidate(self, found: Hypothesis) -> Candidate:
        return Candidate(
            self.target.decode(found.ids),
            found.score,
            found.log_prob,
            found.token_log_probs.tolist(),
            found.finished,
            self.target.pieces(found.ids),
        )


def _nothing() -> Result:
    """The result of an empty text."""
    return Result("", 0.0, 0.0, [], True, [], [], [], None, [])


def _alignment(attention: NDArray[np.float32] | None, pieces: int) -> list[tuple[int, int]]:
    """For each output piece the source piece with the highest alpha; the column of EOS is the last."""
    if attention is None or attention.shape[1] < 2:
        return []
    return list(enumerate(attention[:pieces, :-1].argmax(axis=1).tolist()))


def _budgeted(lengths: Sequence[tuple[int, int]]) -> Iterator[list[int]]:
    """Batches of pairs of like length, none above the budget of pieces unless it is a single pair."""
    rows: list[int] = []
    longest = 0, 0  # source, target
    for i in sorted(range(len(lengths)), key=lambda i: lengths[i]):
        wider = max(longest[0], lengths[i][0]), max(longest[1], lengths[i][1])
        if rows and sum(wider) * (len(rows) + 1) > SCORED:
            yield rows
            rows, wider = [], lengths[i]
        rows.append(i)
        longest = wider
    if rows:
        yield rows


def _torch_engine(opened: ModelFolder, device: str, threads: int) -> Engine:
    try:
        import torch
    except ModuleNotFoundError as e:
        if e.name != "torch":
            raise
        raise UserError('to run a model PyTorch is needed: pip install "antiphon[train]"') from e
    from antiphon.nn.model import build
    from antiphon.torch_engine import TorchEngine

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
