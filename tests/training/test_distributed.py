"""Two processes under torchrun train as one with the doubled batch. Checked on the processor, over gloo."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch.distributed as dist
from tasks import last_checkpoint, log, options, run, same, weights

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
from antiphon.training import loop

loop.LOG_EVERY = 4
show = loop._show
for options, out, stop in json.loads(sys.argv[1]):
    def killed(run, tally):
        if run.state.update == stop and run.machine.first:
            os._exit(9)
        show(run, tally)
    loop._show = killed
    loop.train(loading.from_dict(options, "test"), Path(out), "torchrun")
"""
Jobs = list[tuple[Config, Path, int]]


def torchrun(folder: Path, jobs: Jobs) -> subprocess.CompletedProcess[str]:
    script = folder / "driver.py"
    script.write_text(DRIVER, encoding="utf-8")
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    command += ["--rdzv-backend", "c10d", "--rdzv-endpoint", "localhost:0", str(script)]
    command += [json.dumps([(options.model_dump(), str(out), stop) for options, out, stop in jobs])]
    return subprocess.run(command, capture_output=True, text=True, encoding="utf-8", timeout=300)


def chosen(folder: Path, batch: int, dropout: float = 0.0) -> Config:
    return options(
        folder,
        model={"dropout_recurrent": dropout},
        train={"batch": batch, "epochs": 2.5, "accumulate": 2, "ema": 0.9, "valid_every": 4, "learning_rate": 0.01},
    )


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the runs `two` without dropout, `whole` with it, and `killed`, which was to be as `whole`."""
    folder = tmp_path_factory.mktemp("distributed")
    plain, drawn = chosen(folder, 8), chosen(folder, 8, dropout=0.3)
    done = torchrun(folder, [(plain, folder / "two", 0), (drawn, folder / "whole", 0), (drawn, folder / "killed", 11)])
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
    found = weights(trained / "two" / "model.safetensors")
    for name, weight in weights(trained / "one" / "model.safetensors").items():
        assert weight.sub(found[name]).abs().max() < 1e-4


def test_two_processes_go_on_where_they_were_stopped(trained: Path) -> None:
    drawn = chosen(trained, 8, dropout=0.3)  # each process has its own
    again = torchrun(trained, [(drawn, trained / "killed", 0)])
    assert again.returncode == 0 and "going on from update 8" in again.stderr, again.stderr
    assert same(last_checkpoint(trained / "killed"), last_checkpoint(trained / "whole"))
    with pytest.raises(UserError, match="2 processes were training, now 1"):
        run(trained, drawn, "killed")
