"""The pure parts of the benchmark; measuring itself needs peers and minutes."""

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from antiphon.config import loading, sections
from antiphon.config.memory import parameters
from antiphon.errors import UserError
from antiphon.nn.model import build
from benchmarks import bench, material, picture, process, shapes, systems, table
from benchmarks.measure import QUICK, Bench, write
from benchmarks.peers.antiphon import sets
from benchmarks.peers.watch import Over, Watch, translate, words
from benchmarks.rows import Goal, Row, all_rows
from benchmarks.spread import percentile, ratio, spread
from benchmarks.systems import System

TINY = shapes.Shape("small", 6, 5, 2, 10, 1, attention=7, vocabulary=30)
DEEP = shapes.Shape("large", 8, 8, 1, 8, 3, attention=0, vocabulary=30, decoder="initial", readout="linear")


def model_options(shape: shapes.Shape) -> sections.Model:
    return loading.load(sets=sets(shape.as_dict())).model


# Operations and weights


@pytest.mark.parametrize("shape", [TINY, DEEP, shapes.SMALL, shapes.LARGE])
def test_weights_are_those_of_the_model_that_is_configured(shape: shapes.Shape) -> None:
    assert shapes.weights(shape) == parameters(model_options(shape), shape.vocabulary, shape.vocabulary)


@pytest.mark.parametrize("shape", [TINY, DEEP])
def test_decoding_operations_are_those_that_pytorch_counts(shape: shapes.Shape) -> None:
    S, T = 9, 4
    model = build(model_options(shape), shape.vocabulary, shape.vocabulary).eval()
    with torch.no_grad():
        memory, state = model.encode(torch.full((1, S), 5))
        with FlopCounterMode(display=False) as counter:
            for _ in range(T):
                _, state, _ = model.step(torch.full((1, 1), 5), state, memory)
    parts = shapes.products(shape, [S], [T])
    keys = shape.attention * shape.encoder_hidden * shape.directions * S / T  # made by the encoder, once a sentence
    mine = sum(parts.values()) - parts["encoder"] - keys
    assert counter.get_total_flops() == pytest.approx(2 * T * mine)


@pytest.mark.parametrize("shape", [TINY, DEEP])
def test_encoder_operations_are_its_matrices_once_a_source_piece(shape: shapes.Shape) -> None:
    model = build(model_options(shape), shape.vocabulary, shape.vocabulary, draw=False)
    matrices = sum(weight.numel() for weight in model.encoder.parameters() if weight.dim() == 2)
    assert shapes.products(shape, [6, 3], [2, 4])["encoder"] == pytest.approx(matrices * 9 / 6)


def test_attention_operations_grow_with_each_pair_and_not_with_the_means() -> None:
    split = shapes.products(TINY, [10, 2], [2, 10])["attention"]
    even = shapes.products(TINY, [6, 6], [6, 6])["attention"]
    memory = TINY.encoder_hidden * TINY.directions
    assert even - split == pytest.approx((72 - 40) / 12 * (TINY.attention + memory))


def test_training_is_three_passes_of_two_operations() -> None:
    forward = sum(shapes.products(TINY, [4], [5]).values())
    assert shapes.training_operations(TINY, [4], [5]) == pytest.approx(6 * forward)


# Medians and ratios


def test_spread_and_percentiles() -> None:
    assert spread([3.0, 1.0, 2.0]) == (2.0, 1.0, 3.0)
    values = [float(i) for i in range(1, 201)]
    assert percentile(values, 0.5) == 100 and percentile(values, 0.95) == 190
    assert percentile([7.0], 0.5) == percentile([7.0], 0.95) == 7


def test_ratios_are_of_the_same_rounds() -> None:
    ours, theirs = {0: 10.0, 1: 30.0, 2: 8.0}, {0: 5.0, 1: 10.0, 3: 1.0}
    assert ratio(ours, theirs) == 2.5
    assert ratio(ours, theirs, higher=False) == pytest.approx((0.5 + 1 / 3) / 2)
    assert ratio({0: 1.0}, {1: 1.0}) is None


# The clock of a training


def clocked(job: dict[str, Any], pieces: list[int], at: list[float], monkeypatch: pytest.MonkeyPatch) -> Watch:
    times = iter(at)
    monkeypatch.setattr(time, "perf_counter", lambda: next(times))
    watch = Watch({"warmup": 2, "least": 1, "seconds": 5.0} | job)
    with pytest.raises(Over):
        for some in pieces:
            watch.begin(some)
    return watch


def test_steady_state_leaves_out_the_warm_up(monkeypatch: pytest.MonkeyPatch) -> None:
    watch = clocked({}, [100, 100, 7, 8, 9], [0.0, 9.0, 10.0, 12.0, 16.0], monkeypatch)
    assert watch.result() == {"updates": 2, "pieces": 15, "seconds": 6.0, "warmup_seconds": 10.0}


def test_a_budget_counts_from_the_first_update(monkeypatch: pytest.MonkeyPatch) -> None:
    watch = clocked({"budget": 3.0}, [5, 6, 7], [1.0, 2.0, 4.5], monkeypatch)
    assert watch.result() == {"updates": 2, "pieces": 11, "seconds": 3.5, "warmup_seconds": 0.0}


def test_translating_is_timed_after_a_warm_up() -> None:
    asked: list[list[str]] = []

    def upper(lines: list[str]) -> list[str]:
        asked.append(lines)
        return [line.upper() for line in lines]

    bulk = translate({"warmup": 1, "single": False}, ["a b", "c"], upper, words)
    assert (bulk["outputs"], bulk["pieces"], bulk["sentences"]) == (["A B", "C"], 3, 2)
    assert asked == [["c"], ["a b", "c"]]
    single = translate({"warmup": 0, "single": True}, ["a b", "c"], upper, words)
    assert single["outputs"] == ["A B", "C"] and len(single["milliseconds"]) == 2
    assert asked[2:] == [["a b"], ["c"]]


# Processes


def job_of(program: str, tmp_path: Path, timeout: float = 20.0) -> process.Unit:
    module = tmp_path / "bench_job.py"
    module.write_text("import json, sys\njob = json.load(open(sys.argv[1], encoding='utf-8'))\n" + program, "utf-8")
    run = f"import runpy, sys; sys.argv = sys.argv[1:]; runpy.run_path({str(module)!r}, run_name='__main__')"
    launcher = tmp_path / "python"
    launcher.write_text(f'#!/bin/sh\nexec {sys.executable} -c "{run}" "$2" "$3"\n', "utf-8")
    launcher.chmod(0o755)
    log = tmp_path / "log"
    return process.run(launcher, "bench_job", {"threads": 1, "x": 3}, log, timeout, openmp=True)


def test_start_up_is_timed_to_the_first_line(tmp_path: Path) -> None:
    echo = "import sys, time; print(input(), flush=True); time.sleep(0.5); print('later')"
    began = time.perf_counter()
    seconds = process.first_line([sys.executable, "-c", echo], "a", os.environ, tmp_path / "log", 20.0)
    assert 0 < seconds < time.perf_counter() - began - 0.4
    with pytest.raises(process.Failed, match="NameError"):
        process.first_line([sys.executable, "-c", "nothing"], "a", os.environ, tmp_path / "log", 20.0)


@pytest.mark.skipif(os.name == "nt", reason="the stand-in for a peer's Python is a shell script")
def test_a_process_gives_its_result_or_its_reason(tmp_path: Path) -> None:
    write = "import os\njson.dump([job['x'], os.environ['OMP_NUM_THREADS']], open(job['result'], 'w'))"
    unit = job_of(write, tmp_path)
    assert list(unit.result) == [3, "1"]
    with pytest.raises(process.Failed, match="KeyError: 'y'"):
        job_of("job['y']", tmp_path)
    with pytest.raises(process.Failed, match="without a result"):
        job_of("pass", tmp_path)
    with pytest.raises(process.Failed, match="stopped after"):
        job_of("import time; time.sleep(60)", tmp_path, timeout=0.2)


def test_a_peer_that_is_not_installed_leaves_its_cell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(systems.PEERS, str(tmp_path / "none"))
    ids = tmp_path / "multi30k"
    ids.mkdir()
    for name in ("test.en", "test.src"):
        (ids / name).write_text("1 2\n", "utf-8")
    text = material.Material(ids, None, [3], [3])  # type: ignore[arg-type]
    row = next(row for row in all_rows() if row.key == "greedy")
    results = {"rows": {"greedy": table.empty(row)}}
    measured = Bench(tmp_path, text, QUICK)
    for system in (systems.ONMT, systems.EOLE, systems.CT2):
        bench.fill(measured, row, 0, system, results)
        cell = results["rows"]["greedy"]["cells"][system.name]
        assert (cell["reason"], cell["values"]) == ("not installed", {})


# The table


def results_of(values: dict[str, dict[str, float]], goals: list[Goal], key: str = "train-small") -> dict[str, Any]:
    row = Row(key, "training", "tokens/s", "all alike", [System(name, key=name[:1].lower()) for name in values], goals)
    made = table.empty(row)
    for name, cell in made["cells"].items():
        cell["own"] = name.startswith("Antiphon")
        cell["values"] = values[name]
        cell["peaks"] = dict.fromkeys(values[name], 2 * 2**30)
        cell["details"] = {number: {"weights": 1000, "updates": 7} for number in values[name]}
        cell["reason"] = "" if values[name] else "not installed"
    machine = {"processor": "A processor", "cores": 2, "threads": 2, "memory_gib": 8.0, "instructions": ["avx2"]}
    return {
        "command": "python -m benchmarks.bench", "commit": "abc", "date": "2026-01-01", "versions": {"torch": "2"},
        "machine": machine | {"system": "Linux", "python": "3"}, "operations": {"small": 1e6}, "weights": {"small": 9},
        "limit": [{"float32": {"square": 4e10, "flat": 1e10}, "bfloat16": {"square": 8e10, "flat": 1e10}}],
        "rows": {key: made},
    }  # fmt: skip


def test_the_table_has_medians_ratios_limits_and_reasons() -> None:
    rounds = {"Antiphon": {"0": 4000.0, "1": 6000.0}, "Eole": {"0": 1000.0, "1": 1200.0}, "Gone": {}}
    text = table.render(results_of(rounds, [Goal(times=4), Goal(times=5, over="Eole"), Goal(times=1, over="Gone")]))
    goals = "4 x Eole: reached; 5 x Eole: not reached; 1 x Gone: not measured"
    assert (
        f"| training | tokens/s | 5,000 (Antiphon) | 5,000 (Antiphon) | 1,100 (Eole) | 4.50 | 4.50 | {goals} |" in text
    )
    assert "| Antiphon | 5,000 (4,000 - 6,000) | 1,000 | 7 | 12% | 2.00 | 4.50 |" in text  # 5e3 x 1e6 / 4e10
    assert "| Gone | not installed |" in text
    assert "| square | 40 | 80 |" in text
    assert (
        "| peak memory, training small | GiB | 2.00 (Antiphon) | 2.00 (Antiphon) | 2.00 (Eole) | 1.00 | 1.00 | 1.5: not"
        in text
    )


def test_the_summary_has_the_peers_network_beside_our_best() -> None:
    preset, small = "Antiphon, preset fast", "Antiphon, shape small"
    text = table.render(results_of({preset: {"0": 36.0}, small: {"0": 6.0}, "Eole": {"0": 12.0}}, [Goal(value=33)]))
    assert f"| 36.0 ({preset}) | 6.00 ({small}) | 12.0 (Eole) | 3.00 | 0.50 | 33: reached |" in text


def test_lower_is_better_where_the_row_says_so() -> None:
    results = results_of({"Antiphon": {"0": 2.0}, "Eole": {"0": 6.0}}, [Goal(value=3)], "single")
    results["rows"]["single"]["higher"] = False
    assert "| 2.00 (Antiphon) | 2.00 (Antiphon) | 6.00 (Eole) | 3.00 | 3.00 | 3: reached |" in table.render(results)


def test_the_picture_is_drawn_from_what_was_measured(tmp_path: Path) -> None:
    path = tmp_path / "results.png"
    picture.draw(results_of({"Antiphon": {"0": 2.0, "1": 3.0}, "Gone": {}}, [Goal(value=3)]), path)
    assert path.read_bytes().startswith(b"\x89PNG")


# The command


def test_results_survive_as_json(tmp_path: Path) -> None:
    results = results_of({"Antiphon": {"0": 4.0}, "Eole": {"0": 1.0}}, [])
    write(tmp_path / "results.json", results)
    again = json.loads((tmp_path / "results.json").read_text("utf-8"))
    assert table.render(again) == table.render(results)
    assert [path.name for path in tmp_path.iterdir()] == ["results.json"]


def test_without_data_the_benchmark_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("ANTIPHON_DATA", raising=False)
    monkeypatch.setattr(sys, "argv", ["bench", "--quick", "--work", str(tmp_path)])
    with pytest.raises(SystemExit) as ended:
        bench.main()
    assert ended.value.code == 2 and "ANTIPHON_DATA is not set" in capsys.readouterr().err


def test_results_name_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["--rows", "bleu", "--work", "/a b", "--out=/c", "--quick"]
    assert bench.command(words) == "python -m benchmarks.bench --rows bleu --quick"
    monkeypatch.setenv(systems.PEERS, "/opt/others")
    text = f"{tmp_path}/models: missing; /opt/others/eole/x.py: wrong"
    assert bench.without_paths(text, tmp_path) == "WORK/models: missing; PEERS/eole/x.py: wrong"


def test_unknown_rows_are_refused() -> None:
    with pytest.raises(UserError, match="no row is called so; there are train-small"):
        bench.chosen(bench.arguments(["--rows", "beam,speed"]), QUICK)


def test_the_corpus_is_the_same_for_everybody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import gzip

    raw = tmp_path / "data" / "multi30k" / "raw"
    raw.mkdir(parents=True)
    for name in material.PARTS.values():
        for side, text in (("en", "A dog runs.\nTwo cats\n"), ("de", "Ein Hund rennt.\nZwei Katzen\n")):
            (raw / f"{name}.{side}.gz").write_bytes(gzip.compress(text.encode()))
    monkeypatch.setenv("ANTIPHON_DATA", str(tmp_path / "data"))
    made = material.make(tmp_path, ["text.size=300", "text.joint=true"])
    lines = made.lines("train.tgt")
    assert [made.text(line) for line in lines] == ["Ein Hund rennt.", "Zwei Katzen"]
    assert made.target_lengths == [len(line.split()) + 1 for line in lines]
    vocabulary = made.lines("vocabulary.txt")
    assert len(vocabulary) + 4 == len(made.tokenizer) and set(" ".join(lines).split()) <= set(vocabulary)
    assert made.pair("test").endswith("test.de")
