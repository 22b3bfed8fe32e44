"""How does a run look in TensorBoard? Its own folder under `<results>/tensorboard`, written anew by each attempt."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.utils.tensorboard import SummaryWriter
from torch.utils.tensorboard.summary import hparams

from ablation_suite.core.config.levels import leaves
from ablation_suite.core.runs.ledger import Row
from ablation_suite.core.tracking.projection import Shown

EVENTS = "events.out.tfevents.*"


def open_sink(results: Path, run: Shown) -> TensorBoardSink:
    """Begin the run's folder, in place of what an earlier attempt left there."""
    return TensorBoardSink(results / "tensorboard" / (run.group or run.project) / f"{run.name}-{run.run_id}", run)


def gone(results: Path, notes: Iterable[Mapping[str, Any]]) -> set[str]:
    """The ids of those published runs whose folder has no events any more."""
    return {note["id"] for note in notes if not any(Path(note["where"]).glob(EVENTS))}


class TensorBoardSink:
    """Scalars by epoch; event files cannot be continued without doubles, so that each attempt writes the whole run."""

    held_epoch = -1

    def __init__(self, folder: Path, run: Shown):
        for stale in folder.glob(EVENTS):
            stale.unlink()
        self.where, self.name, self.told = str(folder), run.run_id, ""
        self._writer = SummaryWriter(folder)
        self._writer.add_text("config", f"```\n{json.dumps(run.config, indent=1)}\n```")
        self._summary: dict[str, float] = {}

    def log(self, epoch: int, numbers: dict[str, float], time: float) -> None:
        """One point per number at x = epoch, stamped with the time of the epoch."""
        for name, value in numbers.items():
            self._writer.add_scalar(name, value, epoch, walltime=time)
        self._writer.flush()

    def summarise(self, numbers: dict[str, float], history: list[Row]) -> None:
        """Kept until the end, because a scalar cannot be replaced."""
        self._summary = numbers

    def close(self, run: Shown) -> None:
        """Write the numbers of the whole run under `summary/`, as the metrics of its settings, and close the file."""
        names = {name: f"summary/{name}" for name in self._summary}
        for name, value in self._summary.items():
            self._writer.add_scalar(names[name], value)
        # `add_hparams` would open a second run for them.
        settings = {
            name: value for name, value in leaves(_settings(run)) if isinstance(value, bool | int | float | str)
        }
        for part in hparams(settings, {names[name]: value for name, value in self._summary.items()}):
            self._writer._get_file_writer().add_summary(part)
        self._writer.close()

    def fault(self, history: list[Row]) -> str:
        """Whether the folder's files have a point of the tag `epoch` for each epoch."""
        events = EventAccumulator(self.where, size_guidance={"scalars": 0})
        events.Reload()
        num_held = len(events.Scalars("epoch")) if "epoch" in events.Tags()["scalars"] else 0
        return "" if num_held == len(history) else f"holds {num_held} epochs of {len(history)}"


def _settings(run: Shown) -> dict[str, Any]:
    """What the HParams page compares: the config and the parameters of a trial, and what the run is called."""
    left_out = ("ablations", "studies", "provenance", "ledger", "data_fingerprint", "recipe")
    return {name: value for name, value in run.config.items() if name not in left_out}
