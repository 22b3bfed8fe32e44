"""What does W&B show where two stores hold trainings of one config? Each whole, under a name of its own, and told."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from ablation_suite.commands.sync import sync_runs
from ablation_suite.core.config.runtime import Runtime
from ablation_suite.core.runs.run_folder import RunFolder
from ablation_suite.core.tracking.publisher import notes, shown_elsewhere
from ablation_suite.core.tracking.same_training import difference, mark
from ablation_suite.core.tracking.wandb_artifacts import log_report
from ablation_suite.core.tracking.wandb_report import Page
from tests.core.tracked_run import append_end, append_epoch, make_folder, train
from tests.core.wandb_server import WandbServer

RUN = "0123456789ab"


def finished(results: Path, **numbers: float) -> tuple[RunFolder, Runtime]:
    """A store with one run of five epochs; other arithmetic gives other `numbers`."""
    folder = make_folder(results)
    folder.ledger.append("start", attempt=1, host=str(results))
    for epoch in range(1, 6):
        append_epoch(folder, epoch, **numbers)
    append_end(folder)
    return folder, Runtime(results=str(results))


def config(server: WandbServer, name: str) -> dict:
    """The config of a run as the server holds it."""
    return {key: item["value"] for key, item in json.loads(server.runs[name]["config"]).items()}


def losses(server: WandbServer, name: str) -> list[float]:
    """The validation losses that the server holds of a run, by epoch."""
    return [row["val/loss"] for row in sorted(server.history[name], key=lambda row: row["epoch"])]


def test_two_stores_with_other_arithmetic_are_two_runs_each_whole(server: WandbServer, tmp_path: Path) -> None:
    """Each run holds five epochs and a summary of its own store, and both stores are told of the other."""
    (first, one), (second, two) = (
        finished(tmp_path / "laptop", **{"val/loss": 0.5}),
        finished(tmp_path / "cluster", **{"val/loss": 0.5000001}),
    )
    lines: list[str] = []
    assert sync_runs([first], one, lines.append) == 0
    assert sync_runs([second], two, lines.append) == 0
    beside = f"{RUN}-{mark(second.ledger.rows(), [])['origin']}"
    assert set(server.runs) == {RUN, beside}
    assert losses(server, RUN) == [0.5] * 5
    assert losses(server, beside) == [0.5000001] * 5
    assert [server.summary[name]["last/val/loss"] for name in (RUN, beside)] == [0.5, 0.5000001]
    assert {config(server, name)["run_id"] for name in (RUN, beside)} == {RUN}, "the hash of the config links them"
    assert f"/runs/{RUN} is another training of it (epoch 1 has val/loss 0.5 there and 0.5000001 here)" in lines[1]
    assert notes(second)["online"]["id"] == beside
    (first.path / "tracker.json").unlink()
    assert sync_runs([first], one, lines.append) == 0
    assert lines[2].endswith(f"another training of it is at {server.url}/me/digits/runs/{beside}")
    assert [len(server.history[name]) for name in (RUN, beside)] == [5, 5]


def test_a_run_that_begins_where_another_training_is_goes_beside_it(
    server: WandbServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Live, before its first epoch is known: the ledger is another one, and one warning says so."""
    finished(tmp_path / "laptop")
    runtime = Runtime(results=str(tmp_path / "laptop"))
    sync_runs([RunFolder(runtime.store / RUN)], runtime, print)
    folder = make_folder(tmp_path / "cluster")
    for first, last in ((1, 2), (3, 5)):
        assert train(folder, Runtime(results=str(tmp_path / "cluster")), first, last).error is None
    beside = notes(folder)["online"]["id"]
    assert beside.startswith(f"{RUN}-")
    assert [server.epochs(name) for name in (RUN, beside)] == [[1, 2, 3, 4, 5]] * 2
    told = [record.getMessage() for record in caplog.records if record.name == "ablate.tracking"]
    assert len(told) == 2
    assert all("is another training of it" in each for each in told)
    line = shown_elsewhere([folder])
    assert line is not None, "and the command line says so again, since nobody looks at the log of a worker"
    assert line.startswith(f"1 run is shown beside another of the same name: {server.url}/me/digits/runs/{RUN} is")


def test_a_run_whose_server_died_before_its_first_row_was_known_is_completed(
    server: WandbServer, tmp_path: Path
) -> None:
    """What was announced under an empty ledger is nobody else's training."""
    folder, runtime = finished(tmp_path)
    assert sync_runs([folder], runtime, print) == 0
    held = json.loads(server.runs[RUN]["config"])
    held["ledger"]["value"] = mark([], [])
    server.runs[RUN]["config"] = json.dumps(held)
    (folder.path / "tracker.json").unlink()
    assert sync_runs([folder], runtime, print) == 0
    assert list(server.runs) == [RUN]


def test_a_copied_store_goes_on_in_its_run_and_a_second_training_does_not(server: WandbServer, tmp_path: Path) -> None:
    """The copy of a ledger is the same training; one that came to the same numbers is another, and that is said."""
    folder, runtime = finished(tmp_path / "laptop")
    assert sync_runs([folder], runtime, print) == 0
    shutil.copytree(tmp_path / "laptop", tmp_path / "copy", ignore=shutil.ignore_patterns("tracker.json"))
    copy = Runtime(results=str(tmp_path / "copy"))
    assert sync_runs([RunFolder(copy.store / RUN)], copy, print) == 0
    assert list(server.runs) == [RUN]
    again, other = finished(tmp_path / "again")
    lines: list[str] = []
    assert sync_runs([again], other, lines.append) == 0
    assert "with the same numbers)" in lines[0]
    assert [server.epochs(name) for name in server.runs] == [[1, 2, 3, 4, 5]] * 2


def test_a_mixture_of_an_older_version_is_found_by_its_rows(server: WandbServer, tmp_path: Path) -> None:
    """History of one training, summary of the other, no ledger in the config: told, and published beside it."""
    folder, runtime = finished(tmp_path)
    assert sync_runs([folder], runtime, print) == 0
    server.history[RUN][4]["val/accuracy"] = 0.1
    held = json.loads(server.runs[RUN]["config"])
    server.runs[RUN]["config"] = json.dumps({key: value for key, value in held.items() if key != "ledger"})
    (folder.path / "tracker.json").unlink()
    lines: list[str] = []
    assert sync_runs([folder], runtime, lines.append) == 0
    assert "epoch 5 has val/accuracy 0.1 there" in lines[0]
    assert len(server.runs) == 2


def test_numbers_that_are_not_finite_and_times_make_no_difference(tmp_path: Path) -> None:
    """W&B gives NaN back as a text; seconds and memory differ between two trainings that are equal."""
    row = {"epoch": 1, "train/loss": float("nan"), "val/loss": 0.1 + 0.2, "seconds": 3.0, "sys/memory_bytes": 5}
    held = {"epoch": 1, "train/loss": "NaN", "val/loss": 0.30000000000000004, "seconds": 2.0, "sys/memory_bytes": 4}
    own = mark([{"kind": "start"}], [row])
    assert difference([row], own, [held], own) == ""
    assert difference([row], own, [held | {"val/loss": 0.3}], own) == ""
    assert "epoch 1 has val/loss 0.31" in difference([row], own, [held | {"val/loss": 0.31}], own)
    assert "epoch 1 has train/loss 1.0" in difference([row], own, [held | {"train/loss": 1.0}], own)


def test_reports_on_other_trainings_of_the_same_runs_stand_side_by_side(server: WandbServer, tmp_path: Path) -> None:
    """The second store's report has a run of its own and is told so; either is replaced by its own store alone."""
    urls: dict[str, list[str]] = {}
    for name in ("laptop", "cluster", "laptop", "cluster"):
        _, runtime = finished(tmp_path / name) if name not in urls else (None, Runtime(results=str(tmp_path / name)))
        (tmp_path / name / "report").mkdir(exist_ok=True)
        (tmp_path / name / "report" / "report.md").write_text(f"# {name}\n")
        page = Page(ablation="contrastive", title="?", above="", below="", arms={"none": [RUN]})
        found, told = log_report(runtime, "digits", "contrastive", tmp_path / name / "report", page)
        assert urls.setdefault(name, found) == found
        assert ("a report on other trainings of 1 of its 1 runs" in told) == (name == "cluster")
    assert len(server.runs) == 2
    for name in ("laptop", "cluster"):
        collection = urls[name][0].rpartition("/")[2]
        assert server.artifacts.files(collection) == {"report.md": f"# {name}\n".encode()}
