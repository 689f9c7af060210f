"""Our results beside published ones: a page of Markdown, in English or Chinese, from the `results.json` of all recipes.

Values that were not reached are on it like the others, with what was tried.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

from antiphon.errors import UserError
from antiphon.recipes.recipe import RECIPE, RESULTS, load
from antiphon.words import counted


@dataclass(frozen=True)
class Language:
    """The words of a page."""

    suffix: str  # of a page's name, before .md
    head: str
    columns: list[str]
    applications: Mapping[str, str]  # headings by the folders of recipes
    origin: str  # of a recipe's results
    number: Callable[[int, str], str]  # 2 and "thread" or "core" in words
    threads: str  # where trainings differ in it
    changed: str  # after a commit
    ensemble: str
    colon: str
    semicolon: str
    scale: str  # of a metric, after its name
    missed: str
    tried: str


ENGLISH = Language(
    suffix="",
    head="""# Results

[中文](results.zh-CN.md)

Every recipe's results beside those published for the same data and metric. `antiphon recipe table` writes this page
from the recipes' `results.json`, which hold all values, seeds and settings.

- A value with ± is the mean over several seeds and their standard deviation.
- Minutes are those of one training on the machine named. It was often busy with other work: `load` is the average
  number of processes that wanted a processor at the end of the training.
- Minutes and megabytes of an ensemble are those of all its members. Models that only rescore another's outputs are not
  counted.
- Below each table is the signature of each metric, with its scale where that is not 0-100.""",
    columns=["set", "model", "metric", "ours", "published", "to reach", "minutes", "load", "MB"],
    applications={},
    origin="{title}. {date}, commit {commit}, {processor}, {threads} of {cores}.",
    number=counted,
    threads="{} to {} threads",
    changed=" with changes",
    ensemble="{}, ensemble of {}",
    colon=": ",
    semicolon="; ",
    scale="{} ({})",
    missed="Not reached: {}.",
    tried=" Tried: {tried}",
)

CHINESE = Language(
    suffix=".zh-CN",
    head="""# 结果

[English](results.md)

各个配方的结果，旁边是在同样的数据和指标上已发表的结果。本页由 `antiphon recipe table` 从各配方的 `results.json` 生成，
其中有全部数值、随机种子和设置。数据集、模型和对比系统的名称与 `results.json` 中的相同。

- 带 ± 的数值是几个随机种子的平均值和标准差。
- 分钟数是在所列机器上训练一次的时间。这台机器常常同时在做别的工作：“负载”是训练结束时等待处理器的平均进程数。
- 模型集成的分钟数和大小是全部成员之和，只用来给别的模型的候选重新打分的模型不计在内。
- 每张表格下面是各个指标的签名；取值范围不是 0-100 的，在括号里注明。""",
    columns=["数据集", "模型", "指标", "我们", "已发表", "目标", "分钟", "负载", "MB"],
    applications={
        "characters": "字符",
        "dialogue": "对话",
        "generation": "文本生成",
        "papers": "论文",
        "summarisation": "摘要",
        "translation": "翻译",
    },
    origin="{title}。{date}，提交 {commit}，{processor}，{cores}，训练用{threads}。",
    number=lambda number, noun: f" {number} 个{ {'thread': '线程', 'core': '核'}[noun] }",
    threads=" {} 到 {} 个线程",
    changed="（有改动）",
    ensemble="{}，{} 个模型的集成",
    colon="：",
    semicolon="；",
    scale="{}（{}）",
    missed="没有达到目标：{}。",
    tried="尝试过的做法见[配方的说明]({readme})。",
)

LANGUAGES = (ENGLISH, CHINESE)


def page(recipes: Path, language: Language = ENGLISH) -> str:
    """The whole page.

    Args:
        recipes: the folder of recipes, `<application>/<name>/results.json`.
        language: of the page.

    Raises:
        UserError: no recipe has results, or they cannot be read.
    """
    paths = sorted(recipes.glob(f"*/*/{RESULTS}"))
    if not paths:
        raise UserError(f"{recipes}: no recipe here has a {RESULTS}; run one: antiphon recipe list")
    parts, application = [language.head], ""
    for path in paths:
        if path.parent.parent.name != application:
            application = path.parent.parent.name
            parts.append(f"## {language.applications.get(application, application.capitalize())}")
        try:
            results = json.loads(path.read_text("utf-8"))
            if (path.parent / RECIPE).is_file():  # it may have been written after the run
                results["tried"] = load(path.parent).tried
            parts.append(_section(results, path.parent, language))
        except (ValueError, KeyError, TypeError) as e:
            raise UserError(f"{path}: not what this version of Antiphon writes ({e!r}); run the recipe again") from e
    return "\n\n".join(parts) + "\n"


def figure(score: Mapping[str, Any]) -> str:
    """A score with its deviation; to four places on a scale of 0-1, else to two."""
    places = 4 if score.get("scale") == "0-1" else 2
    spread = "" if score["deviation"] is None else f" ± {score['deviation']:.{places}f}"
    return f"{score['value']:.{places}f}{spread}"


def reached(score: Mapping[str, Any]) -> bool:
    """Whether a score is as good as the value to reach."""
    value, goal = score["value"], score["reach"]
    return bool(value >= goal if score["higher_is_better"] else value <= goal)


def _section(results: Mapping[str, Any], folder: Path, language: Language) -> str:
    readme = f"../recipes/{folder.parent.name}/{folder.name}/README{language.suffix}.md"
    lines = [
        f"### [{results['recipe']}]({readme})",
        _origin(results, folder, language),
        _table(
            language.columns,
            [cells for row in results["rows"] for cells in _cells(row, results["models"], language)],
        ),
        _signatures(results["rows"], language),
    ]
    if missed := _missed(results["rows"]):
        names = [f"{row['set']}, {row['model']}{language.colon}{score['name']}" for row, score in missed]
        tried = language.tried.format(tried=results["tried"], readme=readme) if results.get("tried") else ""
        lines.append(language.missed.format(language.semicolon.join(names)) + tried)
    return "\n\n".join(lines)


def _origin(results: Mapping[str, Any], folder: Path, language: Language) -> str:
    """What was run, when, at which commit and on what machine."""
    commit, machine = results["commit"], results["machine"]
    used = sorted({model["threads"] for model in results["models"]})
    threads = language.number(used[0], "thread") if len(used) == 1 else language.threads.format(used[0], used[-1])
    return language.origin.format(
        title=_title(results, folder, language),
        date=results["date"],
        commit=commit[:10] + (language.changed if " " in commit else ""),
        processor=machine["processor"],
        threads=threads,
        cores=language.number(machine["cores"], "core").strip(),
    )


def _title(results: Mapping[str, Any], folder: Path, language: Language) -> str:
    """The recipe's title; on a translated page the heading of its translated README, where there is one."""
    readme = folder / f"README{language.suffix}.md"
    if not language.suffix or not readme.is_file():
        return str(results["title"])
    return readme.read_text("utf-8").splitlines()[0].removeprefix("# ")


def _cells(row: Mapping[str, Any], models: Iterable[Mapping[str, Any]], language: Language) -> list[list[str]]:
    """A line of the table for each of a row's scores; what they have in common is in the first."""
    own = [model for model in models if model["name"] == row["model"] and model["seed"] in row["seeds"]] or list(models)
    known = {key: [model[key] for model in own if model[key] is not None] for key in ("minutes", "load", "megabytes")}
    together = len(own) if row["ensemble"] > 1 else 1
    times = {"minutes": together, "load": 1, "megabytes": together}  # an ensemble costs what all its members cost
    costs = [f"{times[key] * mean(values):.1f}" if values else "" for key, values in known.items()]
    name = language.ensemble.format(row["model"], row["ensemble"]) if row["ensemble"] > 1 else row["model"]
    cells = []
    for n, score in enumerate(row["scores"]):
        published = "; ".join(f"{value:g} ({system})" for system, value in score["published"].items())
        reach = "" if score["reach"] is None else f"{score['reach']:g}{' ✓' if reached(score) else ''}"
        first = [row["set"], name] if n == 0 else ["", ""]
        cells.append([*first, score["name"], figure(score), published, reach, *(costs if n == 0 else ["", "", ""])])
    return cells


def _missed(rows: Iterable[Mapping[str, Any]]) -> list[tuple[Mapping[str, Any], Mapping[str, Any]]]:
    """Scores that do not reach their goal, unless another row of the same set does."""
    rows = list(rows)
    scores = [(row, score) for row in rows for score in row["scores"] if score["reach"] is not None]
    done = {(row["set"], score["name"]) for row, score in scores if reached(score)}
    return [(row, score) for row, score in scores if (row["set"], score["name"]) not in done]


def _signatures(rows: Iterable[Mapping[str, Any]], language: Language) -> str:
    """Each metric's signatures, once, with its scale where that is not 0-100."""
    signatures: dict[str, list[str]] = {}
    for row in rows:
        for score in row["scores"]:
            scale = score.get("scale", "")
            name = language.scale.format(score["name"], scale) if scale not in ("", "0-100") else score["name"]
            same = signatures.setdefault(name, [])
            if score["signature"] not in same:
                same.append(score["signature"])
    return "  \n".join(
        f"{name}{language.colon}{', '.join(f'`{text}`' for text in texts)}" for name, texts in signatures.items()
    )


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in lines)
