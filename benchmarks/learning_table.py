"""The learning table as Markdown: `learning.md`, and the block in the pages on training, in both languages."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

from antiphon.errors import UserError

DOCS = Path(__file__).parents[1] / "docs"
PAGES = (DOCS / "training.md", DOCS / "training.zh-CN.md")
BEGIN, END = "<!-- written by `make learning`: begin -->", "<!-- written by `make learning`: end -->"
SHOWN = ("250", "500", "1000")  # updates
SYSTEMS = ("Antiphon", "OpenNMT-py", "Eole", "Joey NMT")

Cell = Mapping[str, Any]


@dataclass(frozen=True)
class Language:
    """The words of a table."""

    columns: tuple[str, str, str]
    absent: str  # in a cell that no system has
    failed: str
    seeds: str
    conditions: str


ENGLISH = Language(
    columns=("decoder", "score", "readout"),
    absent="",
    failed="failed",
    seeds="Antiphon: means of {} seeds.",
    conditions="""Development loss after 250 / 500 / 1,000 updates, the lowest of a row in bold: nats a target piece,
the ends of sentences counted, without dropout or label smoothing, on Multi30k English-German. All read the same 4,000
joint BPE pieces and train LSTMs of the same sizes (embeddings 128, encoder 2 x 128, decoder and attention 256, nothing
tied) in float32 with 64 sentences an update, Adam 1e-3, gradients clipped at 1, and dropout 0.3 of embeddings and
before the output layer. Initial weights and the way to batches are each system's defaults. What else differs:
OpenNMT-py and Eole read sources without an end mark and feed the readout back after its dropout; Eole's encoder reads
padding too; Joey NMT drops the readout's inputs and what is fed back instead of the readout, starts both `h` and `c` of
the decoder from the encoder's last `h`, and its output layer has no bias.
All values: [learning.json](../benchmarks/learning.json).""",
)

CHINESE = Language(
    columns=("解码器", "打分函数", "读出层"),
    absent="",
    failed="失败",
    seeds="Antiphon：{} 个随机种子的平均值。",
    conditions="""250 / 500 / 1,000 次更新之后的验证集损失，每行最低的用粗体：每个目标词元的奈特数，句末标记计算在内，
不用 dropout 和标签平滑，数据是 Multi30k 英德。各系统读相同的 4,000 个 BPE 词元（两侧共用一个词表），训练大小相同的
LSTM（词嵌入 128，编码器 2 x 128，解码器和注意力 256，不共享权重）：float32，每次更新 64 个句子，Adam 1e-3，梯度裁剪
到 1，词嵌入和输出层之前的 dropout 是 0.3。初始权重和分批方式是各系统自己的默认设置。其他不同之处：OpenNMT-py 和 Eole
的源句没有句末标记，反馈的读出向量已经过 dropout；Eole 的编码器也读填充；Joey NMT 不对读出向量、而对读出层的输入和反馈的
向量做 dropout，解码器初始的 `h` 和 `c` 都取自编码器最后的 `h`，输出层没有偏置。
全部数值：[learning.json](../benchmarks/learning.json)。""",
)


def render(results: Mapping[str, Any]) -> str:
    """All values, as `learning.md`."""
    lines = [
        "# Development loss by updates\n",
        *_origin(results),
        "| system | decoder and score | readout | seed | 250 | 500 | 750 | 1,000 | weights | s/update | date |",
        f"|{'---|' * 11}",
    ]
    for cell in results["cells"].values():
        row = [cell["system"], cell["row"], cell["readout"], str(cell["seed"])]
        if "losses" in cell:
            row += [f"{cell['losses'][update]:.3f}" for update in ("250", "500", "750", "1000")]
            row += [f"{cell['weights']:,}", f"{cell['update_seconds']:.3f}"]
        else:
            row += ["", "", "", cell["reason"].replace("|", "/"), "", ""]
        lines.append(f"| {' | '.join([*row, cell['date']])} |")
    return "\n".join(lines) + "\n"


def _origin(results: Mapping[str, Any]) -> list[str]:
    if "machine" not in results:
        return []
    versions = ", ".join(f"{name} {value}" for name, value in results["versions"].items())
    return [
        f"`make learning`; {results['machine']['processor']}, one thread; {results['pieces']:,} development pieces, "
        f"ends of sentences counted; {versions}. The settings are in [docs/training.md](../docs/training.md).\n"
    ]


def block(results: Mapping[str, Any], language: Language = ENGLISH) -> str:
    """The table for a page: a line for each decoder, score and readout, a column for each system."""
    lines = [f"| {' | '.join([*language.columns, *SYSTEMS])} |", f"|{'---|' * (3 + len(SYSTEMS))}"]
    rows = dict.fromkeys((cell["row"], cell["readout"]) for cell in results["cells"].values())
    for row, readout in rows:
        cells = [
            [c for c in results["cells"].values() if (c["row"], c["readout"], c["system"]) == (row, readout, system)]
            for system in SYSTEMS
        ]
        decoder, _, score = row.partition(" ")
        head = [f"`{decoder}`", f"`{score}`" if score else "", f"`{readout}`" if score else ""]
        lines.append(f"| {' | '.join([*head, *_entries(cells, language)])} |")
    seeds = max((cell["seed"] for cell in results["cells"].values()), default=1)
    notes = [language.seeds.format(seeds)] if seeds > 1 else []
    notes += [
        f"{cell['system']}, {cell['row']}: {cell['reason']}." for cell in results["cells"].values() if "reason" in cell
    ]
    return "\n".join([*lines, "", language.conditions, *(["", " ".join(notes)] if notes else [])])


def _entries(cells: list[list[Cell]], language: Language) -> list[str]:
    """A row's entries, one a system, each with three losses: means over seeds."""
    values = [
        [mean(cell["losses"][update] for cell in trained) for update in SHOWN]
        if (trained := [cell for cell in some if "losses" in cell])
        else []
        for some in cells
    ]
    least = [min((v[i] for v in values if v), default=0.0) for i in range(len(SHOWN))]
    entries = []
    for some, losses in zip(cells, values, strict=True):
        if losses:
            both = [(f"{value:.2f}", f"{low:.2f}") for value, low in zip(losses, least, strict=True)]
            said = [f"**{value}**" if value == low else value for value, low in both]
            entries.append(" / ".join(said))
        else:
            entries.append(language.failed if some else language.absent)
    return entries


def into_page(text: str, results: Mapping[str, Any], path: Path) -> str:
    """A page with the block in the place of its old one.

    Raises:
        UserError: the page has no such block.
    """
    before, begin, rest = text.partition(BEGIN)
    _old, end, after = rest.partition(END)
    if not begin or not end:
        raise UserError(f"{path}: there is no place for the table; write the lines '{BEGIN}' and '{END}' into it")
    language = CHINESE if path.name.endswith(".zh-CN.md") else ENGLISH
    return f"{before}{begin}\n\n{block(results, language)}\n\n{end}{after}"
