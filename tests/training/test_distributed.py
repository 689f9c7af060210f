"""Two processes under torchrun train as one with the doubled batch. Checked on the processor, over gloo."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch.distributed as dist
from tasks import last_checkpoint, log, options, run, same, weights, write_pairs

import antiphon
from antiphon.config.sections import Config
from antiphon.errors import UserError
from antiphon.training import loop

pytestmark = pytest.mark.skipif(
    not (dist.is_available() and dist.is_gloo_available()), reason="this PyTorch was built without gloo"
)

# Trains one run after the other; the first process dies after the update named, if one is.
DRIVER = """
import json, os, sys
from pathlib import Path
from antiphon.config import loading
from antiphon.progress import Reporter
from antiphon.training import loop

class Killer(Reporter):
    def show(self, stage, done, *more):
        if stage == "training" and done == stop:
            os._exit(9)

loop.LOG_EVERY = 4
for options, out, stop in json.loads(sys.argv[1]):
    loop.train(loading.from_dict(options, "test"), Path(out), "torchrun", Killer())
"""
Jobs = list[tuple[Config, Path, int]]


def torchrun(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a script or a module in two processes."""
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    command += ["--rdzv-backend", "c10d", "--rdzv-endpoint", "localhost:0", *arguments]
    return subprocess.run(command, capture_output=True, text=True, encoding="utf-8", timeout=300)


def trained_by_two(folder: Path, jobs: Jobs) -> subprocess.CompletedProcess[str]:
    script = folder / "driver.py"
    script.write_text(DRIVER, encoding="utf-8")
    return torchrun(str(script), json.dumps([(options.model_dump(), str(out), stop) for options, out, stop in jobs]))


def chosen(folder: Path, batch: int, dropout: float = 0.0) -> Config:
    return options(
        folder,
        model={"dropout_recurrent": dropout},
        train={"batch": batch, "epochs": 2.5, "accumulate": 2, "ema": 0.9, "valid_every": 4, "learning_rate": 0.01},
    )


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the runs `two` without dropout, `whole` with it, `timed`, and `killed`, to be as `whole`."""
    folder = tmp_path_factory.mktemp("distributed")
    plain, dropped = chosen(folder, 8), chosen(folder, 8, dropout=0.3)
    limit = {"minutes": 0.03, "epochs": 1000.0, "schedule": "cosine", "valid_every": 1000, "learning_rate": 0.01}
    timed = options(folder, train=limit)
    jobs = [
        (plain, folder / "two", 0), (dropped, folder / "whole", 0), (timed, folder / "timed", 0),
        (dropped, folder / "killed", 11),
    ]  # fmt: skip
    done = trained_by_two(folder, jobs)
    assert done.returncode != 0 and "2 processes" in done.stderr, done.stderr
    assert done.stderr.count("train.epochs = 2.5 is reached after") == 2, done.stderr  # said by the first process alone
    return folder


def test_two_processes_are_one_with_the_doubled_batch(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "LOG_EVERY", 4)
    run(trained, chosen(trained, 16), "one")
    two, one = log(trained / "two"), log(trained / "one")
    assert len(one) == len(two) > 8
    for name in ("train_loss", "valid_loss", "gradient", "learning_rate", "epoch"):
        assert [line["step"] for line in one if name in line] == [line["step"] for line in two if name in line]
        values = [[line[name] for line in lines if name in line] for lines in (one, two)]
        assert values[0] == pytest.approx(values[1], rel=1e-5), name
    by_two = weights(trained / "two" / "model.safetensors")
    for name, weight in weights(trained / "one" / "model.safetensors").items():
        assert weight.sub(by_two[name]).abs().max() < 1e-4


def test_two_processes_end_at_the_same_time_with_the_rate_at_zero(trained: Path) -> None:
    lines = [line for line in log(trained / "timed") if "learning_rate" in line]
    assert len(lines) > 2 and lines[-1]["learning_rate"] < 0.005 < lines[0]["learning_rate"]
    assert (trained / "timed" / "model.safetensors").exists()


def test_two_processes_resume_where_they_were_stopped(trained: Path) -> None:
    dropped = chosen(trained, 8, dropout=0.3)  # each process has its own
    again = trained_by_two(trained, [(dropped, trained / "killed", 0)])
    assert again.returncode == 0 and "resuming from update 8" in again.stderr, again.stderr
    assert same(last_checkpoint(trained / "killed"), last_checkpoint(trained / "whole"))
    with pytest.raises(UserError, match="2 processes were training, now 1"):
        run(trained, dropped, "killed")


SETS = {
    "text.kind": "word", "text.size": "50", "text.dropout": "0.0", "model.embedding": "16",
    "model.encoder_hidden": "16", "model.decoder_hidden": "32", "model.readout_size": "16",
    "model.attention_size": "16", "train.steps": "4", "train.batch": "200", "train.tensorboard": "false",
    "train.threads": "1",
}  # fmt: skip


def train(out: Path, *arguments: object, **sets: str) -> subprocess.CompletedProcess[str]:
    """`torchrun -m antiphon.cli train`, without a preset."""
    pairs = write_pairs(out.parent / "pairs.tsv", 120)
    words = ["--train", pairs, "--out", out, *arguments]
    for name, value in (SETS | sets).items():
        words += ["--set", f"{name}={value}"]
    return torchrun("-m", "antiphon.cli", "train", *map(str, words))


@pytest.fixture(scope="module")
def without_preset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training by two processes, whichever of them was the faster."""
    out = tmp_path_factory.mktemp("without preset") / "model"
    done = train(out)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("chosen for the data") == 1, done.stderr
    return out


def test_the_first_process_alone_claims_the_folder_and_chooses_the_preset(without_preset: Path) -> None:
    assert json.loads((without_preset / "config.json").read_text("utf-8"))["config"]["preset"] == "fast"


PACKAGE = Path(antiphon.__file__).parent


def refused(done: subprocess.CompletedProcess[str], message: str) -> None:
    """One process has said why, in one line and with status 2; what else there is comes from torchrun."""
    ours = [line for line in done.stderr.splitlines() if line.startswith("antiphon: ")]
    assert done.returncode != 0 and len(ours) == 1 and message in ours[0], done.stderr
    assert f'File "{PACKAGE}' not in done.stderr and done.stderr.count("exitcode  : 2") == 1, done.stderr


def test_a_refusal_is_reported_once(without_preset: Path) -> None:
    out = without_preset
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    refused(train(out, **{"train.clip": "5.0"}), "train.clip was 1.0, now 5.0")
    refused(train(out, **{"model.embeding": "8"}), "unknown option model.embeding")
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before
