"""Do files and Reports reach W&B whole? Asked of a stand-in that takes their content, as the real client uploads it."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from ablation_suite.commands.sync import sync_runs
from ablation_suite.core.config.runtime import Runtime
from ablation_suite.core.tracking.choice import TrackerError
from ablation_suite.core.tracking.projection import summary
from ablation_suite.core.tracking.wandb_artifacts import log_media, log_report
from ablation_suite.core.tracking.wandb_report import Page
from ablation_suite.reports.thumbnails import png
from tests.core.tracked_run import BARE_RECORD, make_folder, train
from tests.core.wandb_server import WandbServer

PAGE = Page(
    ablation="contrastive",
    title="Does a contrastive term improve accuracy?",
    above="It cannot be told.\n\n| Arm | Test % |\n| --- | ---: |\n| none | 88 |\n",
    below="## What it cost\n\nNothing.\n",
    arms={"none": ["aaaaaaaaaaaa", "bbbbbbbbbbbb"], "contrastive": ["cccccccccccc"]},
)


@pytest.fixture
def runtime(tmp_path: Path) -> Runtime:
    """A runtime of the default tracker."""
    return Runtime(results=str(tmp_path))


@pytest.fixture
def report(tmp_path: Path) -> Path:
    """The folder of a written report, of which W&B's client is to take every file."""
    (tmp_path / "report" / "tables").mkdir(parents=True)
    (tmp_path / "report" / "report.md").write_text("# Contrastive\n")
    (tmp_path / "report" / "tables" / "answer.csv").write_text("arm,accuracy\nnone,0.88\n")
    return tmp_path / "report"


def test_the_best_of_equal_epochs_is_the_first(tmp_path: Path) -> None:
    """As the training keeps it, also while the run has no end yet that would say so."""
    folder = make_folder(tmp_path)
    for epoch, accuracy in enumerate((0.5, 0.8, 0.7, 0.8), 1):
        folder.ledger.append("epoch", epoch=epoch, **{"val/accuracy": accuracy})
    numbers = summary(folder.ledger.rows(), folder.ledger.history())
    assert (numbers["best/epoch"], numbers["last/epoch"]) == (2, 4)


def test_weights_and_predictions_arrive_whole(
    server: WandbServer, runtime: Runtime, tmp_path: Path, report: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server holds the bytes of the weights and a row per image; a second sync makes no second version."""
    monkeypatch.setenv("WANDB_FINISH_TIMEOUT", "20")
    folder = make_folder(tmp_path)
    train(folder, runtime, 1, 5)
    (folder.path / "best-0003.pt").write_bytes(b"weights")
    outputs = {"val_probabilities": np.eye(2), "val_names": np.array(["a", "b"]), "val_labels": np.array([0, 0])}
    np.savez(folder.path / "outputs.npz", **outputs)
    metrics = {"val/accuracy": 0.5}
    folder.commit({**BARE_RECORD, "metrics": metrics, "classes": ["zero", "one"], "weights": "best-0003.pt"})
    for _ in range(2):
        assert sync_runs([folder], runtime, print, artifacts=True) == 0
    assert server.artifacts.files(f"weights-{folder.run_id}") == {"weights.pt": b"weights"}
    (table,) = server.artifacts.files(f"predictions-{folder.run_id}").values()
    assert json.loads(table)["columns"] == ["image", "predicted", "probability", "label", "correct"]
    assert json.loads(table)["data"] == [["a", "zero", 1.0, "zero", True], ["b", "one", 1.0, "zero", False]]
    assert len(server.artifacts.committed) == 3
    names = {each["artifactCollectionName"]: each for each in server.artifacts.begun}
    assert set(names) == {"data-f00d", f"weights-{folder.run_id}", f"predictions-{folder.run_id}"}
    assert (folder.run_id, "data-f00d") in server.artifacts.used
    for name in (f"weights-{folder.run_id}", f"predictions-{folder.run_id}"):
        assert {each["alias"] for each in names[name]["aliases"]} == {"latest", "best"}
    assert server.epochs(folder.run_id) == [1, 2, 3, 4, 5]
    page = dataclasses.replace(PAGE, arms={"contrastive": [folder.run_id]})
    log_report(runtime, "digits", "contrastive", report, page)
    used = {collection for run, collection in server.artifacts.used if run == "report-contrastive"}
    assert used == {f"weights-{folder.run_id}", f"predictions-{folder.run_id}"}


def test_classes_confusions_and_the_worst_images_are_shown_once(
    server: WandbServer, runtime: Runtime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Recall and precision by hand, the surest mistake first, and the epochs of the run stay what they were."""
    monkeypatch.setenv("WANDB_FINISH_TIMEOUT", "20")
    folder = make_folder(tmp_path)
    train(folder, runtime, 1, 5)
    probabilities = np.array([[0.9, 0.1], [0.4, 0.6], [0.05, 0.95]])
    labels = np.array([0, 0, 0])
    outputs = {"val_probabilities": probabilities, "val_names": np.array(["a", "b", "c"]), "val_labels": labels}
    np.savez(folder.path / "outputs.npz", **outputs)
    folder.commit({**BARE_RECORD, "classes": ["zero", "one"], "weights": "best-0003.pt"})
    asked: list[str] = []

    def picture(split: str, name: str) -> bytes | None:
        asked.append(f"{split} {name}")
        return png(np.zeros((8, 8, 3), np.uint8)) if name != "b" else None

    assert log_media(runtime, folder, 2, picture) == "1 images"
    assert asked == ["val c", "val b"]
    assert log_media(runtime, folder, 2, picture) == "its images, sent before"
    (row,) = [row for row in server.history[folder.run_id] if "epoch" not in row]
    assert row["val/worst"]["captions"] == ["c: zero (5%), taken for one (95%)"]
    (table,) = [content for name, content in server.uploads.items() if "classes" in name and name.startswith("media")]
    assert json.loads(table)["data"] == [["zero", 3, 1 / 3, 1.0, 0.5], ["one", 0, None, 0.0, 0.0]]
    runtime_there = server.summary[folder.run_id]["_wandb"]["runtime"]
    assert runtime_there == pytest.approx(sum(row["seconds"] for row in folder.ledger.history()), rel=0.05)
    assert sync_runs([folder], runtime, print) == 0


def test_a_report_becomes_a_run_that_holds_its_files(server: WandbServer, runtime: Runtime, report: Path) -> None:
    """One run of job_type report in the group of its ablation, and every file of the folder as it is on the disk."""
    log_report(runtime, "digits", "contrastive", report, PAGE)
    (run,) = server.runs.values()
    assert (run["jobType"], run["groupName"]) == ("report", "contrastive")
    on_disk = {str(path.relative_to(report)): path.read_bytes() for path in report.rglob("*") if path.is_file()}
    assert server.artifacts.files("report-contrastive") == on_disk


def test_a_report_becomes_a_wandb_report(server: WandbServer, runtime: Runtime, report: Path) -> None:
    """W&B's own reader finds the words, curves over epochs with a band of one deviation, and the runs of each arm."""
    v2 = pytest.importorskip("wandb_workspaces.reports.v2")
    (_, url), _ = log_report(runtime, "digits", "contrastive", report, PAGE)
    saved = v2.Report.from_url(url)
    above, grid, below = saved.blocks
    assert (saved.title, above.text, below.text) == (PAGE.title, PAGE.above, PAGE.below)
    assert [run_set.name for run_set in grid.runsets] == ["none", "contrastive"]
    assert grid.runsets[0].filters == """Metric("ID") in ['aaaaaaaaaaaa', 'bbbbbbbbbbbb']"""
    (number,) = server.reports.views
    (stored,) = [block for block in server.reports.blocks(number) if block["type"] == "panel-grid"]
    assert stored["metadata"]["runSets"][0]["grouping"] == [
        {"section": "config", "name": "ablations.value.contrastive.arm"}
    ]
    *curves, bars = grid.panels
    assert {panel.x.name for panel in curves} == {"epoch"}
    assert [metric.name for panel in curves for metric in panel.y] == ["val/accuracy", "val/loss", "train/loss"]
    assert {(panel.groupby_aggfunc, panel.groupby_rangefunc) for panel in curves} == {("mean", "stddev")}
    assert ([metric.name for metric in bars.metrics], bars.groupby_aggfunc) == (["test/accuracy"], "mean")


def test_a_wandb_report_has_the_differences_as_bars_the_table_and_the_pictures(
    server: WandbServer, runtime: Runtime, report: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the panels ask for is what the report's own run holds: differences with their ends, a table, a picture."""
    v2 = pytest.importorskip("wandb_workspaces.reports.v2")
    monkeypatch.setenv("WANDB_FINISH_TIMEOUT", "20")
    (report / "figures").mkdir()
    picture = report / "figures" / "cost.png"
    picture.write_bytes(png(np.zeros((8, 8, 3), np.uint8)))
    page = dataclasses.replace(
        PAGE,
        differences={"contrastive": (1.5, -0.5, 3.5), "one seed": (2.0, None, None)},
        rows=[{"arm": "none", "accuracy_percent": 88.0}],
        figures=[picture],
    )
    (_, url), _ = log_report(runtime, "digits", "contrastive", report, page)
    summary = server.summary["report-contrastive"]
    assert (summary["difference/contrastive"], summary["difference/contrastive (high)"]) == (1.5, 3.5)
    (row,) = server.history["report-contrastive"]
    _, findings, _, _ = v2.Report.from_url(url).blocks
    assert findings.runsets[0].filters == """Metric("ID") in ['report-contrastive']"""
    bars, table, media = findings.panels
    assert [metric.name for metric in bars.metrics] == ["difference/contrastive", "difference/one seed"]
    assert {metric.name for metric in bars.metrics} <= set(summary)
    assert table.table_name in row
    assert row[media.media_keys[0]]["_type"] == "image-file"


def test_a_second_call_replaces_the_wandb_report(server: WandbServer, runtime: Runtime, report: Path) -> None:
    """The same address with the new words; where somebody has removed it, a new one."""
    pytest.importorskip("wandb_workspaces")
    (_, first), _ = log_report(runtime, "digits", "contrastive", report, PAGE)
    newer = Page(ablation="contrastive", title=PAGE.title, above="It helps.", below="", arms=PAGE.arms)
    (_, second), _ = log_report(runtime, "digits", "contrastive", report, newer)
    assert first == second
    ((number, view),) = server.reports.views.items()
    assert "It helps." in view["spec"]
    server.reports.views.clear()
    (_, third), _ = log_report(runtime, "digits", "contrastive", report, newer)
    assert third != first
    assert number not in server.reports.views
    assert len(server.reports.views) == 1


def test_without_the_package_the_files_are_published_alone(
    server: WandbServer, runtime: Runtime, report: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No Report is attempted, and the run with the report's files is there as ever."""
    monkeypatch.setattr("ablation_suite.core.tracking.wandb_artifacts.can_save_reports", lambda: False)
    (url,), _ = log_report(runtime, "digits", "contrastive", report, PAGE)
    assert url.endswith("/digits/runs/report-contrastive")
    assert server.reports.views == {}
    assert "report.md" in server.artifacts.files("report-contrastive")


def test_a_server_that_refuses_is_one_clear_error(server: WandbServer, runtime: Runtime, report: Path) -> None:
    """One line says that the report was not taken, and of which ablation."""
    server.health = "error"
    with pytest.raises(TrackerError, match="W&B did not take the report of contrastive") as refusal:
        log_report(runtime, "digits", "contrastive", report, PAGE)
    assert "\n" not in str(refusal.value)
