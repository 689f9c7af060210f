"""Errors of a command: one message, exit status 2; 130 when it is interrupted, 141 when its output pipe is closed."""

import functools
import os
import sys
from collections.abc import Callable
from typing import NoReturn, ParamSpec

import typer

from antiphon.errors import ReportedElsewhere, UserError, extra
from antiphon.files import reason

P = ParamSpec("P")

TRAINING = ("torch", "babel", "matplotlib", "onnx", "sacremoses", "tensorboard")  # packages of the extra `train`
OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "not enough memory")  # as PyTorch says it
RESUMABLE = ("train", "tune", "demo", "run")  # commands that continue where they were stopped


def guarded(command: Callable[P, None]) -> Callable[P, None]:
    """Make a command report its errors in one message, with exit status 2 and without a traceback."""

    @functools.wraps(command)
    def guard(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            command(*args, **kwargs)
            sys.stdout.flush()
        except ReportedElsewhere:
            raise typer.Exit from None
        except UserError as e:
            _fail(str(e))
        except BrokenPipeError:  # such as `| head`, which reads no more
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(141) from None
        except ModuleNotFoundError as e:
            if e.name not in TRAINING:
                raise
            _fail(f"this needs the package {e.name}: {extra('train')}")
        except (MemoryError, RuntimeError) as e:
            if isinstance(e, RuntimeError) and not any(words in str(e) for words in OUT_OF_MEMORY):
                raise
            _fail("out of memory; lower the batch, or for a training text.size or the model's sizes")
        except OSError as e:
            _fail(f"{f'{e.filename}: ' if e.filename else ''}{reason(e)}")
        except KeyboardInterrupt:
            more = "; the same command continues" if command.__name__ in RESUMABLE else ""
            typer.echo(f"antiphon: stopped{more}", err=True)
            raise typer.Exit(130) from None

    return guard


def _fail(message: str) -> NoReturn:
    typer.echo(f"antiphon: {message}", err=True)
    raise typer.Exit(2) from None
