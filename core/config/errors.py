"""Which errors are for people? Those of this family: one clear line for each fault, and exit status 2."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class UserError(ValueError):
    """Something that the user can mend; its text says what, where, and what to do. All other errors are defects."""


@contextmanager
def plain_os_errors() -> Iterator[None]:
    """Turn what the operating system says at a border (a folder, a disk, a home) into one line for users."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        where = f"{error.filename}: " if error.filename is not None else ""
        raise UserError(f"{where}{error.strerror or error}") from error
