"""Commands of `antiphon recipe`: list, run, table."""

import functools
from pathlib import Path

import typer

from antiphon.cli import flags
from antiphon.cli.program import command, first, recipes, typed
from antiphon.files import write


@functools.partial(command, group=recipes)
def list_() -> None:
    """List the recipes below the folder recipes/.

    \b
    Example:
      antiphon recipe list
    """
    from antiphon.recipes import recipe

    for name, folder in recipe.find(Path("recipes")).items():
        typer.echo(f"{name}: {recipe.load(folder).title} ({folder})")


@functools.partial(command, group=recipes)
def run(
    name: flags.Recipe,
    out: flags.RecipeFolder = None,
    only: flags.OnlyModels = None,
    sets: flags.Sets = None,
    quiet: flags.Quiet = False,
) -> None:
    """Fetch a recipe's corpus, train, score, and write results.json. The same command resumes a run that was stopped.

    The corpus is taken from the folder that ANTIPHON_DATA names, else from its official address. With --set or --only
    the results are those of an experiment or of a part, and are written to the output folder alone.

    \b
    Examples:
      antiphon recipe run multi30k-en-de
      antiphon recipe run e2e-nlg --set train.seed=2 --out runs/second
    """
    from antiphon.progress import Reporter
    from antiphon.recipes import recipe, results_page, run

    folder = recipe.find(Path("recipes")).get(name, Path(name))
    with Reporter(quiet) as reporter:
        reporter.console.quiet = not first()
        asked = typed(leave=("--out", "-o"))
        results = run.run(folder, out or Path("runs") / folder.name, sets or (), asked, reporter, only or ())
    for row in results.get("rows", ()):
        for score in row["scores"]:
            print(f"{row['set']}\t{row['model']}\t{score['name']}\t{results_page.figure(score)}\t{score['signature']}")


@functools.partial(command, group=recipes)
def table_(out: flags.ResultsPage = Path("docs/results.md")) -> None:
    """Write the page of all recipes' results beside published ones, in English and, beside it, in Chinese.

    \b
    Example:
      antiphon recipe table
    """
    from antiphon.recipes import results_page

    for language in results_page.LANGUAGES:
        path = out.with_name(f"{out.stem}{language.suffix}{out.suffix}")
        write(path, results_page.page(Path("recipes"), language))
        typer.echo(f"{path} is written", err=True)
