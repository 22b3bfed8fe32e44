"""Do TensorBoard and MLflow hold each epoch once, in order? Read back with their own readers."""

from __future__ import annotations

import getpass
import logging
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ablation_suite.commands.sync import sync_runs
from ablation_suite.core.config.runtime import Runtime
from ablation_suite.core.runs.provenance import provenance
from ablation_suite.core.runs.run_folder import RunFolder
from ablation_suite.core.tracking.publisher import notes
from tests.core.tracked_run import append_end, append_epoch, make_folder, train
from tests.core.wandb_server import wandb_server

ALL = [1, 2, 3, 4, 5]


@pytest.fixture(autouse=True)
def _forget_failures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ablation_suite.core.tracking.publisher._failed_at", {})
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


def test_tensorboard_holds_each_epoch_once(tmp_path: Path) -> None:
    """After two attempts and a sync, TensorBoard's reader finds one series of five points with their times."""
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    folder, runtime = make_folder(tmp_path), Runtime(tracker="tensorboard", results=str(tmp_path))
    for first, last in ((1, 3), (3, 4)):
        assert train(folder, runtime, first, last).error is None
    append_epoch(folder, 5)
    append_end(folder)
    for _ in range(2):
        assert sync_runs([folder], runtime, print) == 0
    (place,) = (tmp_path / "tensorboard").glob("*/*")
    assert place.name == f"contrastive-3-{folder.run_id}"
    events = accumulator.EventAccumulator(str(place), size_guidance={"scalars": 0})
    events.Reload()
    points = events.Scalars("train/loss")
    assert [point.step for point in points] == ALL
    assert [point.value for point in points] == pytest.approx([1, 1 / 2, 1 / 3, 1 / 4, 1 / 5])
    assert [point.wall_time for point in points] == pytest.approx([row["time"] for row in folder.ledger.history()])
    assert events.Scalars("summary/test/accuracy")[0].value == pytest.approx(0.85)
    # TensorBoard's own plugin reads these three from the metadata of a run's summaries.
    plugin = pytest.importorskip("tensorboard.plugins.hparams.plugin_data_pb2")
    held = {
        tag: plugin.HParamsPluginData.FromString(events.SummaryMetadata(tag).plugin_data.content)
        for tag in events.PluginTagToContent("hparams")
    }
    settings = held["_hparams_/session_start_info"].session_start_info.hparams
    assert settings["loss.weight"].number_value == 15.0
    assert settings["arm"].string_value == "contrastive"
    metrics = [each.name.tag for each in held["_hparams_/experiment"].experiment.metric_infos]
    assert set(metrics) <= set(events.Tags()["scalars"])
    assert "summary/test/accuracy" in metrics


def test_mlflow_holds_each_epoch_once(tmp_path: Path) -> None:
    """After two attempts and two syncs, MLflow's client finds one run with five points, params and tags."""
    tracking = pytest.importorskip("mlflow.tracking")
    folder, runtime = make_folder(tmp_path), Runtime(tracker="mlflow", results=str(tmp_path))
    for first, last in ((1, 3), (3, 4)):
        assert train(folder, runtime, first, last).error is None
    append_epoch(folder, 5)
    append_end(folder)
    for _ in range(2):
        assert sync_runs([folder], runtime, print) == 0
    client = tracking.MlflowClient(tracking_uri=(tmp_path / "mlflow").as_uri())
    experiment = client.get_experiment_by_name("digits")
    (run,) = client.search_runs([experiment.experiment_id])
    points = client.get_metric_history(run.info.run_id, "train/loss")
    assert [point.step for point in points] == ALL
    assert [point.value for point in points] == pytest.approx([1, 1 / 2, 1 / 3, 1 / 4, 1 / 5])
    assert run.info.run_name == "contrastive-3"
    assert run.data.params["loss.weight"] == "15.0"
    assert run.data.metrics["final/test/accuracy"] == 0.85
    assert run.data.tags["group"] == "contrastive"
    assert run.data.tags["ablations.contrastive.arm"] == "contrastive"
    assert run.data.tags["mlflow.user"] == getpass.getuser()
    assert run.data.tags["mlflow.source.name"] == shlex.join(provenance(runtime, "cpu")["command"])
    assert run.data.tags["mlflow.note.content"] == "Does a contrastive term help?"
    rows = folder.ledger.rows()
    assert [run.info.start_time, run.info.end_time] == [int(1000 * rows[k]["time"]) for k in (0, -1)]


def test_two_stores_are_two_runs_in_mlflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same config trained twice: each run has the losses of its own store, and the second is told of the first."""
    tracking = pytest.importorskip("mlflow.tracking")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "mlflow").as_uri())
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    lines: list[str] = []
    for name, loss in (("laptop", 0.5), ("cluster", 0.25)):
        folder = make_folder(tmp_path / name)
        folder.ledger.append("start", attempt=1, host=name)
        for epoch in ALL:
            append_epoch(folder, epoch, **{"val/loss": loss})
        for _ in range(2):
            runtime = Runtime(tracker="mlflow", results=str(tmp_path / name))
            assert sync_runs([folder], runtime, lines.append) == 0
            (folder.path / "tracker.json").unlink()
    client = tracking.MlflowClient()
    runs = client.search_runs([client.get_experiment_by_name("digits").experiment_id])
    losses = [[point.value for point in client.get_metric_history(run.info.run_id, "val/loss")] for run in runs]
    assert sorted(losses) == [[0.25] * 5, [0.5] * 5]
    assert ["another training of it is" in line for line in lines] == [False, False, True, True]


@pytest.mark.parametrize("tracker", ["tensorboard", "mlflow"])
def test_a_run_that_somebody_deleted_is_published_again(tracker: str, tmp_path: Path) -> None:
    """Where a tracker shows a run no more, sync does not say that it is there already."""
    pytest.importorskip(tracker)
    folder, runtime = make_folder(tmp_path), Runtime(tracker=tracker, results=str(tmp_path))
    append_epoch(folder, 1)
    lines: list[str] = []
    assert [sync_runs([folder], runtime, lines.append) for _ in range(2)] == [0, 0]
    shown = notes(folder)[tracker]
    if tracker == "tensorboard":
        shutil.rmtree(shown["where"])
    else:
        from mlflow.tracking import MlflowClient

        MlflowClient(tracking_uri=(tmp_path / "mlflow").as_uri()).delete_run(shown["id"])
    assert [sync_runs([folder], runtime, lines.append) for _ in range(2)] == [0, 0]
    assert ["already" in line for line in lines] == [False, True, False, True]


def test_the_password_of_an_mlflow_server_is_neither_said_nor_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It stands in the URI of the server, and where a run is shown is told and noted without it."""
    tracking = pytest.importorskip("mlflow.tracking")
    from ablation_suite.core.tracking import mlflow

    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://me:hunter2@host.example")
    local = (tmp_path / "mlflow").as_uri()
    monkeypatch.setattr(mlflow, "MlflowClient", lambda tracking_uri: tracking.MlflowClient(tracking_uri=local))
    folder = make_folder(tmp_path)
    append_epoch(folder, 1)
    lines: list[str] = []
    assert sync_runs([folder], Runtime(tracker="mlflow", results=str(tmp_path)), lines.append) == 0
    assert "at https://me:***@host.example/#/experiments/" in lines[0]
    assert "hunter2" not in (folder.path / "tracker.json").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("tracker", ["tensorboard", "mlflow"])
def test_a_run_that_was_killed_is_completed(tracker: str, tmp_path: Path) -> None:
    """SIGKILL in the fourth epoch, a resume in another process, then sync: the tracker counts each epoch once."""
    pytest.importorskip(tracker)
    command = [sys.executable, "-m", "tests.core.tracked_run", str(tmp_path), "abcdefabcdef"]
    killed = subprocess.run([*command, "1", "5", tracker, "4"], capture_output=True, timeout=60)
    assert killed.returncode == -9
    subprocess.run([*command, "3", "5", tracker], capture_output=True, timeout=60, check=True)
    lines: list[str] = []
    runtime = Runtime(tracker=tracker, results=str(tmp_path))
    assert sync_runs([RunFolder(runtime.store / "abcdefabcdef")], runtime, lines.append) == 0
    assert lines[0].startswith("abcdefabcdef  5 epochs")


@pytest.mark.fault(
    "an MLflow server that fails, hangs or is gone",
    injected="500, silence, no server",
    promised="one warning, `sync` says what is wrong, nothing is lost",
)
@pytest.mark.parametrize("health", ["error", "hang", "gone"])
def test_a_sick_mlflow_server_costs_one_warning(
    health: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """500, silence or nobody there: one warning names `ablate sync`, a sync says what is wrong, and nothing is lost."""
    pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    folder, runtime = make_folder(tmp_path), Runtime(tracker="mlflow", results=str(tmp_path))
    lines: list[str] = []
    with wandb_server() as server:
        server.health = health
        monkeypatch.setenv("MLFLOW_TRACKING_URI", server.url if health != "gone" else "http://127.0.0.1:9")
        with caplog.at_level(logging.WARNING):
            train(folder, runtime, 1, 5)
        assert sync_runs([folder], runtime, lines.append) == 1
    (message,) = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert f"ablate sync {folder.run_id} --results {tmp_path} --tracker mlflow" in message
    assert "\n" not in lines[0]
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    assert sync_runs([folder], runtime, lines.append) == 0
    assert lines[1].startswith(f"{folder.run_id}  5 epochs")
