"""The machine's own limit: how many multiply-adds a second PyTorch's matrix products reach on it.

python -m benchmarks.limit JOB.json
"""

import json
import statistics
import sys
import time
from pathlib import Path

import torch

# Rows, inner size, columns: a large square; a batch's output layer and gates in the shape `small`; gates in `large`.
PRODUCTS = {
    "2048 x 2048 x 2048": (2048, 2048, 2048),
    "output layer, small": (2048, 512, 8000),
    "gates, small": (128, 1280, 2048),
    "gates, large": (128, 2000, 4000),
}
TYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def rate(sizes: tuple[int, int, int], dtype: torch.dtype, seconds: float) -> float:
    """Floating-point operations a second (two a multiply-add) of one product, the median over repetitions."""
    m, k, n = sizes
    a, b = torch.randn(m, k).to(dtype), torch.randn(k, n).to(dtype)
    times: list[float] = []
    began = time.perf_counter()
    while len(times) < 5 or time.perf_counter() - began < seconds:
        start = time.perf_counter()
        torch.mm(a, b)
        times.append(time.perf_counter() - start)
    return 2.0 * m * k * n / statistics.median(times[1:])


def main() -> None:
    job = json.loads(Path(sys.argv[1]).read_text("utf-8"))
    torch.set_num_threads(job["threads"])
    rates = {
        name: {product: rate(sizes, dtype, job["seconds"]) for product, sizes in PRODUCTS.items()}
        for name, dtype in TYPES.items()
    }
    Path(job["result"]).write_text(json.dumps(rates), encoding="utf-8")


if __name__ == "__main__":
    main()
