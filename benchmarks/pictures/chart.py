"""The benchmark's chart of README: a few rows of the results, ours beside the peers, in two languages."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from antiphon import files
from antiphon.evaluation import figures, fonts
from benchmarks.picture import panel

# Of each row the systems that the chart shows, all that were measured where none are named.
ROWS: dict[str, list[str]] = {
    "train-small": [],
    "bleu": [],
    "beam": [
        "Antiphon, shape small, torch",
        "Antiphon, shape small, onnx-int8, shortlist",
        "Antiphon, preset fast, onnx-int8, shortlist",
        "OpenNMT-py",
        "Eole",
        "CTranslate2 int8, Transformer tiny",
    ],
}
ROWS["greedy"] = ROWS["beam"]
TRAINING = ("train-small", "bleu")  # rows whose labels name the precision

ENGLISH = {
    "train-small": "Training, the same network for all",
    "bleu": "Quality after training for six minutes",
    "beam": "Translating with beam 5",
    "greedy": "Translating greedily",
    "target tokens/s": "target tokens a second",
    "output tokens/s": "output tokens a second",
    "BLEU, beam 5": "BLEU of Multi30k en-de, test 2016 (0-100)",
    "Antiphon bfloat16": "Antiphon, bfloat16",
    "Antiphon float32": "Antiphon, float32",
    "shape small": "same network",
    "preset fast": "preset fast",
    "torch": "PyTorch",
    "onnx-int8, shortlist": "int8 + shortlist",
    "CTranslate2 int8, Transformer tiny": "CTranslate2, tiny\nTransformer, int8",
    "comma": ", ",
    "title": "Antiphon beside other toolkits on a processor",
    "machine": "{processor}, {threads} threads, {instructions}; medians, whiskers from the least to the most; {date}",
}
CHINESE = ENGLISH | {
    "train-small": "训练速度（所有工具使用同一网络）",
    "bleu": "训练六分钟后的质量",
    "beam": "翻译速度，束宽为 5",
    "greedy": "翻译速度，贪心解码",
    "target tokens/s": "每秒目标词元数",
    "output tokens/s": "每秒输出词元数",
    "BLEU, beam 5": "BLEU（Multi30k 英德 test 2016，0-100）",
    "Antiphon bfloat16": "Antiphon，bfloat16",
    "Antiphon float32": "Antiphon，float32",
    "shape small": "同一网络",
    "preset fast": "预设 fast",
    "onnx-int8, shortlist": "int8 + 候选词表",
    "CTranslate2 int8, Transformer tiny": "CTranslate2，\n微型 Transformer，int8",
    "comma": "，",
    "title": "Antiphon 与其他工具在处理器上的比较",
    "machine": "{processor}，{threads} 线程，{instructions}；中位数，须线为最小值至最大值；{date}",
}


def draw(results: Mapping[str, Any], words: Mapping[str, str], path: Path) -> None:
    """Write the chart.

    Args:
        results: as `bench.run` keeps them.
        words: the texts, in one language.
        path: a PNG file.
    """
    import matplotlib
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    machine = results["machine"]
    sets = ", ".join(name for name in machine["instructions"] if name in ("avx512_bf16", "amx_bf16"))
    note = words["machine"].format(
        processor=machine["processor"], threads=machine["threads"], instructions=sets, date=results["date"]
    )
    style: dict[Any, Any] = figures.STYLE | {"font.family": fonts.choose([*words.values(), note]).families}
    with matplotlib.rc_context(style):
        figure = Figure(figsize=(10, 6.8), dpi=150, layout=ConstrainedLayoutEngine(h_pad=0.1, hspace=0.06))
        for axes, key in zip(figure.subplots(2, 2, height_ratios=(5, 6)).flat, ROWS, strict=True):
            row = results["rows"][key]
            names = ROWS[key] or [name for name, cell in row["cells"].items() if cell["values"]]
            labels = {name: _name(name, words) for name in names}
            if key in TRAINING:
                labels = {n: _trained(label, row["cells"][n]["precision"], sets, words) for n, label in labels.items()}
            panel(axes, row | {"goals": []}, labels)
            axes.set_title(words[key], fontsize=11.5)
            axes.set_xlabel(words[row["unit"]])
        figure.suptitle(words["title"], fontsize=14)
        figure.supxlabel(note, fontsize=9, color="#606060")
        with files.whole_path(path) as unfinished:
            figure.savefig(unfinished, format="png", bbox_inches="tight", pad_inches=0.15)


def _name(system: str, words: Mapping[str, str]) -> str:
    """A system's name in a language; what is not translated stays."""
    if system in words:
        return words[system]
    first, *parts = system.split(", ", 2)
    return words["comma"].join([first, *(words.get(part, part) for part in parts)])


def _trained(label: str, precision: str, instructions: str, words: Mapping[str, str]) -> str:
    """A label with the precision of the training; `auto` is bfloat16 where a processor has instructions for it."""
    if precision == "auto":
        precision = "bfloat16" if instructions else "float32"
    return label if precision in label else label + words["comma"] + precision
