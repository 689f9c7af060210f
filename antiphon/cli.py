"""The command line: `antiphon train | generate | chat | evaluate | score | ...`.

Thin: what is real lives in the modules. Commands are in `making`, `using` and `remaking`, and join the program when
these are imported.
"""

from antiphon import making, remaking, using
from antiphon.program import app, main

__all__ = ["app", "main", "making", "remaking", "using"]

if __name__ == "__main__":
    main()
