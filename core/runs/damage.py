"""Is this file of a run folder what was written, by this very run? Damaged where it is not, for a reader to tell."""

from __future__ import annotations

import io
import os
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ablation_suite.core.config.errors import UserError, words_of
from ablation_suite.core.runs.files import read_bytes, read_json, sha256

if TYPE_CHECKING:
    from numpy.lib.npyio import NpzFile

OUTPUT_ERRORS = (
    *(OSError, ValueError, KeyError, EOFError, MemoryError, RuntimeError, SyntaxError),
    *(zipfile.BadZipFile, zlib.error, struct.error),
)
"""What reading a missing or damaged `outputs.npz` may raise: one byte makes it encrypted, or of unknown compression."""


class Damaged(UserError):
    """A file of a run folder does not read or does not verify."""


def read_object(path: Path) -> dict[str, Any]:
    """The object of a JSON file; Damaged where it holds none, FileNotFoundError where there is no file."""
    try:
        value = read_json(path)
    except PermissionError:
        raise
    except FileNotFoundError as error:
        if os.path.lexists(path):
            raise Damaged(f"{path}: is damaged (a link to a file that is not there)") from error
        raise
    except (OSError, ValueError) as error:
        raise Damaged(f"{path}: is damaged ({words_of(error)})") from error
    if not isinstance(value, dict):
        raise Damaged(f"{path}: is damaged (it holds no JSON object)")
    return value


@contextmanager
def open_outputs(path: Path, record: Mapping[str, Any]) -> Iterator[NpzFile]:
    """The arrays of an `outputs.npz`; OUTPUT_ERRORS where it does not read, or is not the one of the record."""
    import numpy as np

    content = read_bytes(path)
    if sum_in(record, path.name) not in (None, sha256(content)):
        raise ValueError("it is not what was written, its SHA-256 is another")
    with np.load(io.BytesIO(content)) as arrays:
        yield arrays


def sum_in(record: Mapping[str, Any], name: str) -> str | None:
    """The SHA-256 that a record names of a file in its folder; older records name none."""
    return (record.get("files") or {}).get(name)
