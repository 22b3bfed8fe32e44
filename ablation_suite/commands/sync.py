"""Does W&B hold what the run folders hold? `ablate sync` publishes what is missing and counts what arrived."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable

import click

from ablation_suite import options
from ablation_suite.core.config.errors import UserError, printable
from ablation_suite.core.config.runtime import Runtime
from ablation_suite.core.runs.files import read_bytes
from ablation_suite.core.runs.provenance import error_line
from ablation_suite.core.runs.store import RunFolder, run_folders
from ablation_suite.core.tracking.choice import EXTRAS, TrackerError, check_tracker, has_credentials
from ablation_suite.core.tracking.publisher import note, notes
from ablation_suite.core.tracking.wandb import publish_run
from ablation_suite.core.tracking.wandb_artifacts import log_artifacts

TARGET_VARIABLES = ("WANDB_BASE_URL", "WANDB_ENTITY", "WANDB_PROJECT", "MLFLOW_TRACKING_URI")
PATIENCE = 2
"""Failures in a row after which the rest is left for later: a server that is away costs a time-out for each run."""


class SyncError(UserError):
    """A target that names no run and no spec."""


@click.command()
@click.argument("targets", nargs=-1, metavar="[SPEC|RUN...]")
@click.option("--tracker", default="online", help="online (W&B), tensorboard or mlflow.")
@click.option("--artifacts", is_flag=True, help="Also publish best weights and tables of predictions (W&B).")
@options.folders
def sync(targets: tuple[str, ...], tracker: str, artifacts: bool, runtime: Runtime) -> int:
    """Publish runs to W&B; a second call adds nothing. RUN is the beginning of a run id; without targets, all runs."""
    check_tracker(tracker)
    runtime = runtime.model_copy(update={"tracker": tracker})
    return sync_runs(find_targets(targets, runtime), runtime, click.echo, artifacts=artifacts)


def sync_runs(
    folders: Iterable[RunFolder], runtime: Runtime, echo: Callable[[str], None], *, artifacts: bool = False
) -> int:
    """Publish runs one at a time, and count what the tracker holds then; gives 0, or 1 where something is missing.

    TrackerError where there are no credentials at all.
    """
    tracker = runtime.tracker if runtime.tracker in EXTRAS else "online"
    if tracker == "online" and not has_credentials():
        raise TrackerError("sync needs a W&B login; run `wandb login` or set WANDB_API_KEY")
    num_bad = failures_in_a_row = 0
    for folder in folders:
        if failures_in_a_row == PATIENCE:
            echo(f"{tracker} does not answer; the rest is left for later")
            break
        try:
            good, text = _sync_one(folder, tracker, runtime)
            if good and artifacts and tracker == "online" and folder.is_finished():
                text += f", with {' and '.join(log_artifacts(runtime, folder))}"
            failures_in_a_row = 0
        except Exception as error:  # one run's trouble must not keep the others from being published
            good, text = False, error_line(error)
            failures_in_a_row += 1
        num_bad += not good
        echo(printable(f"{folder.run_id}  {text}"))
    return 1 if num_bad else 0


def find_targets(words: tuple[str, ...], runtime: Runtime) -> list[RunFolder]:
    """The run folders that run ids, beginnings of run ids and specs name; all of the store where nothing is named."""
    known = run_folders(runtime.store)
    if not words:
        return known
    found: dict[str, RunFolder] = {}
    specs = []
    for word in words:
        matches = [folder for folder in known if folder.run_id.startswith(word)]
        if len(matches) > 1:
            raise SyncError(f"{word}: several runs begin so: {', '.join(folder.run_id for folder in matches)}")
        found |= {folder.run_id: folder for folder in matches}
        specs += [] if matches else [word]
    if specs:
        from ablation_suite.ablations.plan import make_plans

        wanted = {cell.run_id for plan in make_plans(specs, runtime, ()) for cell in plan.cells}
        found |= {folder.run_id: folder for folder in known if folder.run_id in wanted}
    return list(found.values())


def _sync_one(folder: RunFolder, tracker: str, runtime: Runtime) -> tuple[bool, str]:
    num_epochs = len(folder.ledger.history())
    if not num_epochs:
        return True, "has no epochs yet"
    if folder.status() == "running":
        return True, "is training now, sync it later"
    state = _state(folder)
    known = notes(folder).get(tracker, {})
    if known.get("verified") == state:
        return True, f"{num_epochs} epochs are already at {known['where']}"
    sink, fault = publish_run(tracker, runtime, folder)
    if fault:
        return False, f"{sink.where} {fault}; delete the run there and sync again"
    note(folder, tracker, sink, verified=state)
    return True, f"{num_epochs} epochs at {sink.where}" + (f"; {sink.told}" if sink.told else "")


def _state(folder: RunFolder) -> str:
    """A hash of all that is published, and of where to."""
    target = repr([os.environ.get(name) for name in TARGET_VARIABLES]).encode()
    parts = [read_bytes(folder.path / name) for name in ("run.json", "ledger.jsonl")]
    return hashlib.sha256(b"\0".join([target, *parts])).hexdigest()[:16]
