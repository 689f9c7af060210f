"""Bad input: each a message that says what, where and what to do; exit status 2; nothing half-written.

The disk is made full with RLIMIT_FSIZE: a write beyond the limit fails with EFBIG, which the programs treat as they
treat ENOSPC.
"""

import gzip
import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from antiphon import model_folder
from antiphon.cli.main import app
from antiphon.config import loading
from antiphon.data.tokenizer import Tokenizer
from antiphon.nn.model import build

TINY = [
    "text.kind=char", "text.dropout=0.0", "model.embedding=8", "model.encoder_hidden=8", "model.decoder_hidden=8",
    "train.epochs=1", "train.threads=1", "train.tensorboard=false", "data.max_source_length=40",
]  # fmt: skip
SETS = [word for text in TINY for word in ("--set", text)]


def refused(*arguments: object, stdin: str | bytes = "") -> str:
    """Run a command that must fail with status 2, without a traceback and in one message; returns the message."""
    result = CliRunner().invoke(app, [str(a) for a in arguments], input=stdin)
    assert isinstance(result.exception, SystemExit), result.exception
    assert result.exit_code == 2, result.output
    messages = [line for line in result.stderr.splitlines() if line.startswith("antiphon: ")]
    assert len(messages) == 1 and result.stderr.rstrip().endswith(messages[0]), result.stderr
    return messages[0]


def said(message: str, *parts: object) -> None:
    for part in parts:
        assert str(part) in message, f"'{part}' is not in: {message}"


def leftovers(where: Path) -> list[str]:
    """Hidden and temporary files anywhere below."""
    marks = (".unfinished", ".partial", ".tmp", ".building")
    names = (str(path.relative_to(where)) for path in where.rglob("*"))
    return sorted(name for name in names if any(mark in name for mark in marks))


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def good_pairs() -> Path:
    return write_pairs(Path("good.tsv"))


def write_pairs(path: Path, count: int = 60) -> Path:
    draw = random.Random(1)
    texts = ["".join(draw.choice("abcdef ") for _ in range(draw.randint(3, 9))) + "x" for _ in range(count)]
    path.write_text("".join(f"{text}\t{text}\n" for text in texts), "utf-8")
    return path


def write(name: str, content: str | bytes) -> str:
    Path(name).write_bytes(content.encode() if isinstance(content, str) else content)
    return name


def not_trained(*arguments: object, stdin: str | bytes = "") -> str:
    """A training that must be refused and leave no folder behind."""
    message = refused("train", *arguments, "--out", "model", *SETS, stdin=stdin)
    assert not Path("model").exists(), sorted(map(str, Path("model").rglob("*")))
    return message


# Corpora


def test_unequal_files() -> None:
    write("text.en", "a\nb\nc\n"), write("text.de", "A\nB\n")
    said(not_trained("--train", "text.en,text.de"), "text.en:3", "text.en has 3 lines", "text.de has 2", "as many")


@pytest.mark.parametrize("content", ["", "\n\n\n", "\t\n\t\n", "a\t\nb\t \n"])
def test_empty_corpora(content: str) -> None:
    said(not_trained("--train", write("empty.tsv", content)), "empty.tsv")


def test_an_empty_file_of_sources_gives_an_empty_output(model: Path) -> None:
    result = CliRunner().invoke(app, ["generate", str(model), write("empty.txt", ""), "--out", "o.txt"])
    assert result.exit_code == 0 and Path("o.txt").read_bytes() == b"", result.output
    said(refused("evaluate", model, "--data", write("empty.tsv", "")), "empty.tsv: no text in it")


def test_empty_standard_input() -> None:
    said(not_trained("--train", "-", stdin=b""), "stdin")


@pytest.mark.parametrize(
    ("name", "content", "advice"),
    [
        ("a.tsv", b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 8, "give TSV"),
        ("a.csv", b"PK\x03\x04" + bytes(range(256)), "save the sheet as CSV"),
        ("a.tsv", "\ufeffa\tb\n".encode("utf-16"), "iconv -f UTF-16"),
        ("a.tsv", "ab\tcd\n".encode("utf-16-le") * 9, "save it as UTF-8"),
        ("a.jsonl", b"PAR1" + bytes(64), "Parquet"),
        ("a.tsv.gz", gzip.compress(b"a\tb\n" * 2000, mtime=0)[:-9], "download or copy it again"),
        ("a.tsv.gz", b"a\tb\n", "not compressed"),
    ],
)
def test_binary_and_damaged_files(name: str, content: bytes, advice: str) -> None:
    said(not_trained("--train", write(name, content)), name, advice)


@pytest.mark.parametrize(
    ("name", "content", "arguments", "parts"),
    [
        ("a.tsv", "a\tb\nc\n", [], ["a.tsv:2", "1 column where 2 are needed", "put a tab"]),
        ("a.tsv", "a\tb\n", ["--target", "5"], ["a.tsv:1", "5 are needed"]),
        ("a.csv", "english,german\na,b\n", ["--source", "englisch"], ["a.csv:1", "englisch", "did you mean 'english'"]),
        ("a.csv", "one\na\n", [], ["a.csv:1", "no column 2"]),
        ("a.csv", 'a,b\n"c,d\n', [], ["a.csv:2", "quotation mark"]),
        ("a.jsonl", '{"source": "a"}\n', [], ["a.jsonl:1", "no field 'target'"]),
        ("a.jsonl", '{"en": "a", "de": "b"}\n[1]\n', ["--source", "en", "--target", "de"], ["a.jsonl:2", "object"]),
        ("a.jsonl", "a\tb\n", [], ["a.jsonl:1", "not JSON"]),
    ],
)
def test_wrong_columns(name: str, content: str, arguments: list[str], parts: list[str]) -> None:
    said(not_trained("--train", write(name, content), *arguments), *parts)


def test_unreadable_utf8_and_nul(good_pairs: Path) -> None:
    write("latin.tsv", b"a\tb\nstra\xdfe\tstreet\n")
    said(not_trained("--train", "latin.tsv"), "latin.tsv:2", "not UTF-8", "iconv")
    said(not_trained("--train", good_pairs, "--valid", "latin.tsv"), "latin.tsv:2")
    said(not_trained("--train", "-", stdin=b"a\tb\nstra\xdfe\tstreet\n"), ":2", "not UTF-8")
    write("nul.tsv", b"a\tb\n" * 40 + b"c\0\td\n")
    said(not_trained("--train", "nul.tsv"), "nul.tsv:41", "NUL", "tr -d")


def test_missing_files() -> None:
    write("pairs.tsv", "a\tb\n")
    said(not_trained("--train", "pair.tsv"), "pair.tsv", "no such file", "did you mean pairs.tsv?")
    said(not_trained("--train", "data/pairs.tsv"), "no folder data")
    said(not_trained("--train", "text.en,text.de"), "text.en", "no such file")
    said(not_trained("--config", "mine.toml"), "mine.toml", "No such file")
    said(not_trained(), "no training data", "--train pairs.tsv")


def test_too_few_and_too_long_pairs(good_pairs: Path) -> None:
    said(not_trained("--train", write("few.tsv", "a\tb\nc\td\n")), "few.tsv", "2 pairs are too few", "data.valid")
    message = refused("train", "--train", good_pairs, "--out", "model", *SETS, "--set", "data.max_source_length=1")
    said(message, "max_source_length")
    assert not (Path("model") / "config.json").exists() and not leftovers(Path())


def test_too_long_pairs_are_left_out_and_counted(good_pairs: Path) -> None:
    with good_pairs.open("a", encoding="utf-8") as file:
        file.write(f"{'a' * 41}\tb\n" * 3)
    result = CliRunner().invoke(app, ["train", "--train", "good.tsv", "--out", "model", *SETS])
    assert result.exit_code == 0 and "left out: 3 " in result.stderr, result.stderr


# Options


@pytest.mark.parametrize(
    ("option", "parts"),
    [
        ("train.epoch=3", ["train.epoch", "did you mean 'epochs'?"]),
        ("trian.epochs=3", ["[trian]", "did you mean 'train'?"]),
        ("epochs=3", ["section.key=value"]),
        ("train.epochs", ["section.key=value"]),
        ("train.epochs=many", ["train.epochs = 'many'"]),
        ("train.label_smoothing=1.5", ["train.label_smoothing = 1.5", "less than 1"]),
        ("model.cell=lstn", ["model.cell = 'lstn'", "'lstm'"]),
        ("data.held_out=-1", ["data.held_out = -1"]),
        ("train.device=cdua", ["cdua", "cuda"]),
        ("model.heads=3", ["model.heads = 3 must divide model.attention_size = 512"]),
    ],
)
def test_options(option: str, parts: list[str], good_pairs: Path) -> None:
    said(not_trained("--train", good_pairs, "--set", option), *parts)


@pytest.mark.parametrize(
    ("toml", "parts"),
    [
        ("[train]\nlearning_rte = 1.0\n", ["mine.toml", "train.learning_rte", "did you mean 'learning_rate'?"]),
        ("[modle]\ncell = 'gru'\n", ["mine.toml", "[modle]", "did you mean 'model'?"]),
        ("epochs = 3\n", ["mine.toml", "epochs"]),
        ("model = 3\n", ["mine.toml", "[model]"]),
        ("[train]\nepochs = '3'\n", ["mine.toml", "train.epochs = '3'"]),
        ("[train\n", ["mine.toml", "not valid TOML", "line 1"]),
        ("preset = 'smal'\n", ["smal", "did you mean 'small'?"]),
        ("preset = 3\n", ["mine.toml", "preset"]),
        ("[model]\nbidirectional = false\nbridge = 'backward'\n", ["model.bridge", "model.bidirectional"]),
        (b"# \xff\n", ["mine.toml", "not UTF-8"]),
    ],
)
def test_files_of_options(toml: str | bytes, parts: list[str], good_pairs: Path) -> None:
    said(not_trained("--train", good_pairs, "--config", write("mine.toml", toml)), *parts)


@pytest.mark.parametrize("end", ["", "，好！"])
def test_a_preset_that_contradicts_the_data(end: str) -> None:
    pairs = "".join(f"今天是{n}月{end}\t你好世界{n}{end}\n" for n in "一二三四五六七八九十百千") * 2
    write("zh.tsv", pairs)
    arguments = ["--train", "zh.tsv", "--preset", "tensorflow_tutorial"]
    sets = [word for text in TINY if not text.startswith("text.") for word in ("--set", text)]
    message = refused("train", *arguments, "--out", "model", *sets)
    said(message, "text.normalise = 'tensorflow'", "zh.tsv:", "such as text.normalise = 'nfc'")
    assert not Path("model").exists()


def test_a_vocabulary_of_millions(good_pairs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "py3langid.langid", None)
    sysconf = {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": 1 << 20}  # 4 GiB
    monkeypatch.setattr(os, "sysconf", sysconf.__getitem__, raising=False)
    options = ["--preset", "sutskever2014", "--set", "text.size=5000000"]
    result = CliRunner().invoke(app, ["check", "--train", str(good_pairs), *options])
    said(result.stdout, "warning: training needs about", "this computer has 4.0 GiB", "lower text.size")


# Where the model goes


def test_an_output_folder_that_holds_something_else(good_pairs: Path) -> None:
    Path("model").mkdir()
    write("model/thesis.txt", "mine")
    said(refused("train", "--train", good_pairs, "--out", "model", *SETS), "model is not empty", "another folder")
    assert [path.name for path in Path("model").iterdir()] == ["thesis.txt"]
    said(refused("train", "--train", good_pairs, "--out", "good.tsv", *SETS), "good.tsv is a file")
    message = refused("train", "--train", good_pairs, "--out", "good.tsv/model", *SETS)
    said(message, "good.tsv")


def test_a_training_with_other_data_or_options(good_pairs: Path) -> None:
    train = ["train", "--train", str(good_pairs), "--out", "model", *SETS]
    assert CliRunner().invoke(app, train).exit_code == 0
    before = {path: path.read_bytes() for path in Path("model").rglob("*") if path.is_file()}
    said(refused(*train, "--set", "model.embedding=9"), "model", "model.embedding was 8, now 9", "another folder")
    said(refused(*train, "--set", "text.kind=bpe"), "model", 'text.kind was "char"', "another folder")
    write_pairs(good_pairs, 61)
    said(refused(*train), "model", "good.tsv has changed", "another folder")
    after = {path: path.read_bytes() for path in Path("model").rglob("*") if path.is_file()}
    assert after == before and not leftovers(Path())


# A full disk


@contextmanager
def room_for(count: int) -> Iterator[None]:
    """No file may grow beyond so many bytes."""
    resource = pytest.importorskip("resource", reason="RLIMIT_FSIZE is POSIX's")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (count, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("count", [0, 300, 700, 2_000, 6_000, 12_000, 25_000])
def test_a_full_disk_stops_a_training_which_then_goes_on(count: int, good_pairs: Path) -> None:
    arguments = ["train", "--train", str(good_pairs), "--out", "model", *SETS]
    with room_for(count):
        message = refused(*arguments)
    said(message, "the disk is full", "make room")
    assert not leftovers(Path())
    if (Path("model") / "config.json").exists():  # a whole model, at the least
        model_folder.load("model").weights()
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output


def test_a_full_disk_stops_what_is_written_to_files(model: Path) -> None:
    write("texts.txt", "abc\n" * 30)
    for option in ("--out", "--alignments"):
        with room_for(8):
            said(refused("generate", model, "texts.txt", option, "o.txt"), "o.txt: cannot be written", "make room")
        assert not Path("o.txt").exists() and not leftovers(Path())
    said(refused("generate", model, "texts.txt", "--out", "nowhere/o.txt"), "nowhere/o.txt: cannot be written: No such")
    with room_for(8):
        said(refused("generate", model, "texts.txt", "--attention", "a.png"), "a.png")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_a_full_standard_output() -> None:
    write("a.txt", "a b\n")
    command = [sys.executable, "-m", "antiphon.cli", "evaluate", "--hypotheses", "a.txt", "--references", "a.txt"]
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        done = subprocess.run([*command, "--metric", "wer"], stdout=full, stderr=subprocess.PIPE, text=True, timeout=60)
    assert done.returncode == 2
    assert done.stderr == "antiphon: the disk is full; make room and run the same command again\n"


# Model folders


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder with weights that nobody trained."""
    path = tmp_path_factory.mktemp("folder") / "model"
    options = loading.load("tiny", sets=TINY)
    tokenizer = Tokenizer.train(["abcdef x", "fed cba"], options.text, options.text.size)
    torch.manual_seed(1)
    weights = build(options.model, len(tokenizer), len(tokenizer)).named_parameters()
    model_folder.save(path, options, tokenizer, tokenizer, {name: w.detach().numpy() for name, w in weights})
    return path


@pytest.fixture
def model(trained: Path) -> Path:
    shutil.copytree(trained, "model")
    return Path("model")


@pytest.mark.parametrize("command", [["generate"], ["score"], ["evaluate", "--data", "good.tsv"]])
def test_no_model_folder(command: list[str], good_pairs: Path, model: Path) -> None:
    name, *options = command
    stdin = "" if name == "evaluate" else "a\tb\n"
    said(refused(name, "modle", *options, stdin=stdin), "modle", "no such model folder", "did you mean 'model'?")
    said(refused(name, "x/y", *options, stdin=stdin), "x/y", "no folder")
    Path("empty").mkdir()
    said(refused(name, "empty", *options, stdin=stdin), "empty: not a model folder", "antiphon train")
    said(refused(name, "good.tsv", *options, stdin=stdin), "good.tsv", "not a model folder")


def test_foreign_model_folders() -> None:
    Path("bert").mkdir()
    write("bert/config.json", '{"model_type": "bert", "architectures": ["BertModel"]}')
    said(refused("generate", "bert", stdin="a\n"), "bert", "Hugging Face transformers")
    write("model.pt", b"\x80\x02}q\x00.")
    said(refused("generate", "model.pt", stdin="a\n"), "model.pt: a pickle", "never opened")


@pytest.mark.parametrize(
    ("file", "content", "parts"),
    [
        ("config.json", None, ["no config.json"]),
        ("config.json", b'{"format": "antiphon', ["damaged", "copy the model folder again"]),
        ("config.json", b"\xff\xfe", ["config.json", "damaged"]),
        ("tokenizer.json", None, ["tokenizer.json: missing"]),
        ("tokenizer.json", b"{}", ["tokenizer.json"]),
        ("tokenizer.json", b"\x00" * 99, ["tokenizer.json"]),
        ("model.safetensors", None, ["model.safetensors: missing"]),
        ("model.safetensors", b"\x00" * 99, ["model.safetensors: damaged"]),
        ("model.safetensors", b"", ["model.safetensors: damaged"]),
    ],
)
def test_broken_model_folders(file: str, content: bytes | None, parts: list[str], model: Path) -> None:
    if content is None:
        (model / file).unlink()
    else:
        (model / file).write_bytes(content)
    said(refused("generate", model, stdin="a\n"), "model", *parts)


def test_model_folders_whose_files_do_not_fit(model: Path) -> None:
    document = json.loads((model / "config.json").read_text("utf-8"))

    def written(**changes: object) -> str:
        (model / "config.json").write_text(json.dumps(document | changes), "utf-8")
        return refused("generate", model, stdin="a\n")

    said(written(version=2), "config.json: version 2", "install a newer version")
    options = document["config"]
    said(written(config=options | {"modle": {}}), "config.json", "[modle]", "did you mean 'model'?")
    said(written(config=options | {"model": {"embeding": 8}}), "model.embeding", "did you mean 'embedding'?")
    said(written(config=options | {"model": options["model"] | {"embedding": 9}}), "model.safetensors", "shape")


# Texts, and options of a call


def test_texts_that_cannot_be_read(model: Path) -> None:
    said(refused("generate", model, stdin=b"a\nstra\xdfe\n"), "standard input:2", "not UTF-8", "iconv")
    said(refused("generate", model, write("a.txt", b"a\nb\nstra\xdfe\n"), "-o", "o.txt"), "a.txt:3", "not UTF-8")
    assert not Path("o.txt").exists() and not leftovers(Path())
    said(refused("generate", model, stdin=bytes(range(256)) * 4), "standard input", "not text")
    said(refused("generate", model, "text.txt"), "text.txt: no such file")
    said(refused("generate", model, write("a.csv", "x,y\n1,2\n"), "--source", "z"), "a.csv:1", "'z'")
    said(refused("score", model, write("one.tsv", "a\tb\nc\n")), "one.tsv:2", "1 column")
    said(
        refused("generate", model, "--prefixes", write("p.txt", "a\n"), stdin="a\nb\n"),
        "1 prefixes",
        "give one for each text",
    )


@pytest.mark.parametrize(
    ("options", "part"),
    [
        (["--beam", "0"], "beam = 0"),
        (["--nbest", "9", "--beam", "3"], "nbest = 9 is above beam = 3"),
        (["--length-penalty", "gnnt"], "'gnmt'"),
        (["--min-length", "9", "--max-length", "3"], "min_length = 9 is above max_length = 3"),
        (["--sample", "--temperature", "0"], "temperature = 0"),
        (["--sample", "--top-p", "1.5"], "top_p = 1.5"),
        (["--batch", "0"], "batch = 0"),
        (["--device", "cuad"], "cuad"),
        (["--attention", "picture.gif"], ".png or .svg"),
    ],
)
def test_options_of_a_search(options: list[str], part: str, model: Path) -> None:
    said(refused("generate", model, *options, stdin="ab\n"), part)


def test_sources_longer_than_the_limit(model: Path) -> None:
    texts = ["ab", *["a" * (41 + n) for n in range(9)]]
    result = CliRunner().invoke(app, ["generate", str(model), "--max-length", "3"], input="\n".join(texts))
    assert result.exit_code == 0 and len(result.stdout.splitlines()) == 10
    warned = [line for line in result.stderr.splitlines() if line.startswith("warning: line")]
    assert len(warned) == 5 and "line 2: the source is too long; only its first 40 pieces" in warned[0]
    assert "9 sources were longer than data.max_source_length" in result.stderr


def test_unequal_outputs_and_references() -> None:
    for name, count in {"a": 3, "b": 2, "r": 3, "s": 4}.items():
        write(name, "x\n" * count)
    evaluate = ["evaluate", "--hypotheses", "a", "--references", "r"]
    said(refused("evaluate", "--hypotheses", "b", "--references", "r"), "b: 2 lines for 3 references")
    said(refused(*evaluate, "--references", "s"), "s: 4 lines for 3")
    said(refused(*evaluate, "--against", "b"), "b: 2 lines for 3")
    said(refused(*evaluate, "--tokenize", "13b"), "'13a'")


def test_check_tells_of_everything_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "py3langid.langid", None)
    write("bad.tsv", b"a\tb\nc\nstra\xdfe\tx\nn\0\tx\n" + b"a\tb\n" * 20)
    result = CliRunner().invoke(app, ["check", "--train", "bad.tsv", "--test", "missing.tsv"])
    assert result.exit_code == 2
    said(result.stdout, "bad.tsv:2", "bad.tsv:3", "bad.tsv:4", "missing.tsv", "not UTF-8", "NUL", "column")
    assert "Traceback" not in result.output
    said(refused("check", "--preset", "tiny"), "nothing to check", "--train pairs.tsv")
