"""Recipes: fetching with checksums, and a whole small run."""

import gzip
import hashlib
import json
from pathlib import Path

import pytest

from antiphon import recipe
from antiphon.errors import UserError
from antiphon.recipe import File

WORDS = ["red", "blue", "green", "old", "new"]
PAIRS = [(f"{a} {b} {c}", f"{c} {b} {a}") for a in WORDS for b in WORDS for c in WORDS]


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    folder = tmp_path / "corpora" / "words"
    folder.mkdir(parents=True)
    for side, suffix in enumerate(("a", "b")):
        text = "".join(pair[side] + "\n" for pair in PAIRS).encode()
        (folder / f"all.{suffix}.gz").write_bytes(gzip.compress(text))
    return folder


def entry(corpus: Path, name: str) -> File:
    path = corpus / name
    digest = hashlib.sha256(gzip.decompress(path.read_bytes())).hexdigest()
    return File(url=path.as_uri(), sha256=digest, local=f"words/{name}")


def test_fetch_takes_the_folder_that_is_here_first(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = entry(corpus, "all.a.gz").model_copy(update={"url": "file:///nowhere"})
    monkeypatch.setenv("ANTIPHON_DATA", str(corpus.parent))
    path = recipe.fetch("all.a.gz", file, tmp_path / "data")
    assert path.read_bytes() == (corpus / "all.a.gz").read_bytes()


def test_fetch_downloads(corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ANTIPHON_DATA", raising=False)
    path = recipe.fetch("all.a.gz", entry(corpus, "all.a.gz"), tmp_path / "data")
    assert path.read_bytes() == (corpus / "all.a.gz").read_bytes()


def test_fetch_refuses_another_text(corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ANTIPHON_DATA", raising=False)
    file = entry(corpus, "all.a.gz").model_copy(update={"url": (corpus / "all.b.gz").as_uri()})
    with pytest.raises(UserError, match=r"all\.a\.gz: its text has the checksum"):
        recipe.fetch("all.a.gz", file, tmp_path / "data")
    assert list((tmp_path / "data").iterdir()) == []


def test_fetch_says_what_cannot_be_downloaded(corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ANTIPHON_DATA", raising=False)
    file = entry(corpus, "all.a.gz").model_copy(update={"url": (corpus / "missing").as_uri()})
    with pytest.raises(UserError, match=r"missing: cannot be downloaded: .* ANTIPHON_DATA"):
        recipe.fetch("all.a.gz", file, tmp_path / "data")
    assert list((tmp_path / "data").iterdir()) == []


def test_a_whole_run(corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTIPHON_DATA", str(corpus.parent))
    folder = tmp_path / "recipes" / "turn"
    folder.mkdir(parents=True)
    files = "".join(
        f'[files."{name}"]\nurl = "file:///nowhere"\nsha256 = "{entry(corpus, name).sha256}"\nlocal = "words/{name}"\n'
        for name in ("all.a.gz", "all.b.gz")
    )
    (folder / "recipe.toml").write_text(
        'title = "Three words turned round"\nabout = "made here"\nmetrics = ["exact_match", "bleu"]\npreset = "tiny"\n'
        '[config.data]\ntrain = ["all.a.gz,all.b.gz"]\nheld_out = 10\n[config.text]\nkind = "word"\ndropout = 0\n'
        "[config.train]\nsteps = 6\nvalid_every = 3\nthreads = 1\n"
        '[[scores]]\nname = "all"\npairs = "all.a.gz,all.b.gz"\n' + files,
        encoding="utf-8",
    )
    assert recipe.find(tmp_path) == {"turn": folder}
    results = recipe.run(folder, tmp_path / "out", command="antiphon recipe run turn")
    assert json.loads((folder / "results.json").read_text("utf-8")) == results
    assert results["sets"]["all"]["sentences"] == len(PAIRS)
    assert [score["name"] for score in results["sets"]["all"]["scores"]] == ["exact_match", "bleu"]
    assert all(score["signature"] for score in results["sets"]["all"]["scores"])
    assert results["updates"] == 6 and results["command"] == "antiphon recipe run turn"


@pytest.mark.parametrize(
    ("text", "message"), [("title = ", "not valid TOML"), ('title = "x"\nmetric = []\n', "Field required|Extra inputs")]
)
def test_a_broken_recipe_is_named(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "recipe.toml").write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=message):
        recipe.load(tmp_path)


def test_a_missing_recipe_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no recipe\.toml there"):
        recipe.load(tmp_path / "nothing")


def test_the_projects_own_recipes_load() -> None:
    root = Path(__file__).parent.parent / "recipes"
    assert recipe.find(root)
    for folder in recipe.find(root).values():
        recipe.load(folder)
