"""How does a run look in TensorBoard? One folder per run under `<results>/tensorboard`, written anew by each attempt."""

from __future__ import annotations

import json
from pathlib import Path

from core.tracker_projection import Shown


def open_sink(results: Path, run: Shown) -> TensorBoardSink:
    """Begin the run's folder, in place of what an earlier attempt left there."""
    return TensorBoardSink(results / "tensorboard" / (run.group or run.project) / f"{run.name}-{run.run_id}", run)


class TensorBoardSink:
    """Scalars by epoch; event files cannot be continued without doubles, so that each attempt replays the ledger."""

    held_epoch = -1

    def __init__(self, folder: Path, run: Shown):
        from torch.utils.tensorboard import SummaryWriter

        for stale in folder.glob("events.out.tfevents.*"):
            stale.unlink()
        self.where = str(folder)
        self._writer = SummaryWriter(folder)
        self._writer.add_text("config", f"```\n{json.dumps(run.config, indent=1)}\n```")
        self._summary: dict[str, float] = {}

    def log(self, epoch: int, numbers: dict[str, float], seconds: float) -> None:
        """One point per number at x = epoch, stamped with the time of the epoch."""
        for name, value in numbers.items():
            self._writer.add_scalar(name, value, epoch, walltime=seconds)
        self._writer.flush()

    def summarise(self, numbers: dict[str, float]) -> None:
        """Kept until the end, because a scalar cannot be replaced."""
        self._summary = numbers

    def close(self, failed: bool) -> None:
        """Write the numbers of the whole run under `summary/` and close the file."""
        for name, value in self._summary.items():
            self._writer.add_scalar(f"summary/{name}", value, int(self._summary.get("last/epoch", 0)))
        self._writer.close()
