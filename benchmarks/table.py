"""The results as Markdown: a summary with the goals, then every row with every ratio."""

import statistics
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, NamedTuple

from benchmarks.rows import Row
from benchmarks.spread import ratio, spread

GIB = 2**30
MEMORY_GOAL = 1.5  # GiB
PRESET = "preset fast"  # in the names of our systems whose network is another than the peers'

# Of each row's details those that the table shows: heading, by name of the detail.
DETAILS = {
    "train-small": {"weights": "weights", "updates": "updates"},
    "train-large": {"weights": "weights", "updates": "updates"},
    "bleu": {
        "greedy": "BLEU, greedy", "updates": "updates", "beam 5, sentences/s": "beam 5, sent/s",
        "greedy, sentences/s": "greedy, sent/s",
    },
    "beam": {"sentences/s": "sentences/s"},
    "greedy": {"sentences/s": "sentences/s"},
    "single": {"p95": "p95"},
}  # fmt: skip


class Best(NamedTuple):
    """The best of some systems in a row."""

    name: str
    value: float


def empty(row: Row) -> dict[str, Any]:
    """A row without measurements, as the results keep it."""
    cells = {
        system.name: {
            "own": system.own,
            "precision": system.options.get("precision", "float32"),
            "values": {},
            "peaks": {},
            "details": {},
            "reason": "",
        }
        for system in row.systems
    }
    described = {name: getattr(row, name) for name in ("title", "unit", "conditions", "higher")}
    return described | {"goals": [asdict(goal) for goal in row.goals], "cells": cells}


def render(results: Mapping[str, Any]) -> str:
    """The whole document."""
    rows = with_memory(results["rows"])
    parts = [_head(results), _summary(rows), _limit(results), *(_section(key, rows[key], results) for key in rows)]
    return "\n".join(part for part in parts if part)


def with_memory(rows: Mapping[str, Any]) -> dict[str, Any]:
    """The rows, and behind the training of the small shape its peak memory as a row of its own."""
    every: dict[str, Any] = {}
    for key, row in rows.items():
        every[key] = row
        if key == "train-small":
            cells = {
                name: cell | {"values": {r: peak / GIB for r, peak in cell["peaks"].items() if peak}, "peaks": {}}
                for name, cell in row["cells"].items()
            }
            described = {"title": "peak memory, training small", "unit": "GiB", "higher": False, "cells": cells}
            goals = [{"times": 0.0, "over": "", "value": MEMORY_GOAL}]
            conditions = "resident, of the process and its children, while the row above was measured"
            every["memory"] = described | {"goals": goals, "conditions": conditions}
    return every


def best(row: Mapping[str, Any], own: bool, same_network: bool = False) -> Best | None:
    """The best system by median, among ours or among the peers; None if none was measured.

    Args:
        row: with its cells.
        own: among ours.
        same_network: only those with the network that the peers have.
    """
    medians = [
        Best(name, spread(list(cell["values"].values())).median)
        for name, cell in row["cells"].items()
        if cell["own"] == own and cell["values"] and not (same_network and PRESET in name)
    ]
    if not medians:
        return None
    return max(medians, key=lambda system: system.value if row["higher"] else -system.value)


def compare(row: Mapping[str, Any], ours: str, theirs: str) -> float | None:
    """How many times better one system is than another, from the rounds that both have."""
    a, b = row["cells"][ours]["values"], row["cells"][theirs]["values"]
    return ratio(a, b, row["higher"]) if ours != theirs else None


def fraction(row_key: str, cell: Mapping[str, Any], results: Mapping[str, Any]) -> float | None:
    """The share of the machine's matrix-product rate that a training reaches; None for other rows."""
    shape = row_key.removeprefix("train-")
    if shape not in results["operations"] or not cell["values"] or not results["limit"]:
        return None
    rate = limit_rate(results, cell["precision"])
    median = spread(list(cell["values"].values())).median
    return float(median * results["operations"][shape] / rate)


def limit_rate(results: Mapping[str, Any], precision: str) -> float:
    """The highest rate of any of the products, the median over the rounds."""
    name = precision if precision in ("float32", "bfloat16") else "float32"
    return float(statistics.median(max(rates[name].values()) for rates in results["limit"]))


def number(value: float) -> str:
    """Three figures or so: 12345.6 -> 12,346; 12.34 -> 12.3; 1.234 -> 1.23."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def _head(results: Mapping[str, Any]) -> str:
    m = results["machine"]
    sets = f", {', '.join(m['instructions'])}" if m["instructions"] else ""
    versions = ", ".join(f"{name} {value}" for name, value in results["versions"].items())
    shapes = "; ".join(
        f"{name}: {results['weights'][name]:,} weights, {results['operations'][name] / 1e6:.1f} MFLOP a target token"
        for name in results["weights"]
    )
    return (
        "# Benchmark\n\n"
        f"{m['processor']}, {m['cores']} cores, {m['memory_gib']} GiB{sets}; {m['system']}, Python {m['python']}. "
        f"{m['threads']} threads for every system. {results['date']}, commit {results['commit'][:12] or 'unknown'}, "
        f"`{results['command']}`, {results.get('minutes', 0)} minutes.\n\n"
        f"{versions}.\n\n"
        "Multi30k en-de, cased raw text, one joint BPE vocabulary of 8,000 pieces for every system; Adam 1e-3, "
        "gradients clipped at 1, dropout 0.3. Systems take turns in rounds. The tables show medians "
        "with the least and the most; ratios are medians of the rounds' ratios, above 1 where the system on the left "
        f"is better. Training in the shapes {shapes} (two operations a multiply-add, three passes, no padding).\n"
    )


def _summary(rows: Mapping[str, Any]) -> str:
    lines = [
        "## Summary\n",
        "The best of our systems, and the best of those that have the peers' network (shape `small` or `large`; our "
        "preset `fast` is another network). CTranslate2 runs a tiny Transformer. A ratio above 1 means "
        "that ours is better.\n",
        "| measured | unit | Antiphon's best | Antiphon, the peers' network | best peer | ratio of the best | "
        "ratio, the peers' network | goals for the best |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows.values():
        ours, same, theirs = best(row, own=True), best(row, own=True, same_network=True), best(row, own=False)
        systems = [f"{number(one.value)} ({one.name})" if one else "none" for one in (ours, same, theirs)]
        ratios = [compare(row, one.name, theirs.name) if one and theirs else None for one in (ours, same)]
        goals = "; ".join(_goal(goal, row, ours, theirs) for goal in row["goals"])
        cells = [row["title"], row["unit"], *systems, *map(_times, ratios), goals]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _goal(goal: Mapping[str, Any], row: Mapping[str, Any], ours: Best | None, theirs: Best | None) -> str:
    """A goal and whether it is reached."""
    if goal["value"]:
        said = f"{goal['value']:g}"
        share = ours and (ours.value / goal["value"] if row["higher"] else goal["value"] / ours.value)
    else:
        over = goal["over"] or (theirs.name if theirs else "best peer")
        said = f"{goal['times']:g} x {over}"
        times = compare(row, ours.name, over) if ours and over in row["cells"] else None
        share = times / goal["times"] if times is not None else None
    verdict = "not measured" if share is None else "reached" if share >= 1 else "not reached"
    return f"{said}: {verdict}"


def _limit(results: Mapping[str, Any]) -> str:
    if not results["limit"]:
        return ""
    lines = [
        "## The machine's limit\n",
        "Matrix products in PyTorch, GFLOP/s, medians over the rounds; the highest of a column is the limit that "
        "fractions are of.\n",
        "| product | float32 | bfloat16 |",
        "|---|---|---|",
    ]
    for product in results["limit"][0]["float32"]:
        rates = [statistics.median(f[t][product] for f in results["limit"]) / 1e9 for t in ("float32", "bfloat16")]
        lines.append(f"| {product} | {rates[0]:,.0f} | {rates[1]:,.0f} |")
    return "\n".join(lines) + "\n"


def _section(key: str, row: Mapping[str, Any], results: Mapping[str, Any]) -> str:
    """One row of the benchmark: its systems down, their figures and the ratio to every peer across."""
    cells = row["cells"]
    peers = [name for name, cell in cells.items() if not cell["own"] and cell["values"]]
    details = DETAILS.get(key, {})
    limited = any(fraction(key, cell, results) is not None for cell in cells.values())
    memory = any(any(cell["peaks"].values()) for cell in cells.values())
    heading = ["system", f"{row['unit']}, median (least - most)", *details.values()]
    heading += (["of the limit"] if limited else []) + (["peak, GiB"] if memory else [])
    heading += [f"ratio to {name}" for name in peers]
    lines = [f"## {row['title'][0].upper()}{row['title'][1:]}\n", f"{row['conditions']}.\n"]
    lines += [f"| {' | '.join(heading)} |", f"|{'---|' * len(heading)}"]
    for name, cell in cells.items():
        entries = [name, _values(cell), *(_detail(cell, detail) for detail in details)]
        share = fraction(key, cell, results)
        entries += ([f"{share:.0%}" if share is not None else ""] if limited else []) + (
            [_peak(cell)] if memory else []
        )
        entries += [_times(compare(row, name, peer)) for peer in peers]
        lines.append(f"| {' | '.join(entries)} |")
    signatures = {d["signature"] for cell in cells.values() for d in cell["details"].values() if "signature" in d}
    return "\n".join(lines + [f"\n`{signature}`" for signature in sorted(signatures)]) + "\n"


def _values(cell: Mapping[str, Any]) -> str:
    if not cell["values"]:
        return cell["reason"].replace("|", "/") or "not measured"
    values = spread(list(cell["values"].values()))
    around = f" ({number(values.least)} - {number(values.most)})" if len(cell["values"]) > 1 else ""
    failed = f"; a round failed: {cell['reason']}" if cell["reason"] else ""
    return f"{number(values.median)}{around}{failed}"


def _detail(cell: Mapping[str, Any], name: str) -> str:
    values = [details[name] for details in cell["details"].values() if name in details]
    if not values:
        return ""
    median = statistics.median(values)
    return f"{median:,.0f}" if median == int(median) else number(median)


def _peak(cell: Mapping[str, Any]) -> str:
    values = [peak / GIB for peak in cell["peaks"].values() if peak]
    return number(statistics.median(values)) if values else ""


def _times(value: float | None) -> str:
    return "" if value is None else number(value)
