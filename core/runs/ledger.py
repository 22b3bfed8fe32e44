"""What has this run done so far? An append-only file of checksummed rows that survives a kill at any byte."""

from __future__ import annotations

import json
import os
import time
import zlib
from pathlib import Path
from typing import Any

from ablation_suite.core.runs.files import json_text, naming, read_bytes
from ablation_suite.core.runs.shape import is_row

Row = dict[str, Any]


class Ledger:
    """One line per row: eight hexadecimal digits of the CRC-32 of the JSON, a space, the JSON, a newline."""

    def __init__(self, path: Path):
        self.path = path

    def append(self, kind: str, **values: Any) -> Row:
        """Write one row of a kind (start, epoch, event, end), stamped with the time, and sync it to the disk."""
        row = {"kind": kind, "time": round(time.time(), 3), **values}
        with naming(self.path), open(self.path, "ab") as file:
            file.write(_line(row))
            file.flush()
            os.fsync(file.fileno())
        return row

    def rows(self) -> list[Row]:
        """Every whole row up to the first damaged or torn line."""
        return self._read()[0]

    def close_torn_tail(self) -> None:
        """Cut the file back to its last whole row, before a new attempt appends to it."""
        rows, good_bytes = self._read()
        if self.path.exists() and self.path.stat().st_size > good_bytes:
            os.truncate(self.path, good_bytes)
            self.append("event", event="torn_tail_closed", rows_kept=len(rows))

    def history(self) -> list[Row]:
        """One row per epoch in order, the last written where an epoch was trained again after an interruption.

        What lies before a beginning anew is no part of the run.
        """
        epochs: dict[int, Row] = {}
        for row in self.rows():
            if row["kind"] == "epoch":
                epochs[row["epoch"]] = row
            elif row.get("event") == "begun_anew":
                epochs.clear()
        return [epochs[epoch] for epoch in sorted(epochs)]

    def _read(self) -> tuple[list[Row], int]:
        try:
            lines = read_bytes(self.path).split(b"\n")[:-1]
        except FileNotFoundError:
            return [], 0
        rows: list[Row] = []
        good_bytes = 0
        for line in lines:
            checksum, _, text = line.partition(b" ")
            if checksum != b"%08x" % zlib.crc32(text):
                break
            row = json.loads(text)
            if not is_row(row):
                break
            rows.append(row)
            good_bytes += len(line) + 1
        return rows, good_bytes


def _line(row: Row) -> bytes:
    text = json_text(row, separators=(",", ":"))
    return b"%08x %s\n" % (zlib.crc32(text), text)
