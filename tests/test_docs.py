"""The documentation against the program: its commands run as typed, and what it names exists, in both languages."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import cast

import click
import pytest
import torch
import typer
from typer.testing import CliRunner

from antiphon import model_folder
from antiphon.cli.main import app
from antiphon.config import loading, sections
from antiphon.data.tokenizer import Tokenizer
from antiphon.nn.model import build
from antiphon.recipes import recipe

ROOT = Path(__file__).parent.parent
ENGLISH, CHINESE = ROOT / "README.md", ROOT / "README.zh-CN.md"
RESULTS = ROOT / "docs" / "results.md"  # made by a command
CONTRIBUTING, CHANGELOG = ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"
DOCS = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))]
TRANSLATED = [p for p in DOCS if ".zh-CN." not in p.name and p not in (CHANGELOG, RESULTS)]
BLOCK = re.compile(r"(<!-- test -->\n)?```(\w*)\n(.*?)```", re.DOTALL)
COMMANDS = list(cast(click.Group, typer.main.get_command(app)).commands)
STIFF = [  # phrases that a plainer word replaces; CONTRIBUTING.md has the list with examples
    "looked for",
    "looking for options",
    "the drawing",
    "drawn outputs",
    "outputs are drawn",
    "first weights",
    "drawn weights",
    "learning rate's course",
    "weights are found",
    "candidates drawn",
    "cut into pieces",
    "wanted and unwanted",
    "what the model made of it",
    "told from",
    "goes on with",
    "pip install antiphon",
    "词片",
    "子词数",
    "学习率日程",
    "寻找输出",
    "开发集",
]


def read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def blocks(path: Path) -> list[tuple[str, str, str]]:
    """A page's code: whether a test runs it, its language, and itself."""
    return [(mark, language, code) for mark, language, code in BLOCK.findall(read(path))]


def chinese(path: Path) -> Path:
    return path.with_name(f"{path.stem}.zh-CN.md")


def options(text: str) -> set[str]:
    return set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", text))


def help_of(*command: str) -> str:
    result = CliRunner().invoke(app, [*command, "--help"], env={"COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb"})
    assert result.exit_code == 0, result.output
    return result.output


def ran(page: Path, folder: Path) -> str:
    """What a page's commands print, run in one folder, one after the other."""
    bash = shutil.which("bash")
    if bash is None or sys.platform == "win32":
        pytest.skip("the documentation's commands need a POSIX shell")
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    env = os.environ | {"PATH": path, "OMP_NUM_THREADS": "1"}
    printed = ""
    for mark, language, code in blocks(page):
        if not mark:
            continue
        command = [bash, "-euo", "pipefail", "-c", code] if language == "sh" else [sys.executable, "-c", code]
        done = subprocess.run(command, cwd=folder, env=env, stdin=subprocess.DEVNULL, capture_output=True, timeout=120)
        assert done.returncode == 0, f"{code}\n{done.stderr.decode('utf-8', 'replace')}"
        printed += done.stdout.decode("utf-8")
    return printed


def test_the_readmes_commands_run_as_typed(tmp_path: Path) -> None:
    """Those of the Chinese page are the same."""
    printed = ran(ENGLISH, tmp_path)
    assert "no problems" in printed  # check
    assert "BLEU|nrefs:1" in printed  # evaluate
    assert len((tmp_path / "outputs.jsonl").read_text("utf-8").splitlines()) == 2
    assert (tmp_path / "dog.png").read_bytes().startswith(b"\x89PNG")


def test_the_commands_for_conversations_run_as_typed(tmp_path: Path) -> None:
    assert len(ran(ROOT / "docs" / "dialogue.md", tmp_path).splitlines()) == 2  # two answers


@pytest.mark.skipif("ANTIPHON_DOCS" not in os.environ, reason="takes most of a minute; `make test-docs` runs it")
def test_the_commands_for_decoding_run_as_typed(tmp_path: Path) -> None:
    texts = ["A dog runs.", "Ein rotes Sofa", "a red couch"]
    config = loading.load(over={"model": {"embedding": 8, "encoder_hidden": 8}, "text": {"kind": "char"}})
    tokenizer = Tokenizer.train(texts, config.text, 100)
    for name in ("model", "second", "third", "other"):
        torch.manual_seed(len(name))
        weights = build(config.model, len(tokenizer), len(tokenizer)).named_parameters()
        arrays = {key: value.detach().numpy() for key, value in weights}
        model_folder.save(tmp_path / name, config, tokenizer, tokenizer, arrays)
    (tmp_path / "texts.txt").write_text("".join(f"{text}\n" for text in texts), encoding="utf-8")
    (tmp_path / "test.tsv").write_text("A dog runs.\tEin Hund rennt.\n", encoding="utf-8")
    assert ran(ROOT / "docs" / "decoding.md", tmp_path)
    assert len((tmp_path / "list.tsv").read_text("utf-8").splitlines()) > len(texts)


@pytest.mark.parametrize("page", TRANSLATED, ids=lambda p: p.name)
def test_both_languages_have_the_same_commands_and_names(page: Path) -> None:
    other = chinese(page)
    assert blocks(page) == blocks(other)
    prose, translated = (BLOCK.sub("", read(p)) for p in (page, other))
    assert options(prose) == options(translated)
    assert codes(prose) == codes(translated)
    assert prose.count("\n#") == translated.count("\n#")


def codes(prose: str) -> set[str]:
    """Single words between backticks: files, options, presets."""
    return {code for code in re.findall(r"`([^`\n]+)`", prose) if " " not in code}


@pytest.mark.parametrize("page", DOCS, ids=lambda p: p.name)
def test_links_lead_to_files(page: Path) -> None:
    text = read(page)
    for link in re.findall(r"\]\(([^)#\s]+)", text) + re.findall(r'src="([^"]+)"', text):
        if not link.startswith("https://"):
            assert (page.parent / link).exists(), f"{page.name} links to {link}"


@pytest.mark.parametrize("page", DOCS, ids=lambda p: p.name)
def test_files_that_are_named_exist(page: Path) -> None:
    for path in re.findall(r"`((?:antiphon|benchmarks|docs|recipes|tests)/[\w./-]+)`", read(page)):
        assert (ROOT / path).exists(), f"{page.name} names {path}"


@pytest.mark.parametrize("page", [ENGLISH, CHINESE], ids=lambda p: p.name)
def test_presets_are_those_there_are(page: Path) -> None:
    listed = re.findall(r"^\| `(\w+)` \|", read(page), re.MULTILINE)
    assert set(listed) == set(loading.presets())
    assert len(listed) == len(set(listed))


def test_every_command_is_in_the_help_and_on_the_pages() -> None:
    shown = help_of()
    for command in COMMANDS:
        assert re.search(rf"^\W*{command}\b", shown, re.MULTILINE), command
        for page in (ENGLISH, CHINESE):
            assert f"| `antiphon {command}` |" in read(page)


@pytest.mark.parametrize("page", DOCS, ids=lambda p: p.name)
def test_options_in_commands_are_known(page: Path) -> None:
    known = {command: options(help_of(command)) for command in COMMANDS}
    known["recipe"] = options(help_of("recipe", "run"))
    for _, language, code in blocks(page):
        if language != "sh":
            continue
        for line in code.replace("\\\n", " ").splitlines():
            for command, rest in re.findall(r"(?:antiphon(?:\.cli)?) (\w+)([^|]*)", line):
                assert options(rest) <= known[command], line


@pytest.mark.parametrize("page", DOCS, ids=lambda p: p.name)
def test_settings_are_known(page: Path) -> None:
    for section, key in re.findall(r"\b(data|text|dialogue|model|train|search)\.([a-z_]+)\s?=", read(page)):
        assert key in sections.SECTIONS[section].model_fields, f"{page.name} names {section}.{key}"


@pytest.mark.parametrize("page", DOCS, ids=lambda p: p.name)
def test_configurations_can_be_read(page: Path, tmp_path: Path) -> None:
    for _, language, code in blocks(page):
        if language == "toml" and "[[scores]]" in code:
            (tmp_path / recipe.RECIPE).write_text(code, encoding="utf-8")
            assert recipe.load(tmp_path).scores
        elif language == "toml":
            file = tmp_path / "run.toml"
            file.write_text(code, encoding="utf-8")
            loading.load(files=[file])


def test_pages_and_help_use_plain_words() -> None:
    """CONTRIBUTING's examples are the exception."""
    texts = {page.name: read(page) for page in DOCS if not page.name.startswith(CONTRIBUTING.stem)}
    texts |= {f"{command} --help": help_of(command) for command in COMMANDS}
    texts["train --options"] = CliRunner().invoke(app, ["train", "--options"]).output
    for name, text in texts.items():
        words = " ".join(text.replace("│", " ").lower().split())  # as one line, without the frames of help
        assert not [phrase for phrase in STIFF if phrase in words], name


@pytest.mark.parametrize("page", [CONTRIBUTING, chinese(CONTRIBUTING)], ids=lambda p: p.name)
def test_contributing_names_every_package_and_module_at_the_top(page: Path) -> None:
    code = ROOT / "antiphon"
    packages = {f"antiphon/{path.parent.name}/" for path in code.glob("*/__init__.py")}
    modules = {
        f"antiphon/{path.name}" for path in code.glob("*.py") if path.stem not in ("__init__", "__main__", "version")
    }
    assert packages | modules <= set(re.findall(r"`(antiphon/[^`]*)`", read(page)))


def test_make_has_the_targets_that_the_pages_name() -> None:
    targets = set(re.findall(r"^([a-z]+):", read(ROOT / "Makefile"), re.MULTILINE))
    for page in DOCS:
        named = set(re.findall(r"`make ([a-z]+)", read(page)))
        assert named <= targets, page.name


def test_constraints_pin_what_is_needed_by_public_versions() -> None:
    pins = [line for line in read(ROOT / "constraints.txt").splitlines() if line and not line.startswith("#")]
    assert all(re.fullmatch(r"[a-z0-9-]+==[0-9.]+(post[0-9]+)?", pin) for pin in pins)
    pinned = {pin.split("==")[0] for pin in pins}
    declared = re.findall(r'"([a-z][\w-]*)>=', read(ROOT / "pyproject.toml"))
    assert {name.replace("_", "-") for name in declared} <= pinned
