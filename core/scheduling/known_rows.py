"""Which rows of the view need no second reading? Those of runs whose files are still the ones that were read.

A finished run is read and verified in full once. What was found is kept in the cache, for one user, under the stamps of
its files (inode, size, times of content and of status, which no program can set); another stamp, and it is read again.
Nothing else is kept, and without the file all is only slower. Bytes that rot on a disk change no stamp: `show`,
`report`, `audit`, `compare` and `run` verify without this.
"""

from __future__ import annotations

import os
import time
from collections.abc import Set
from contextlib import suppress
from pathlib import Path
from typing import Any

from ablation_suite.core.runs.files import json_text, open_regular, read_json, sha256, write_atomic
from ablation_suite.core.runs.store import RunFolder

Row = dict[str, Any]
Stamp = list[list[int] | None]
FORM = 1
"""Raised when rows are made otherwise."""
RACY_NS = 3_000_000_000
"""A file that changed so short a time ago may change again within the same tick of its clock."""
_LEAST = 500
"""A store of fewer runs is read as quickly as it is looked up."""


class KnownRows:
    """Rows of finished runs and of those never begun, by run id, as an earlier look found them."""

    def __init__(self, cache: Path, store: Path):
        where = sha256(str(store.absolute()))[:16]
        self.path = cache / "status" / f"{where}-{os.getuid()}.json"
        self.rows: dict[str, tuple[Stamp, Row]] = {}
        with suppress(OSError, ValueError, TypeError, KeyError):
            with open_regular(self.path) as file:
                if os.fstat(file.fileno()).st_uid != os.getuid():
                    return
            known = read_json(self.path)
            if known["form"] == FORM:
                self.rows = {name: (stamp, dict(row)) for name, (stamp, row) in known["rows"].items()}

    def get(self, folder: RunFolder) -> Row | None:
        """The row of a run whose files have not changed since it was made, or None."""
        stamp, row = self.rows.get(folder.run_id, (None, None))
        return row if row is not None and stamp == stamp_of(folder) else None

    def keep(self, found: dict[str, tuple[Stamp, Row]], present: Set[str]) -> None:
        """Take in what was read now, forget the runs that are gone, and write it down where that is possible."""
        gone = self.rows.keys() - present
        settled = time.time_ns() - RACY_NS
        new = {
            name: (stamp, row)
            for name, (stamp, row) in found.items()
            if all(each is None or max(each[2:]) < settled for each in stamp)
        }
        self.rows = {name: known for name, known in self.rows.items() if name not in gone} | new
        if len(self.rows) >= _LEAST and (new or gone):
            with suppress(OSError):
                self.path.parent.mkdir(parents=True, exist_ok=True)
                write_atomic(self.path, json_text({"form": FORM, "rows": self.rows}))


def stamp_of(folder: RunFolder) -> Stamp:
    """What changes when a run that is finished, or was never begun, is one no more: a run begins with its lock."""
    path = str(folder.path)
    record = _stamp(f"{path}/record.json")
    return [_stamp(f"{path}/run.json"), record, None if record else _stamp(f"{path}/lock")]


def _stamp(path: str) -> list[int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return [found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns]
