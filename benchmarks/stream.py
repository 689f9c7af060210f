"""Memory of `antiphon generate` while lines go through it from a pipe: it must not grow, and order must hold.

A tiny model of random weights runs on ONNX Runtime. Each output must begin with its line's number, which is given as a
prefix, so that lines that change places are noticed.

    python benchmarks/stream.py --lines 1000000
"""

import argparse
import json
import random
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import IO

LETTERS = "abcdefghij0123456789 "
SHARES = (0.1, 0.5, 1.0)  # of the lines, after which memory is read


def model(folder: Path) -> None:
    """A character model of random weights, exported."""
    import torch

    from antiphon import model_folder
    from antiphon.config import loading
    from antiphon.data.tokenizer import Tokenizer
    from antiphon.export import export
    from antiphon.nn.model import build

    sizes = {"embedding": 16, "encoder_hidden": 16, "decoder_hidden": 32, "attention_size": 16}
    chosen = loading.load(over={"model": sizes, "text": {"kind": "char"}})
    tokenizer = Tokenizer.train([LETTERS], chosen.text, 100)
    torch.manual_seed(1)
    made = build(chosen.model, len(tokenizer), len(tokenizer))
    weights = {name: weight.detach().numpy() for name, weight in made.named_parameters()}
    model_folder.save(folder, chosen, tokenizer, tokenizer, weights)
    export.export(folder, ["int8"])


def prefix(number: int) -> str:
    return f"{number % 1000:03}"


def feed(pipe: IO[str], lines: int) -> None:
    """Texts of all lengths to a process, as it takes them."""
    rng = random.Random(1)
    with pipe:
        for _ in range(lines):
            pipe.write("".join(rng.choices(LETTERS[:10], k=rng.randint(1, 40))) + "\n")


def resident(pid: int) -> int:
    """MiB of a process in memory."""
    status = Path(f"/proc/{pid}/status").read_text("ascii")
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS"))) // 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lines", type=int, default=100_000, help="lines that go through the pipe, at least 10")
    parser.add_argument("--growth", type=float, default=1.1, help="largest memory at the end to that after a tenth")
    options = parser.parse_args()
    if options.lines < 10 or not Path("/proc/self/status").exists():
        parser.error("at least 10 lines, on Linux: memory is read from /proc")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model(folder / "model")
        with (folder / "prefixes.txt").open("w", encoding="utf-8") as file:
            file.writelines(f"{prefix(number)}\n" for number in range(options.lines))
        command = [sys.executable, "-m", "antiphon.cli", "generate", str(folder / "model"), "--engine", "onnx-int8"]
        command += ["--beam", "1", "--max-length", "5", "--prefixes", str(folder / "prefixes.txt")]
        begin = time.perf_counter()
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8")
        assert process.stdin and process.stdout
        threading.Thread(target=feed, args=(process.stdin, options.lines), daemon=True).start()
        marks = {max(1, round(share * options.lines)): f"{share:.0%}" for share in SHARES}
        memory, ordered = {}, 0
        for number, line in enumerate(process.stdout):
            ordered += line.startswith(prefix(number))
            if number + 1 in marks:
                memory[marks[number + 1]] = resident(process.pid)
        seconds = time.perf_counter() - begin
    growth = memory.get("100%", 0) / max(1, memory.get("10%", 0))
    ok = process.wait() == 0 and ordered == options.lines and "100%" in memory and growth <= options.growth
    summary = {"command": " ".join(["python", *sys.argv]), "lines": options.lines, "in_order": ordered}
    summary |= {"resident_mib": memory, "growth": round(growth, 3), "seconds": round(seconds, 1), "ok": ok}
    print(json.dumps(summary, indent=2))
    sys.exit(not ok)


if __name__ == "__main__":
    main()
