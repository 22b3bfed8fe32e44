"""What if nobody can read what is printed? A lost answer is a fault, a lost remark none; a reader who left ends us."""

from __future__ import annotations

import io
import os
import sys
from typing import Any, TextIO

import click

from ablation_suite.core.config.errors import UserError, printable

STDIN, STDOUT, STDERR = 0, 1, 2
READER_LEFT = 141
"""The exit status of a program that SIGPIPE ended, as in `ablate status | head -1`."""


def prepare() -> None:
    """Let standard output and error meet a full disk, a closed file and a reader who left as this file promises.

    A closed one leads nowhere, so that no file of a run gets its number; what an encoding lacks is spelled out.
    """
    for number in (STDIN, STDOUT, STDERR):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    if sys.stdout is sys.__stdout__:  # what somebody has put in its place stays
        sys.stdout = _text(STDOUT, sys.stdout)
    if sys.stderr is sys.__stderr__:
        sys.stderr = _text(STDERR, sys.stderr)


def say(text: str = "", *, err: bool = False) -> None:
    """Print what people read, whoever made the names in it: nothing in it gives orders to their terminal."""
    click.echo(printable(text), err=err)


def _text(number: int, before: TextIO | None) -> TextIO:
    stream = _Stream(number, "w", closefd=False)
    return io.TextIOWrapper(
        io.BufferedWriter(stream),
        encoding=before.encoding if before else "utf-8",
        errors="backslashreplace",
        line_buffering=number == STDERR or stream.isatty(),
    )


class _Stream(io.FileIO):
    """Standard output or error."""

    def write(self, data: Any, /) -> int:
        try:
            return super().write(data)
        except OSError as error:
            left = isinstance(error, BrokenPipeError)
            if self.fileno() == STDERR and not left:  # a log on a full disk, a terminal that is gone: the work goes on
                return len(data)
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.fileno())  # what was printed before is not tried again
            if left:
                sys.exit(READER_LEFT)
            raise UserError(f"the output cannot be written: {error.strerror}") from error
