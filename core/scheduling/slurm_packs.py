"""Which runs share a task of Slurm? Short ones, so that the start of a process is little beside their training."""

from __future__ import annotations

import statistics
from collections.abc import Collection, Sequence
from pathlib import Path

from ablation_suite.core.config.runtime import Runtime
from ablation_suite.core.runs.damage import Damaged
from ablation_suite.core.runs.run_folder import RunFolder

PACK_SECONDS, LARGEST_PACK = 600.0, 100
"""Short runs are packed into tasks of about so long, beside which the start of a process is little."""
NUM_RECORDS = 50
"""Finished runs that are looked at to tell how long one takes."""


def packed(waiting: Sequence[str], suspects: Collection[str], runtime: Runtime) -> list[list[str]]:
    """The runs of each task. One that has failed has a task to itself, so that it takes no others with it."""
    alone = [[name] for name in waiting if name in suspects]
    others = [name for name in waiting if name not in suspects]
    size = _pack_size(waiting, runtime)
    return [others[at : at + size] for at in range(0, len(others), size)] + alone


def _pack_size(waiting: Sequence[str], runtime: Runtime) -> int:
    """How many runs share a task: as asked for, else as many as finished runs of the same kind were short."""
    if runtime.pack != "auto":
        return runtime.pack
    usual = _usual_seconds(RunFolder(runtime.store / waiting[0]), runtime.store)
    pack = min(LARGEST_PACK, int(PACK_SECONDS / max(usual, 1.0))) if usual else 1
    if runtime.jobs != "auto":
        pack = min(pack, -(-len(waiting) // runtime.jobs))
    return max(1, pack)


def _usual_seconds(like: RunFolder, store: Path) -> float | None:
    """How long finished runs took with the same data and epochs; None where there are none to tell."""
    config = like.job()["config"]
    paths = sorted(store.glob("*/record.json"), key=lambda path: path.stat().st_mtime)[-NUM_RECORDS:]
    seconds = []
    for path in paths:
        try:
            record = RunFolder(path.parent).record() or {}
        except (Damaged, OSError):
            continue
        if all((record.get("config") or {}).get(name) == config[name] for name in ("data", "epochs")):
            seconds.append(record["cost"]["seconds"])
    return statistics.median(seconds) if seconds else None
