"""The mean of models, against NumPy."""

from pathlib import Path

import numpy as np
import pytest
from tasks import options, run
from typer.testing import CliRunner

from antiphon import Seq2Seq, model_folder
from antiphon.average import average
from antiphon.cli.main import app
from antiphon.errors import UserError


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    place = tmp_path_factory.mktemp("models")
    for number, dropout in enumerate((0.0, 0.0, 0.1)):
        train = {"steps": 2, "metric": "loss", "seed": number}
        run(place, options(place, train=train, model={"dropout_output": dropout}), f"model{number}")
    return [place / f"model{number}" for number in range(3)]


def test_every_weight_is_the_mean(models: list[Path], tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["average", *map(str, models), "--out", str(tmp_path / "mean")])
    assert result.exit_code == 0, result.output
    found = model_folder.load(tmp_path / "mean")
    parts = [model_folder.load(model).weights() for model in models]
    assert found.weights().keys() == parts[0].keys() and found.config == model_folder.load(models[0]).config
    for name, weight in found.weights().items():
        expected = np.mean([part[name].astype(np.float64) for part in parts], axis=0).astype(np.float32)
        np.testing.assert_array_equal(weight, expected)
        assert not np.array_equal(weight, parts[0][name])
    assert len(Seq2Seq.load(tmp_path / "mean").generate(["a b c"])) == 1


def test_the_mean_of_a_model_with_itself_is_the_model(models: list[Path], tmp_path: Path) -> None:
    average([models[1]] * 3, tmp_path / "mean")
    for name, weight in model_folder.load(models[1]).weights().items():
        np.testing.assert_array_equal(model_folder.load(tmp_path / "mean").weights()[name], weight)


def test_what_has_no_mean_is_refused(models: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "mean"
    with pytest.raises(UserError, match="two models or more"):
        average(models[:1], out)
    run(tmp_path, options(tmp_path, train={"steps": 1}, model={"cell": "gru"}), "other")
    with pytest.raises(UserError, match=r"different networks: model\.cell was 'lstm', now 'gru'"):
        average([models[0], tmp_path / "other"], out)
    chosen = options(tmp_path, train={"steps": 1}, text={"kind": "word", "size": 9})
    run(tmp_path, chosen, "small")
    with pytest.raises(UserError, match="different source vocabularies"):
        average([models[0], tmp_path / "small"], out)
    assert not out.exists()
    with pytest.raises(UserError, match="is there already"):
        average(models, models[0])
