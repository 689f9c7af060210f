"""Draw all pictures of README and docs: python -m benchmarks.pictures

The terminal's session and the attention picture train the demo's model first, which takes some minutes.
"""

import argparse
import json
from pathlib import Path

from antiphon import files
from antiphon.evaluation.figures import ENGLISH
from benchmarks.pictures import chart, encoder_decoder, session

ROOT = Path(__file__).parents[2]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, prog="python -m benchmarks.pictures")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "pictures", help="folder of the pictures")
    parser.add_argument(
        "--work", type=Path, default=ROOT / "benchmarks" / ".work" / "pictures", help="data and model; reused if there"
    )
    arguments = parser.parse_args()
    out, work = arguments.out, arguments.work
    out.mkdir(parents=True, exist_ok=True)
    results = json.loads((ROOT / "benchmarks" / "results.json").read_text("utf-8"))
    chart.draw(results, chart.ENGLISH, out / "benchmark.png")
    chart.draw(results, chart.CHINESE, out / "benchmark.zh-CN.png")
    files.write(out / "encoder-decoder.svg", encoder_decoder.svg(encoder_decoder.ENGLISH))
    files.write(out / "encoder-decoder.zh-CN.svg", encoder_decoder.svg(encoder_decoder.CHINESE))
    work.mkdir(parents=True, exist_ok=True)
    session.prepare(work)
    session.draw_terminal(work, out / "terminal.svg")
    session.draw_attention(work, out / "attention.png", ENGLISH)
    session.draw_attention(work, out / "attention.zh-CN.png", session.CHINESE)


if __name__ == "__main__":
    main()
