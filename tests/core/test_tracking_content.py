"""Do files and Reports reach W&B whole? Asked of a stand-in that takes their content, as the real client uploads it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ablation_suite.commands.sync import sync_runs
from ablation_suite.core.config.runtime import Runtime
from ablation_suite.core.tracking.choice import TrackerError
from ablation_suite.core.tracking.projection import summary
from ablation_suite.core.tracking.wandb_artifacts import log_report
from ablation_suite.core.tracking.wandb_report import Page
from tests.core.tracked_run import make_folder, train
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
    server: WandbServer, runtime: Runtime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server holds the bytes of the weights and a row per image; a second sync makes no second version."""
    import numpy as np

    monkeypatch.setenv("WANDB_FINISH_TIMEOUT", "20")
    folder = make_folder(tmp_path)
    train(folder, runtime, 1, 5)
    (folder.path / "best-0003.pt").write_bytes(b"weights")
    outputs = {"val_probabilities": np.eye(2), "val_names": np.array(["a", "b"]), "val_labels": np.array([0, 0])}
    np.savez(folder.path / "outputs.npz", **outputs)
    parts = {"config": {}, "metrics": {"val/accuracy": 0.5}, "history": [], "cost": {}}
    folder.commit({**parts, "classes": ["zero", "one"], "weights": "best-0003.pt"})
    for _ in range(2):
        assert sync_runs([folder], runtime, print, artifacts=True) == 0
    assert server.artifacts.files(f"weights-{folder.run_id}") == {"weights.pt": b"weights"}
    (table,) = server.artifacts.files(f"predictions-{folder.run_id}").values()
    assert json.loads(table)["columns"] == ["image", "predicted", "probability", "label", "correct"]
    assert json.loads(table)["data"] == [["a", "zero", 1.0, "zero", True], ["b", "one", 1.0, "zero", False]]
    assert len(server.artifacts.committed) == 2
    assert server.epochs(folder.run_id) == [1, 2, 3, 4, 5]


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
    assert {panel.x.name for panel in grid.panels} == {"epoch"}
    assert [metric.name for panel in grid.panels for metric in panel.y] == ["val/accuracy", "val/loss", "train/loss"]
    assert {(panel.groupby_aggfunc, panel.groupby_rangefunc) for panel in grid.panels} == {("mean", "stddev")}


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
