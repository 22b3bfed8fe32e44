"""What files does W&B get? Weights, predictions and reports, as versions of artifacts, and the W&B Report of each."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from ablation_suite.core.config.names import artifact_name
from ablation_suite.core.config.runtime import Runtime
from ablation_suite.core.runs.provenance import error_line
from ablation_suite.core.runs.store import RunFolder
from ablation_suite.core.tracking.choice import TrackerError
from ablation_suite.core.tracking.projection import LONGEST_NAME, Shown, predictions, shown
from ablation_suite.core.tracking.publisher import notes
from ablation_suite.core.tracking.same_training import mark
from ablation_suite.core.tracking.wandb import Difference, WandbSink, closing, connect, open_run_sink
from ablation_suite.core.tracking.wandb_report import Page, can_save_reports, save_report

PATIENCE_UPLOAD = 600.0
"""Seconds that W&B gets to take large files."""
REPORT_KEY = "report"
"""Where in the summary of a report's run the URL of its W&B Report stands, for the next call to find."""


def log_artifacts(runtime: Runtime, folder: RunFolder) -> list[str]:
    """Give W&B the best weights and the table of predictions of a run, as versions of two artifacts; gives their names.

    Equal content makes no new version. TrackerError for a run without a record.
    """
    record = folder.record()
    if record is None:
        raise TrackerError(f"run {folder.run_id} is not finished, it has no weights to publish")
    wandb = connect()
    opened = open_run_sink("online", runtime, folder, shown(folder), PATIENCE_UPLOAD)
    with closing(opened, lambda: shown(folder)) as sink:
        weights = wandb.Artifact(f"weights-{sink.name}", type="model", metadata={"metrics": record["metrics"]})
        weights.add_file(str(folder.path / record["weights"]), name="weights.pt")
        tables = wandb.Artifact(f"predictions-{sink.name}", type="predictions")
        for split, (columns, rows) in predictions(folder).items():
            tables.add(wandb.Table(columns=columns, data=rows), split)
        sink.run.log_artifact(weights)
        sink.run.log_artifact(tables)
    return [weights.name, tables.name]


def log_report(runtime: Runtime, project_name: str, ablation: str, folder: Path, page: Page) -> tuple[list[str], str]:
    """Give W&B a report's folder of tables and figures, and where `wandb-workspaces` is installed a W&B Report.

    Gives the URLs, of the one run of job_type report of this ablation and of its Report, which a second call replaces,
    and what should be told: where a report on other trainings of the same runs has the name, this one is shown beside
    it. TrackerError where W&B does not take them.
    """
    name = f"report-{ablation}"
    ledgers = _ledgers(page, runtime.store)
    run = Shown(
        run_id=artifact_name(name),
        project=project_name,
        group=ablation,
        job_type="report",
        name=name[:LONGEST_NAME],
        config={"ablation": ablation, "ledgers": ledgers},
        beside=next(iter(ledgers.values()), ""),
    )
    results = Path(runtime.results).absolute()
    try:
        with closing(WandbSink("online", results, run, PATIENCE_UPLOAD, _on_others(ledgers)), lambda: run) as sink:
            artifact = connect().Artifact(sink.name, type="report")
            artifact.add_dir(str(folder))
            sink.run.log_artifact(artifact)
            urls = [sink.where]
            if can_save_reports():
                page = dataclasses.replace(page, arms=_names_there(page, runtime.store))
                urls.append(save_report(page, sink.run.entity, sink.run.project, sink.run.summary.get(REPORT_KEY)))
                sink.run.summary[REPORT_KEY] = urls[-1]
    except TrackerError:
        raise
    except Exception as error:  # wandb and wandb-workspaces raise many kinds, bare ones among them
        raise TrackerError(f"W&B did not take the report of {ablation} ({error_line(error)})") from error
    return urls, sink.told


def _ledgers(page: Page, store: Path) -> dict[str, str]:
    """Run id -> what tells its ledger from all others, for the runs of a report that are here."""
    names = dict.fromkeys(run for runs in page.arms.values() for run in runs)
    rows = {name: RunFolder(store / name).ledger.rows() for name in names}
    return {name: mark(each, [])["origin"] for name, each in rows.items() if each}


def _names_there(page: Page, store: Path) -> dict[str, list[str]]:
    """Arm -> the ids of its runs at W&B, which are others where another training had taken them."""
    return {
        arm: [notes(RunFolder(store / run)).get("online", {}).get("id", run) for run in runs]
        for arm, runs in page.arms.items()
    }


def _on_others(ours: dict[str, str]) -> Difference:
    def differs(config: dict[str, Any], rows: list[dict[str, Any]]) -> str:
        theirs = config.get("ledgers") or {}
        other = [name for name, origin in ours.items() if theirs.get(name, origin) != origin]
        return f"a report on other trainings of {len(other)} of its {len(ours)} runs" if other else ""

    return differs
