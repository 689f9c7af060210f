"""The command line from end to end on a tiny copy task: train, generate, evaluate, score, check."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from antiphon.cli.main import app
from antiphon.seq2seq import Seq2Seq

COMMANDS = ["train", "generate", "chat", "evaluate", "score", "rerank", "check", "export", "recipe", "demo"]
TINY = [
    "text.kind=word", "text.dropout=0.0", "model.embedding=24", "model.encoder_hidden=24", "model.decoder_hidden=32",
    "model.readout_size=24", "train.epochs=4", "train.warmup=5", "train.learning_rate=0.01", "train.batch=400",
    "train.threads=1", "train.tensorboard=false", "search.max_length=9",
]  # fmt: skip
SETS = [word for text in TINY for word in ("--set", text)]
PROGRAM = [sys.executable, "-m", "antiphon.cli"]


def antiphon(*arguments: object, stdin: str | bytes = "") -> Result:
    """Run a command in this process; only an exit may leave it."""
    result = CliRunner().invoke(app, [str(a) for a in arguments], input=stdin)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def good(*arguments: object, stdin: str | bytes = "") -> Result:
    result = antiphon(*arguments, stdin=stdin)
    assert result.exit_code == 0, result.output
    return result


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    draw = random.Random(1)
    texts = [" ".join(draw.choice("abcdef") for _ in range(draw.randint(1, 5))) for _ in range(300)]
    path = tmp_path_factory.mktemp("copy") / "pairs.tsv"
    path.write_text("".join(f"{text}\t{text}\n" for text in texts), "utf-8")
    return path


@pytest.fixture(scope="module")
def training(pairs: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result]:
    out = tmp_path_factory.mktemp("models") / "copy model"
    return out, good("train", "--train", pairs, "--out", out, *SETS)


@pytest.fixture(scope="module")
def model(training: tuple[Path, Result]) -> Path:
    return training[0]


# Help and mistakes


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_every_command_explains_itself_with_examples(name: str, flag: str) -> None:
    text = good(name, flag).stdout
    assert "Examples:" in text and f"antiphon {name}" in text.split("Examples:")[1]


def test_the_program_names_its_commands() -> None:
    assert all(name in antiphon().output for name in COMMANDS)


@pytest.mark.parametrize("name", ["train", "generate", "evaluate", "score", "check"])
def test_a_command_without_arguments_shows_its_help(name: str) -> None:
    assert "Examples:" in antiphon(name).output


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["trian"], "'train'"),
        (["train", "--trian", "x.tsv"], "--train"),
        (["generate", "model", "--been", "3"], "--beam"),
        (["train", "--out", "m", "--train", "x.tsv", "--set", "trian.epochs=3"], "'train'"),
        (["train", "--out", "m", "--train", "x.tsv", "--set", "train.epoch=3"], "'epochs'"),
        (["train", "--out", "m", "--train", "x.tsv", "--preset", "bahdanau2014"], "'bahdanau2015'"),
        (["evaluate", "--hypotheses", "h", "--references", "r", "--metric", "bleurt"], "'bleu'"),
    ],
)
def test_what_is_misspelt_is_answered_with_the_near_name(
    arguments: list[str], hint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in "hr":
        Path(name).write_text("a\n", "utf-8")
    result = antiphon(*arguments)
    assert result.exit_code == 2 and hint in result.stderr and not result.stdout
    assert not Path("m").exists()


def test_the_program_starts_at_once() -> None:
    """Measured by the processor's own clock, whatever else the machine does; with a margin for slow ones."""
    program = "import os, antiphon.cli; t = os.times(); print(t.user + t.system)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert float(done.stdout) < 1.0


# train


def test_training_says_what_it_chose_and_what_to_type_next(training: tuple[Path, Result]) -> None:
    out, result = training
    assert result.stdout == ""
    assert "the data look like spellings" in result.stderr and "pieces: word, as you ask" in result.stderr
    assert "preset fast" in result.stderr and "for 300 pairs" in result.stderr
    assert f"antiphon generate '{out}'" in result.stderr
    written = json.loads((out / "config.json").read_text("utf-8"))["config"]
    assert written["preset"] == "fast" and written["train"]["metric"] == "exact_match"
    assert written["text"]["kind"] == "word" and written["model"]["encoder_hidden"] == 24
    assert "copy model" in (out / "README.md").read_text("utf-8")


def test_the_same_command_finds_the_training_finished(pairs: Path, training: tuple[Path, Result]) -> None:
    out, _ = training
    before = (out / "model.safetensors").read_bytes()
    again = good("train", "--train", pairs, "--out", out, *SETS)
    assert "finished" in again.stderr and "look like" not in again.stderr
    assert (out / "model.safetensors").read_bytes() == before


def test_files_of_options_lie_over_the_preset_and_under_set(pairs: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "first.toml", tmp_path / "second.toml"
    first.write_text(
        f'preset = "small"\n[data]\ntrain = ["{pairs.as_posix()}"]\n[train]\nseed = 5\nsteps = 1\n', "utf-8"
    )
    second.write_text("[train]\nseed = 6\n", "utf-8")
    out = tmp_path / "model"
    result = good("train", "--config", first, "--config", second, "--out", out, "--quiet", *SETS)
    assert "chosen for the data" not in result.stderr
    written = json.loads((out / "config.json").read_text("utf-8"))["config"]
    assert written["preset"] == "small" and written["train"]["seed"] == 6 and written["train"]["steps"] == 1
    assert written["data"]["train"] == [pairs.as_posix()]


def test_a_training_fits_into_its_minutes_and_keeps_its_plan(pairs: Path, tmp_path: Path) -> None:
    sets = ["--set", "train.threads=1", "--set", "train.tensorboard=false", "--set", "train.valid_sentences=5"]
    arguments = ["train", "--train", pairs, "--out", tmp_path / "model", *sets]
    first = good(*arguments, "--minutes", "0.02")
    assert "on this machine" in first.stderr
    written = json.loads((tmp_path / "model" / "config.json").read_text("utf-8"))["config"]
    assert written["train"]["minutes"] == 0.02 and written["text"]["kind"] == "word"
    plan = (tmp_path / "model" / "run" / "plan.json").read_bytes()
    again = good(*arguments, "--minutes", "0.03")
    assert "on this machine" not in again.stderr
    assert (tmp_path / "model" / "run" / "plan.json").read_bytes() == plan


def test_a_named_preset_is_taken_as_it_stands(pairs: Path, tmp_path: Path) -> None:
    arguments = ["train", "--train", pairs, "--preset", "tiny", *SETS, "--set", "train.steps=1"]
    good(*arguments, "--out", tmp_path / "model")
    written = json.loads((tmp_path / "model" / "config.json").read_text("utf-8"))["config"]
    assert written["preset"] == "tiny" and written["model"]["cell"] == "lstm" and written["train"]["metric"] == "bleu"


def test_check_says_the_kind_of_data_and_what_would_be_chosen(pairs: Path) -> None:
    text = good("check", "--train", pairs).stdout
    assert "kind of data: spellings" in text and "a training would choose" in text and "exact_match" in text
    report = json.loads(good("check", "--train", pairs, "--set", "text.kind=bpe", "--json").stdout)
    assert report["kind"] == "spellings" and report["plan"]["preset"] == "fast"
    assert [finding["name"] for finding in report["findings"] if finding["name"] == "subwords"] == ["subwords"]
    named = json.loads(good("check", "--train", pairs, "--preset", "fast", "--json").stdout)
    assert named["kind"] == "spellings" and "subwords" in [finding["name"] for finding in named["findings"]]


def test_training_reads_standard_input_and_goes_on_without_it(pairs: Path, tmp_path: Path) -> None:
    steps = ["--set", "train.steps=2"]
    arguments = ["train", "--train", "-", "--out", tmp_path / "model", *SETS, *steps]
    assert "for 300 pairs" in good(*arguments, stdin=pairs.read_bytes()).stderr
    assert "finished" in good(*arguments, stdin=b"").stderr


def heed_interrupts() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_an_interrupted_training_says_how_to_go_on(pairs: Path, tmp_path: Path) -> None:
    out = tmp_path / "model"
    sets = [*SETS, "--set", "train.epochs=100000", "--set", "train.patience=0"]
    command = [*PROGRAM, "train", "--train", str(pairs), "--out", str(out), *sets]
    # A shell starts what runs in its background with Ctrl-C ignored, and the tests may run there.
    process = subprocess.Popen(command, stderr=subprocess.PIPE, preexec_fn=heed_interrupts)
    while not list((out / "run" / "checkpoints").glob("*.safetensors")) and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert errors.decode().splitlines()[-1] == "antiphon: stopped; the same command continues"
    assert b"Traceback" not in errors


# generate


def test_generate_answers_each_line_with_a_line(model: Path) -> None:
    texts = ["a b c", "", "d", "\u2028 e f", "   ", "f" + " a" * 8]
    lines = good("generate", model, stdin="".join(f"{text}\n" for text in texts)).stdout.split("\n")
    expected = [result.text for result in Seq2Seq.load(model).generate(texts)]
    assert lines == [*expected, ""] and lines[1] == lines[4] == ""
    assert good("generate", model, "-", stdin="a b c").stdout == f"{expected[0]}\n"
    assert good("generate", model, stdin="").stdout == ""


def test_outputs_do_not_depend_on_batches_or_on_where_they_go(model: Path, tmp_path: Path, pairs: Path) -> None:
    file, out = tmp_path / "texts.txt", tmp_path / "outputs.txt"
    sources = [line.split("\t")[0] for line in pairs.read_text("utf-8").splitlines()[:20]]
    file.write_text("\n".join(sources) + "\n", "utf-8")
    printed = good("generate", model, file).stdout
    assert len(printed.splitlines()) == 20
    assert good("generate", model, file, "--batch", "1", "-o", out).stdout == ""
    assert out.read_text("utf-8") == printed
    table = tmp_path / "two.csv"
    table.write_text("x,y\n" + "".join(f"0,{source}\n" for source in sources), "utf-8")
    assert good("generate", model, table, "--source", "y").stdout == printed


def test_nbest_numbers_its_lines(model: Path) -> None:
    rows = [
        line.split("\t") for line in good("generate", model, "--nbest", "3", stdin="a b\n\nc\n").stdout.splitlines()
    ]
    assert [row[0] for row in rows] == ["1", "1", "1", "2", "3", "3", "3"]
    assert all(len(row) == 3 for row in rows)
    scores = [float(row[1]) for row in rows[:3]]
    assert scores == sorted(scores, reverse=True)


def test_json_has_all_there_is_to_know(model: Path) -> None:
    lines = good("generate", model, "--json", "--nbest", "2", stdin="a b\nc é\n").stdout.splitlines()
    results = [json.loads(line) for line in lines]
    assert len(results) == 2
    assert {"text", "score", "pieces", "source_pieces", "alignment", "candidates"} <= results[0].keys()
    assert len(results[0]["candidates"]) == 1
    assert results == [r.as_dict() for r in Seq2Seq.load(model).generate(["a b", "c é"], nbest=2)]


def test_options_of_the_search_reach_it(model: Path, tmp_path: Path) -> None:
    prefixes = tmp_path / "prefixes.txt"
    prefixes.write_text("f f\n\n", "utf-8")
    options = ["--beam", "3", "--min-length", "4", "--max-length", "6", "--length-penalty", "none", "--alpha", "0.5",
               "--no-unk", "--block-ngrams", "3", "--coverage-penalty", "0.1", "--threads", "1"]  # fmt: skip
    printed = good("generate", model, *options, "--prefixes", prefixes, stdin="a b\nc\n").stdout
    expected = Seq2Seq.load(model).generate(
        ["a b", "c"], prefixes=["f f", ""], beam=3, min_length=4, max_length=6, length_penalty="none", alpha=0.5,
        no_unk=True, block_ngrams=3, coverage_penalty=0.1,
    )  # fmt: skip
    assert printed.splitlines() == [result.text for result in expected]
    assert printed.startswith("f f") and all(4 <= len(line.split()) <= 6 for line in printed.splitlines())


def test_sampling_is_a_function_of_its_seed(model: Path) -> None:
    def drawn(seed: int) -> str:
        options = ["--sample", "--seed", str(seed), "--temperature", "3", "--top-p", "0.99", "--nbest", "4"]
        return good("generate", model, *options, stdin="a b c d\n").stdout

    assert drawn(1) == drawn(1) != drawn(2)
    refused = antiphon("generate", model, "--top-k", "3", stdin="a\n")
    assert refused.exit_code == 2 and "--top-k is for sampling: give --sample too" in refused.stderr


def test_alignments_and_the_picture_of_attention(model: Path, tmp_path: Path) -> None:
    links, picture = tmp_path / "links.txt", tmp_path / "picture.svg"
    good("generate", model, "--alignments", links, "--attention", picture, stdin="a b c\n\nd\n")
    lines = links.read_text("utf-8").split("\n")
    expected = Seq2Seq.load(model).generate(["a b c", "", "d"])
    assert lines == [" ".join(f"{s}-{t}" for t, s in r.alignment) for r in expected] + [""]
    assert "<svg" in picture.read_text("utf-8")


def test_a_pipe_that_closes_early_ends_it_quietly(model: Path) -> None:
    process = subprocess.Popen(
        [*PROGRAM, "generate", model, "--batch", "1"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdin and process.stdout and process.stderr
    process.stdin.write(b"a b\n")
    process.stdin.flush()
    assert process.stdout.readline()  # answered before the next text is there
    process.stdout.close()
    process.stdin.write(b"c d\n" * 3)
    process.stdin.close()
    assert process.wait(timeout=60) == 141
    assert process.stderr.read() == b""
    process.stderr.close()


# evaluate, score, check


def test_evaluate_measures_what_generate_writes(model: Path, pairs: Path, tmp_path: Path) -> None:
    out, references = tmp_path / "outputs.txt", tmp_path / "references.txt"
    metrics = ["--metric", "exact_match", "--metric", "cer"]
    result = good("evaluate", model, "--data", pairs, *metrics, "--json", "--by-length", "--outputs", out)
    found = json.loads(result.stdout)
    assert found["sentences"] == 300 and set(found["scores"]) == {"exact_match", "cer"}
    assert found["scores"]["cer"]["signature"].startswith("cer|nrefs:1")
    assert sum(bin["sentences"] for bin in found["by_length"]) == 300

    columns = [line.split("\t") for line in pairs.read_text("utf-8").splitlines()]
    assert out.read_text("utf-8") == good("generate", model, pairs).stdout
    references.write_text("".join(f"{target}\n" for _, target in columns), "utf-8")
    texts = ["evaluate", "--hypotheses", out, "--references", references]
    assert json.loads(good(*texts, *metrics, "--json").stdout)["scores"] == found["scores"]
    right = sum(text == target for text, (_, target) in zip(out.read_text("utf-8").splitlines(), columns, strict=True))
    assert found["scores"]["exact_match"]["value"] == pytest.approx(right / 3)


def test_evaluate_takes_all_references_of_a_target(tmp_path: Path) -> None:
    rows = [
        {"source": "a", "target": ["one two three four", "five six seven eight"]},
        {"source": "b", "target": "nine"},
    ]
    data, outputs = tmp_path / "test.jsonl", tmp_path / "outputs.txt"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    outputs.write_text("five six seven eight\nnine\n", "utf-8")
    found = good("evaluate", "--hypotheses", outputs, "--data", data, "--metric", "exact_match", "--json")
    assert json.loads(found.stdout)["scores"]["exact_match"]["value"] == 100


def test_evaluate_as_a_table_with_the_metric_of_the_training(model: Path, pairs: Path) -> None:
    lines = good("evaluate", model, "--data", pairs, "--by-length", "--beam", "1").stdout.splitlines()
    assert lines[0].startswith("bleu ") and "BLEU|nrefs:1" in lines[0] and lines[1].startswith("chrf ")
    assert any(line.split()[:2] == ["0-5", "300"] for line in lines)


def test_two_outputs_are_compared_on_the_same_sentences(tmp_path: Path) -> None:
    files = {"a": "the cat sat\n" * 20, "b": "a dog sat\n" * 20, "r": "the cat sat\n" * 20, "s": "a cat sat\n" * 20}
    for name, text in files.items():
        (tmp_path / name).write_text(text, "utf-8")
    given = ["--hypotheses", tmp_path / "a", "--against", tmp_path / "b"]
    references = ["--references", tmp_path / "r", "--references", tmp_path / "s"]
    found = json.loads(good("evaluate", *given, *references, "--metric", "wer", "--json").stdout)
    [comparison] = found["comparisons"]
    assert comparison["a"] == 0 and comparison["b"] > 0 and comparison["p_value"] < 0.01
    assert "nrefs:2" in found["scores"]["wer"]["signature"]
    assert "wer: 0.00 here, 33.33 there" in good("evaluate", *given, *references, "--metric", "wer").stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["evaluate", "--data", "x.tsv"], "either a model folder"),
        (["evaluate", "nothere"], "nothere: no such model folder"),
        (["evaluate", "--hypotheses", "h"], "--data"),
        (["evaluate", "--hypotheses", "h", "--references", "r", "--by-length"], "--by-length needs"),
    ],
)
def test_evaluate_asks_for_what_is_missing(arguments: list[str], message: str) -> None:
    result = antiphon(*arguments)
    assert result.exit_code == 2 and message in result.stderr


def test_score_gives_each_pair_its_log_probability(model: Path, tmp_path: Path) -> None:
    file = tmp_path / "pairs.tsv"
    file.write_text("a b\ta b\nc\td e f\n", "utf-8")
    expected = Seq2Seq.load(model).score(["a b", "c"], ["a b", "d e f"])
    result = good("score", model, file)
    rows = [tuple(map(float, line.split("\t"))) for line in result.stdout.splitlines()]
    for (total, each), (result_, length) in zip(rows, zip(expected, (3, 4), strict=True), strict=True):
        assert total == pytest.approx(result_.log_prob, abs=1e-4)
        assert each == pytest.approx(result_.log_prob / length, abs=1e-4)
    assert "7 pieces" in result.stderr
    piped = good("score", model, "-", "--json", stdin=file.read_bytes()).stdout
    assert [json.loads(line)["pieces"] for line in piped.splitlines()] == [r.pieces for r in expected]


def test_check_reports_and_its_status_tells_whether_to_train(
    pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "py3langid.langid", None)  # its model takes seconds to load
    report = good("check", "--train", pairs, "--test", pairs).stdout
    assert "300 pairs" in report and "parameters" in report and "are also in the training data" in report
    found = json.loads(good("check", "--train", pairs, "--preset", "base", "--json").stdout)
    assert found["ok"] and found["estimate"]["target_vocabulary"] == 16000
    assert good("check", "--train", "-", stdin=pairs.read_bytes()).stdout.startswith("training: 300 pairs in -")
    bad = tmp_path / "bad.tsv"
    bad.write_text("a\tb\nc\n", "utf-8")
    result = antiphon("check", "--train", bad)
    assert result.exit_code == 2 and f"{bad}:2" in result.stdout


@pytest.fixture(scope="module")
def talker(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that was trained on conversations."""
    folder = tmp_path_factory.mktemp("talks")
    lines = [json.dumps({"source": f"<user> {a}<model> {b}<user> {a}", "target": b}) for a in "abcd" for b in "efgh"]
    (folder / "talks.jsonl").write_text("\n".join(lines), encoding="utf-8")
    good("train", "--train", folder / "talks.jsonl", "--out", folder / "m", *SETS, "--set", "dialogue.turns=3")
    return folder / "m"


def test_chat_answers_each_line_and_remembers(talker: Path) -> None:
    first = good("chat", talker, stdin="a\nb\n").stdout.splitlines()
    assert len(first) == 2
    forgotten = good("chat", talker, "--json", stdin="c\n/reset\na\n/quit\nb\n").stdout.splitlines()
    assert [json.loads(line)["text"] for line in forgotten][1:] == first[:1]
    read = json.loads(good("chat", talker, "--json", stdin="a\nb\n").stdout.splitlines()[1])["source_pieces"]
    assert [piece for piece in read if piece in ("<user>", "<model>")][:3] == ["<user>", "<model>", "<user>"]


def test_chat_needs_a_model_of_conversations(model: Path) -> None:
    result = antiphon("chat", model, stdin="a\n")
    assert result.exit_code == 2 and "was not trained on conversations" in result.stderr
    result = antiphon("chat", model, "--top-k", 3, stdin="a\n")
    assert result.exit_code == 2 and "--top-k is for sampling" in result.stderr


def test_an_ensemble_of_equal_models_is_the_model(model: Path, pairs: Path) -> None:
    texts = "a b\nc\n"
    alone = good("generate", model, stdin=texts).stdout
    assert good("generate", model, "--with", model, "--shares", "1,3", stdin=texts).stdout == alone
    scores = [[float(n) for n in line.split()] for line in good("score", model, pairs).stdout.splitlines()]
    both = [
        [float(n) for n in line.split()] for line in good("score", model, pairs, "--with", model).stdout.splitlines()
    ]
    assert [n for row in both for n in row] == pytest.approx([n for row in scores for n in row], abs=1e-3)
    for words, message in (
        (["--shares", "1,2"], "--shares is for ensembles"),
        (["--with", model, "--shares", "1"], "1 weights for 2 models"),
        (["--with", model, "--shares", "x,1"], "write a number for each model"),
    ):
        result = antiphon("generate", model, *words, stdin=texts)
        assert result.exit_code == 2 and message in result.stderr


def test_rerank_chooses_among_a_list(model: Path, tmp_path: Path) -> None:
    texts, listed = tmp_path / "texts.txt", tmp_path / "list.tsv"
    texts.write_text("a b c\nd e\n", encoding="utf-8")
    listed.write_text("1\t0\tf f f f\n1\t-0.1\ta b c\n2\t-0.1\td e\n2\t0\ta a a a a\n", encoding="utf-8")
    assert good("rerank", model, listed, "--sources", texts).stdout == "a b c\nd e\n"
    assert good("rerank", model, listed, "--sources", texts, "--weight", 0).stdout == "f f f f\na a a a a\n"
    lines = good("rerank", model, listed, "--sources", texts, "--nbest", 2, "--reverse").stdout.splitlines()
    assert [line.split("\t")[0] for line in lines] == ["1", "1", "2", "2"]
    for words, message in (
        (["--weight", 2], "a share from 0 to 1"),
        (["--sources", listed], "no candidate for source 3"),
    ):
        result = antiphon("rerank", model, listed, "--sources", texts, *words)
        assert result.exit_code == 2 and message in result.stderr


def test_phrases_and_risk_on_the_command_line(model: Path, tmp_path: Path) -> None:
    texts, wanted = tmp_path / "texts.txt", tmp_path / "wanted.tsv"
    texts.write_text("a b\nc d\n", encoding="utf-8")
    wanted.write_text("f\te\n\n", encoding="utf-8")
    held = good("generate", model, texts, "--wanted", wanted).stdout.splitlines()
    assert {"e", "f"} <= set(held[0].split())
    kept = good("generate", model, texts, "--ban", "a", "--ban", "c").stdout
    assert not {"a", "c"} & set(kept.split())
    both = good("generate", model, texts, "--ban", "d", "--unwanted", wanted).stdout.splitlines()
    assert "d" not in both[1].split()
    assert len(good("generate", model, texts, "--mbr", 4, "--utility", "bleu").stdout.splitlines()) == 2
    listed = good("generate", model, texts, "--beam", 4, "--groups", 2, "--nbest", 4).stdout.splitlines()
    assert {line.split("\t")[0] for line in listed} == {"1", "2"} and len(set(listed)) == len(listed) > 2
    for words, message in (
        (["--utility", "bleu"], "--utility is for --mbr"),
        (["--mbr", 1], "2 or more"),
        (["--mbr", 4, "--utility", "blue"], "no utility is called 'blue'"),
        (["--groups", 2], "cannot be divided"),
    ):
        result = antiphon("generate", model, texts, *words)
        assert result.exit_code == 2 and message in result.stderr, words
