"""The command line: `antiphon train | generate | chat | evaluate | score | ...`.

Thin: what is real lives in the packages. The commands join the program when their modules are imported.
"""

from antiphon.cli import recipes, train, use
from antiphon.cli.program import app, main

__all__ = ["app", "main", "recipes", "train", "use"]
