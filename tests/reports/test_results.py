"""Are all planned runs accounted for, whatever became of them?"""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from ablation_suite.core.runs.files import write_json
from ablation_suite.core.runs.run_folder import RunFolder
from ablation_suite.reports.design import Design, design_of
from ablation_suite.reports.outputs import read_outputs
from ablation_suite.reports.reader import Reader
from tests.reports.make_runs import TRUTHS, Truth, make_store

TWO_ARMS = {name: TRUTHS[name] for name in ("baseline", "wide")}


@pytest.fixture
def plan(tmp_path):
    return make_store(tmp_path / "runs", TWO_ARMS, seeds=3, epochs=3, num_images=60)


def results_of(plan, store):
    return Reader(store).results(design_of(plan))


def change_record(folder, change):
    record = json.loads((folder / "record.json").read_text())
    change(record)
    (folder / "record.json").write_text(json.dumps(record))


def test_every_finished_run_is_read_with_its_outputs(plan, tmp_path):
    """What a run got right is what its stored probabilities say, image by image."""
    results = results_of(plan, tmp_path / "runs")
    assert [run.status for run in results.runs] == ["finished"] * 6
    first = results.of_arm("wide")[0]
    with np.load(tmp_path / "runs" / first.run_id / "outputs.npz") as arrays:
        expected = arrays["test_probabilities"].argmax(1) == arrays["test_labels"]
    assert np.array_equal(first.outputs.correct, expected)
    assert first.outputs.correct.mean() == pytest.approx(first.record["metrics"]["test/accuracy"])


def test_runs_that_do_not_count_are_named_with_their_reason(plan, tmp_path):
    """Missing, failed, interrupted, torn and outputless runs stay in the results, each with why."""
    store = tmp_path / "runs"
    folders = [store / cell.run_id for cell in plan.cells]
    shutil.rmtree(folders[0])
    for folder in folders[1:3]:
        (folder / "record.json").unlink()
        (folder / "attempts" / "1").mkdir(parents=True)
    write_json(folders[1] / "attempts/1/failure.json", {"kind": "out of memory", "message": "out of memory at 64"})
    (folders[3] / "record.json").write_text('{"torn')
    (folders[4] / "outputs.npz").write_bytes(b"PK\x03\x04 torn")
    results = results_of(plan, store)
    assert [run.status for run in results.runs] == [
        "missing", "failed", "interrupted", "damaged", "damaged", "finished",
    ]  # fmt: skip
    reasons = [run.problem for run in results.problems()]
    assert reasons[:3] == ["never begun", "out of memory at 64", "interrupted before its end"]
    assert reasons[3].startswith("record.json:")
    assert reasons[4].startswith("outputs.npz:")
    assert len(results.of_arm("wide")) == 1


def test_a_run_in_training_is_called_running(plan, tmp_path):
    """A held lock without a record is a run that is being trained."""
    folder = RunFolder(tmp_path / "runs" / plan.cells[0].run_id)
    folder.record_path.unlink()
    with folder.claim():
        run = results_of(plan, tmp_path / "runs").runs[0]
    assert (run.status, run.problem) == ("running", "being trained now")


def test_test_answers_where_all_runs_have_it(plan, tmp_path):
    """The labelled test split is the answer, unless one finished run lacks it."""
    store = tmp_path / "runs"
    assert results_of(plan, store).split == "test"
    change_record(store / plan.cells[0].run_id, lambda record: record["metrics"].pop("test/accuracy"))
    assert results_of(plan, store).split == "val"


def test_runs_on_other_images_are_not_comparable(plan, tmp_path):
    """One run whose images have other names keeps its arm from being paired."""
    store = tmp_path / "runs"
    path = store / plan.cells[-1].run_id / "outputs.npz"
    with np.load(path) as arrays:
        changed = {name: arrays[name] for name in arrays}
    changed["test_names"] = np.array([f"other/{name}" for name in changed["test_names"]])
    np.savez(path, **changed)
    results = results_of(plan, store)
    assert results.comparable("baseline")
    assert not results.comparable("wide")


def test_a_record_of_last_year_is_still_readable(plan, tmp_path):
    """Settings that today's schema has never heard of do not matter: records are read as plain data."""
    store = tmp_path / "runs"
    change_record(store / plan.cells[0].run_id, lambda record: record["config"].update(flux={"jigowatts": 1.21}))
    assert results_of(plan, store).runs[0].usable


def test_names_and_labels_of_different_lengths_are_damage(plan, tmp_path):
    """Outputs that contradict themselves raise, and the reader turns that into a named problem."""
    path = tmp_path / "runs" / plan.cells[0].run_id / "outputs.npz"
    with np.load(path) as arrays:
        changed = {name: arrays[name] for name in arrays}
    changed["test_names"] = changed["test_names"][:-1]
    np.savez(path, **changed)
    record = RunFolder(path.parent).record()
    with pytest.raises(ValueError, match="59 names for 60 labels"):
        read_outputs(path, record, "test")
    assert results_of(plan, tmp_path / "runs").runs[0].status == "damaged"


def test_a_design_survives_its_journey_through_json(tmp_path):
    """What a report stores of its plan is enough to make the same design again."""
    small = {"seeds": 1, "epochs": 1, "num_images": 10}
    plan = make_store(tmp_path / "runs", TWO_ARMS, margin=0.5, overrides=("epochs=1",), **small)
    design = design_of(plan)
    assert Design.from_json(json.loads(json.dumps(design.to_json()))) == design


def test_the_command_of_a_run_is_quoted_for_the_shell(tmp_path):
    """Pasted into a shell, the command names the arm whatever its name contains."""
    import shlex

    truths = {"baseline": TRUTHS["baseline"], "it's; $(rm) `x`": TRUTHS["wide"]}
    small = {"seeds": 1, "epochs": 1, "num_images": 10}
    plan = make_store(tmp_path / "runs", truths, overrides=("data.size=8",), **small)
    words = shlex.split(design_of(plan).command("it's; $(rm) `x`", 2))
    assert words[:4] == ["ablate", "run", "specs/contrastive.yaml", "data.size=8"]
    assert words[4:] == ["--arm", "it's; $(rm) `x`", "--seed", "2"]


def test_a_run_with_other_levels_than_its_cell_of_a_grid_counts_for_nothing(tmp_path):
    """An effect "2 -> 3" is computed from runs that were trained with 2 and with 3, says each record."""
    truths = {"baseline": Truth(delta={"epochs": 2}), "epochs=3": Truth(delta={"epochs": 3})}
    plan = make_store(tmp_path, truths, seeds=2, epochs=3, num_images=60, grid={"epochs": (2, 3)})
    assert results_of(plan, tmp_path).problems() == []
    change_record(tmp_path / plan.cells[0].run_id, lambda record: record["config"].update(epochs=3))
    [run] = results_of(plan, tmp_path).problems()
    assert (run.arm, run.seed, run.status) == ("baseline", 0, "damaged")
    assert "other levels" in run.problem


@pytest.mark.parametrize(("metric", "split"), [("test/accuracy", "test"), ("val/accuracy", "val"), (None, "test")])
def test_the_metric_that_was_asked_for_is_the_one_that_answers(tmp_path, metric, split):
    """Validation where it was asked for, although there are labelled test images."""
    plan = make_store(tmp_path, TWO_ARMS, seeds=2, epochs=3, num_images=60, metric=metric)
    assert results_of(plan, tmp_path).split == split


def test_a_metric_that_runs_do_not_have_is_told_and_not_replaced(tmp_path):
    """Runs without labelled test images count for nothing where test accuracy was asked for."""
    plan = make_store(tmp_path, TWO_ARMS, seeds=2, epochs=3, num_images=60, with_test=False, metric="test/accuracy")
    results = results_of(plan, tmp_path)
    assert results.split == "test"
    assert [run.problem for run in results.problems()] == [
        "it has no labelled test images, and test/accuracy was asked for"
    ] * 4
