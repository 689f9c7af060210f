"""`python -m antiphon` is the command `antiphon`; torchrun starts its processes so."""

from antiphon.cli.main import main

if __name__ == "__main__":
    main()
