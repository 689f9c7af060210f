"""What `pip install antiphon` gives, in an environment of its own: without PyTorch, small, and quick to start.

It installs packages, so it runs only if ANTIPHON_RUNTIME is set: `make test-runtime`.
"""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from folders import saved

from antiphon.export.export import export

ROOT = Path(__file__).parents[1]
INSTALLED, START = 250 << 20, 1.0  # bytes; seconds to the first output
TEXTS = "the red bird\n\nsings loudly near the green bird\n"
PAIRS = "the red bird\tthe green bird\nsings near\tsings loudly\n"

pytestmark = pytest.mark.skipif(
    not os.environ.get("ANTIPHON_RUNTIME"), reason="installs packages; `make test-runtime` runs it"
)


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The command `antiphon` of a new environment that has the runtime alone."""
    folder = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    python = folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    pip = [str(python), "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    subprocess.run([*pip, "-c", str(ROOT / "constraints.txt"), str(ROOT)], check=True)
    return [str(python), "-m", "antiphon.cli"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An exported model without the weights that PyTorch would read."""
    path = tmp_path_factory.mktemp("model")
    saved(path, {"decoder": "input_feeding", "score": "additive", "coverage": True})
    export(path, training=[tuple(line.split("\t")) for line in PAIRS.splitlines()])  # type: ignore[misc]
    (path / "model.safetensors").unlink()
    return path


def run(program: list[str], *words: str | Path, given: str = TEXTS, cwd: Path | None = None) -> str:
    done = subprocess.run(
        [*program, *map(str, words)],
        input=given, capture_output=True, encoding="utf-8", timeout=120, cwd=cwd,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_there_is_no_pytorch_and_it_is_small(program: list[str]) -> None:
    code = """
import importlib.util, pathlib, sysconfig
for name in ("torch", "onnx", "matplotlib"):
    assert importlib.util.find_spec(name) is None, name
site = pathlib.Path(sysconfig.get_paths()["purelib"])
sizes = {}
for path in site.rglob("*"):
    name = path.relative_to(site).parts[0]
    if path.is_file() and not path.is_symlink() and name.split("-")[0] not in ("pip", "setuptools", "pkg_resources"):
        sizes[name] = sizes.get(name, 0) + path.stat().st_size
for name in sorted(sizes, key=lambda name: -sizes[name])[:12]:
    print(f"{name} {sizes[name] / 2**20:.1f} MiB")
print(sum(sizes.values()))
"""
    *parts, total = run([program[0]], "-c", code).splitlines()
    print("\n".join(parts), f"in all {int(total) / 2**20:.1f} MiB", sep="\n")
    assert int(total) < INSTALLED


OPTIONS = [
    ["--beam", "1"],
    ["--beam", "4", "--nbest", "3", "--length-penalty", "gnmt", "--alpha", "0.6", "--coverage-penalty", "0.2"],
    ["--min-length", "2", "--max-length", "6", "--block-ngrams", "2", "--no-unk"],
    ["--sample", "--temperature", "0.7", "--top-k", "5", "--top-p", "0.9", "--min-p", "0.05", "--seed", "3"],
    ["--batch", "1", "--threads", "1"],
    ["--json"],
    ["--shortlist"],
]


@pytest.mark.parametrize("engine", ["onnx", "onnx-int8"])
@pytest.mark.parametrize("options", OPTIONS, ids=" ".join)
def test_it_generates_with_every_option(program: list[str], model: Path, options: list[str], engine: str) -> None:
    found = run(program, "generate", model, *options, "--engine", engine)
    lines = 3 * (int(options[options.index("--nbest") + 1]) if "--nbest" in options else 1)
    empty = 1 if "--nbest" in options else 0
    assert len(found.splitlines()) >= 3 and len(found.splitlines()) == (lines - 2 if empty else lines)


def test_it_follows_prefixes_and_writes_alignments(program: list[str], model: Path, tmp_path: Path) -> None:
    (tmp_path / "prefixes.txt").write_text("near\n\nloudly the\n", encoding="utf-8")
    for more in ([], ["--shortlist"]):
        out = run(program, "generate", model, "--prefixes", "prefixes.txt", "--alignments", "links.txt", *more,
                  cwd=tmp_path)  # fmt: skip
        lines = out.splitlines()
        assert lines[0].startswith("near") and lines[1] == "" and lines[2].startswith("loudly the")
        assert len((tmp_path / "links.txt").read_text("utf-8").splitlines()) == 3


def test_it_scores_and_evaluates(program: list[str], model: Path, tmp_path: Path) -> None:
    (tmp_path / "pairs.tsv").write_text(PAIRS, encoding="utf-8")
    lines = run(program, "score", model, "pairs.tsv", cwd=tmp_path).splitlines()
    assert len(lines) == 2 and all(float(line.split("\t")[0]) < 0 for line in lines)
    found = run(program, "evaluate", model, "--data", "pairs.tsv", "--metric", "bleu", "--metric", "ter", "--metric",
                "chrf", "--metric", "cer", "--by-length", "--outputs", "outputs.txt", cwd=tmp_path)  # fmt: skip
    assert [line.split()[0] for line in found.splitlines()[:4]] == ["bleu", "ter", "chrf", "cer"]
    assert len((tmp_path / "outputs.txt").read_text("utf-8").splitlines()) == 2


def test_the_first_output_comes_at_once(program: list[str], model: Path) -> None:
    seconds = []
    for _ in range(5):  # the first time files are read, and byte-compiled
        begin = time.perf_counter()
        run(program, "generate", model, "--engine", "onnx-int8", given="the red bird\n")
        seconds.append(time.perf_counter() - begin)
    print(f"first output after {min(seconds):.2f} s")
    assert min(seconds) < START
