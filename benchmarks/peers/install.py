"""Install the peers, each in a virtual environment of its own below the folder that ANTIPHON_PEERS names.

    make peers
    python -m benchmarks.peers.install eole ct2

They are pinned, so that rows stay comparable, and helped where they do not start by themselves: OpenNMT-py asks for an
older PyTorch and for packages it does not need here, so its own requirements are passed over.
"""

import subprocess
import sys
import venv
from pathlib import Path

from benchmarks.systems import peers_folder

TORCH = [["torch==2.13.0"]]
COMMANDS: dict[str, list[list[str]]] = {
    "onmt": [
        *TORCH,
        ["--no-deps", "OpenNMT-py==3.5.1"],
        [
            "configargparse==1.9.0", "sacrebleu==2.6.0", "pyonmttok==1.38.1", "tensorboard==2.21.0", "flask==3.1.3",
            "waitress==3.0.2", "pyyaml==6.0.3", "rapidfuzz==3.14.6", "six==1.17.0", "ctranslate2==4.8.5",
            "sentencepiece==0.2.3",
        ],
    ],
    "eole": [*TORCH, ["eole==0.6.4", "aiohttp==3.14.5"]],
    "joey": [*TORCH, ["joeynmt==2.3.0", "importlib_metadata==10.2.0"]],
    "ct2": [["ctranslate2==4.8.5"]],
}  # fmt: skip


def install(name: str) -> bool:
    """Install one peer; return whether it worked."""
    folder = peers_folder() / name
    print(f"{name}: installing into {folder}", file=sys.stderr)
    if not (folder / "pyvenv.cfg").is_file():
        venv.create(folder, with_pip=True)
    python = next(path for path in (folder / "bin/python", folder / "Scripts/python.exe") if path.exists())
    for packages in COMMANDS[name]:
        command = [str(python), "-m", "pip", "--disable-pip-version-check", "install", "--quiet", *packages]
        if subprocess.run(command).returncode:
            print(f"{name}: could not be installed; its cells will say so", file=sys.stderr)
            return False
    return True


def main(names: list[str]) -> int:
    unknown = [name for name in names if name not in COMMANDS]
    if unknown:
        print(f"error: no peer is called '{unknown[0]}'; there are {', '.join(COMMANDS)}", file=sys.stderr)
        return 2
    Path(peers_folder()).mkdir(parents=True, exist_ok=True)
    done = [install(name) for name in names or COMMANDS]
    return 0 if all(done) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
