"""How does a run reach a tracker without ever waiting for it? A thread of its own replays the ledger into a sink."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any, Protocol

from ablation_suite.core.config.errors import shell_line
from ablation_suite.core.data.parallel import start_whole
from ablation_suite.core.runs.files import read_json, write_json
from ablation_suite.core.runs.identity import digest
from ablation_suite.core.runs.ledger import Row
from ablation_suite.core.runs.provenance import error_line
from ablation_suite.core.runs.run_folder import RunFolder
from ablation_suite.core.tracking.choice import EXTRAS
from ablation_suite.core.tracking.projection import Shown, scalars, shown, summary

CLOSE_SECONDS = 25.0
"""Seconds that the end of a run waits for its tracker."""
CLOSE_SECONDS_AFTER_FAILURE = 3.0
"""The same where the run failed or was interrupted: somebody is waiting for the prompt."""
LOOK_SECONDS = 0.5
"""Least seconds between two looks at the ledger, which each read all of it: nobody watches epochs that are shorter."""
PAUSE_SECONDS = 600.0
"""Seconds for which this process leaves a tracker alone after it failed."""

_A_MOMENT_BEFORE = "it failed a moment before"
_log = logging.getLogger("ablate.tracking")
_failed_at: dict[str, float] = {}


class Sink(Protocol):
    """One run at one tracker."""

    held_epoch: int
    """The last epoch that the tracker holds already; -1 for none."""
    where: str
    """What a person opens to see the run."""
    name: str
    """The id of the run at the tracker."""
    told: str
    """What a person should know of where the run is shown, or nothing."""

    def log(self, epoch: int, numbers: dict[str, float], time: float) -> None:
        """Show the numbers of one epoch, which ended at that time; epochs come once each and in order."""

    def summarise(self, numbers: dict[str, float], history: list[Row]) -> None:
        """Replace the numbers of the whole run."""

    def close(self, run: Shown) -> None:
        """Deliver everything, with what is said of the run at its end; raises where that did not happen."""

    def fault(self, history: list[Row]) -> str:
        """How what the tracker holds after the end differs from the history, or nothing where it does not."""


OpenSink = Callable[[Shown], Sink]


class Publisher:
    """Projects every ledger row not yet shown, in a thread, so that a slow tracker costs the training nothing."""

    def __init__(self, tracker: str, folder: RunFolder, open_sink: OpenSink):
        self.tracker = tracker
        self.folder = folder
        self.error: str | None = None
        self._open_sink = open_sink
        self._wake = threading.Event()
        self._closing = threading.Event()
        self._outcome = "finished"
        self._thread = threading.Thread(target=self._work, name=f"tracker {folder.run_id}", daemon=True)

    def start(self) -> Publisher:
        """Begin, unless this tracker failed a moment ago."""
        if time.monotonic() - _failed_at.get(self.tracker, -PAUSE_SECONDS) < PAUSE_SECONDS:
            self.error = _A_MOMENT_BEFORE
            _note_failure(self.folder, self.tracker, self.error)
        else:
            start_whole(self._thread)
        return self

    def publish(self) -> None:
        """Have the ledger's new rows shown soon; returns at once and never raises."""
        self._wake.set()

    def close(self, outcome: str = "finished") -> None:
        """Show the rest and finish, within CLOSE_SECONDS."""
        self._outcome = outcome
        self._closing.set()
        self._wake.set()
        if self._thread.ident is None:
            return
        self._thread.join(CLOSE_SECONDS if outcome == "finished" else CLOSE_SECONDS_AFTER_FAILURE)
        if self._thread.is_alive():
            self._give_up("it did not answer in time")

    def _work(self) -> None:
        try:
            sink = self._open_sink(shown(self.folder, "running"))
            if sink.told:
                _log.warning("run %s: %s", self.folder.run_id, sink.told)
            try:
                self._follow(sink)
            finally:
                sink.close(shown(self.folder, self._outcome))
            note(self.folder, self.tracker, sink)
        except Exception as error:  # a tracker's trouble is never the training's trouble
            self._give_up(error_line(error))

    def _follow(self, sink: Sink) -> None:
        shown_epoch = sink.held_epoch
        closing = False
        while not closing:
            self._wake.wait()
            self._wake.clear()
            closing = self._closing.is_set()
            shown_epoch = project(self.folder, sink, shown_epoch)
            self._closing.wait(LOOK_SECONDS)

    def _give_up(self, reason: str) -> None:
        if self.error:
            return
        self.error = reason
        _failed_at[self.tracker] = time.monotonic()
        _note_failure(self.folder, self.tracker, self.error)
        _log.warning(
            "tracker %s does not work (%s); training goes on, nothing is lost. Publish later with: %s",
            self.tracker, self.error, self._sync_command(),
        )  # fmt: skip

    def _sync_command(self) -> str:
        results = self.folder.path.parents[1]
        words = ["ablate", "sync", self.folder.run_id, "--results", str(results)]
        return shell_line([*words, *(["--tracker", self.tracker] if self.tracker in EXTRAS else [])])


def project(folder: RunFolder, sink: Sink, shown_epoch: int) -> int:
    """Show every epoch of the ledger after `shown_epoch`, and the summary; gives the last epoch shown."""
    history = folder.ledger.history()
    total_seconds = 0.0
    for row in history:
        total_seconds += row.get("seconds", 0.0)
        if row["epoch"] > shown_epoch:
            sink.log(row["epoch"], {**scalars(row), "total_seconds": total_seconds}, row["time"])
            shown_epoch = row["epoch"]
    sink.summarise(summary(folder.ledger.rows(), history), history)
    return shown_epoch


def note(folder: RunFolder, tracker: str, sink: Sink, **more: Any) -> None:
    """Keep in `tracker.json` what was published to which tracker: where, under which id, how many epochs, and when."""
    num_epochs, labels = len(folder.ledger.history()), digest(folder.job().get("labels"))
    kept = {name: value for name, value in notes(folder).get(tracker, {}).items() if name == "artifacts"}
    entry = {
        **kept,
        "where": sink.where,
        "id": sink.name,
        "num_epochs": num_epochs,
        "labels": labels,
        "time": time.time(),
        **({"told": sink.told} if sink.told else {}),
    }
    _write_note(folder, tracker, {**entry, **more})


def add_to_note(folder: RunFolder, tracker: str, **more: Any) -> None:
    """Keep more of what was published to a tracker."""
    _write_note(folder, tracker, {**notes(folder).get(tracker, {}), **more})


def notes(folder: RunFolder) -> dict[str, dict[str, Any]]:
    """The contents of `tracker.json`, by tracker; `error` where the last attempt to publish failed.

    What cannot be read is no note: the worst that comes of it is that a run is published once more.
    """
    try:
        found = read_json(folder.path / "tracker.json")
    except (OSError, ValueError):
        return {}
    return {name: each for name, each in found.items() if isinstance(each, dict)} if isinstance(found, dict) else {}


def unpublished(folders: Iterable[RunFolder], sync: str = "ablate sync") -> str | None:
    """One line about the runs whose tracker failed while they trained, and the command that publishes them, or None.

    A worker's own warning goes to the log of its run, which nobody looks at.
    """
    failed = {folder.run_id: each["error"] for folder in folders for each in notes(folder).values() if "error" in each}
    if not failed:
        return None
    reason = next((error for error in failed.values() if error != _A_MOMENT_BEFORE), _A_MOMENT_BEFORE)
    words = " ".join(failed) if len(failed) <= 3 else ""
    return f"{len(failed)} runs did not reach their tracker ({reason}); publish them with: {sync} {words}".rstrip()


def shown_elsewhere(folders: Iterable[RunFolder]) -> str | None:
    """One line about the runs that are shown under another name than their own, with the reason of one, or None."""
    told = [each["told"] for folder in folders for each in notes(folder).values() if "told" in each]
    if not told:
        return None
    runs = "1 run is" if len(told) == 1 else f"{len(told)} runs are"
    return f"{runs} shown beside another of the same name{', for example' * (len(told) > 1)}: {told[0]}"


def relabelled(folders: Iterable[RunFolder], sync: str = "ablate sync") -> str | None:
    """One line about the runs that are known as more by now than when they were shown, and what sends that, or None.

    A run may be used by another ablation, and the trial that it is of ends after it.
    """
    changed = [folder.run_id for folder in folders if _is_relabelled(folder)]
    if not changed:
        return None
    words = " ".join(changed) if len(changed) <= 3 else ""
    more = (
        "says more by now than its tracker shows" if len(changed) == 1 else "say more by now than their tracker shows"
    )
    return f"{len(changed)} run{'s' * (len(changed) > 1)} {more}; send it with: {sync} {words}".rstrip()


def _is_relabelled(folder: RunFolder) -> bool:
    sent = [note["labels"] for note in notes(folder).values() if "labels" in note]
    return bool(sent) and folder.has_job() and digest(folder.job().get("labels")) not in sent


def _note_failure(folder: RunFolder, tracker: str, error: str) -> None:
    with contextlib.suppress(OSError):
        _write_note(folder, tracker, {"error": error, "time": time.time()})


def _write_note(folder: RunFolder, tracker: str, entry: dict[str, Any]) -> None:
    write_json(folder.path / "tracker.json", notes(folder) | {tracker: entry})
