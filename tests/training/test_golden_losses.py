"""Golden losses: what every preset, made small, computes in its first updates.

A change of structure must not move them. `PYTHONPATH=tests python tests/training/test_golden_losses.py` prints them: on
one machine those of golden_losses.json to the last digit, on another nearly so.
"""

import json
import random
import sys
from pathlib import Path

import pytest
from loops import use_loops
from tasks import Told, log

from antiphon.config import loading
from antiphon.training.loop import train

GOLDEN = Path(__file__).with_name("golden_losses.json")
SYLLABLES = ["ka", "ri", "to", "me", "su", "na", "lo", "vi", "pe", "du"]
WIDTH = 32  # decoder units; all other sizes in proportion
UPDATES = 8


def write_corpus(path: Path, count: int, seed: int) -> str:
    """Sentences of made-up words; a target has them in reverse order, each backwards."""
    first = [random.Random(7)] * 60
    words = ["".join(r.choice(SYLLABLES) for _ in range(n)) for r, n in zip(first, [1, 2, 2, 3] * 15, strict=True)]
    r = random.Random(seed)
    rows = [[r.choice(words) for _ in range(r.randint(2, 7))] for _ in range(count)]
    text = "".join(f"{' '.join(row)}.\t{' '.join(word[::-1] for word in row[::-1])}!\n" for row in rows)
    path.write_text(text, encoding="utf-8", newline="\n")
    return str(path)


def losses(name: str, folder: Path) -> list[float]:
    """Development losses after each of the first updates of a preset, in float32."""
    chosen = loading.load(name)
    sizes = ("embedding", "encoder_hidden", "decoder_hidden", "attention_size", "readout_size")
    small = {key: round(getattr(chosen.model, key) * WIDTH / chosen.model.decoder_hidden) for key in sizes}
    run = {
        "steps": UPDATES, "epochs": 100.0, "valid_every": 1, "valid_start": 0.0, "metric": "loss", "patience": 0,
        "samples": 0, "tensorboard": False, "threads": 1, "precision": "float32", "device": "cpu",
        "batch": 16 if chosen.train.batch_unit == "sentences" else 300, "warmup": min(chosen.train.warmup, 4),
        "valid_sentences": 8,
    }  # fmt: skip
    data = {
        "train": [write_corpus(folder / "train.tsv", 300, 1)],
        "valid": [write_corpus(folder / "valid.tsv", 40, 2)],
    }
    text = {"size": 300, "source_size": 0}
    config = loading.load(name, over={"data": data, "text": text, "model": small, "train": run})
    train(config, folder / "model", "golden", Told())
    return [row["valid_loss"] for row in log(folder / "model") if "valid_loss" in row]


@pytest.mark.parametrize("name", loading.presets())
def test_first_losses(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use_loops("plain", monkeypatch)
    assert losses(name, tmp_path) == pytest.approx(json.loads(GOLDEN.read_text("utf-8"))[name], rel=1e-4)


if __name__ == "__main__":
    import tempfile

    import torch

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as made, pytest.MonkeyPatch.context() as patch:
        use_loops("plain", patch)
        for preset in loading.presets():
            place = Path(made) / preset
            place.mkdir()
            print(json.dumps({preset: losses(preset, place)}), file=sys.stdout)
