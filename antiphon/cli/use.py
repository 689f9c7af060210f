"""Commands that use models: generate, chat, evaluate, score, rerank.

Results go to standard output; messages and progress go to standard error. Modules are imported where they are used, so
that help and mistyped commands are answered at once.
"""

import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from itertools import islice, tee
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from antiphon.cli import flags
from antiphon.cli.output import draw, evaluation, one_line, result_lines, table, to_json, watched
from antiphon.cli.program import command
from antiphon.config.search import OPTIONS, SAMPLING_ONLY, Search, SearchOptions, declared
from antiphon.errors import UserError
from antiphon.files import whole_text

if TYPE_CHECKING:
    from antiphon.data.corpus import Pair
    from antiphon.decoding.mbr import Ranker
    from antiphon.result import Result
    from antiphon.seq2seq import Seq2Seq

CHUNK = 1024  # pairs scored at a time


SEARCH = (*declared(Search), "no_unk")  # options of a search for one output

Load = Callable[[Path], "Seq2Seq"]


def _loader(values: dict[str, Any]) -> Load:
    """How the flags say to load a model, or an ensemble of it and others."""

    def load(model: Path) -> "Seq2Seq":
        from antiphon.seq2seq import Seq2Seq

        device, threads, engine = values["device"], values["threads"], values["engine"]
        shortlist, more, shares = values.get("shortlist", False), values["more"], values["shares"]
        if not more:
            if shares:
                raise UserError("--shares is for ensembles: name further models with --with")
            return Seq2Seq.load(model, device, threads, engine, shortlist)
        if shortlist:
            raise UserError("--shortlist is of one model: leave it out with --with")
        try:
            weights = [float(part) for part in shares.split(",")] if shares else []
        except ValueError as e:
            raise UserError(f"--shares {shares}: write a number for each model, such as 2,1") from e
        return Seq2Seq.ensemble([model, *more], weights, device, threads, engine)

    return load


@command
@flags.search(*OPTIONS)
@flags.loading(_loader)
def generate(
    model: flags.Model,
    search: dict[str, Any],
    load: Load,
    file: flags.Texts = "-",
    field: flags.TextField = None,
    out: flags.OutputFile = None,
    as_json: flags.AsJson = False,
    prefixes: flags.Prefixes = None,
    alignments: flags.Alignments = None,
    attention: flags.Attention = None,
    wanted: flags.Wanted = None,
    unwanted: flags.Unwanted = None,
    ban: flags.Ban = None,
    sample: flags.Sample = False,
    mbr: flags.Mbr = None,
    utility: flags.Utility = None,
    batch: flags.Batch = 64,
) -> None:
    """Write an output for each line of text, in the same order; an empty line gives an empty line.

    With --nbest N a text has N lines: its number from 1, the score and the output, separated by tabs. With --json a
    line is an object with text, score, pieces, alignment and candidates. With --batch 1 each text is answered before
    the next is read.

    \b
    Examples:
      echo "A dog runs." | antiphon generate model
      antiphon generate model texts.txt --beam 10 -o outputs.txt
      antiphon generate model texts.txt --nbest 3 --json
      antiphon generate model texts.txt --sample --top-p 0.9 --seed 7
      antiphon generate model texts.txt --mbr 32
      antiphon generate model texts.txt --wanted terms.tsv --ban "in order to"
      echo "A dog runs." | antiphon generate model --attention dog.png
    """
    nbest = search.get("nbest", 1)
    if mbr and wanted:
        raise UserError("--wanted needs beam search, and --mbr samples: leave out one of them")
    order = _order(mbr, utility, search)
    if mbr:
        sample, search = True, search | {"nbest": mbr}
    _check_search(search, sample)
    from antiphon.data import corpus

    whole_lines = file == "-" and field is None
    texts = corpus.read_lines("-") if whole_lines else corpus.read_sources(file, field or "")
    texts, forbidden = _forbidden(texts, unwanted, ban or ())
    opened = load(model)
    live = file == "-" and sys.stdin.isatty()
    if live:
        typer.echo("type a text and press Enter; Ctrl-D ends", err=True)
    results = opened.stream(
        texts,
        prefixes=corpus.read_lines(prefixes) if prefixes else None,
        wanted=_phrases(wanted) if wanted else None,
        unwanted=forbidden,
        sample=sample,
        order=order,
        batch=batch,
        window=int(live or batch == 1),
        **search,
    )
    shown = not live and not (out is None and sys.stdout.isatty())
    with ExitStack() as stack:
        output = stack.enter_context(whole_text(out)) if out else sys.stdout
        links = stack.enter_context(whole_text(alignments)) if alignments else None
        for number, result in enumerate(watched(results, shown), start=1):
            print(*result_lines(number, result, nbest, as_json), sep="\n", file=output, flush=True)
            if links:
                print(" ".join(f"{s}-{t}" for t, s in result.alignment), file=links)
            if attention and number == 1:
                draw(attention, result)


@command
@flags.search(*(name for name in SEARCH if name != "coverage_penalty"), *SAMPLING_ONLY)
@flags.loading(_loader)
def chat(
    model: flags.Model,
    search: dict[str, Any],
    load: Load,
    as_json: flags.AsJson = False,
    sample: flags.Sample = False,
) -> None:
    """Talk with a model that was trained on conversations. /reset starts a new conversation; /quit or Ctrl-D ends.

    Lines from a pipe are turns too; each is answered by one line.

    \b
    Examples:
      antiphon chat model
      antiphon chat model --sample --top-k 20 --temperature 0.8
      printf 'hello\\na table for two\\n' | antiphon chat model --json
    """
    _check_search(search, sample)
    from antiphon.chat import Chat
    from antiphon.data import corpus

    talk = Chat(load(model), {"sample": sample, **search})
    live = sys.stdin.isatty()
    if live:
        typer.echo("say something and press Enter; /reset starts a new conversation, /quit or Ctrl-D ends", err=True)
    for line in corpus.read_lines("-"):
        said = line.strip()
        if said == "/quit":
            break
        if said == "/reset":
            talk.reset()
            continue
        if not said and live:
            continue
        result = talk.say(said)
        print(to_json(result.as_dict()) if as_json else one_line(result.text), flush=True)


@command
@flags.search(*SEARCH)
@flags.loading(_loader)
def evaluate(
    search: dict[str, Any],
    load: Load,
    model: flags.EvaluatedModel = None,
    data: flags.TestPairs = "",
    source: flags.SourceField = None,
    target: flags.TargetField = None,
    hypotheses: flags.Hypotheses = None,
    references: flags.References = None,
    against: flags.Against = None,
    metric: flags.Metric = None,
    lowercase: flags.Lowercase = False,
    tokenize: flags.Tokenize = "",
    language: flags.Language = "",
    by_length: flags.ByLength = False,
    outputs: flags.Outputs = None,
    as_json: flags.AsJson = False,
    batch: flags.Batch = 64,
) -> None:
    """Evaluate a model on test pairs, or score existing outputs. Every score comes with its signature.

    \b
    Examples:
      antiphon evaluate model --data test.tsv
      antiphon evaluate model --data test.en,test.de --metric bleu --metric ter --beam 10
      antiphon evaluate model --data test.tsv --outputs outputs.txt --by-length --json
      antiphon evaluate --hypotheses outputs.txt --references test.de
      antiphon evaluate --hypotheses new.txt --against old.txt --references test.de
    """
    if (model is None) == (hypotheses is None):
        raise UserError("name either a model folder, or with --hypotheses a file of outputs")
    if model is not None and not model.is_dir():  # reported before missing test pairs
        from antiphon import model_folder

        model_folder.load(model)
    if not data and (model or not references):
        raise UserError("no test pairs: name them with --data, such as --data test.tsv or --data test.en,test.de")
    if by_length and not data:
        raise UserError("--by-length needs the sources: name the test pairs with --data")
    from antiphon.data import corpus
    from antiphon.evaluation import metrics, significance

    pairs = list(corpus.read(data, source or "", target or "")) if data else []
    wanted = _references(references) if references else [pair.references for pair in pairs]
    other = _sentences(against, len(wanted)) if against else []
    names = list(metric or ("bleu", "chrf"))
    how: dict[str, Any] = {"lowercase": lowercase, "tokenize": tokenize, "language": language}
    metrics.measure(names, [""], [[""]], **how)  # a misspelt name is reported before the work
    if model:
        opened = load(model)
        if not metric and opened.config.train.metric not in ("loss", *names):
            names.append(opened.config.train.metric)
        texts = _generated(opened, [pair.source for pair in pairs], batch, search)
    else:
        texts = _sentences(hypotheses, len(wanted))
    if outputs:
        with whole_text(outputs) as file:
            file.writelines(f"{one_line(text)}\n" for text in texts)
    scores = metrics.measure(names, texts, wanted, **how)
    bins = significance.by_length([pair.source for pair in pairs], texts, wanted, names[0], **how) if by_length else []
    comparisons = [significance.paired_bootstrap(texts, other, wanted, name, **how) for name in names if against]
    if as_json:
        print(to_json(evaluation(len(texts), scores, bins, comparisons)))
    else:
        print(*table(scores, bins, comparisons), sep="\n")


@command
@flags.loading(_loader, leave=("shortlist",))
def score(
    model: flags.Model,
    load: Load,
    pairs: flags.Pairs = "-",
    source: flags.SourceField = None,
    target: flags.TargetField = None,
    as_json: flags.AsJson = False,
) -> None:
    """Write the log-probability of each pair's target given its source, in total and per piece, in nats.

    With --json a line is an object that also has the pieces and the log-probability of each.

    \b
    Examples:
      antiphon score model pairs.tsv
      antiphon score model test.en,test.de --json
      paste sources.txt outputs.txt | antiphon score model -
    """
    from antiphon.data import corpus

    read = corpus.read(pairs, source or "", target or "")
    opened = load(model)
    total, pieces = 0.0, 0
    for result in watched(_scored(opened, read), pairs != "-" and not sys.stdout.isatty()):
        count = max(1, len(result.token_log_probs))
        total, pieces = total + result.log_prob, pieces + count
        print(to_json(result.as_dict()) if as_json else f"{result.log_prob:.4f}\t{result.log_prob / count:.4f}")
    typer.echo(f"total {total:.1f} nats for {pieces:,} pieces: {total / max(1, pieces):.4f} per piece", err=True)


@command
@flags.search("nbest", "length_penalty", "alpha")
@flags.loading(_loader, leave=("shortlist",))
def rerank(
    model: flags.Model,
    nbest_list: flags.NbestList,
    sources: flags.ListSources,
    search: dict[str, Any],
    load: Load,
    weight: flags.Weight = 0.5,
    reverse: flags.Reverse = False,
) -> None:
    """Rescore an n-best list: choose by its own scores and a model's log p (Sutskever 2014, section 3.2).

    \b
    Examples:
      antiphon generate model texts.txt --beam 20 --nbest 20 --length-penalty none -o list.tsv
      antiphon rerank other list.tsv --sources texts.txt
      antiphon rerank back list.tsv --sources texts.txt --reverse --weight 0.3 --nbest 3
    """
    if not 0 <= weight <= 1:
        raise UserError(f"--weight {weight}: a share from 0 to 1")
    from antiphon import rerank as reranking
    from antiphon.data import corpus

    texts = list(corpus.read_lines(sources))
    entries = reranking.entries(corpus.read_lines(nbest_list), str(nbest_list))
    SearchOptions.over(Search(), search)
    nbest = search.pop("nbest", None)
    scorer = reranking.of_model(load(model), reverse, **search)
    for number, ranked in enumerate(reranking.rerank(texts, entries, [scorer], [1 - weight, weight]), start=1):
        for one in ranked[: nbest or 1]:
            print(f"{number}\t{one.score:.4f}\t{one.entry.text}" if nbest else one.entry.text)


def _generated(model: "Seq2Seq", sources: Sequence[str], batch: int, search: Mapping[str, Any]) -> list[str]:
    """A model's outputs, with progress and the time that they took."""
    began = time.monotonic()
    results = model.stream(sources, batch=batch, **search)
    texts = [result.text for result in watched(results, True, len(sources))]
    typer.echo(f"{len(texts):,} outputs in {time.monotonic() - began:.1f} s", err=True)
    return texts


def _check_search(search: Mapping[str, Any], sample: bool) -> None:
    """Refuse options of sampling where nothing is sampled, and of groups where there is no beam."""
    if sample and "groups" in search:
        raise UserError("--groups divides a beam, and sampling has none: leave out --groups")
    if "diversity" in search and "groups" not in search:
        raise UserError("--diversity is of groups: give their number, such as --groups 3")
    for name in SAMPLING_ONLY:
        if name in search and not sample:
            raise UserError(f"--{name.replace('_', '-')} is for sampling: give --sample too")


def _order(mbr: int | None, utility: str | None, search: Mapping[str, Any]) -> "Ranker | None":
    """How --mbr ranks outputs."""
    if mbr is None:
        if utility:
            raise UserError("--utility is for --mbr: give the number of outputs to sample, such as --mbr 32")
        return None
    if mbr < 2 or "nbest" in search:
        raise UserError(f"--mbr {mbr} samples that many outputs and chooses one: 2 or more, and no --nbest")
    from antiphon.decoding.mbr import least_risk

    return least_risk(utility or "chrf")


def _forbidden(
    texts: Iterator[str], unwanted: Path | None, ban: Sequence[str]
) -> tuple[Iterator[str], Iterator[list[str]] | None]:
    """The texts, and for each its forbidden phrases; None without any."""
    if unwanted:
        return texts, _phrases(unwanted, ban)
    if not ban:
        return texts, None
    texts, copies = tee(texts)
    return texts, (list(ban) for _ in copies)


def _phrases(path: Path, every: Sequence[str] = ()) -> Iterator[list[str]]:
    """The phrases of each text: a line of the file, and those that hold for every text."""
    from antiphon.data.corpus import read_lines

    for line in read_lines(path):
        yield [*(phrase for phrase in line.split("\t") if phrase.strip()), *every]


def _references(paths: Sequence[Path]) -> list[list[str]]:
    """For each sentence a line of each file."""
    from antiphon.data.corpus import read_lines

    first = list(read_lines(paths[0]))
    return [list(group) for group in zip(first, *(_sentences(path, len(first)) for path in paths[1:]), strict=True)]


def _sentences(path: Path | None, count: int) -> list[str]:
    """The lines of a file, which must be as many as there are sentences."""
    from antiphon.data.corpus import read_lines

    lines = list(read_lines(path or "-"))
    if len(lines) != count:
        raise UserError(f"{path}: {len(lines):,} lines for {count:,} references; give a line for each, in their order")
    return lines


def _scored(model: "Seq2Seq", pairs: Iterator["Pair"]) -> Iterator["Result"]:
    while some := list(islice(pairs, CHUNK)):
        yield from model.score([pair.source for pair in some], [pair.target for pair in some])
