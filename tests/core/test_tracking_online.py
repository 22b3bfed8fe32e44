"""Does the W&B server hold each epoch once, in order, whatever happened? Asked of a stand-in for real clients."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ablation_suite.commands.sync import sync_runs
from ablation_suite.core.config.runtime import Runtime
from ablation_suite.core.runs.run_folder import RunFolder
from ablation_suite.core.runs.store import run_folders
from ablation_suite.core.tracking.choice import TrackerError
from ablation_suite.core.tracking.publisher import relabelled, unpublished
from ablation_suite.core.tracking.same_training import mark
from tests.core.tracked_run import append_end, append_epoch, make_folder, train
from tests.core.wandb_server import WandbServer

ALL = [1, 2, 3, 4, 5]


@pytest.fixture
def runtime(tmp_path: Path) -> Runtime:
    """A runtime of the default tracker."""
    return Runtime(results=str(tmp_path))


def test_a_live_run_is_one_line_with_each_epoch_once(server: WandbServer, runtime: Runtime, tmp_path: Path) -> None:
    """With a key `auto` is online: the server holds names, config, a row per epoch, summary and exit code."""
    assert train(make_folder(tmp_path, "aaaaaaaaaaaa"), runtime, 1, 5).error is None
    (run,) = server.runs.values()
    assert (run["name"], run["project"], run["groupName"]) == ("aaaaaaaaaaaa", "digits", "contrastive")
    assert (run["jobType"], run["displayName"]) == ("contrastive", "contrastive-3")
    assert run["tags"] == ["contrastive", "loss.weight"]
    config = {key: item["value"] for key, item in json.loads(run["config"]).items()}
    assert (config["loss"]["weight"], config["arm"], config["seed"]) == (15.0, "contrastive", 3)
    assert server.epochs("aaaaaaaaaaaa") == ALL
    assert [row["_step"] for row in server.history["aaaaaaaaaaaa"]] == [0, 1, 2, 3, 4]
    assert server.summary["aaaaaaaaaaaa"]["best/val/accuracy"] == 0.9
    assert server.summary["aaaaaaaaaaaa"]["test/accuracy"] == 0.85
    assert server.exit_codes == {"aaaaaaaaaaaa": 0}


def test_a_resumed_run_continues_its_line(server: WandbServer, runtime: Runtime, tmp_path: Path) -> None:
    """Three attempts, one of which trains an epoch again: one run at the server, with each epoch once, in order."""
    folder = make_folder(tmp_path)
    for first, last in ((1, 2), (2, 3), (4, 5)):
        train(folder, runtime, first, last)
    assert list(server.runs) == [folder.run_id]
    assert server.epochs(folder.run_id) == ALL


def test_a_failed_run_is_marked_as_failed(server: WandbServer, runtime: Runtime, tmp_path: Path) -> None:
    """An exception goes through the tracker unchanged, and the server is told an exit code other than 0."""
    from ablation_suite.core.tracking.wandb import open_tracker

    folder = make_folder(tmp_path)
    append_epoch(folder, 1)
    with pytest.raises(ZeroDivisionError), open_tracker(runtime, folder):
        raise ZeroDivisionError
    assert server.exit_codes == {folder.run_id: 1}


def test_begun_anew_a_run_would_hold_each_epoch_twice(server: WandbServer, tmp_path: Path) -> None:
    """The danger is real: without `resume` the client appends the same five rows behind the five that are there."""
    import wandb

    for _ in range(2):
        with wandb.init(id="naive", project="p", dir=tmp_path, settings=wandb.Settings(silent=True)) as run:
            for epoch in ALL:
                run.log({"epoch": epoch}, step=epoch)
    assert server.epochs("naive") == ALL + ALL


def test_sync_publishes_offline_runs_once(server: WandbServer, runtime: Runtime, tmp_path: Path) -> None:
    """An offline day, a sync, a second, one without its notes, and `wandb sync` on top: each epoch once, in order."""
    offline = runtime.model_copy(update={"tracker": "offline"})
    folders = [make_folder(tmp_path, name) for name in ("aaaaaaaaaaaa", "bbbbbbbbbbbb")]
    train(folders[0], offline, 1, 5)
    for first, last in ((1, 2), (2, 5)):
        train(folders[1], offline, first, last)
    assert server.runs == {}
    lines: list[str] = []
    assert sync_runs(run_folders(runtime.store), runtime, lines.append) == 0
    assert [line.split(" at ")[0] for line in lines] == [f"{each.run_id}  5 epochs" for each in folders]
    operations = len(server.operations)
    assert sync_runs(folders, runtime, lines.append) == 0
    assert "UpsertBucket" not in server.operations[operations:], "a second sync sends nothing"
    asked = [each for each in server.operations[operations:] if each in ("Runs", "GetRuns", "Run", "GetRun")]
    assert len(asked) == 1, "and asks once for all whether they are still there"
    (folders[0].path / "tracker.json").unlink()
    assert sync_runs(folders, runtime, lines.append) == 0
    # Marks of W&B's own tell `wandb sync` that the segments are there already.
    by_hand = [sys.executable, "-m", "wandb", "sync", "--yes"]
    subprocess.run(by_hand, cwd=tmp_path, check=True, capture_output=True, timeout=60)
    for folder in folders:
        assert server.epochs(folder.run_id) == ALL
        assert server.summary[folder.run_id]["test/accuracy"] == 0.85


def test_sync_completes_what_a_live_run_left(server: WandbServer, runtime: Runtime, tmp_path: Path) -> None:
    """Two epochs live, three more without a tracker: sync adds the three; later rows are added by the next sync."""
    folder = make_folder(tmp_path)
    train(folder, runtime, 1, 2)
    append_epoch(folder, 3)
    assert sync_runs([folder], runtime, print) == 0
    assert server.epochs(folder.run_id) == [1, 2, 3]
    for epoch in (3, 4, 5):
        append_epoch(folder, epoch)
    append_end(folder)
    assert sync_runs([folder], runtime, print) == 0
    assert server.epochs(folder.run_id) == ALL


def test_sync_says_when_the_server_holds_something_else(
    server: WandbServer, runtime: Runtime, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Rows that somebody else wrote under the run id are counted and reported, with exit status 1."""
    folder = make_folder(tmp_path)
    train(folder, runtime, 1, 5)
    server.history[folder.run_id] += [{"_step": 6, "epoch": 6}, {"_step": 7, "epoch": 7}]
    assert sync_runs([folder], runtime, print) == 1
    assert "holds 7 epochs of 5" in capsys.readouterr().out


def test_a_run_that_was_deleted_there_is_published_again(
    server: WandbServer, runtime: Runtime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """W&B gives the id of a deleted run to nobody: it is shown under the name beside, where it is found again."""
    monkeypatch.setenv("WANDB_INIT_TIMEOUT", "2")
    kept, deleted = (make_folder(tmp_path, name) for name in ("aaaaaaaaaaaa", "bbbbbbbbbbbb"))
    for folder in (kept, deleted):
        train(folder, runtime, 1, 4)
    assert sync_runs([kept, deleted], runtime, print) == 0
    server.delete(deleted.run_id)
    lines: list[str] = []
    assert sync_runs([kept, deleted], runtime, lines.append) == 0
    (beside,) = server.runs.keys() - {kept.run_id}
    assert beside.startswith(f"{deleted.run_id}-")
    assert "4 epochs are already at" in lines[0]
    assert f"4 epochs at {server.url}/me/digits/runs/{beside}; {deleted.run_id} was deleted there" in lines[1]
    train(deleted, runtime, 5, 5)
    assert sync_runs([kept, deleted], runtime, lines.append) == 0
    assert [server.epochs(name) for name in (kept.run_id, beside)] == [ALL[:-1], ALL]
    assert server.runs.keys() == {kept.run_id, beside}


def test_a_run_that_was_deleted_twice_says_what_to_do(
    server: WandbServer, runtime: Runtime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither of its names can be used again, and one line says so."""
    monkeypatch.setenv("WANDB_INIT_TIMEOUT", "2")
    folder = make_folder(tmp_path, "cccccccccccc")
    append_epoch(folder, 1)
    beside = f"{folder.run_id}-{mark(folder.ledger.rows(), [])['origin']}"
    server.deleted |= {folder.run_id, beside}
    lines: list[str] = []
    assert sync_runs([folder], runtime, lines.append) == 1
    assert lines == [f"{folder.run_id}  {folder.run_id} and {beside} were deleted at W&B; restore one there"]


def test_a_run_that_is_used_again_is_found_by_its_second_ablation(
    server: WandbServer, runtime: Runtime, tmp_path: Path
) -> None:
    """Labels that came after the training reach the server at the next sync, and the epochs stay as they are."""
    folder = make_folder(tmp_path)
    train(folder, runtime, 1, 5)
    use = {"arm": "plain", "role": "baseline", "question": "Does depth help?", "tags": ["depth", "baseline"]}
    labels = {"group": "depth", "name": "plain-3", "ablations": {"depth": use}}
    assert relabelled([folder]) is None
    folder.create({**folder.job(), "labels": labels})
    told = f"1 run says more by now than its tracker shows; send it with: ablate sync {folder.run_id}"
    assert relabelled([folder]) == told
    assert sync_runs([folder], runtime, print) == 0
    assert relabelled([folder]) is None
    run = server.runs[folder.run_id]
    config = {key: item["value"] for key, item in json.loads(run["config"]).items()}
    assert {name: use["arm"] for name, use in config["ablations"].items()} == {
        "contrastive": "contrastive",
        "depth": "plain",
    }
    assert run["tags"] == ["contrastive", "loss.weight", "depth", "baseline"]
    assert run["notes"] == "contrastive: Does a contrastive term help?\ndepth: Does depth help?"
    assert (run["groupName"], run["displayName"]) == ("contrastive", "contrastive-3")
    assert server.epochs(folder.run_id) == ALL


@pytest.mark.fault(
    "a W&B server that fails or hangs",
    injected="a stand-in that answers 500 or nothing",
    promised="one warning, training goes on, `sync` publishes later",
)
@pytest.mark.parametrize("health", ["error", "hang"])
def test_a_sick_server_costs_one_warning(
    health: str, server: WandbServer, runtime: Runtime, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """500 or silence: one warning names the run and `ablate sync`, the next run waits no more, both are told of."""
    import wandb

    server.health = health
    folder = make_folder(tmp_path)
    with caplog.at_level(logging.WARNING, "ablate.tracking"):
        begin = time.monotonic()
        train(folder, runtime, 1, 5)
        assert time.monotonic() - begin < 6.0
        begin = time.monotonic()
        train(make_folder(tmp_path, "bbbbbbbbbbbb"), runtime, 1, 5)
        assert time.monotonic() - begin < 0.5
    assert [f"ablate sync {folder.run_id}" in message for message in _warnings(caplog)] == [True]
    told = unpublished(run_folders(runtime.store))
    assert told is not None
    assert told.startswith("2 runs did not reach their tracker (")
    assert told.endswith(f"ablate sync {folder.run_id} bbbbbbbbbbbb")
    server.health = "ok"
    wandb.teardown()  # as in another process
    assert sync_runs(run_folders(runtime.store), runtime, print) == 0
    assert [server.epochs(each.run_id) for each in run_folders(runtime.store)] == [ALL, ALL]
    assert unpublished(run_folders(runtime.store)) is None


@pytest.mark.fault(
    "a W&B server that dies in mid-run", injected="the stand-in stops", promised="the rest is published by `sync`"
)
@pytest.mark.slow
def test_a_server_that_dies_in_the_middle_loses_nothing(
    server: WandbServer, runtime: Runtime, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Two rows arrive while the run trains, then the server is dead: one warning, and sync completes the run."""
    from ablation_suite.core.tracking.wandb import open_tracker

    folder = make_folder(tmp_path)
    with open_tracker(runtime, folder) as tracker:
        for epoch in (1, 2):
            append_epoch(folder, epoch)
            tracker.publish()
        # W&B sends what has gathered every 15 seconds.
        deadline = time.monotonic() + 30.0
        while server.epochs(folder.run_id) != [1, 2] and time.monotonic() < deadline:
            time.sleep(0.05)
        server.health = "error"
        for epoch in (3, 4, 5):
            append_epoch(folder, epoch)
            tracker.publish()
    assert len(_warnings(caplog)) == 1
    assert server.epochs(folder.run_id) == [1, 2]
    server.health = "ok"
    assert sync_runs([folder], runtime, print) == 0
    assert server.epochs(folder.run_id) == ALL


@pytest.mark.fault(
    "kills during `sync`",
    injected="SIGKILL when the server has heard of the first run, holds rows of it, and hears of the second",
    promised="the next `sync` completes what is there: each run once, each epoch once",
)
@pytest.mark.slow
def test_a_sync_that_is_killed_is_completed_by_the_next(server: WandbServer, runtime: Runtime, tmp_path: Path) -> None:
    """Three kills at growing distances, then a sync that is left alone."""
    folders = [make_folder(tmp_path, f"{number:012d}") for number in range(3)]
    for folder in folders:
        for epoch in ALL:
            append_epoch(folder, epoch)
        append_end(folder)
    command = [sys.executable, "-m", "ablation_suite.cli", "sync", "--results", str(tmp_path)]
    env = {**os.environ, **server.environment(), "PYTHONPATH": str(Path(__file__).parents[2])}
    num_killed = 0
    for is_there in (lambda: server.runs, lambda: server.history, lambda: len(server.runs) > 1):
        with subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            while not is_there() and process.poll() is None:
                time.sleep(0.001)
            process.kill()
        num_killed += process.returncode == -9
    assert num_killed == 3
    assert subprocess.run(command, env=env, stdout=subprocess.DEVNULL, timeout=120).returncode == 0
    assert set(server.runs) == {folder.run_id for folder in folders}
    for folder in folders:
        assert server.epochs(folder.run_id) == ALL
        assert server.summary[folder.run_id]["test/accuracy"] == 0.85


@pytest.mark.fault(
    "a W&B server that fails during `sync`",
    injected="500 for each request",
    promised="after two failures in a row the rest is left for later, exit status 1",
)
def test_sync_leaves_a_dead_server_alone(
    server: WandbServer, runtime: Runtime, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """After two failures in a row the rest is left for later; exit status 1."""
    folders = [make_folder(tmp_path, f"{number:012d}") for number in range(4)]
    for folder in folders:
        append_epoch(folder, 1)
    server.health = "error"
    assert sync_runs(folders, runtime, print) == 1
    assert len(capsys.readouterr().out.splitlines()) == 3


@pytest.mark.fault("a wrong W&B key", injected="the server refuses it", promised="never shown or stored")
@pytest.mark.slow
def test_a_wrong_key_is_never_shown_or_stored(server: WandbServer, runtime: Runtime, tmp_path: Path) -> None:
    """A wrong key: exit status 0, one warning; neither it nor a secret on the command line is printed or written."""
    planted, typed = "f00dbabe" * 5, "hunter2hunter2"
    folder = make_folder(tmp_path)
    environment = os.environ | {"WANDB_API_KEY": planted}
    for tracker in ("online", "offline"):
        code = f"import sys; from tests.core.tracked_run import *; train(make_folder(Path({str(tmp_path)!r})), Runtime("
        code += f"tracker={tracker!r}, results={str(tmp_path)!r}), 1, 5, 0.1)"
        command = [sys.executable, "-c", code, f"wandb.api_key={typed}"]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60, check=True)
        assert len(done.stderr.splitlines()) == (1 if tracker == "online" else 0), done.stderr
        assert planted not in done.stdout + done.stderr
        folder.ledger.path.unlink()
    for path in [path for path in tmp_path.rglob("*") if path.is_file()]:
        content = path.read_bytes()
        assert planted.encode() not in content, path
        assert typed.encode() not in content, path


@pytest.mark.slow
def test_a_run_killed_while_online_resumes_into_the_same_line(
    server: WandbServer, runtime: Runtime, tmp_path: Path
) -> None:
    """SIGKILL in the fourth epoch, a resume in another process, then sync: one run, each epoch once, in order."""
    command = [sys.executable, "-m", "tests.core.tracked_run", str(tmp_path), "abcdefabcdef"]
    killed = subprocess.run([*command, "1", "5", "online", "4"], capture_output=True, timeout=60)
    assert killed.returncode == -9
    subprocess.run([*command, "3", "5", "online"], capture_output=True, timeout=60, check=True)
    assert sync_runs([RunFolder(tmp_path / "runs" / "abcdefabcdef")], runtime, print) == 0
    assert list(server.runs) == ["abcdefabcdef"]
    assert server.epochs("abcdefabcdef") == ALL
    _assert_times_are_the_ledgers(server, RunFolder(tmp_path / "runs" / "abcdefabcdef"))


def test_a_refused_key_is_one_line(
    server: WandbServer, runtime: Runtime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many runs there are, sync says once what to do, with exit status 1 and without the key."""
    for number in range(3):
        append_epoch(make_folder(tmp_path, f"{number:012d}"), 1)
    monkeypatch.setenv("WANDB_API_KEY", "f00dbabe" * 5)
    lines: list[str] = []
    assert sync_runs(run_folders(runtime.store), runtime, lines.append) == 1
    assert lines == ["W&B: key refused; run `wandb login`"]


def test_sync_without_credentials_says_how_to_log_in(
    server: WandbServer, runtime: Runtime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a key sync raises one clear error and asks no server."""
    monkeypatch.delenv("WANDB_API_KEY")
    monkeypatch.setenv("NETRC", os.devnull)
    with pytest.raises(TrackerError, match="wandb login"):
        sync_runs([make_folder(tmp_path)], runtime, print)
    assert server.operations == []


def test_a_synced_run_lasted_as_long_as_its_training(server: WandbServer, runtime: Runtime, tmp_path: Path) -> None:
    """Sent in a moment, an hour later: what people see as its runtime is the ledger's, in all rows and in whole."""
    folder = make_folder(tmp_path)
    for epoch in ALL:
        append_epoch(folder, epoch, seconds=700.0)
    assert sync_runs([folder], runtime, print) == 0
    assert server.summary[folder.run_id]["_wandb"]["runtime"] == pytest.approx(3500.0, rel=0.05)
    _assert_times_are_the_ledgers(server, folder)
    append_end(folder)
    assert sync_runs([folder], runtime, print) == 0
    _assert_times_are_the_ledgers(server, folder)


def _assert_times_are_the_ledgers(server: WandbServer, folder: RunFolder) -> None:
    """The rows' clock, the axis of seconds and the Runtime column within 5 % of the ledger's, the dates exactly."""
    history = folder.ledger.history()
    totals = [sum(row["seconds"] for row in history[: k + 1]) for k in range(len(history))]
    rows, summary = server.history[folder.run_id], server.summary[folder.run_id]
    assert [row["_runtime"] for row in rows] == pytest.approx(totals, rel=0.05)
    assert [row["total_seconds"] for row in rows] == pytest.approx(totals)
    assert [row["_timestamp"] for row in rows] == pytest.approx([row["time"] for row in history])
    assert summary["_wandb"]["runtime"] == pytest.approx(totals[-1], rel=0.05)
    assert summary["_runtime"] == pytest.approx(totals[-1], rel=0.05)
    assert summary["total_seconds"] == pytest.approx(totals[-1])


def _warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "ablate.tracking"]
