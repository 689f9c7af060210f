"""What imports what: the runtime needs no PyTorch, and the command line starts without what only commands need.

The order among packages and modules is the contract in pyproject.toml, which `make check` holds with import-linter.
"""

import subprocess
import sys
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "antiphon"

# What a user of a trained model does without: training, and what it needs.
TRAINING = ("nn.", "training.", "recipes.", "demo.", "export.", "decoding.torch_engine")
EXPORT = ["export.export", "export.parity"]  # the command begins here; only the graphs need onnx


def modules() -> list[str]:
    """All modules, without the package's name."""
    files = (path.relative_to(PACKAGE).with_suffix("") for path in sorted(PACKAGE.rglob("*.py")))
    return [".".join(path.parts) for path in files if not path.name.startswith("__")]


def test_the_runtime_imports_without_pytorch() -> None:
    runtime = [name for name in modules() if not name.startswith(TRAINING)] + EXPORT
    assert {"seq2seq", "chat", "cli.main", "data.prepare", "decoding.onnx_engine"} <= set(runtime)
    program = "\n".join(
        [
            "import sys",
            "blocked = ('torch', 'matplotlib', 'babel', 'tensorboard', 'sacremoses', 'onnx')",
            "sys.modules.update(dict.fromkeys(blocked))",
            *(f"import antiphon.{name}" for name in runtime),
            "from antiphon import Seq2Seq",
        ]
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_the_command_line_starts_without_what_only_commands_need() -> None:
    program = "import sys, antiphon.cli.main; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    heavy = {"torch", "matplotlib", "sacrebleu", "tokenizers", "pydantic", "numpy", "babel"}
    assert not heavy & set(done.stdout.split())
