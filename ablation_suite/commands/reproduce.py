"""Does a finished run come out the same again? Train it anew in a temporary store and compare number by number."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ablation_suite import options
from ablation_suite.core.config.errors import UserError
from ablation_suite.core.config.run_config import RunConfig
from ablation_suite.core.config.runtime import Runtime
from ablation_suite.core.config.schema import Document, validate
from ablation_suite.core.own.kept import admit
from ablation_suite.core.runs.run_folder import RunFolder
from ablation_suite.core.runs.shape import Provenance, Record
from ablation_suite.core.runs.store import find_run
from ablation_suite.output import say

TrainFolder = Callable[[RunFolder, Runtime], int]
"""Brings a run folder to its record and gives the exit status of a worker."""

TIMINGS = ("seconds", "seconds_train", "time")


def compare(first: Record, second: Record) -> list[str]:
    """Every number of metrics and history in which two records differ, as lines; timings and `sys/*` are no results."""
    lines = _differences("", first["metrics"], second["metrics"])
    histories = [{row["epoch"]: row for row in record["history"]} for record in (first, second)]
    for epoch in sorted(set(histories[0]) | set(histories[1])):
        lines += _differences(f"epoch {epoch}: ", *[history.get(epoch, {}) for history in histories])
    return lines


def reproduce_run(folder: RunFolder, runtime: Runtime, train_folder: TrainFolder) -> tuple[bool, list[str]]:
    """Train a finished run again in a store of its own, and say whether all numbers are equal, and which are not.

    UserError where it is not finished, or cannot be trained here any more.
    """
    record = folder.record()
    if record is None:
        raise UserError(f"run {folder.run_id} is {folder.status()}, there is nothing to compare with")
    admit(folder.path, record["config"])
    with tempfile.TemporaryDirectory(prefix="reproduce-") as results:
        again = RunFolder(Path(results) / "runs" / folder.run_id)
        again.create(folder.job())
        status = train_folder(
            again, runtime.model_copy(update={"results": results, "teachers": runtime.results, "tracker": "off"})
        )
        repeated = again.record()
        if repeated is None:
            failure = again.failure() or {}
            raise UserError(
                f"run {folder.run_id} could not be trained again (exit status {status}): "
                f"{failure.get('message', 'no message')}"
            )
    numbers = compare(record, repeated)
    if not numbers:
        return True, [
            f"run {folder.run_id} came out the same: metrics and all {len(record['history'])} epochs are equal"
        ]
    return False, [*numbers, *_circumstances(record.get("provenance") or {}, repeated.get("provenance") or {})]


def reproduce(run: str, runtime: Runtime) -> int:
    """Train RUN (the beginning of its id) again in a temporary folder and compare; exit status 1 if it differs."""
    from ablation_suite.core.scheduling.attempt import Datasets, work

    folder = find_run(runtime.store, run)

    def train_folder(again: RunFolder, runtime: Runtime) -> int:
        validate(RunConfig, Document(data=again.job()["config"], source=f"run {folder.run_id}"))
        return work(again, runtime, Datasets())

    try:
        good, lines = reproduce_run(folder, runtime, train_folder)
    except (KeyboardInterrupt, SystemExit):
        again = options.command("reproduce", run)
        say(f"\nstopped; run {folder.run_id} is as it was, and `{again}` begins again", err=True)
        raise
    say("\n".join(lines))
    return 0 if good else 1


def _differences(prefix: str, first: Mapping[str, Any], second: Mapping[str, Any]) -> list[str]:
    names = [name for name in {**first, **second} if name not in TIMINGS and not name.startswith("sys/")]
    return [
        f"{prefix}{name}: {first.get(name)} -> {second.get(name)}"
        for name in names
        if not _same(first.get(name), second.get(name))
    ]


def _same(first: Any, second: Any) -> bool:
    both_nan = isinstance(first, float) and isinstance(second, float) and math.isnan(first) and math.isnan(second)
    return first == second or both_nan


def _circumstances(first: Provenance, second: Provenance) -> list[str]:
    """What differs between the two trainings besides the numbers: the first suspects."""
    names = ("packages", "suite", "device", "cpu", "threads")
    return [
        f"{name} was {first.get(name)}, is {second.get(name)}" for name in names if first.get(name) != second.get(name)
    ]
