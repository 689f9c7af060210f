"""The house's order: a module imports only from modules above it, and the runtime needs no PyTorch."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "antiphon"

ORDER = [
    "errors", "cells", "config", "sizes", "vocabulary", "text", "slots", "lines", "corpus",
    "inspection", "store", "batches",
    "prepare", "engine", "ensemble", "hypothesis", "strategy", "phrases", "search", "writing",
    "metrics", "significance", "report", "folder", "average",
    "shortlist", "onnx_engine", "result", "mbr", "nn.dropout", "nn.native", "nn.light", "nn.pointwise", "nn.recurrence",
    "nn.recurrent_attention", "nn.recurrent", "nn.attention", "nn.copying", "nn.encoder", "nn.decoder", "nn.kernels",
    "nn.initialise", "nn.model",
    "torch_engine", "seq2seq", "rerank", "dialogue", "progress", "machine", "optim", "checkpoint", "log",
    "validate", "vectors", "start", "risk", "run", "train", "tune",
    "onnx_graph", "onnx_model", "export", "recipe", "fetch", "multireference", "tones", "corpora.measure",
    "corpora.rows", "corpora.rouge", "corpora.aeslc", "corpora.anki", "corpora.babi", "corpora.cmudict",
    "corpora.couplets", "corpora.deal", "corpora.e2e", "corpora.parts", "corpora.rnnlg", "corpora.scan",
    "corpora.scitldr", "corpora.sigmorphon2020", "corpora.small_enja", "corpora.xdailydialog",
    "pictures", "scoring", "experiment", "comparison",
    "dates", "demo", "options", "guard", "output", "program", "make_commands",
    "use_commands", "recipe_commands", "cli",
]  # fmt: skip

# What a user of a trained model imports; it must not need the extra `train`.
RUNTIME = [
    "errors", "cells", "config", "sizes", "vocabulary", "text", "slots", "lines", "corpus",
    "inspection", "store", "batches",
    "prepare", "engine", "ensemble", "hypothesis", "strategy", "phrases", "search", "writing",
    "metrics", "significance", "report", "folder", "average",
    "shortlist", "onnx_engine", "result", "mbr", "seq2seq", "progress",
    "options", "guard", "output", "program",
    "make_commands", "use_commands", "recipe_commands", "cli",
]  # fmt: skip


def modules() -> dict[str, Path]:
    """Module names without the package's, and their files."""
    files = (path for path in PACKAGE.rglob("*.py") if path.name != "__init__.py")
    return {".".join(path.relative_to(PACKAGE).with_suffix("").parts): path for path in files}


def imported(path: Path) -> set[str]:
    """The modules of the package that a file imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: imports are absolute"
            module = node.module or ""
            inside = module in ("antiphon", "antiphon.corpora", "antiphon.nn")
            names = [f"{module}.{alias.name}" for alias in node.names] if inside else [module]
        found |= {name.removeprefix("antiphon.") for name in names if name.startswith("antiphon.")}
    return found & modules().keys()


def test_the_order_names_every_module_once() -> None:
    assert sorted(ORDER) == sorted(modules())


@pytest.mark.parametrize("name", ORDER)
def test_imports_point_upwards(name: str) -> None:
    if name not in modules():
        pytest.fail(f"antiphon/{name} is not there; take it out of the order")
    below = imported(modules()[name]) - set(ORDER[: ORDER.index(name)])
    assert not below, f"antiphon.{name} imports what is not above it: {', '.join(sorted(below))}"


def test_the_order_test_sees_imports_of_every_form(tmp_path: Path) -> None:
    path = tmp_path / "module.py"
    path.write_text(
        "import antiphon.text\nfrom antiphon import config, __version__\nfrom antiphon.nn import model\n"
        "def late():\n    from antiphon.nn.decoder import Decoder\n    import json\n",
        "utf-8",
    )
    assert imported(path) == {"text", "config", "nn.model", "nn.decoder"}


def test_the_runtime_imports_without_pytorch() -> None:
    program = "\n".join(
        [
            "import sys",
            "blocked = ('torch', 'matplotlib', 'babel', 'tensorboard', 'sacremoses')",
            "sys.modules.update(dict.fromkeys(blocked))",
            *(f"import antiphon.{name}" for name in RUNTIME),
            "from antiphon import Seq2Seq",
        ]
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_the_command_line_starts_without_what_only_commands_need() -> None:
    program = "import sys, antiphon.cli; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    heavy = {"torch", "matplotlib", "sacrebleu", "tokenizers", "pydantic", "numpy", "babel"}
    assert not heavy & set(done.stdout.split())
