"""What files does W&B get? Weights, predictions and reports, as versions of artifacts, and the W&B Report of each."""

from __future__ import annotations

import dataclasses
import io
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ablation_suite.core.config.names import artifact_name
from ablation_suite.core.config.runtime import Runtime
from ablation_suite.core.runs.provenance import error_line
from ablation_suite.core.runs.run_folder import RunFolder
from ablation_suite.core.runs.shape import Job, Record
from ablation_suite.core.tracking.choice import TrackerError
from ablation_suite.core.tracking.outputs import SPLIT, guessed, predictions
from ablation_suite.core.tracking.projection import LONGEST_NAME, Shown, shown
from ablation_suite.core.tracking.publisher import add_to_note, notes
from ablation_suite.core.tracking.same_training import mark
from ablation_suite.core.tracking.wandb import MEDIA_ROWS, Difference, WandbSink, closing, open_run_sink
from ablation_suite.core.tracking.wandb_client import connect
from ablation_suite.core.tracking.wandb_report import TABLE, Page, can_save_reports, figure_key, save_report

PATIENCE_UPLOAD = 600.0
"""Seconds that W&B gets to take large files."""
Picture = Callable[[str, str], bytes | None]
"""(split, name of an image) -> a PNG of it, or None where there is none."""
REPORT_KEY = "report"
"""Where in the summary of a report's run the URL of its W&B Report stands, for the next call to find."""


def log_artifacts(runtime: Runtime, folder: RunFolder) -> list[str]:
    """Give W&B the best weights and the table of predictions of a run, made from its data set; gives their names.

    Equal content makes no new version. TrackerError for a run without a record.
    """
    record = folder.record()
    if record is None:
        raise TrackerError(f"run {folder.run_id} is not finished, it has no weights to publish")
    wandb = connect()
    with _of_run(runtime, folder) as sink:
        weights = wandb.Artifact(f"weights-{sink.name}", type="model", metadata={"metrics": record["metrics"]})
        weights.add_file(str(folder.path / record["weights"]), name="weights.pt")
        tables = wandb.Artifact(f"predictions-{sink.name}", type="predictions", metadata={"weights": weights.name})
        for split, (columns, rows) in predictions(folder).items():
            tables.add(wandb.Table(columns=columns, data=rows), split)
        sink.run.use_artifact(_data(folder.job(), record), aliases=["latest"])
        for artifact in (weights, tables):
            sink.run.log_artifact(artifact, aliases=["latest", "best"])
    names = [weights.name.partition(":")[0], tables.name.partition(":")[0]]
    add_to_note(folder, "online", artifacts=names)
    return names


def log_media(runtime: Runtime, folder: RunFolder, num_images: int, picture: Picture) -> str:
    """Give W&B the classes, the confusions and the worst validation images of a finished run; says what it has then.

    They are one more row of its history, and are sent once.
    """
    found = guessed(folder, num_images)
    if found is None:
        return "no validation images with labels"
    import PIL.Image

    wandb = connect()
    with _of_run(runtime, folder) as sink:
        if sink.run.config.get(MEDIA_ROWS):
            return "its images, sent before"
        images = [(each.caption, picture(SPLIT, each.name)) for each in found.worst]
        columns, rows = found.by_class()
        sink.run.log(
            {
                f"{SPLIT}/classes": wandb.Table(columns=columns, data=rows),
                f"{SPLIT}/confusion": wandb.plot.confusion_matrix(
                    y_true=found.labels, preds=found.guesses, class_names=found.classes, title="Validation images"
                ),
                f"{SPLIT}/worst": [
                    wandb.Image(PIL.Image.open(io.BytesIO(content)), caption=caption)
                    for caption, content in images
                    if content is not None
                ],
            }
        )
        sink.run.config.update({MEDIA_ROWS: 1})
    return f"{sum(content is not None for _, content in images)} images"


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
            for name in _artifacts(page, runtime.store):
                sink.run.use_artifact(f"{name}:latest")
            sink.run.log_artifact(artifact, aliases=["latest"])
            sink.run.summary.update(page.numbers)
            if panels := _panels(page):
                sink.run.log(panels)
            urls = [sink.where]
            if can_save_reports():
                page = dataclasses.replace(page, arms=_names_there(page, runtime.store))
                urls.append(
                    save_report(page, sink.run.entity, sink.run.project, sink.name, sink.run.summary.get(REPORT_KEY))
                )
                sink.run.summary[REPORT_KEY] = urls[-1]
    except TrackerError:
        raise
    except Exception as error:  # wandb and wandb-workspaces raise many kinds, bare ones among them
        raise TrackerError(f"W&B did not take the report of {ablation} ({error_line(error)})") from error
    return urls, sink.told


@contextmanager
def _of_run(runtime: Runtime, folder: RunFolder) -> Iterator[WandbSink]:
    """The run at W&B, to be given files, which took none of the time that it trained."""
    sink = open_run_sink("online", runtime, folder, shown(folder), PATIENCE_UPLOAD)
    with closing(sink, lambda: shown(folder)):
        yield sink
    sink.set_clock(folder.ledger.history())


def _data(job: Job, record: Record) -> Any:
    """The data set as it was told apart from others; its images stay where they are."""
    facts = {"data": job["config"].get("data"), "fingerprint": job["data_fingerprint"], "classes": record["classes"]}
    artifact = connect().Artifact(f"data-{job['data_fingerprint'][:12]}", type="dataset", metadata=facts)
    with artifact.new_file("data.json") as file:
        file.write(json.dumps(facts, indent=1))
    return artifact


def _ledgers(page: Page, store: Path) -> dict[str, str]:
    """Run id -> what tells its ledger from all others, for the runs of a report that are here."""
    names = dict.fromkeys(run for runs in page.arms.values() for run in runs)
    rows = {name: RunFolder(store / name).ledger.rows() for name in names}
    return {name: mark(each, [])["origin"] for name, each in rows.items() if each}


def _panels(page: Page) -> dict[str, Any]:
    """The table and the pictures of a report, as W&B shows them."""
    wandb = connect()
    found: dict[str, Any] = {figure_key(path): wandb.Image(str(path)) for path in page.figures}
    if page.rows:
        columns = list(page.rows[0])
        found[TABLE] = wandb.Table(columns=columns, data=[[row.get(name) for name in columns] for row in page.rows])
    return found


def _artifacts(page: Page, store: Path) -> list[str]:
    """The weights and predictions that the runs of a report have at W&B."""
    runs = dict.fromkeys(run for names in page.arms.values() for run in names)
    return [name for run in runs for name in notes(RunFolder(store / run)).get("online", {}).get("artifacts", [])]


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
