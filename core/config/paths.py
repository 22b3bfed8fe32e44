"""Which path does somebody mean who types one? `~` is their home, also where no shell reads it: `--out=~/x`, a spec."""

from __future__ import annotations

import os
from pathlib import Path


def typed(path: str | Path) -> Path:
    """The path, with `~` or `~user` at its beginning expanded; as it stands where that home is not known."""
    return Path(os.path.expanduser(path))


def is_text(name: str | Path) -> bool:
    """Whether a name of the file system, whose names are bytes, is text that can stand in a record."""
    try:
        return bool(str(name).encode())
    except UnicodeEncodeError:
        return False
