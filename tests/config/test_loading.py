"""Configurations as TOML: what is written is read back equal."""

import tomllib
from pathlib import Path

import pytest

from antiphon.config import loading


def test_the_reference_is_toml_with_every_default() -> None:
    assert loading.from_dict(tomllib.loads(loading.reference()), "reference") == loading.load()


def test_each_option_of_the_reference_has_one_line_with_its_meaning() -> None:
    lines = [line for line in loading.reference().splitlines() if line]
    assert all("  # " in line for line in lines)
    assert any(line.startswith('slot_constants = ["none", "yes", ') for line in lines)
    assert any(line.startswith("optimiser = ") and line.endswith(")") and " | adamw" in line for line in lines)


@pytest.mark.parametrize("preset", ["", "base", "tensorflow_tutorial"])
def test_a_configuration_is_read_back_equal(tmp_path: Path, preset: str) -> None:
    config = loading.load(preset, over={"text": {"symbols": ["<2de>", '<"\\é波>']}, "train": {"epsilon": 1e-9}})
    (tmp_path / "a.toml").write_text(loading.to_toml(config), "utf-8")
    assert loading.load(files=[tmp_path / "a.toml"]) == config
