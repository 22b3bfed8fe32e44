"""Does a larger arm win by its budget unsaid? Accuracies where both arms have spent as much, read off their curves."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy import stats

from ablation_suite.reports.analysis import analyse
from ablation_suite.reports.design import design_of
from ablation_suite.reports.reader import Reader
from tests.reports.make_runs import TRUTHS, Truth, make_store

TRUTH = {"baseline": TRUTHS["baseline"], "wide": Truth(delta={"model.backbone": "wide"}, effect=0.03, size=1.0)}
CURVES = {
    "baseline": ([0.5, 0.6, 0.7, 0.8], [0.5, 0.7, 0.8, 0.9]),
    "wide": ([0.7, 0.9, 0.9, 0.9], [0.6, 0.8, 1.0, 1.0]),
}
"""Arm -> of each of two seeds the validation accuracy by epoch."""


def results_of(store, change=lambda record: None, **settings):
    """Two arms of two seeds and four epochs with the curves above; the wide one takes twice the FLOPs of an image."""
    plan = make_store(store, TRUTH, **{"seeds": 2, "epochs": 4, "num_images": 60, **settings})
    for cell in plan.cells:
        path = store / cell.run_id / "record.json"
        record = json.loads(path.read_text())
        for row, accuracy in zip(record["history"], CURVES[cell.arm][cell.seed % 2], strict=True):
            row |= {"val/accuracy": accuracy, "images_seen": 100, "seconds_train": 10.0}
        record["cost"]["flops_per_image"] = 2000 if cell.arm == "wide" else 1000
        change(record)
        path.write_text(json.dumps(record))
    return Reader(store).results(design_of(plan))


def rows_of(results):
    table = analyse(results).tables.get("budgets")
    return {row.values["equal"]: row for row in table.rows} if table else {}


def test_a_dearer_arm_is_read_where_it_has_spent_what_the_baseline_spent(tmp_path):
    """By hand: at half of its epochs it has 0.9 and 0.8, the baseline 0.8 and 0.9 at its end; no seconds, as alike."""
    rows = rows_of(results_of(tmp_path))
    assert set(rows) == {"epochs", "flops"}
    equal, paid = rows["epochs"].values, rows["flops"].values
    assert (equal["epochs"], equal["baseline_epochs"], equal["difference_pp"]) == (4, 4, pytest.approx(10))
    assert (paid["epochs"], paid["baseline_epochs"], paid["difference_pp"]) == (2, 4, pytest.approx(0, abs=1e-9))
    assert (paid["accuracy_percent"], paid["baseline_percent"]) == (pytest.approx(85), pytest.approx(85))
    wanted = stats.ttest_1samp([0.1, -0.1], 0).confidence_interval(0.95)
    assert (paid["low_pp"], paid["high_pp"]) == pytest.approx(
        (max(100 * wanted.low, -100), min(100 * wanted.high, 100))
    )


def test_an_arm_that_other_images_validate_has_no_table(tmp_path):
    """Its accuracies are of another set, and their differences would be so much of the two sets."""

    def change(record):
        record["config"]["data"] = {"name": "digits", "split_seed": record["cost"]["flops_per_image"]}

    assert rows_of(results_of(tmp_path, change)) == {}


def test_a_cheaper_arm_holds_the_baseline_back(tmp_path):
    """Both directions are the same rule: here the baseline is cut at two of its four epochs."""

    def cheaper(record):
        record["cost"]["flops_per_image"] = 500 if record["labels"]["arm"] == "wide" else 1000

    paid = rows_of(results_of(tmp_path, cheaper))["flops"].values
    assert (paid["epochs"], paid["baseline_epochs"]) == (4, 2)
    assert paid["difference_pp"] == pytest.approx(100 * (np.mean([0.9, 1.0]) - np.mean([0.6, 0.7])))


def test_a_run_that_stopped_early_limits_its_own_pair_alone(tmp_path):
    """Seed 0 of the baseline ends after two epochs; equal FLOPs are one epoch of the arm there and two in seed 1."""

    def shorter(record):
        if record["labels"] == {"arm": "baseline", "seed": 0}:
            record["history"] = record["history"][:2]
            record["metrics"]["best_epoch"] = 2

    row = rows_of(results_of(tmp_path, shorter))["flops"]
    assert (row.texts["epochs"], row.texts["baseline_epochs"]) == ("1 to 2", "2 to 4")
    assert row.values["difference_pp"] == pytest.approx(100 * np.mean([0.7 - 0.6, 0.8 - 0.9]))


def test_costs_that_are_nearly_equal_have_no_table(tmp_path):
    def alike(record):
        record["cost"]["flops_per_image"] = 1040 if record["labels"]["arm"] == "wide" else 1000

    assert rows_of(results_of(tmp_path, alike)) == {}


def test_older_records_that_do_not_say_what_an_epoch_cost_have_no_table(tmp_path):
    def older(record):
        for row in record["history"]:
            del row["images_seen"], row["seconds_train"]

    assert rows_of(results_of(tmp_path, older)) == {}


@pytest.mark.parametrize(("device", "told"), [("cpu", {"epochs", "flops", "seconds"}), ("cuda", {"epochs", "flops"})])
def test_seconds_are_compared_on_one_device_alone(tmp_path, device, told):
    """Twice the seconds are a cost on the same device; on another one they say nothing, and the note says so."""

    def slower(record):
        if record["labels"]["arm"] == "wide":
            record["provenance"]["device"] = {"name": device}
            for row in record["history"]:
                row["seconds_train"] = 20.0

    results = results_of(tmp_path, slower)
    assert set(rows_of(results)) == told
    assert ("one device" in analyse(results).tables["budgets"].note) == (device == "cuda")


def test_what_else_ran_beside_one_seed_is_no_cost_of_an_arm(tmp_path):
    """Epochs of 10 and of 30 seconds in the two seeds count 20 in both, so that both are read after two."""

    def disturbed(record):
        if record["labels"]["arm"] == "wide":
            for row in record["history"]:
                row["seconds_train"] = 30.0 if record["labels"]["seed"] else 10.0

    assert rows_of(results_of(tmp_path, disturbed))["seconds"].texts["epochs"] == "2"


def test_the_interval_at_a_budget_is_of_the_arm_less_the_baseline(tmp_path):
    """SciPy's, of four pairs of which one is read at two epochs: its ends lie unlike about zero."""

    def shorter(record):
        if record["labels"] == {"arm": "baseline", "seed": 0}:
            record["history"] = record["history"][:2]
            record["metrics"]["best_epoch"] = 2

    equal = rows_of(results_of(tmp_path, shorter, seeds=4))["epochs"].values
    wanted = stats.ttest_1samp([0.3, 0.1, 0.1, 0.1], 0).confidence_interval(0.95)
    assert (equal["low_pp"], equal["high_pp"]) == pytest.approx((100 * wanted.low, 100 * wanted.high), rel=1e-4)


def test_equal_seconds_are_those_that_were_spent_in_all(tmp_path):
    """Two epochs of 20 seconds are two epochs of 20 seconds, though the other arm has four of them."""

    def half(record):
        for row in record["history"]:
            row["seconds_train"] = 20.0
        if record["labels"]["arm"] == "baseline":
            record["history"] = record["history"][:2]
            record["metrics"]["best_epoch"] = 2

    assert rows_of(results_of(tmp_path, half))["seconds"].texts["epochs"] == "2"


def test_a_first_epoch_beyond_the_budget_is_not_read(tmp_path):
    def dear(record):
        record["cost"]["flops_per_image"] = 9000 if record["labels"]["arm"] == "wide" else 1000

    assert rows_of(results_of(tmp_path, dear)) == {}


def test_one_seed_has_a_difference_and_no_interval(tmp_path):
    row = rows_of(results_of(tmp_path, seeds=1))["flops"]
    assert row.values["low_pp"] is None
    assert row.texts["difference"] == "+10.0"
    assert not [doubt for doubt in analyse(results_of(tmp_path / "again", seeds=1)).doubts if doubt.kind == "budget"]


@pytest.mark.parametrize(("num_images", "flag"), [(100, True), (30, False)])
def test_a_lead_that_its_budget_bought_is_flagged(tmp_path, num_images, flag):
    """At equal epochs 10 pp ahead in all of four seeds; with fewer images an epoch it stays so at equal FLOPs."""
    curves = {"baseline": [0.6, 0.7, 0.8, 0.8], "wide": [0.7, 0.8, 0.85, 0.9]}
    jitter = {0: 0.0, 1: 0.001, 2: -0.001, 3: 0.002}

    def steady(record):
        arm, seed = record["labels"]["arm"], record["labels"]["seed"]
        for row, accuracy in zip(record["history"], curves[arm], strict=True):
            row["val/accuracy"] = accuracy + (jitter[seed] if arm == "wide" else 0)
            row["images_seen"] = num_images if arm == "wide" else 50

    (doubt,) = [each for each in analyse(results_of(tmp_path, steady, seeds=4)).doubts if each.kind == "budget"]
    assert doubt.flag == flag
    assert "“wide”" in doubt.text
    assert ("had not ended its schedule" in doubt.text) == flag
