"""What every test shares: one processor thread, and the real corpora where they are at hand."""

import os
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import pytest
import torch

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The folder of real corpora, or a skip that says what is missing."""
    named = os.environ.get("ANTIPHON_DATA")
    if not named:
        pytest.skip("ANTIPHON_DATA names no folder of corpora")
    folder = Path(named)
    if not folder.is_dir():
        pytest.skip(f"ANTIPHON_DATA={named} is not a folder")
    return folder
