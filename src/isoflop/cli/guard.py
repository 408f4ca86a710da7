"""How a verb ends: IsoflopError is one message on stderr and exit code 2, Ctrl-C is 130; `--debug` shows tracebacks."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import typer

from isoflop.errors import IsoflopError

DEBUG = "ISOFLOP_DEBUG"
USER_ERROR, INTERRUPTED = 2, 130
Given = ParamSpec("Given")
Returned = TypeVar("Returned")


def guarded(verb: Callable[Given, Returned]) -> Callable[Given, Returned]:
    """The verb with its errors told to a person."""

    @functools.wraps(verb)
    def inner(*args: Given.args, **kwargs: Given.kwargs) -> Returned:
        try:
            return verb(*args, **kwargs)
        except IsoflopError as error:
            if os.environ.get(DEBUG):
                raise
            typer.secho("error: ", fg="red", bold=True, err=True, nl=False)
            typer.echo(str(error), err=True)
            raise typer.Exit(USER_ERROR) from None
        except KeyboardInterrupt:
            if os.environ.get(DEBUG):
                raise
            typer.echo("interrupted", err=True)
            raise typer.Exit(INTERRUPTED) from None

    return inner
