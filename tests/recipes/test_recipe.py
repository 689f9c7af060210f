"""Recipes: what a recipe.toml may say."""

import re
from pathlib import Path

import pytest

from antiphon.errors import UserError
from antiphon.evaluation.metrics import METRICS
from antiphon.recipes import fetch, recipe
from antiphon.recipes.corpora.index import CORPORA
from antiphon.recipes.scoring import PERPLEXITIES

HEAD = 'title = "x"\nabout = "y"\nmetrics = ["bleu"]\n[files]\n'


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
    root = Path(__file__).parents[2] / "recipes"
    assert recipe.find(root)
    for folder in recipe.find(root).values():
        recipe.load(folder)


def test_samples_are_sentences_of_our_own(data_folder: Path) -> None:
    """No corpus has a whole field or line that a recipe shows as its own."""
    looked = 0
    for folder in recipe.find(Path(__file__).parents[2] / "recipes").values():
        loaded = recipe.load(folder)
        own = {text for picture in loaded.pictures for text in picture.texts} | set(loaded.samples)
        files = [data_folder / file.local for file in loaded.files.values()]
        for path in files if own else []:
            fields = {field.strip() for field in re.split(r"[\n\t]", fetch.text(path))} if path.is_file() else set()
            assert not own & fields, (folder.name, own & fields)
            looked += bool(fields)
    assert looked


def test_a_recipe_without_models_has_one_of_its_own_name(tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").write_text(HEAD + '[[scores]]\nname = "test"\npairs = "a"\n', encoding="utf-8")
    assert [variant.name for variant in recipe.load(tmp_path).models] == [tmp_path.name]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ('models = ["depe"]', "no model is called 'depe'; did you mean 'deep'"),
        (
            '[[models]]\nname = "b"\nwritten = [{file = "x.jsonl", texts = "t", model = "c", side = "source"}]\n',
            "'c' is to write x.jsonl for 'b', but no model of this name is above it",
        ),
        ("ensemble = 2", "needs an ensemble of 2 seeds, and 'deep' has 1"),
    ],
)
def test_names_that_lead_nowhere(tmp_path: Path, lines: str, message: str) -> None:
    text = HEAD + f'[[models]]\nname = "deep"\n[[scores]]\nname = "test"\npairs = "a"\n{lines}\n'
    (tmp_path / "recipe.toml").write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=message):
        recipe.load(tmp_path)


def test_a_recipe_takes_the_files_of_another(tmp_path: Path) -> None:
    first, second = tmp_path / "translation" / "first", tmp_path / "papers" / "second"
    tail = '[[scores]]\nname = "test"\npairs = "a"\n'
    file = '[files."a"]\nurl = "u"\nsha256 = "s"\nlocal = "l"\n'
    for folder, text in ((first, tail + file), (second, 'files_of = "first"\n' + tail)):
        folder.mkdir(parents=True)
        (folder / "recipe.toml").write_text(HEAD.replace("[files]\n", "") + text, encoding="utf-8")
    assert recipe.load(second).files == recipe.load(first).files != {}
    with (second / "recipe.toml").open("w", encoding="utf-8") as file_:
        file_.write(HEAD.replace("[files]\n", "") + 'files_of = "fisrt"\n' + tail)
    with pytest.raises(UserError, match="no recipe is called 'fisrt'; did you mean 'first'"):
        recipe.load(second)


def test_every_recipe_of_the_project_is_described() -> None:
    root = Path(__file__).parents[2] / "recipes"
    for folder in recipe.find(root).values():
        page = (folder / "README.md").read_text("utf-8")
        assert f"antiphon recipe run {folder.name}\n" in page, folder
        assert ("There are no results yet." in page) != (folder / "results.json").is_file(), folder
        for picture in re.findall(r"!\[[^]]*\]\(([^)]+)\)", page):
            assert (folder / picture).is_file(), picture


@pytest.mark.parametrize("name", CORPORA)
def test_a_corpus_gives_its_measures_names_of_their_own(name: str) -> None:
    assert not {*METRICS, *PERPLEXITIES} & set(CORPORA[name].measures)
