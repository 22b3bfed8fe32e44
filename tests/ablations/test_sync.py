"""Which runs does `ablate sync` publish, and does `ablate reproduce` tell equal runs from different ones?"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import click.testing
import pytest

from ablation_suite.ablations.plan import make_plans
from ablation_suite.commands.reproduce import compare, reproduce_run
from ablation_suite.commands.sync import SyncError, find_targets, sync_runs
from ablation_suite.core.config.errors import UserError
from ablation_suite.core.config.runtime import Runtime
from ablation_suite.core.config.schema import SchemaError
from ablation_suite.core.runs.run_folder import RunFolder
from ablation_suite.reading_verbs import sync
from tests.sweeps.fake import write_spec


def make(store: Path, run_id: str, losses: tuple[float, ...] = (1.0, 0.5)) -> RunFolder:
    """A finished run of two epochs."""
    folder = RunFolder(store / run_id)
    folder.create({"run_id": run_id, "recipe": 1, "config": {"epochs": len(losses)}, "labels": {}})
    finish(folder, losses)
    return folder


def finish(folder: RunFolder, losses: tuple[float, ...]) -> None:
    """Write ledger and record as a training would."""
    for epoch, loss in enumerate(losses, 1):
        numbers = {"train/loss": loss, "seconds": 1.0 + os.getpid(), "sys/memory_bytes": 1}
        folder.ledger.append("epoch", epoch=epoch, **numbers)
    record = {"run_id": folder.run_id, "metrics": {"val/loss": losses[-1]}, "history": folder.ledger.history()}
    folder.commit(record | {"config": {}, "cost": {}, "classes": [], "provenance": {"packages": {"torch": "2.14.1"}}})


def test_targets_are_runs_by_the_beginning_of_their_ids_or_everything(tmp_path: Path) -> None:
    """`ab1` is one run, no words are all runs, an ambiguous beginning is refused with the candidates."""
    runtime = Runtime(results=str(tmp_path))
    for run_id in ("ab1111", "ab2222", "cd3333"):
        make(runtime.store, run_id)
    assert [each.run_id for each in find_targets(("ab1", "cd"), runtime)[0]] == ["ab1111", "cd3333"]
    assert len(find_targets((), runtime)[0]) == 3
    with pytest.raises(SyncError, match="ab1111, ab2222"):
        find_targets(("ab",), runtime)


def test_a_spec_with_overrides_means_the_runs_that_run_would_train(tmp_path: Path) -> None:
    """Two seeds of four are here: both are found by the words of `ablate run`, and the rest is told with its cure."""
    spec = "quickstart/1-backbone"
    runtime = Runtime(results=str(tmp_path))
    [plan] = make_plans([spec], runtime, ("epochs=3", "seeds=4"))
    trained = [cell.run_id for cell in plan.cells][:2]
    for run_id in trained:
        make(runtime.store, run_id)
    folders, missing = find_targets((spec, "epochs=3", "seeds=4"), runtime)
    assert {folder.run_id for folder in folders} == set(trained)
    (line,) = missing
    num = len(plan.cells)
    assert f"{num - 2} of its {num} runs are not in {runtime.store}" in line
    assert line.endswith("train them with: ablate run quickstart/1-backbone epochs=3 seeds=4")
    assert find_targets((spec,), runtime)[0] == [], "without the overrides other runs are meant"
    with pytest.raises(SyncError, match="name it"):
        find_targets(("epochs=3",), runtime)
    with pytest.raises(SchemaError, match="epoch"):
        find_targets((spec, "epoch=3"), runtime)


def test_a_sweep_means_the_runs_of_its_trials(tmp_path: Path) -> None:
    """By the name of its study, which the runs say themselves."""
    runtime = Runtime(results=str(tmp_path))
    make(runtime.store, "ab1111")
    folder = make(runtime.store, "ab2222")
    folder.create({**folder.job(), "labels": {"studies": {"lr": {"trial": 3}}}})
    assert find_targets(("lr",), runtime) == ([folder], [])
    with pytest.raises(
        SyncError, match="trials=3: overrides say which runs of a SPEC or SWEEP are meant, and lr is none"
    ):
        find_targets(("lr", "trials=3"), runtime)


def test_a_sweep_is_meant_by_its_file_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file's study, under the name that an override gives it; a search that is not here is told with its command.

    `quickstart` is the shipped specs, as it has always been, and `lr_dropout` the shipped sweep.
    """
    runtime = Runtime(results=str(tmp_path / "results"))
    folder = make(runtime.store, "ab2222")
    folder.create({**folder.job(), "labels": {"studies": {"fake": {"trial": 3}}}})
    spec = str(write_spec(tmp_path))
    assert find_targets((spec,), runtime) == ([folder], [])
    assert find_targets((spec, "trials=3"), runtime) == ([folder], [])
    folders, (line,) = find_targets((spec, "sweep=other"), runtime)
    assert folders == []
    assert line == f"other: no trial of it is in {runtime.store}; search with: ablate sweep {spec} sweep=other"
    assert "ablate sweep lr_dropout" in find_targets(("lr_dropout",), runtime)[1][0]
    assert len(find_targets(("quickstart",), runtime)[1]) == 4
    with pytest.raises(SchemaError, match="trails: unknown key"):
        find_targets((spec, "trails=3"), runtime)
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    words = [spec, "sweep=other", "--results", str(tmp_path / "results")]
    assert click.testing.CliRunner().invoke(sync, words, standalone_mode=False).return_value == 1


def test_running_and_empty_runs_are_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that trains now belongs to its own tracker, one without epochs has nothing to show: no server is asked."""
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    runtime = Runtime(results=str(tmp_path))
    empty = RunFolder(runtime.store / "empty")
    empty.create({"run_id": "empty", "config": {}})
    training = RunFolder(runtime.store / "training")
    training.create({"run_id": "training", "config": {}})
    code = "import sys; from pathlib import Path; from ablation_suite.core.runs.run_folder import RunFolder\n"
    code += "with RunFolder(Path(sys.argv[1])).claim(): print(flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", code, str(training.path)]
    lines: list[str] = []
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as trainer:
        assert trainer.stdout is not None
        trainer.stdout.readline()
        training.ledger.append("epoch", epoch=1)
        assert sync_runs([empty, training], runtime, lines.append) == 0
        trainer.kill()
    assert lines == ["empty  has no epochs yet", "training  is training now, sync it later"]


def test_equal_records_have_no_differences_and_timings_do_not_count() -> None:
    """Seconds and memory differ, one loss is NaN in both: still equal; a metric and an epoch that differ are named."""
    first = {"metrics": {"val/loss": 0.5}, "history": [{"epoch": 1, "train/loss": float("nan"), "seconds": 1.0}]}
    second = {"metrics": {"val/loss": 0.5}, "history": [{"epoch": 1, "train/loss": float("nan"), "seconds": 2.0}]}
    assert compare(first, second) == []
    other = {
        "metrics": {"val/loss": 0.25},
        "history": [{"epoch": 1, "train/loss": 3.0}, {"epoch": 2, "train/loss": 1.0}],
    }
    assert compare(first, other) == [
        "val/loss: 0.5 -> 0.25",
        "epoch 1: train/loss: nan -> 3.0",
        "epoch 2: epoch: None -> 2",
        "epoch 2: train/loss: None -> 1.0",
    ]


def test_a_run_is_made_again_in_a_place_of_its_own(tmp_path: Path) -> None:
    """The same numbers are a success; the first run's folder stays as it was, and nothing of the second remains."""
    folder = make(tmp_path / "runs", "ab1111")
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    places: list[Path] = []

    def train_folder(again: RunFolder, runtime: Runtime) -> int:
        places.append(again.path)
        assert again.job() == folder.job()
        assert (runtime.tracker, again.path.parent) == ("off", runtime.store)
        finish(again, (1.0, 0.5))
        return 0

    good, lines = reproduce_run(folder, Runtime(results=str(tmp_path)), train_folder)
    assert good
    assert "came out the same" in lines[0]
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before
    assert not places[0].exists()


def test_different_numbers_are_named_with_what_else_changed(tmp_path: Path) -> None:
    """Another loss in the second epoch fails and is named; a training that leaves no record is an error."""
    folder = make(tmp_path / "runs", "ab1111")

    def train_folder(again: RunFolder, runtime: Runtime) -> int:
        finish(again, (1.0, 0.75))
        return 0

    good, lines = reproduce_run(folder, Runtime(results=str(tmp_path)), train_folder)
    assert not good
    assert lines == ["val/loss: 0.5 -> 0.75", "epoch 2: train/loss: 0.5 -> 0.75"]
    with pytest.raises(UserError, match=r"run ab1111 could not be trained again \(exit status 65\): no message"):
        reproduce_run(folder, Runtime(results=str(tmp_path)), lambda again, runtime: 65)
