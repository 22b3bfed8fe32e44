"""Is an offline W&B run a faithful picture of the ledger? Read back with W&B's own reader."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import ablation_suite.core.tracking.wandb
from ablation_suite.core.config.runtime import Runtime
from tests.core.tracked_run import append_epoch, make_folder, train


@pytest.fixture
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Runtime:
    """A runtime whose tracker is offline, in an environment without W&B variables."""
    _forget_wandb_variables(monkeypatch)
    monkeypatch.setattr("ablation_suite.core.tracking.publisher._failed_at", {})
    return Runtime(tracker="offline", results=str(tmp_path))


def test_an_offline_run_holds_names_config_epochs_and_summary(offline: Runtime, tmp_path: Path) -> None:
    """W&B's reader finds what run.json and the ledger say: names, nested config with arm and factor, rows, summary."""
    folder = make_folder(tmp_path, "aaaaaaaaaaaa")
    assert train(folder, offline, 1, 5).error is None
    (segment,) = _segments(tmp_path)
    records = _read(segment)
    run = next(each["run"] for each in records if each["type"] == "run")
    config = run["config"]["update"]
    assert (run["run_id"], run["project"], run["run_group"]) == ("aaaaaaaaaaaa", "digits", "contrastive")
    assert (run["job_type"], run["display_name"]) == ("contrastive", "contrastive-3")
    assert run["tags"] == ["contrastive", "loss.weight"]
    assert config["loss"] == {"name": "contrastive", "weight": 15}
    assert (config["arm"], config["seed"], config["factor"], config["level"]) == ("contrastive", 3, "loss.weight", 15)
    assert config["provenance"]["packages"]["python"] == sys.version.split()[0]
    rows = [_values(each["history"]) for each in records if each["type"] == "history"]
    assert [row["epoch"] for row in rows] == [1, 2, 3, 4, 5]
    assert [row["train/loss"] for row in rows] == pytest.approx([1, 1 / 2, 1 / 3, 1 / 4, 1 / 5])
    assert [row["_timestamp"] for row in rows] == pytest.approx([row["time"] for row in folder.ledger.history()])
    assert rows[1]["sys/images_per_second"] == 1002
    axes = {each["metric"].get("step_metric") for each in records if each["type"] == "metric"} - {None}
    assert axes == {"epoch"}
    defined = {each["metric"]["name"]: each["metric"].get("summary") for each in records if each["type"] == "metric"}
    assert (defined["val/accuracy"], defined["train/loss"], defined["lr"]) == ({"max": True}, {"min": True}, None)
    assert run["notes"] == "Does a contrastive term help?"
    summary = _summary(segment)
    assert (summary["best/epoch"], summary["last/epoch"], summary["best/val/accuracy"]) == (3, 5, 0.9)
    assert summary["last/val/accuracy"] == pytest.approx(0.7)
    assert (summary["val/accuracy"], summary["test/accuracy"]) == ({"max": 0.9}, 0.85)


def test_a_resumed_offline_run_is_one_whole_segment(offline: Runtime, tmp_path: Path) -> None:
    """After three attempts, one of which trained an epoch again, one segment is left and has each epoch once."""
    folder = make_folder(tmp_path, "bbbbbbbbbbbb")
    other = make_folder(tmp_path, "cccccccccccc")
    train(other, offline, 1, 2)
    for first, last in ((1, 2), (2, 3), (4, 5)):
        train(folder, offline, first, last)
    segments = [each for each in _segments(tmp_path) if "bbbbbbbbbbbb" in each.name]
    assert len(segments) == 1
    assert [row["epoch"] for row in _history(segments[0])] == [1, 2, 3, 4, 5]
    assert len(_segments(tmp_path)) == 2, "the segment of another run was removed"


@pytest.mark.fault(
    "SIGKILL while W&B writes offline",
    injected="a kill after the rows are on disk",
    promised="the rows are kept, the run resumes",
)
@pytest.mark.slow
def test_a_run_that_is_killed_keeps_its_rows_and_resumes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SIGKILL in the fourth epoch leaves a readable segment; the next attempt's has each epoch once, in order."""
    _forget_wandb_variables(monkeypatch)
    killed = _process(tmp_path, "dddddddddddd", "1", "5", "offline", "4")
    assert killed.returncode == -9
    (segment,) = _segments(tmp_path)
    assert [row["epoch"] for row in _history(segment)] == [1, 2, 3, 4]
    assert _process(tmp_path, "dddddddddddd", "3", "5", "offline").returncode == 0
    (segment,) = _segments(tmp_path)
    assert [row["epoch"] for row in _history(segment)] == [1, 2, 3, 4, 5]


def test_the_variables_of_the_user_win(offline: Runtime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """WANDB_PROJECT, WANDB_RUN_GROUP, WANDB_TAGS and WANDB_DIR replace ours; the id stays the run id."""
    import wandb

    wandb.teardown()
    elsewhere = tmp_path / "elsewhere"
    variables = {"PROJECT": "mine", "RUN_GROUP": "team", "TAGS": "a,b", "DIR": str(elsewhere), "ENTITY": "lab"}
    for name, value in variables.items():
        monkeypatch.setenv(f"WANDB_{name}", value)
    train(make_folder(tmp_path, "eeeeeeeeeeee"), offline, 1, 1)
    wandb.teardown()
    assert not (tmp_path / "wandb").exists()
    (segment,) = _segments(elsewhere)
    run = next(each["run"] for each in _read(segment) if each["type"] == "run")
    assert (run["run_id"], run["project"], run["run_group"], run["tags"]) == (
        "eeeeeeeeeeee",
        "mine",
        "team",
        ["a", "b"],
    )
    assert run["entity"] == "lab"


def test_system_metrics_are_off_unless_the_user_turns_them_on(
    offline: Runtime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither statistics nor metadata of the machine by default; WANDB_X_DISABLE_STATS and _META of the user win."""
    import wandb

    for name, value in (("off", None), ("on", "false")):
        wandb.teardown()
        if value is not None:
            monkeypatch.setenv("WANDB_X_DISABLE_STATS", value)
            monkeypatch.setenv("WANDB_X_DISABLE_META", value)
            monkeypatch.setenv("WANDB_X_STATS_SAMPLING_INTERVAL", "0.1")
        results = tmp_path / name
        train(make_folder(results), offline.model_copy(update={"results": str(results)}), 1, 5, pause=0.1)
        (segment,) = _segments(results)
        kinds = {each["type"] for each in _read(segment)}
        assert ("stats" in kinds) == (name == "on"), kinds
        assert ("environment" in kinds) == (name == "on"), kinds
    wandb.teardown()


def test_nothing_is_written_beside_the_results_folder(
    offline: Runtime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The working directory stays empty, and of a run folder only tracker.json is new."""
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    folder = make_folder(tmp_path)
    train(folder, offline, 1, 1)
    assert list(work.iterdir()) == []
    assert {each.name for each in folder.path.iterdir()} == {"run.json", "ledger.jsonl", "tracker.json"}


def test_importing_the_tracking_imports_neither_torch_nor_wandb() -> None:
    """A fresh interpreter has neither in sys.modules after `import ablation_suite.core.tracking.wandb`."""
    code = "import sys, ablation_suite.core.tracking.wandb; print({'torch', 'wandb', 'mlflow'} & set(sys.modules))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "set()"


def test_publish_does_not_wait(offline: Runtime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each row takes the tracker a second; a call of publish takes the loop less than a tenth of that."""
    import time

    class SlowSink:
        held_epoch = -1
        where = "nowhere"

        def log(self, epoch: int, numbers: dict[str, float], seconds: float) -> None:
            time.sleep(1.0)

        def summarise(self, numbers: dict[str, float]) -> None:
            """Nothing."""

        def close(self, failed: bool) -> None:
            """Nothing."""

    monkeypatch.setattr(ablation_suite.core.tracking.wandb, "_open_sink", lambda *given: SlowSink())
    folder = make_folder(tmp_path)
    with ablation_suite.core.tracking.wandb.open_tracker(offline, folder) as tracker:
        for epoch in (1, 2):
            append_epoch(folder, epoch)
            begin = time.perf_counter()
            tracker.publish()
            assert time.perf_counter() - begin < 0.1


def _forget_wandb_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("WANDB_ERROR_REPORTING", "false")
    monkeypatch.setenv("NETRC", os.devnull)


def _process(results: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.core.tracked_run", str(results), *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def _segments(results: Path) -> list[Path]:
    return sorted((results / "wandb").glob("offline-run-*"))


def _inspect(segment: Path, *flags: str) -> str:
    # The reader of W&B itself; `leet` is its terminal viewer.
    command = [sys.executable, "-m", "wandb", "leet", "inspect", *flags, "--json", str(segment)]
    return subprocess.check_output(command, text=True, timeout=60)


def _read(segment: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in _inspect(segment).splitlines()]


def _summary(segment: Path) -> dict[str, Any]:
    return json.loads(_inspect(segment, "--summary"))["summary"]


def _history(segment: Path) -> list[dict[str, Any]]:
    return [_values(each["history"]) for each in _read(segment) if each["type"] == "history"]


def _values(history: dict[str, Any]) -> dict[str, Any]:
    return history["item"]
