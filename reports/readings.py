"""How often was the test split looked at? Every reading by a report or a comparison is written down and told."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ablation_suite.core.runs.files import write_atomic
from ablation_suite.reports.writers import markdown

READS = "test-reads.jsonl"
SUMMARY = "test-reads.md"


def record_read(results: Path, command: str, ablation: str, num_runs: int) -> int:
    """Append one reading to the results folder; returns how many there were before it of this ablation.

    command: `report` or `compare`; a comparison of runs of no common spec has no ablation, an empty name.
    """
    before = sum(read["ablation"] == ablation for read in reads(results))
    time = datetime.now(UTC).isoformat(timespec="seconds")
    row = {"time": time, "command": command, "ablation": ablation, "runs": num_runs}
    results.mkdir(parents=True, exist_ok=True)
    with open(results / READS, "a", encoding="utf-8") as file:
        file.write(json.dumps(row, ensure_ascii=False) + "\n")
    return before


def reads(results: Path) -> list[Mapping[str, Any]]:
    """All readings so far, the oldest first; a torn line counts for nothing."""
    path = results / READS
    found: list[Mapping[str, Any]] = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict) and {"time", "command", "ablation", "runs"} <= row.keys():
            found.append(row)
    return found


def sentence(what: str, before: int) -> str:
    """What a terminal says about a reading."""
    times = {0: "not read before", 1: "read once before"}.get(before, f"read {before} times before")
    return f"{what}: test split {times}"


def write_summary(results: Path, out: Path) -> Path:
    """Write the table of readings beside the reports, apart from them: the same runs give the same report again."""
    lines = [
        "# Readings of the test split",
        "",
        "A choice that is made after looking at test results makes them optimistic. What was read, and when:",
        "",
        "| Time | Command | Ablation | Runs |",
        "| --- | --- | --- | ---: |",
    ]
    for read in reads(results):
        lines.append(f"| {read['time']} | {read['command']} | {markdown(str(read['ablation']))} | {read['runs']} |")
    out.mkdir(parents=True, exist_ok=True)
    write_atomic(out / SUMMARY, ("\n".join(lines) + "\n").encode())
    return out / SUMMARY
