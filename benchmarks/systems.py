"""The systems that are measured: Antiphon in its variants, and the peers, each in its own environment."""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from inspect import signature
from pathlib import Path
from typing import Any

PEERS = "ANTIPHON_PEERS"
OWN = "Antiphon"
FOLDER = Path(__file__).parent / ".peers"
ENGINES = ("torch", "onnx", "onnx-int8")


@dataclass(frozen=True)
class System:
    """One competitor in a row."""

    name: str  # as in the table
    key: str = ""  # its environment and module; empty: Antiphon in this one
    model: str = ""  # whose trained model it uses; systems that share one name it alike
    options: Mapping[str, Any] = field(default_factory=dict)  # of its jobs

    @property
    def own(self) -> bool:
        return not self.key

    @property
    def module(self) -> str:
        return f"benchmarks.peers.{self.key or 'antiphon'}"

    @property
    def python(self) -> Path:
        """Its interpreter, there or not."""
        if self.own:
            return Path(sys.executable)
        inside = "Scripts/python.exe" if os.name == "nt" else "bin/python"
        return peers_folder() / self.key / inside

    @property
    def openmp(self) -> bool:
        """Whether its threads are set through the environment; CTranslate2 suffers from that."""
        return self.key not in ("", "ct2")


def peers_folder() -> Path:
    """Where `make peers` installs them."""
    return Path(os.environ.get(PEERS) or FOLDER).absolute()


ONMT = System("OpenNMT-py", "onmt", "onmt")
EOLE = System("Eole", "eole", "eole")
JOEY = System("Joey NMT", "joey", "joey")
CT2 = System("CTranslate2 int8, Transformer tiny", "ct2", "ct2")


def precisions() -> list[System]:
    """Antiphon's training in its two precisions."""
    names = ("bfloat16", "float32")
    return [System(f"{OWN} {name}", options={"precision": name, "preset": ""}) for name in names]


def models() -> list[System]:
    """Antiphon's models: the shape that the peers have, and its own preset."""
    small = System(f"{OWN}, shape small", model="antiphon-small", options={"precision": "auto", "preset": ""})
    preset = fast_preset()
    options = {"precision": "auto", "preset": preset}
    return [small, System(f"{OWN}, preset {preset}", model="antiphon-preset", options=options)]


def engines() -> list[System]:
    """Antiphon's engines, each with each of its models."""
    systems = []
    for model in models():
        for engine in ENGINES:
            systems.append(System(f"{model.name}, {engine}", "", model.model, {**model.options, "engine": engine}))
        if has_shortlist():
            options = {**model.options, "engine": "onnx-int8", "shortlist": True}
            systems.append(System(f"{model.name}, onnx-int8, shortlist", "", model.model, options))
    return systems


def fast_preset() -> str:
    """The preset made for speed, or the one for the corpus's size where there is none."""
    from antiphon.config.loading import presets

    return "fast" if "fast" in presets() else "small"


def has_shortlist() -> bool:
    """Whether this version opens models with a lexical shortlist."""
    from antiphon import Seq2Seq

    return "shortlist" in signature(Seq2Seq.load).parameters
