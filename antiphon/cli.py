"""The command line: `antiphon train | generate | chat | evaluate | score | ...`.

Thin: what is real lives in the modules. Commands are in `make_commands`, `use_commands` and `recipe_commands`,
and join the program when these are imported.
"""

from antiphon import make_commands, recipe_commands, use_commands
from antiphon.program import app, main

__all__ = ["app", "main", "make_commands", "recipe_commands", "use_commands"]

if __name__ == "__main__":
    main()
