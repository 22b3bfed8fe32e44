"""Which errors are for people? Those of this family: one clear line for each fault, and exit status 2."""

from __future__ import annotations

import difflib
import errno
import os
import shlex
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

LONGEST_SHOWN = 80
"""Letters of what somebody wrote that a message repeats."""


class UserError(ValueError):
    """Something that the user can mend; its text says what, where, and what to do. All other errors are defects."""


class OwnPartError(UserError):
    """What is wrong with an own part, with its file and, where there is one, its line."""


def printable(text: str) -> str:
    """The text, with all spelled out that gives orders to a terminal: escapes, the direction of writing; lines stay.

    For whatever holds a name of anybody's, of a file, an arm, a setting. A byte of a file's name that is no text is
    spelled as a shell writes it, as in $'caf\\xe9'.
    """
    if text.replace("\n", "").isprintable():
        return text
    return "".join(each if each.isprintable() or each == "\n" else _spelled(each) for each in text)


def in_one_line(text: str) -> str:
    """The text as `printable` gives it, without a second line, which a name could make to look like ours."""
    return printable(text).replace("\n", "\\n")


def shell_line(words: Iterable[str]) -> str:
    """The words of a command as one line to paste, in which nothing gives orders to a terminal.

    What no terminal shows is spelled in bytes, as bash and zsh read them: $'\\xe2\\x80\\xae'.
    """
    return " ".join(shlex.quote(word) if word.isprintable() else f"$'{_in_bytes(word)}'" for word in words)


def _in_bytes(word: str) -> str:
    letters = []
    for each in word:
        if each.isprintable():
            letters.append(f"\\{each}" if each in "\\'" else each)
        else:
            letters += [f"\\x{byte:02x}" for byte in each.encode("utf-8", "surrogateescape")]
    return "".join(letters)


def _spelled(letter: str) -> str:
    return f"\\x{ord(letter) - 0xDC00:02x}" if "\udc80" <= letter <= "\udcff" else ascii(letter)[1:-1]


def nearest(name: str, names: Iterable[str]) -> str:
    """` (did you mean 'x'?)` for the nearest of the names, or nothing."""
    close = difflib.get_close_matches(name[:LONGEST_SHOWN], list(names), n=1)
    return f" (did you mean '{close[0]}'?)" if close else ""


@contextmanager
def plain_os_errors() -> Iterator[None]:
    """Turn what the operating system says at a border (a folder, a disk, a home) into one line for users."""
    try:
        yield
    except OSError as error:
        raise UserError(os_error_line(error)) from error


def words_of(error: BaseException) -> str:
    """What an error says, of the operating system without its number and the path, which stand where this is put."""
    return error.strerror if isinstance(error, OSError) and error.strerror else str(error)


def os_error_line(error: OSError) -> str:
    """What the operating system said, and where; of a full disk, how full it is."""
    if error.filename is None:
        return error.strerror or str(error)
    if error.errno != errno.ENOSPC:
        return f"{error.filename}: {error.strerror or error}"
    path = Path(os.fsdecode(error.filename)).absolute()
    folder = next(parent for parent in path.parents if parent.exists())
    disk = os.statvfs(folder)
    if disk.f_files and not disk.f_favail:
        return f"the disk is full under {folder}: it has no room for one more file (its inodes are used up)"
    return f"the disk is full under {folder} ({disk.f_bavail * disk.f_frsize / 1e6:.1f} MB free)"
