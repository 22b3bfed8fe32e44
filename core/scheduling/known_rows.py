"""Which rows of the view need no second reading? Those of runs whose files are still the ones that were read.

A finished run is read and verified in full once, by the driver that saw it finish or by the first look at it. What was
found is kept in the cache, for one user, under the stamps of its files (inode, size, times of content and of status,
which no program can set); another stamp, and it is read again. Each line of the file is a JSON value behind its CRC-32,
as in a ledger, and what is new is added behind the rest; without the file, or with a damaged line, all is only slower.
Bytes of a record that rot on a disk change no stamp: `show`, `report`, `audit`, `compare` and `run` verify without it.
"""

from __future__ import annotations

import json
import os
import time
import zlib
from collections.abc import Iterable, Mapping, Set
from contextlib import suppress
from pathlib import Path
from typing import Any

from ablation_suite.core.runs.files import json_text, open_regular, read_bytes, sha256, stamp, write_atomic

Row = dict[str, Any]
Stamp = list[Any]
"""Of `run.json`, then of the record, four numbers each where it is there; without a record, whether there is a lock."""
COLUMNS = ("ablation", "arm", "seed", "state", "epoch", "epochs", "best", "images_per_second", "host")
"""What is kept of a row, behind the run's id and its stamp; the rest of it says what goes on now."""
FORM = 3
"""Raised when rows are made or kept otherwise."""
RACY_NS = 3_000_000_000
"""A file that changed so short a time ago may change again within the same tick of its clock."""
_LEAST = 500
"""A store of fewer runs is read as quickly as it is looked up."""
_NOW = {"seconds_left": None, "queue": None}
_HEAD = {"form": FORM, "columns": [*COLUMNS]}


class KnownRows:
    """Rows of finished runs and of those never begun, by run id, as an earlier look or a driver found them."""

    def __init__(self, cache: Path, store: Path):
        where = sha256(str(store.absolute()))[:16]
        self.store = str(store)
        self.path = cache / "status" / f"{where}-{os.getuid()}.jsonl"
        self.rows: dict[str, list[Any]] = {}
        """Run id -> id, stamp and columns."""
        self.num_lines: int | None = None
        """How many rows stand in the file; None where it is not one to add to."""

    def read(self) -> None:
        """Take in what is kept; nothing where it is damaged, of another form, or somebody else's."""
        with suppress(OSError, ValueError, TypeError, IndexError):
            if self._is_ours():
                head, *lines = _values(read_bytes(self.path))
                if head == _HEAD:
                    self.rows = {line[0]: line for line in lines if len(line) == 2 + len(COLUMNS)}
                    self.num_lines = len(lines)

    def get(self, name: str) -> Row | None:
        """The row of a run whose files have not changed since it was made, or None."""
        line = self.rows.get(name)
        if line is None or line[1] != stamp_of(f"{self.store}/{name}"):
            return None
        return {"run_id": name, **dict(zip(COLUMNS, line[2:], strict=True)), **_NOW}

    def keep(self, found: Mapping[str, tuple[Stamp, Row]], gone: Set[str] = frozenset()) -> None:
        """Take in what was read now, forget the runs that are gone, and write it down where that is possible."""
        new = _lines(found)
        self.rows = {name: line for name, line in self.rows.items() if name not in gone} | new
        if len(self.rows) < _LEAST or not (new or gone):
            return
        if self.num_lines is None or self.num_lines + len(new) > 2 * len(self.rows):
            with suppress(OSError):
                self.path.parent.mkdir(parents=True, exist_ok=True)
                write_atomic(self.path, _text([_HEAD, *self.rows.values()]))
        else:
            self._add(_text(new.values()))

    def note(self, found: Mapping[str, tuple[Stamp, Row]]) -> None:
        """Add rows to what is kept, without a look at it: what a driver does that saw runs finish."""
        if new := _lines(found):
            with suppress(OSError):
                self.path.parent.mkdir(parents=True, exist_ok=True)
                self._add(_text(new.values() if self._is_ours() else [_HEAD, *new.values()]))

    def _is_ours(self) -> bool:
        """Whether there is a file that this user may believe."""
        with suppress(FileNotFoundError), open_regular(self.path) as file:
            return os.fstat(file.fileno()).st_uid == os.getuid()
        return False

    def _add(self, text: bytes) -> None:
        with suppress(OSError), open(self.path, "ab", buffering=0) as file:  # in one write, beside those of others
            file.write(text)


def stamp_of(folder: str) -> Stamp:
    """What changes when a run that is finished, or was never begun, is one no more: a run begins with its lock."""
    job = stamp(f"{folder}/run.json")
    record = stamp(f"{folder}/record.json")
    return [*job, *record] if record else [*job, os.path.lexists(f"{folder}/lock")]


def _lines(found: Mapping[str, tuple[Stamp, Row]]) -> dict[str, list[Any]]:
    """What is kept of rows, without those whose files changed just now."""
    settled = time.time_ns() - RACY_NS
    return {
        name: [name, stamp, *(row[column] for column in COLUMNS)]
        for name, (stamp, row) in found.items()
        if max([*stamp[2:4], *stamp[6:8]], default=0) < settled
    }


def _text(values: Iterable[Any]) -> bytes:
    """A line each: eight hexadecimal digits of the CRC-32 of the JSON, a space, the JSON."""
    texts = map(json_text, values)
    return b"".join(b"%08x %s\n" % (zlib.crc32(text), text) for text in texts)


def _values(data: bytes) -> list[Any]:
    """What `_text` was given; ValueError where a bit of it is another."""
    *lines, torn = data.split(b"\n")
    texts = [line[9:] for line in lines]
    if torn or any(line[:9] != b"%08x " % zlib.crc32(text) for line, text in zip(lines, texts, strict=True)):
        raise ValueError("a damaged line")
    return json.loads(b"[" + b",".join(texts) + b"]")
