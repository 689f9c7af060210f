"""Pairs of text from the usual files, read lazily and checked line by line.

A corpus is named by a spec:

    pairs.tsv                two or more columns between tabs (.txt and unknown endings too); no quoting
    text.en,text.de          two files whose lines belong together
    pairs.csv                named columns, quoting as spreadsheets write it
    pairs.jsonl              one JSON object a line (.json, .ndjson too); fields may be nested: translation.de
    -  -:csv  -:jsonl        standard input: TSV, or the format named
    hf:owner/name:train      a Hugging Face dataset, with a configuration hf:owner/name/config:train, or a local folder

Files and standard input may be compressed with gzip or Zstandard; `antiphon.data.lines` says what a line is.
"""

import csv
import importlib
import itertools
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Literal, NamedTuple

from antiphon.data.lines import Line, called, lines_of
from antiphon.errors import UserError, extra, near
from antiphon.words import counted

Kind = Literal["", "utf8", "nul", "columns", "format", "unequal", "corrupt"]

SUFFIXES = {".csv": "csv", ".jsonl": "jsonl", ".json": "jsonl", ".ndjson": "jsonl", ".tsv": "tsv"}


class _Pair(NamedTuple):
    source: str
    target: str


class Pair(_Pair):
    """A source text and its target: a tuple of two. Further references are an attribute beside them."""

    others: tuple[str, ...]

    def __new__(cls, source: str, target: str, others: Sequence[str] = ()) -> "Pair":
        pair = super().__new__(cls, source, target)
        pair.others = tuple(others)
        return pair

    @property
    def references(self) -> list[str]:
        """All reference texts: the target, which training uses, and the others."""
        return [self.target, *self.others]


class Record(NamedTuple):
    """A pair of a corpus, with its place in the file and what is wrong with it."""

    source: str
    target: str
    file: str
    line: int  # from 1
    kind: Kind = ""  # "": nothing is wrong
    problem: str = ""  # what is wrong and what to do, in words
    others: tuple[str, ...] = ()  # further references beside the target

    @property
    def place(self) -> str:
        return f"{called(self.file)}:{self.line}"


def read(spec: str, source: str = "", target: str = "") -> Iterator[Pair]:
    """Read the pairs of a corpus, one at a time.

    Args:
        spec: where the corpus is; see the module's documentation.
        source: column name or number, or field, of the source; empty: the first column, or the field `source`.
        target: the same of the target; empty: the second column, or the field `target`.

    Raises:
        UserError: at the first thing that cannot be read, with file and line; when there is no pair at all.
    """
    empty = True
    for record in _checked(records(spec, source, target)):
        empty = False
        yield Pair(record.source, record.target, record.others)
    if empty:
        raise UserError(f"{spec}: no text in it; give a corpus of at least one pair")


def read_sources(spec: str, source: str = "") -> Iterator[str]:
    """Read source texts alone; a corpus without text gives none.

    Args:
        spec: where the texts are; see the module's documentation. Of plain text whole lines are read.
        source: column name or number, or field; empty: the first column, or the field `source`.

    Raises:
        UserError: at the first thing that cannot be read, with file and line.
    """
    return (record.source for record in _checked(_records(spec, (source,))))


def read_lines(path: str | Path) -> Iterator[str]:
    """Read whole lines of a text file, or of standard input (`-`); a file without lines gives none.

    Raises:
        UserError: at the first line that cannot be read, with its place.
    """
    return (record.source for record in _checked(_whole_lines(str(path))))


def records(spec: str, source: str = "", target: str = "") -> Iterator[Record]:
    """Read a corpus as `read` does, but yield bad lines with their problem instead of stopping at the first.

    After a record of kind `corrupt` or `unequal` there is no other.

    Raises:
        UserError: nothing can be read: no such file, not text, no such column.
    """
    return _records(spec, (source, target))


def _checked(some: Iterator[Record]) -> Iterator[Record]:
    """The records, up to the first with a problem, which is raised."""
    for record in some:
        if record.kind:
            raise UserError(f"{record.place}: {record.problem}")
        yield record


def _whole_lines(path: str) -> Iterator[Record]:
    return (_record(path, line, line.text) for line in lines_of(path))


def _records(spec: str, names: Sequence[str]) -> Iterator[Record]:
    """Records of a corpus; `names` are those of the source's column or field, or of both sides'."""
    if spec.startswith("hf:"):
        return _hugging_face(spec, names)
    if spec.startswith("-:"):
        path, kind = "-", spec.removeprefix("-:")
        if kind not in ("tsv", "csv", "jsonl"):
            raise UserError(f"{spec}: no such format on standard input{near(kind, ('tsv', 'csv', 'jsonl'))}")
    elif "," in spec and not Path(spec).exists():
        return _aligned(spec, names)
    else:
        path, kind = spec, _kind(spec)
        if len(names) == 1 and not names[0] and kind == "tsv" and _suffix(spec) != ".tsv":
            return _whole_lines(path)
    reader = {"tsv": _tsv, "csv": _csv, "jsonl": _jsonl}[kind]
    return reader(path, names)


def _suffix(path: str) -> str:
    name = path.lower().removesuffix(".gz").removesuffix(".zst")
    return Path(name).suffix


def _kind(path: str) -> str:
    return SUFFIXES.get(_suffix(path), "tsv")


def _record(file: str, line: Line, source: str, target: str = "", *others: str) -> Record:
    if line.kind:
        return Record(source, target, file, line.number, line.kind, line.problem)
    if any("\0" in text for text in (source, target, *others)):
        return Record(source, target, file, line.number, "nul", "a NUL character in the text; remove it: tr -d '\\000'")
    return Record(source, target, file, line.number, others=others)


def _bad(file: str, line: int, kind: Kind, problem: str) -> Record:
    return Record("", "", file, line, kind, problem)


def _aligned(spec: str, names: Sequence[str]) -> Iterator[Record]:
    """Two files, line by line, to the end of both."""
    paths = spec.split(",")
    if len(paths) != 2 or not all(paths):
        raise UserError(f"{spec}: two aligned files are written a.en,a.de; several corpora are given one by one")
    if all(_suffix(p) in SUFFIXES for p in paths):
        raise UserError(f"{spec}: aligned files hold plain text, a line a text; several corpora are given one by one")
    if paths[0] == paths[1] or len(names) == 1:
        raise UserError(f"{spec}: expected {'two different files' if len(names) == 2 else 'one file of source text'}")
    (a, b), last = paths, [0, 0]
    with closing(lines_of(a)) as left, closing(lines_of(b)) as right:
        for x, y in itertools.zip_longest(left, right):
            broken = next(((f, z) for f, z in ((a, x), (b, y)) if z and z.kind == "corrupt"), None)
            if broken:
                yield _record(broken[0], broken[1], "")
                return
            last = [x.number if x else last[0], y.number if y else last[1]]
            if x and y:
                yield _record(b, y, x.text, y.text) if y.kind else _record(a, x, x.text, y.text)
    if last[0] != last[1]:
        longer = a if last[0] > last[1] else b
        counts = f"{a} has {last[0]} lines and {b} has {last[1]}"
        problem = f"this line has no partner: {counts}; aligned files need as many lines each"
        yield _bad(longer, min(last) + 1, "unequal", problem)


def _tsv(path: str, names: Sequence[str]) -> Iterator[Record]:
    lines = lines_of(path)
    if all(w == "" or w.isdecimal() for w in names):
        places = _places(path, names, ())
    else:
        header = next(lines, None)
        if header is None:
            return
        if header.kind:
            yield _record(path, header, "")
        if header.kind == "corrupt":
            return
        places = _places(path, names, header.text.split("\t"))
    needed = max(places) + 1
    for line in lines:
        columns = line.text.split("\t") if line.text else [""] * needed  # an empty line is an empty pair
        if line.kind == "corrupt":
            yield _record(path, line, "")
        elif len(columns) < needed:
            yield _bad(path, line.number, "columns", _too_few(len(columns), needed, "a tab"))
        else:
            yield _record(path, line, *[columns[i] for i in places])


def _too_few(count: int, needed: int, separator: str) -> str:
    hint = "; two aligned files are given as a.en,a.de" if count == 1 and separator == "a tab" else ""
    return f"{counted(count, 'column')} where {needed} are needed; put {separator} between source and target{hint}"


def _csv(path: str, names: Sequence[str]) -> Iterator[Record]:
    current = Line("", 0)

    def texts() -> Iterator[str]:
        nonlocal current
        for line in lines_of(path):
            # A row may span lines: its problem is that of the first bad one.
            current = line if not current.kind else current
            yield line.text + "\n"

    rows = csv.reader(texts(), strict=True)
    header: list[str] = []
    while True:
        current, first = Line("", 0), rows.line_num + 1
        try:
            row = next(rows, None)
        except csv.Error as e:
            problem = f"not valid CSV ({e}): a quotation mark is left open, or one inside a field is not doubled"
            yield _bad(path, first, "format", problem)
            continue
        if row is None:
            return
        line = current if current.kind else Line("", first)
        if line.kind == "corrupt":
            yield _record(path, line, "")
        elif not header:
            if row:
                header, places = row, _places(path, names, row)
                needed = max(places) + 1
        elif row and len(row) < needed:
            yield _bad(path, first, "columns", _too_few(len(row), needed, "a comma"))
        else:
            row = row or [""] * needed
            yield _record(path, line, *[row[i] for i in places])


def _places(path: str, names: Sequence[str], header: Sequence[str]) -> list[int]:
    """Positions, from 0, of the named columns; without a header names are numbers."""
    places, path = [], called(path)
    for side, name, default in zip(("source", "target"), names, (0, 1), strict=False):
        if name == "":
            place = default
        elif name in header:
            place = header.index(name)
        elif name.isdecimal() and int(name) > 0:
            place = int(name) - 1
        elif name.isdecimal():
            raise UserError(f"{path}: {side} column {name}: columns are counted from 1")
        else:
            raise UserError(f"{path}:1: no {side} column '{name}' in the header{near(name, header)}")
        if header and place >= len(header):
            other = next((c for c in ";\t|" if c in header[0]), None) if len(header) == 1 else None
            hint = f"; columns are separated by {other!r} here: save the file with commas" if other else ""
            raise UserError(f"{path}:1: no column {place + 1} for the {side}: the header is {', '.join(header)}{hint}")
        places.append(place)
    if len(set(places)) < len(places):
        raise UserError(f"{path}: source and target are the same column, {places[0] + 1}; name both columns")
    return places


def _jsonl(path: str, names: Sequence[str]) -> Iterator[Record]:
    fields = _fields(path, names)
    for line in lines_of(path):
        if line.kind == "corrupt" or not line.text.strip():  # an empty line is an empty pair
            yield _record(path, line, "")
            continue
        if line.kind:
            yield _bad(path, line.number, line.kind, line.problem)
            continue
        try:
            value = json.loads(line.text)
        except (ValueError, RecursionError) as e:
            array = line.number == 1 and line.text.lstrip().startswith("[")
            advice = "write a JSON array as lines with: jq -c '.[]'" if array else "each line must be one JSON object"
            yield _bad(path, line.number, "format", f"not JSON: {e}; {advice}")
            continue
        yield _from_object(path, line.number, value, fields)


def _fields(path: str, names: Sequence[str]) -> list[str]:
    fields = [name or default for name, default in zip(names, ("source", "target"), strict=False)]
    if len(set(fields)) < len(fields):
        raise UserError(f"{path}: source and target are the same field, '{fields[0]}'; name both fields")
    return fields


def _from_object(file: str, number: int, value: Any, fields: Sequence[str]) -> Record:
    """The record of a JSON object or of a dataset's row."""
    if not isinstance(value, dict):
        advice = "; write a JSON array as lines with: jq -c '.[]'" if isinstance(value, list) else ""
        return _bad(file, number, "format", f"a {_json_type(value)} where an object is needed{advice}")
    texts: list[str] = []
    others: tuple[str, ...] = ()
    for field in fields:
        try:
            text = _dig(value, field)
        except KeyError:
            known = list(_names(value))
            return _bad(file, number, "columns", f"no field '{field}'{near(field, known)}")
        several = text if isinstance(text, list) and text else [text]  # references: the first is the target
        for one in several:
            if not isinstance(one, str):
                return _bad(file, number, "columns", f"field '{field}' is a {_json_type(one)}, not a string")
            if not one.isascii() and any("\ud800" <= c <= "\udfff" for c in one):
                return _bad(file, number, "utf8", f"field '{field}' has half a surrogate pair, which is no character")
        texts.append(several[0])
        others = tuple(several[1:])
    return _record(file, Line("", number), *texts, *others)


def _dig(value: Any, path: str) -> Any:
    """Value at a dotted path; a key that itself has dots goes first."""
    if isinstance(value, dict) and path in value:
        return value[path]
    head, dot, rest = path.partition(".")
    if not (dot and isinstance(value, dict)):
        raise KeyError(path)
    return _dig(value[head], rest)


def _names(value: dict[str, Any], prefix: str = "") -> Iterator[str]:
    for key, inner in value.items():
        if isinstance(inner, dict):
            yield from _names(inner, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}"


def _json_type(value: Any) -> str:
    names = {dict: "object", list: "list", str: "string", bool: "boolean", int: "number", float: "number"}
    return names.get(type(value), "null")


def _hugging_face(spec: str, names: Sequence[str]) -> Iterator[Record]:
    """Rows of a Hugging Face dataset, streamed; a slice of a split (`train[:1%]`) is loaded memory-mapped."""
    match = re.fullmatch(r"hf:(.+):([\w.+-]+(?:\[.*\])?)", spec)
    if not match:
        raise UserError(f"{spec}: write it as hf:owner/name:split or hf:owner/name/config:split")
    name, split = match.groups()
    parts = name.split("/")
    config = None
    if not Path(name).exists() and len(parts) == 3:
        name, config = "/".join(parts[:2]), parts[2]
    try:
        datasets = importlib.import_module("datasets")
    except ImportError as e:
        raise UserError(f"{spec}: needs the package datasets: {extra('hf')}") from e
    fields = _fields(spec, names)
    try:
        rows: Iterable[Any] = datasets.load_dataset(name, config, split=split, streaming="[" not in split)
        for number, row in enumerate(rows, start=1):
            yield _from_object(spec, number, row, fields)
    except Exception as e:  # the library raises anything from OSError to kinds of its own
        raise UserError(f"{spec}: the dataset cannot be loaded: {type(e).__name__}: {e}") from e
