"""Does W&B hold what the run folders hold? `ablate sync` publishes what is missing and counts what arrived."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping

from ablation_suite import options
from ablation_suite.ablations.spec import SHIPPED_SPECS
from ablation_suite.core.config import schema
from ablation_suite.core.config.errors import UserError, printable
from ablation_suite.core.config.paths import typed
from ablation_suite.core.config.run_config import RunConfig
from ablation_suite.core.config.runtime import Runtime
from ablation_suite.core.config.schema import Document, validate
from ablation_suite.core.runs.files import read_bytes, sha256
from ablation_suite.core.runs.labels import uses
from ablation_suite.core.runs.provenance import error_line
from ablation_suite.core.runs.run_folder import RunFolder
from ablation_suite.core.runs.store import run_folders
from ablation_suite.core.tracking.choice import EXTRAS, KeyRefused, TrackerError, check_tracker, has_credentials
from ablation_suite.core.tracking.publisher import note, notes
from ablation_suite.core.tracking.wandb import gone, publish_run
from ablation_suite.core.tracking.wandb_artifacts import Picture, log_artifacts, log_media
from ablation_suite.output import say
from ablation_suite.sweeps.spec import SHIPPED_SWEEPS, find_sweep, read_sweep

TARGET_VARIABLES = ("WANDB_BASE_URL", "WANDB_ENTITY", "WANDB_PROJECT", "MLFLOW_TRACKING_URI")
PATIENCE = 2
"""Failures in a row after which the rest is left for later: a server that is away costs a time-out for each run."""


class SyncError(UserError):
    """A target that names no run and no spec."""


def sync(targets: tuple[str, ...], tracker: str, artifacts: bool, num_images: int | None, runtime: Runtime) -> int:
    """Publish runs to W&B; a second call adds nothing. Without targets: all runs."""
    check_tracker(tracker)
    _refuse(tracker, artifacts, bool(num_images))
    runtime = runtime.model_copy(update={"tracker": tracker})
    folders, missing = find_targets(targets, runtime)
    if not folders and not missing:
        say(f"no runs in {runtime.store}")
    for line in missing:
        say(line, err=True)
    status = sync_runs(folders, runtime, say, artifacts=artifacts, num_images=num_images or 0)
    return 1 if missing else status


def _refuse(tracker: str, artifacts: bool, images: bool) -> None:
    """SyncError for a tracker that nothing is published to, and for what W&B alone is given."""
    if tracker in ("off", "offline"):
        raise SyncError(f"--tracker {tracker}: publishes nothing; it is online, tensorboard or mlflow here")
    for option, asked in (("--artifacts", artifacts), ("--log-images", images)):
        if asked and tracker in EXTRAS:
            raise SyncError(f"{option}: W&B alone is given it, not {tracker}; leave one of them out")


def sync_runs(
    folders: Iterable[RunFolder],
    runtime: Runtime,
    echo: Callable[[str], None],
    *,
    artifacts: bool = False,
    num_images: int = 0,
) -> int:
    """Publish runs one at a time, and count what the tracker holds then; gives 0, or 1 where something is missing.

    TrackerError where there are no credentials at all.
    """
    tracker = runtime.tracker if runtime.tracker in EXTRAS else "online"
    if tracker == "online" and not has_credentials():
        raise TrackerError("sync needs a W&B login; run `wandb login` or set WANDB_API_KEY")
    num_bad = failures_in_a_row = 0
    opened: dict[str, Picture] = {}
    folders = list(folders)
    try:
        missed = _gone(folders, tracker, runtime)
    except KeyRefused as error:
        echo(str(error))
        return 1
    except Exception as error:  # a server that is away now
        echo(printable(f"{tracker} does not say whether earlier runs are still there ({error_line(error)})"))
        missed = set()
    for folder in folders:
        if failures_in_a_row == PATIENCE:
            echo(f"{tracker} does not answer; the rest is left for later")
            break
        try:
            good, text = _sync_one(folder, tracker, runtime, missed)
            if good and tracker == "online" and folder.is_finished():
                more = log_artifacts(runtime, folder) if artifacts else []
                more += (
                    [log_media(runtime, folder, num_images, pictures(folder, runtime, opened))] if num_images else []
                )
                text += f", with {' and '.join(more)}" if more else ""
            failures_in_a_row = 0
        except KeyRefused as error:
            echo(str(error))
            return 1
        except Exception as error:  # one run's trouble must not keep the others from being published
            good, text = False, error_line(error)
            failures_in_a_row += 1
        num_bad += not good
        echo(printable(f"{folder.run_id}  {text}"))
    return 1 if num_bad else 0


def pictures(folder: RunFolder, runtime: Runtime, opened: dict[str, Picture]) -> Picture:
    """(split, name of an image) -> its PNG, from the data set that a run was trained on; each is `opened` once."""
    from ablation_suite.reports.thumbnails import thumbnails

    job = folder.job()
    config = validate(RunConfig, Document(data=job["config"], source=str(folder.path / "run.json")))
    key = config.data.model_dump_json()
    if key not in opened:
        opened[key] = thumbnails(config.data, runtime)
    return opened[key]


def find_targets(words: tuple[str, ...], runtime: Runtime) -> tuple[list[RunFolder], list[str]]:
    """The run folders that beginnings of run ids, searches, and specs with overrides name; without words, all.

    Beside them a line for each spec or search of which runs are not here. SyncError for a word that names several runs,
    and for overrides of what has none.
    """
    names, overrides = options.split_words(words)
    known = run_folders(runtime.store)
    if overrides and not names:
        raise SyncError(f"{overrides[0]}: {_NO_SPEC}; name it")
    if not names:
        return known, []
    found: dict[str, RunFolder] = {}
    specs: list[str] = []
    searches: list[str] = []
    missing: list[str] = []
    for word in names:
        matches = [folder for folder in known if folder.run_id.startswith(word)]
        if len(matches) > 1:
            raise SyncError(f"{word}: several runs begin so: {', '.join(folder.run_id for folder in matches)}")
        matches = matches or [folder for folder in known if word in _studies(folder)]
        found |= {folder.run_id: folder for folder in matches}
        if not matches:
            (searches if _is_sweep(word) else specs).append(word)
    if overrides and not (specs or searches):
        raise SyncError(f"{overrides[0]}: {_NO_SPEC}, and {names[0]} is none")
    for word in searches:
        study = read_sweep(find_sweep(word), overrides).name
        here = {folder.run_id: folder for folder in known if study in _studies(folder)}
        found |= here
        if not here:
            again = options.command("sweep", word, *overrides, carry=options.FOLDER_NAMES)
            missing.append(f"{study}: no trial of it is in {runtime.store}; search with: {again}")
    if specs:
        from ablation_suite.ablations.plan import make_plans

        for plan in make_plans(specs, runtime, overrides):
            wanted = {cell.run_id for cell in plan.cells}
            here = {folder.run_id: folder for folder in known if folder.run_id in wanted}
            found |= here
            if len(here) < len(wanted):
                again = options.command("run", plan.ablation.source, *overrides, carry=options.FOLDER_NAMES)
                lacking = f"{len(wanted) - len(here)} of its {len(wanted)} runs are not in {runtime.store}"
                missing.append(f"{plan.ablation.ablation}: {lacking}; train them with: {again}")
    return list(found.values()), missing


_NO_SPEC = "overrides say which runs of a SPEC or SWEEP are meant"


def _is_sweep(word: str) -> bool:
    """Whether a word names a sweep, by its file or as shipped; a name that shipped specs have too means these."""
    place = typed(word)
    if place.is_file():
        data = schema.load(place).data
        return isinstance(data, Mapping) and "sweep" in data
    return not place.exists() and (SHIPPED_SWEEPS / f"{word}.yaml").is_file() and not (SHIPPED_SPECS / word).exists()


def _studies(folder: RunFolder) -> Iterable[str]:
    try:
        return uses(folder.job().get("labels") or {}, "studies") if folder.has_job() else ()
    except PermissionError:  # somebody else's
        return ()


def _gone(folders: Iterable[RunFolder], tracker: str, runtime: Runtime) -> set[str]:
    """The ids of what an earlier sync has found whole at the tracker and somebody has deleted there."""
    known = [(folder, notes(folder).get(tracker, {})) for folder in folders]
    whole = [note for folder, note in known if "verified" in note and note["verified"] == _state(folder)]
    return gone(tracker, runtime, whole) if whole else set()


def _sync_one(folder: RunFolder, tracker: str, runtime: Runtime, missed: set[str]) -> tuple[bool, str]:
    num_epochs = len(folder.ledger.history())
    if not num_epochs:
        return True, "has no epochs yet"
    if folder.status() == "running":
        return True, "is training now, sync it later"
    state = _state(folder)
    known = notes(folder).get(tracker, {})
    if known.get("verified") == state and known["id"] not in missed:
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
    return sha256(b"\0".join([target, *parts]))[:16]
