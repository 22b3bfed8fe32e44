"""Where do people see this run? W&B (the only importer of wandb), TensorBoard or MLflow, fed from the run's ledger."""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from ablation_suite.core.config.names import artifact_name
from ablation_suite.core.config.runtime import Runtime
from ablation_suite.core.runs.provenance import error_line
from ablation_suite.core.runs.store import RunFolder
from ablation_suite.core.tracking.choice import EXTRAS, TrackerError, check_tracker, choose_tracker, has_credentials
from ablation_suite.core.tracking.projection import LONGEST_NAME, Shown, predictions, shown
from ablation_suite.core.tracking.publisher import Publisher, Sink, project
from ablation_suite.core.tracking.wandb_report import Page, can_save_reports, save_report

__all__ = ["TrackerError", "check_tracker", "log_artifacts", "log_report", "open_tracker", "publish_run"]

PATIENCE_LIVE, PATIENCE_SYNC, PATIENCE_UPLOAD = 10.0, 20.0, 600.0
"""Seconds that W&B gets to finish a run: after a training, in a sync, with large files; to begin one, at most those of
a sync."""
LAG_SECONDS = 4
"""How long a server may take to count what it has accepted."""
SCARCE_BYTES = 1_000_000
"""With less than this left on the disk, W&B loses rows without a word."""
REPORT_KEY = "report"
"""Where in the summary of a report's run the URL of its W&B Report stands, for the next call to find."""


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
    publisher = Publisher(tracker, folder, lambda run: _open_sink(tracker, runtime, run, PATIENCE_LIVE)).start()
    try:
        yield publisher
    except BaseException:
        publisher.close(failed=True)
        raise
    publisher.close()


def publish_run(tracker: str, runtime: Runtime, folder: RunFolder) -> tuple[str, int]:
    """Show now what the tracker does not hold of a run; gives (where, how many epochs it holds then)."""
    with _closing(_open_sink(tracker, runtime, shown(folder), PATIENCE_SYNC)) as sink:
        project(folder, sink, sink.held_epoch)
    expected = len(folder.ledger.history())
    for _ in range(LAG_SECONDS):
        count = sink.count()
        if count == expected:
            break
        time.sleep(1.0)
    return sink.where, count


def log_artifacts(runtime: Runtime, folder: RunFolder) -> list[str]:
    """Give W&B the best weights and the table of predictions of a run, as versions of two artifacts; gives their names.

    Equal content makes no new version. TrackerError for a run without a record.
    """
    record = folder.record()
    if record is None:
        raise TrackerError(f"run {folder.run_id} is not finished, it has no weights to publish")
    wandb = _wandb()
    weights = wandb.Artifact(f"weights-{folder.run_id}", type="model", metadata={"metrics": record["metrics"]})
    weights.add_file(str(folder.path / record["weights"]), name="weights.pt")
    tables = wandb.Artifact(f"predictions-{folder.run_id}", type="predictions")
    for split, (columns, rows) in predictions(folder).items():
        tables.add(wandb.Table(columns=columns, data=rows), split)
    with _uploading(runtime, shown(folder)) as sink:
        sink.run.log_artifact(weights)
        sink.run.log_artifact(tables)
    return [weights.name, tables.name]


def log_report(runtime: Runtime, project_name: str, ablation: str, folder: Path, page: Page) -> list[str]:
    """Give W&B a report's folder of tables and figures, and where `wandb-workspaces` is installed a W&B Report.

    Gives the URLs: of the one run of job_type report of this ablation, and of its Report, which a second call replaces.
    TrackerError where W&B does not take them.
    """
    name = f"report-{ablation}"
    run = Shown(
        run_id=artifact_name(name), project=project_name, group=ablation, job_type="report", name=name[:LONGEST_NAME]
    )
    artifact = _wandb().Artifact(run.run_id, type="report")
    artifact.add_dir(str(folder))
    try:
        with _uploading(runtime, run) as sink:
            sink.run.log_artifact(artifact)
            urls = [sink.where]
            if can_save_reports():
                urls.append(save_report(page, sink.run.entity, sink.run.project, sink.run.summary.get(REPORT_KEY)))
                sink.run.summary[REPORT_KEY] = urls[-1]
    except TrackerError:
        raise
    except Exception as error:  # wandb and wandb-workspaces raise many kinds, bare ones among them
        raise TrackerError(f"W&B did not take the report of {ablation} ({error_line(error)})") from error
    return urls


class WandbSink:
    """One W&B run, whose id is the run id: epoch k is step k.

    Online the run is resumed, and the server's last step says which epochs it holds: begun anew it would get every row
    a second time, because the client appends behind the lines that the server has. Offline nothing can be resumed, so
    that each attempt writes the whole run, and then the segments of earlier attempts go.
    """

    def __init__(self, mode: str, results: Path, run: Shown, patience: float):
        if mode == "online" and not has_credentials():
            raise TrackerError("there is no API key; run `wandb login` or set WANDB_API_KEY")
        os.makedirs(_root(results), exist_ok=True)
        self.mode = mode
        self.run = _wandb().init(
            id=run.run_id,
            config=run.config,
            mode=mode,
            resume="allow" if mode == "online" else None,
            reinit="create_new",
            settings=_unless_set_by_user(_settings(results, run, patience)),
        )
        self.run.define_metric("*", step_metric="epoch")
        self.held_epoch = self.run.starting_step - 1
        self.folder = Path(self.run.dir).parent
        self.where = self.run.url if mode == "online" else str(self.folder)

    def log(self, epoch: int, numbers: dict[str, float], seconds: float) -> None:
        """One history row, written at once."""
        self.run.log({**numbers, "_timestamp": seconds}, step=epoch, commit=True)

    def summarise(self, numbers: dict[str, float]) -> None:
        """The run's row in the W&B table."""
        self.run.summary.update(numbers)

    def close(self, failed: bool) -> None:
        """Finish the run; raises where the server did not take everything in time, or the disk was full."""
        self.run.finish(exit_code=int(failed))
        if shutil.disk_usage(self.folder).free < SCARCE_BYTES:
            raise OSError(f"the disk is full under {self.folder.parent}, rows may be missing there")
        for segment in _offline_segments(self.folder.parent, self.run.id):
            if self.mode == "online":
                # `wandb sync` would append what the server has now; this is the mark that it leaves and heeds itself.
                (segment / f"run-{self.run.id}.wandb.synced").touch()
            elif segment != self.folder:
                shutil.rmtree(segment, ignore_errors=True)

    def count(self) -> int:
        """Lines of history at the server."""
        return int(_wandb().Api(timeout=20).run(self.run.path).historyLineCount)


class _Off:
    def publish(self) -> None:
        return


def _open_sink(tracker: str, runtime: Runtime, run: Shown, patience: float) -> Sink:
    results = Path(runtime.results).absolute()
    if tracker not in EXTRAS:
        return WandbSink(tracker, results, run, patience)
    try:
        module = import_module(f"ablation_suite.core.tracking.{tracker}")
    except ImportError as error:
        raise TrackerError(f"it needs a package that is not installed: pip install {EXTRAS[tracker]}") from error
    return module.open_sink(results, run)


@contextmanager
def _closing(sink: Any) -> Iterator[Any]:
    try:
        yield sink
    except BaseException:
        sink.close(failed=True)
        raise
    sink.close(failed=False)


def _uploading(runtime: Runtime, run: Shown) -> AbstractContextManager[WandbSink]:
    return _closing(WandbSink("online", Path(runtime.results).absolute(), run, PATIENCE_UPLOAD))


def _wandb() -> Any:
    import wandb

    # Only `setup` silences what login and finish print; `init` alone does not.
    wandb.setup(wandb.Settings(**_unless_set_by_user({"silent": True})))
    return wandb


def _settings(results: Path, run: Shown, patience: float) -> dict[str, Any]:
    return {
        "root_dir": str(results),
        "project": run.project,
        "run_group": run.group,
        "run_job_type": run.job_type,
        "run_name": run.name,
        "run_tags": tuple(run.tags),
        "console": "off",
        "silent": True,
        "disable_git": True,
        "init_timeout": min(patience, PATIENCE_SYNC),
        "finish_timeout": patience,
        "finish_timeout_raises": True,
        "x_disable_stats": True,
        # It would store the command line as it was typed; the ledger has it without secrets.
        "x_disable_meta": True,
        # The default of 15 s leaves nothing of a young run that is killed.
        "x_transaction_log_flush_interval": 0.5,
    }


def _unless_set_by_user(settings: dict[str, Any]) -> dict[str, Any]:
    """The settings without those that the user's own WANDB_* variables give, which would lose against ours."""
    variables = {
        "root_dir": "WANDB_DIR",
        "run_name": "WANDB_NAME",
        "run_tags": "WANDB_TAGS",
        "run_job_type": "WANDB_JOB_TYPE",
    }

    def variable(key: str) -> str:
        return variables.get(key) or "WANDB_" + re.sub("^x_", "_", key).upper()

    return {key: value for key, value in settings.items() if value is not None and variable(key) not in os.environ}


def _root(results: Path) -> Path:
    return Path(os.environ.get("WANDB_DIR") or results)


def _offline_segments(folder: Path, run_id: str) -> list[Path]:
    pattern = re.compile(rf"offline-run-\d{{8}}_\d{{6}}-{re.escape(run_id)}(-\d+)?")
    return [each for each in folder.iterdir() if pattern.fullmatch(each.name)]
