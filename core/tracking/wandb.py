"""Where do people see this run? W&B, TensorBoard or MLflow, fed from the run's ledger."""

from __future__ import annotations

import dataclasses
import os
import re
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from ablation_suite.core.config.runtime import Runtime
from ablation_suite.core.runs.ledger import Row
from ablation_suite.core.runs.run_folder import RunFolder
from ablation_suite.core.tracking.choice import (
    EXTRAS,
    TrackerError,
    check_tracker,
    choose_tracker,
    has_credentials,
)
from ablation_suite.core.tracking.projection import Shown, direction_of, extremes, shown
from ablation_suite.core.tracking.publisher import Publisher, Sink, project
from ablation_suite.core.tracking.same_training import difference, mark
from ablation_suite.core.tracking.wandb_client import (
    PATIENCE_LIVE,
    PATIENCE_SYNC,
    api,
    connect,
    missing,
    run_at,
    settings,
)

__all__ = ["TrackerError", "WandbSink", "check_tracker", "open_tracker", "publish_run"]

LAG_SECONDS = 4
"""How long a server may take to count what it has accepted."""
SCARCE_BYTES = 1_000_000
"""With less than this left on the disk, W&B loses rows without a word."""
CLOCK_SLACK = 0.02
"""The share by which W&B's own seconds of a run may differ from the ledger's."""
MEDIA_ROWS = "media_rows"
"""Where in the config the number of rows stands that are no epoch."""
MOST_ROWS = 500
"""Rows that a server is asked for at once, to be compared; of a longer history it gives a fair part."""
_DELETED = "{} was deleted there, and W&B gives no name twice, so that it is shown under this one"


class Tracker(Protocol):
    """What the training loop sees of a tracker."""

    def publish(self) -> None:
        """Have the ledger's new rows shown; returns at once and never raises."""


@contextmanager
def open_tracker(runtime: Runtime, folder: RunFolder) -> Iterator[Tracker]:
    """Show a run while it trains; nothing raises into the training or makes it wait, but for a bounded goodbye."""
    tracker = choose_tracker(runtime.tracker)
    if tracker == "off":
        yield _Off()
        return
    publisher = Publisher(tracker, folder, lambda run: _open_sink(tracker, runtime, run, folder, PATIENCE_LIVE)).start()
    try:
        yield publisher
    except BaseException as error:
        publisher.close(getattr(error, "outcome", "failed"))
        raise
    publisher.close()


def publish_run(tracker: str, runtime: Runtime, folder: RunFolder) -> tuple[Sink, str]:
    """Show now what the tracker does not hold of a run; gives where, and what is wrong with it there, or nothing."""
    sink = _open_sink(tracker, runtime, shown(folder), folder, PATIENCE_SYNC)
    with closing(sink, lambda: shown(folder)):
        project(folder, sink, sink.held_epoch)
    history = folder.ledger.history()
    for _ in range(LAG_SECONDS):
        fault = sink.fault(history)
        if not fault:
            break
        time.sleep(1.0)
    if isinstance(sink, WandbSink) and not sink.told and not fault:
        sink.told = "".join(f"another training of it is at {url}" for url in sink.others()[:1])
    return sink, fault


def gone(tracker: str, runtime: Runtime, notes: Iterable[Mapping[str, Any]]) -> set[str]:
    """The ids of those published runs that their tracker does not show any more; each note says where one was."""
    notes = list(notes)
    if tracker in EXTRAS:
        return _extra(tracker).gone(Path(runtime.results).absolute(), notes)
    return missing(notes)


@contextmanager
def closing(sink: Any, last: Callable[[], Shown]) -> Iterator[Any]:
    """A sink that is closed with what is said of its run at the end, as a failed one where an error goes through."""
    try:
        yield sink
    except BaseException:
        run = last()
        sink.close(dataclasses.replace(run, config={**run.config, "outcome": "failed"}))
        raise
    sink.close(last())


Difference = Callable[[dict[str, Any], list[dict[str, Any]]], str]
"""From the config and the rows that W&B holds of a run: why that is another one than ours, or nothing."""


class WandbSink:
    """One W&B run, whose id is the run id.

    Online the run is resumed, and the server's last step says which epochs it holds: begun anew it would get every row
    a second time, because the client appends behind the lines that the server has. Where another training has taken
    the id, ours becomes a run beside it. Offline nothing can be resumed, so that each attempt writes the whole run, and
    then the segments of earlier attempts go.
    """

    def __init__(self, mode: str, results: Path, run: Shown, patience: float, differs: Difference):
        if mode == "online" and not has_credentials():
            raise TrackerError("there is no API key; run `wandb login` or set WANDB_API_KEY")
        os.makedirs(_root(results), exist_ok=True)
        self.mode, self.name, self.told, self._run_id = mode, run.run_id, "", run.run_id
        self._wandb, self._differs, self._patience = connect(), differs, patience
        self._beside = f"{run.run_id}-{run.beside}"
        self._lead = 1
        if mode == "online":
            self._find_place(run)
        self.run = self._begin(results, run)
        self._defined: set[str] = set()
        self.held_epoch = self.run.starting_step - 1 + self._lead
        self.folder = Path(self.run.dir).parent
        self.where = self.run.url if mode == "online" else str(self.folder)

    def log(self, epoch: int, numbers: dict[str, float], time: float) -> None:
        """One history row, written at once, that says when it was and after how much training."""
        for name in numbers.keys() - self._defined:
            axis = None if name in ("epoch", "total_seconds") else "epoch"
            self.run.define_metric(name, step_metric=axis, summary=direction_of(name) or None)
            self._defined.add(name)
        # `run.log` would stamp each row with the seconds since the client began, which in a sync are none.
        row = {**numbers, "_timestamp": time, "_runtime": numbers["total_seconds"]}
        self.run._interface.publish_history(self.run, row, step=epoch)

    def summarise(self, numbers: dict[str, float], history: list[Row]) -> None:
        """The run's row in the W&B table; a metric with a good end has its best there, as `define_metric` promised."""
        best = {name: {end: value} for name, (end, value) in extremes(history).items()}
        self.run.summary.update({**numbers, **best})

    def close(self, run: Shown) -> None:
        """Finish the run; raises where the server did not take everything in time, or the disk was full."""
        self.run.config.update(run.config, allow_val_change=True)
        self.run.finish(exit_code=int(run.has_failed))
        if shutil.disk_usage(self.folder).free < SCARCE_BYTES:
            raise OSError(f"the disk is full under {self.folder.parent}, rows may be missing there")
        for segment in _offline_segments(self.folder.parent, self.run.id):
            if self.mode == "online":
                # `wandb sync` would append what the server has now; this is the mark that it leaves and heeds itself.
                (segment / f"run-{self.run.id}.wandb.synced").touch()
            elif segment != self.folder:
                shutil.rmtree(segment, ignore_errors=True)

    def fault(self, history: list[Row]) -> str:
        """How the lines of history at the server differ from ours; where they do not, its clock is set by ours."""
        held = self._api().run(self.run.path)
        num_epochs = held.historyLineCount - held.config.get(MEDIA_ROWS, 0)
        if num_epochs != len(history):
            return f"holds {num_epochs} epochs of {len(history)}"
        if reason := self._differs(held.config, held.history(samples=MOST_ROWS, pandas=False)):
            return f"holds another training ({reason})"
        self.set_clock(history, held)
        return ""

    def set_clock(self, history: list[Row], held: Any = None) -> None:
        """Make the Runtime that people see the ledger's: the client counts its own seconds, those of uploads too."""
        held = held or self._api().run(self.run.path)
        known, seconds = held.summary.get("_wandb"), sum(row.get("seconds", 0.0) for row in history)
        if abs((known or {}).get("runtime", 0) - seconds) > CLOCK_SLACK * seconds:
            held.summary.update({"_wandb": {**(known or {}), "runtime": seconds}, "_runtime": seconds})

    def others(self) -> list[str]:
        """Where the server shows other trainings of the same config."""
        runs = self._api().runs(self.run.path.rpartition("/")[0], filters={"config.run_id.value": self._run_id})
        return [each.url for each in runs if each.id != self.name]

    def _find_place(self, run: Shown) -> None:
        """The run id, or the one beside it where that is another training; TrackerError where both are."""
        server = self._api()
        home = [os.environ.get("WANDB_ENTITY"), os.environ.get("WANDB_PROJECT") or run.project]
        places = {name: run_at(server, "/".join([*filter(None, home), name])) for name in (run.run_id, self._beside)}
        if places[self._beside] and not places.get(run.run_id):
            del places[run.run_id]
            self.told = _DELETED.format(run.run_id)
        for self.name, held in places.items():
            rows = held.history(samples=MOST_ROWS, pandas=False) if held and held.historyLineCount else []
            reason = self._differs(held.config, rows) if held else ""
            if not reason:
                # Older versions gave epoch k the step k; now W&B itself counts steps, from 0.
                self._lead = next((row["epoch"] - row["_step"] for row in rows if "epoch" in row), self._lead)
                return
            self.told = f"{held.url} is another training of it ({reason}), so that this one is shown beside it"
        raise TrackerError(
            f"W&B holds other trainings as {run.run_id} and as {self._beside} ({reason}); delete one there"
        )

    def _begin(self, results: Path, run: Shown) -> Any:
        """The run of the client; under the name beside it where W&B keeps the first from being used again."""
        try:
            return self._wandb.init(
                id=self.name,
                config=run.config,
                mode=self.mode,
                resume="allow" if self.mode == "online" else None,
                reinit="create_new",
                settings=settings(results, run, self._patience),
            )
        except self._wandb.errors.CommError as error:
            if "previously created and deleted" not in str(error):
                raise
            if self.name == self._beside:
                raise TrackerError(f"{run.run_id} and {self.name} were deleted at W&B; restore one there") from error
        self.name, self.told = self._beside, _DELETED.format(run.run_id)
        return self._begin(results, run)

    def _api(self) -> Any:
        return api(min(self._patience, PATIENCE_SYNC))


def open_run_sink(mode: str, runtime: Runtime, folder: RunFolder, run: Shown, patience: float) -> WandbSink:
    """The W&B run of a run folder, or where another training of the same config has its name, the one beside it."""

    def differs(config: dict[str, Any], rows: list[dict[str, Any]]) -> str:
        history = folder.ledger.history()
        return difference(history, mark(folder.ledger.rows(), history), rows, config.get("ledger"))

    return WandbSink(mode, Path(runtime.results).absolute(), run, patience, differs)


class _Off:
    def publish(self) -> None:
        return


def _open_sink(tracker: str, runtime: Runtime, run: Shown, folder: RunFolder, patience: float) -> Sink:
    if tracker not in EXTRAS:
        return open_run_sink(tracker, runtime, folder, run, patience)
    return _extra(tracker).open_sink(Path(runtime.results).absolute(), run)


def _extra(tracker: str) -> Any:
    try:
        return import_module(f"ablation_suite.core.tracking.{tracker}")
    except ImportError as error:
        raise TrackerError(f"it needs a package that is not installed: pip install {EXTRAS[tracker]}") from error


def _root(results: Path) -> Path:
    return Path(os.environ.get("WANDB_DIR") or results)


def _offline_segments(folder: Path, run_id: str) -> list[Path]:
    pattern = re.compile(rf"offline-run-\d{{8}}_\d{{6}}-{re.escape(run_id)}(-\d+)?")
    return [each for each in folder.iterdir() if pattern.fullmatch(each.name)]
