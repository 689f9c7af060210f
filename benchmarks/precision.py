"""Whether bfloat16 products cost quality: the same trainings in bfloat16 and in exact float32, three seeds each.

    ANTIPHON_DATA=folder python benchmarks/precision.py --out benchmarks/precision.json

Each training has the same data, options, updates and seed; only `train.precision` differs. The score is BLEU (beam 5)
on the development set, so no choice is made on a test set. The command fails if bfloat16's mean is below float32's by
more than twice the standard error of their difference.
"""

import argparse
import json
import math
import os
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from antiphon import files
from antiphon.config import loading
from antiphon.data import corpus
from antiphon.evaluation import metrics
from antiphon.progress import Reporter
from antiphon.seq2seq import Seq2Seq
from antiphon.training.device import processor
from antiphon.training.loop import train

CORPUS = "multi30k/raw"  # English to German, 29,000 pairs
PRESET = "fast"
PRECISIONS = ("float32", "bfloat16")


def measure(data: Path, precision: str, seed: int, epochs: float, threads: int) -> dict[str, float]:
    """Train once; development loss in nats a piece, and BLEU."""
    sets = [
        f"train.precision='{precision}'", f"train.seed={seed}", f"train.epochs={epochs}", f"train.threads={threads}",
        "train.metric='loss'", "train.valid_start=1000.0", "train.tensorboard=false", "train.patience=0",
    ]  # fmt: skip
    train_pairs, valid_pairs = (f"{data / name}.en.gz,{data / name}.de.gz" for name in ("train", "val"))
    over = {"data": {"train": [train_pairs], "valid": [valid_pairs]}}
    with tempfile.TemporaryDirectory() as folder:
        outcome = train(
            loading.load(PRESET, sets=sets, over=over), Path(folder) / "model", reporter=Reporter(quiet=True)
        )
        model = Seq2Seq.load(outcome.model, "cpu", threads, "torch")
    pairs = list(corpus.read(valid_pairs))
    outputs = [result.text for result in model.generate([pair.source for pair in pairs])]
    score = metrics.measure(["bleu"], outputs, [pair.target for pair in pairs])["bleu"]
    return {"seed": seed, "loss": outcome.best or math.nan, "bleu": score.value, "minutes": round(outcome.minutes, 2)}


def summary(runs: dict[str, list[dict[str, float]]]) -> dict[str, Any]:
    """Means, spreads, and whether bfloat16 is as good within the noise of the seeds."""
    bleu = {name: [run["bleu"] for run in own] for name, own in runs.items()}
    mean = {name: statistics.fmean(values) for name, values in bleu.items()}
    spread = {name: statistics.stdev(values) for name, values in bleu.items()}
    error = math.sqrt(sum(spread[name] ** 2 / len(bleu[name]) for name in bleu))
    difference = mean["bfloat16"] - mean["float32"]
    return {"mean": mean, "deviation": spread, "difference": difference, "standard_error": error,
            "within_noise": difference >= -2 * error}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3, help="trainings of each precision")
    parser.add_argument("--epochs", type=float, default=2, help="passes over the data")
    parser.add_argument("--threads", type=int, default=2, help="processor threads")
    parser.add_argument("--out", type=Path, help="file for the results; default: standard output alone")
    options = parser.parse_args()
    if options.seeds < 2:
        parser.error("--seeds: a spread needs at least 2")
    data = Path(os.environ.get("ANTIPHON_DATA", "")) / CORPUS
    if not (data / "train.en.gz").is_file():
        print(f"no corpus {data}: set ANTIPHON_DATA to the folder that holds {CORPUS}", file=sys.stderr)
        sys.exit(2)
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in PRECISIONS}
    for seed in range(1, options.seeds + 1):
        for precision in PRECISIONS:
            runs[precision].append(measure(data, precision, seed, options.epochs, options.threads))
            print(f"{precision}, {runs[precision][-1]}", file=sys.stderr, flush=True)
    results = {"corpus": CORPUS, "preset": PRESET, "epochs": options.epochs, "processor": processor(), "runs": runs}
    text = json.dumps(results | summary(runs), indent=2)
    if options.out:
        files.write(options.out, text + "\n")
    print(text)
    sys.exit(not summary(runs)["within_noise"])


if __name__ == "__main__":
    main()
