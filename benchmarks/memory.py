"""Peak memory of preparing a large corpus and of reading one epoch of it for training.

    python benchmarks/memory.py --pairs 5000000

Pairs are generated as the preparing process reads them, through a pipe, so that no large file is needed for them. Both
stages run in processes of their own. A sampler sums what the process and all its children hold: `rss` counts resident
pages, those of memory-mapped files included, though the system takes these back whenever it likes; `anonymous` counts
what must stay. The sampler needs Linux; elsewhere only the largest single process is known (`largest_process`). The
command fails if a stage's resident memory is over the limit.
"""

import argparse
import json
import platform
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

MIB = 1 << 20
LETTERS = "etaoinshrdlucmfwypvbgkjqxz"


def vocabulary(rng: random.Random, size: int) -> list[str]:
    weights = [1 / (i + 1) for i in range(len(LETTERS))]
    return ["".join(rng.choices(LETTERS, weights, k=rng.randint(2, 9))) for _ in range(size)]


def generate(pairs: int) -> None:
    """Write TSV pairs of about 12 words a side, the words spread as in a language (Zipf), to standard output."""
    rng = random.Random(1)
    sides = [vocabulary(rng, 50_000) for _ in range(2)]
    cumulative: list[float] = []
    for i in range(50_000):
        cumulative.append((cumulative[-1] if cumulative else 0.0) + 1 / (i + 10))
    for _ in range(pairs):
        length = max(1, round(rng.gammavariate(8, 1.5)))
        texts = (rng.choices(words, cum_weights=cumulative, k=max(1, length + rng.randint(-2, 2))) for words in sides)
        sys.stdout.write("\t".join(map(" ".join, texts)) + "\n")


def prepare(folder: Path) -> dict[str, Any]:
    from antiphon.config import loading
    from antiphon.data.prepare import prepare as prepare_data

    prepared = prepare_data(folder, loading.load(over={"data": {"train": ["-"]}}))
    return {"pairs": len(prepared.train), "valid": len(prepared.valid), "vocabulary": len(prepared.source)}


def epoch(folder: Path) -> dict[str, Any]:
    """One epoch of training's input side: order, ids and padded arrays of every batch."""
    from antiphon.data.batches import epoch_batches, pad
    from antiphon.data.store import Store
    from antiphon.data.tokenizer import BOS, EOS

    store = Store.open(folder / "train")
    begin = time.perf_counter()
    batches = epoch_batches(*store.lengths(), size=4096, unit="tokens", seed=1, epoch=1)
    ordered = time.perf_counter() - begin
    real = padded = 0
    for rows in batches:
        sources, targets = store.pairs(rows)
        for array in (pad(sources, eos=EOS), pad(targets, bos=BOS, eos=EOS)):
            real, padded = real + int((array != 0).sum()), padded + array.size
    return {"batches": len(batches), "seconds_to_order": round(ordered, 1), "real_tokens": round(real / padded, 3)}


def family(pid: int) -> list[int]:
    """A process and its children, theirs included."""
    try:
        tasks = list(Path(f"/proc/{pid}/task").glob("*/children"))
        children = [int(child) for task in tasks for child in task.read_text("ascii").split()]
    except OSError:
        return []
    return [pid, *(p for child in children for p in family(child))]


def sample(pid: int) -> tuple[int, int]:
    """Resident and anonymous bytes of a process and its children."""
    rss = anonymous = 0
    for member in family(pid):
        try:
            status = Path(f"/proc/{member}/status").read_text("utf-8")
        except OSError:  # ended meanwhile
            continue
        fields = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
        rss += int(fields.get("VmRSS", "0 kB").split()[0]) << 10
        anonymous += int(fields.get("RssAnon", "0 kB").split()[0]) << 10
    return rss, anonymous


def measure(stage: str, folder: Path, pairs: int) -> dict[str, Any]:
    """Run a stage in a process of its own and watch it."""
    command = [sys.executable, __file__, "--stage", stage, "--folder", str(folder)]
    feed = [sys.executable, __file__, "--stage", "generate", "--pairs", str(pairs)]
    begin = time.perf_counter()
    source = subprocess.Popen(feed, stdout=subprocess.PIPE) if stage == "prepare" else None
    process = subprocess.Popen(command, stdin=source.stdout if source else None, stdout=subprocess.PIPE)
    rss = anonymous = 0
    while process.poll() is None:
        now = sample(process.pid)
        rss, anonymous = max(rss, now[0]), max(anonymous, now[1])
        time.sleep(0.05)
    assert process.stdout
    result: dict[str, Any] = json.loads(process.stdout.read() or "{}")
    if source and source.stdout:
        source.stdout.close()
    if process.returncode or (source and source.wait()):
        raise SystemExit(f"the stage {stage} failed")
    peaks = {"rss_mib": rss // MIB, "anonymous_mib": anonymous // MIB, "largest_process_mib": result.pop("self_mib")}
    return result | peaks | {"seconds": round(time.perf_counter() - begin, 1)}


def run_stage(stage: str, folder: Path, pairs: int) -> None:
    if stage == "generate":
        generate(pairs)
        return
    result = {"prepare": prepare, "epoch": epoch}[stage](folder)
    unit = 1 if platform.system() == "Darwin" else 1 << 10
    usages = (resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    print(json.dumps(result | {"self_mib": max(usages) * unit // MIB}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=200_000, help="pairs to generate")
    parser.add_argument("--limit", type=int, default=1024, help="largest resident memory, MiB")
    parser.add_argument("--stage", choices=["generate", "prepare", "epoch"], help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help="where the data go; default: a temporary folder")
    options = parser.parse_args()
    if options.stage:
        run_stage(options.stage, options.folder, options.pairs)
        return
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        stages = {stage: measure(stage, Path(folder), options.pairs) for stage in ("prepare", "epoch")}
    worst = max(max(s["rss_mib"], s["largest_process_mib"]) for s in stages.values())
    summary = {"command": " ".join(["python", *sys.argv]), "pairs": options.pairs, "limit_mib": options.limit}
    print(json.dumps(summary | stages | {"ok": worst <= options.limit}, indent=2))
    sys.exit(worst > options.limit)


if __name__ == "__main__":
    main()
