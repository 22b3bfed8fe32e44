"""A run folder with a ledger, written as the training loop would write it, and a process that does so.

python -m tests.core.tracked_run RESULTS RUN_ID FIRST LAST TRACKER [DIE_AT]
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from ablation_suite.core.config.runtime import Runtime
from ablation_suite.core.runs.ledger import Row
from ablation_suite.core.runs.provenance import provenance
from ablation_suite.core.runs.run_folder import RunFolder
from ablation_suite.core.tracking.wandb import open_tracker

BARE_RECORD: dict[str, Any] = {"config": {}, "metrics": {}, "history": [], "cost": {}, "classes": []}
"""What every record has."""


def make_folder(results: Path, run_id: str = "0123456789ab", epochs: int = 5, **labels: Any) -> RunFolder:
    """A run folder of the arm `contrastive` with seed 3 and nothing trained."""
    folder = RunFolder(results / "runs" / run_id)
    labels = {
        "project": "digits",
        "group": "contrastive",
        "job_type": "contrastive",
        "name": "contrastive-3",
        "factors": {"loss.weight": 15.0},
        "arm": "contrastive",
        "seed": 3,
        "ablations": {
            "contrastive": {
                "arm": "contrastive",
                "role": "arm",
                "factor": "loss.weight",
                "level": 15.0,
                "seed": 3,
                "question": "Does a contrastive term help?",
                "tags": ["contrastive", "loss.weight"],
            }
        },
    } | labels
    config = {"loss": {"name": "contrastive", "weight": 15.0}, "epochs": epochs, "seed": 3}
    folder.create({"run_id": run_id, "recipe": 1, "config": config, "data_fingerprint": "f00d", "labels": labels})
    return folder


def append_epoch(folder: RunFolder, epoch: int, **more: float) -> Row:
    """The row of an epoch; its numbers are a function of the epoch, and the third is the best."""
    numbers = {
        "train/loss": 1.0 / epoch,
        "val/accuracy": 0.9 - 0.1 * abs(epoch - 3),
        "lr": 0.001,
        "seconds": 0.5,
        "sys/images_per_second": 1000.0 + epoch,
        "sys/memory_bytes": 10**8,
    }
    return folder.ledger.append("epoch", epoch=epoch, **{**numbers, **more})


def append_end(folder: RunFolder) -> Row:
    """The row that ends a run."""
    return folder.ledger.append("end", metrics={"val/accuracy": 0.9, "test/accuracy": 0.85}, best_epoch=3)


def train(folder: RunFolder, runtime: Runtime, first: int, last: int, pause: float = 0.0, die_at: int = 0) -> Any:
    """One attempt at the epochs `first` to `last` of 5; gives the tracker that showed it."""
    folder.ledger.append("start", attempt=1, provenance=provenance(runtime, "cpu"))
    with open_tracker(runtime, folder) as tracker:
        for epoch in range(first, last + 1):
            append_epoch(folder, epoch)
            tracker.publish()
            time.sleep(pause)
            if epoch == die_at and runtime.tracker in ("offline", "online"):
                _await_on_disk(Path(runtime.results), f"{1000.0 + epoch:.0f}".encode())
            if epoch == die_at:
                os.kill(os.getpid(), signal.SIGKILL)
        if last == 5:
            append_end(folder)
        tracker.publish()
    return tracker


def _await_on_disk(results: Path, text: bytes) -> None:
    """Wait until W&B's log holds what it was told last, which must not take it the 15 seconds of its default."""
    deadline = time.monotonic() + 10.0
    while not any(text in path.read_bytes() for path in results.glob("wandb/*/*.wandb")):
        assert time.monotonic() < deadline, "W&B wrote nothing in 10 seconds"
        time.sleep(0.05)


if __name__ == "__main__":
    results, run_id, first, last, tracker, *die_at = sys.argv[1:7]
    folder = make_folder(Path(results), run_id)
    train(
        folder, Runtime(tracker=tracker, results=results), int(first), int(last), 0.1, int(die_at[0]) if die_at else 0
    )
