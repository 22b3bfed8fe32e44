"""Does the report of a sweep say what the trials say?"""

from __future__ import annotations

import csv
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ablation_suite.reports.sweep_analysis import SweepAnalysis, analyse, best_of_another, expected_best, scores
from ablation_suite.reports.sweep_figures import edge_of
from ablation_suite.reports.sweep_page import write_sweep_report
from ablation_suite.sweeps.session import existing_study
from ablation_suite.sweeps.trial import Trial
from tests.sweeps.fake import make_fake_sweep, make_runtime, search
from tests.sweeps.test_resume import CONDITIONAL


def make_analysis(folder: Path, **keys: Any) -> SweepAnalysis:
    sweep = make_fake_sweep(folder, **keys)
    search(sweep, folder / "results")
    runtime = make_runtime(folder / "results")
    with existing_study(sweep, runtime) as study:
        return analyse(study, runtime.store)


def write(folder: Path, out: Path, **keys: Any) -> dict[str, bytes]:
    """The files of the report of a fake sweep."""
    sweep = make_fake_sweep(folder, **keys)
    search(sweep, folder / "results")
    runtime = make_runtime(folder / "results")
    with existing_study(sweep, runtime) as study:
        write_sweep_report(study, runtime, out)
    return {str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*") if path.is_file()}


@pytest.mark.parametrize("maximize", [True, False])
def test_the_expected_best_is_that_of_all_draws(maximize: bool) -> None:
    """For n draws without replacement from N scores, the mean over all choices, ties included."""
    found = [0.3, 0.9, 0.9, 0.1]
    choose = max if maximize else min
    for n, value in enumerate(expected_best(found, maximize), start=1):
        assert value == pytest.approx(np.mean([choose(draw) for draw in itertools.combinations(found, n)]))
    assert expected_best([]) == ()


@pytest.mark.parametrize("maximize", [True, False])
def test_the_best_of_another_search_lies_outside_each_end_once_in_ten_at_most(maximize: bool) -> None:
    """Of 20,000 pairs of searches, of 15 and of 4 exponential scores; the upper end by hand."""
    rng = np.random.default_rng(8)
    seen, new = rng.exponential(size=(20_000, 15)), rng.exponential(size=(20_000, 4))
    best, sign = (new.max(axis=1), 1) if maximize else (new.min(axis=1), -1)
    ends = [best_of_another(each.tolist(), maximize)[3] for each in seen]
    missed = np.mean([sign * (value - low) < 0 for value, (low, _) in zip(best, ends, strict=True)])
    assert 0.05 < missed < 0.105
    assert {high for _, high in ends} == {None}  # 4 new among 19: the best of all is new in 4 of 19 searches
    assert best_of_another(range(1, 31), maximize)[2][1] == (30 if maximize else 1)  # 3 of 33
    assert best_of_another([]) == ()


def test_stopped_and_diverged_trials_count_in_the_budget() -> None:
    """A pruned trial counts by its last value, a diverged one by the worst, a failed one not at all."""
    trials = [
        Trial(number=0, outcome="complete", values={}, score=0.9),
        Trial(number=1, outcome="pruned", values={}, curve={1: 0.6, 2: 0.5}),
        Trial(number=2, outcome="diverged", values={}, curve={1: 0.7}),
        Trial(number=3, outcome="failed", values={}),
    ]
    assert scores(trials, maximize=True) == [0.9, 0.5, 0.5]


def test_what_pruning_saved_is_counted_by_hand(tmp_path: Path) -> None:
    """Four epochs per trial, less those that the folders hold; the stand-in takes one second per epoch."""
    analysis = make_analysis(tmp_path, sampler="random", trials=20)
    runs = (tmp_path / "results" / "runs").iterdir()
    trained = sum(len((run / "ledger.jsonl").read_text().splitlines()) for run in runs)
    assert analysis.effort.trained_epochs == trained
    assert analysis.effort.saved_epochs == 20 * 4 - trained > 0
    assert analysis.effort.saved_seconds == pytest.approx(20 * 4 - trained)


@pytest.mark.parametrize(
    "keys",
    [
        {"space": CONDITIONAL, "trials": 12},
        pytest.param({"trials": 1}, marks=pytest.mark.slow),
        pytest.param({"space": {"batch_size": {"choice": [16, 32]}}, "trials": 4}, marks=pytest.mark.slow),
        pytest.param({"seeds": 3, "pruner": "wilcoxon", "trials": 4}, marks=pytest.mark.slow),
    ],
)
def test_every_kind_of_sweep_has_a_report(tmp_path: Path, keys: dict[str, Any]) -> None:
    """Page, text, tables and figures come out of any space and any number of trials."""
    written = write(tmp_path, tmp_path / "out", **keys)
    assert {"report.html", "report.md", "tables/trials.csv", "figures/history.svg"} <= set(written)
    rows = list(csv.DictReader(written["tables/trials.csv"].decode().splitlines()))
    assert len(rows) == keys["trials"]


@pytest.mark.slow
def test_a_report_is_written_the_same_twice(tmp_path: Path) -> None:
    """The same trials give the same bytes in every file."""
    assert write(tmp_path, tmp_path / "one", trials=8) == write(tmp_path, tmp_path / "two", trials=8)


def test_names_are_text_on_the_page(tmp_path: Path) -> None:
    """A question that is a script stays a question."""
    sweep = make_fake_sweep(tmp_path, question="<script>alert(1)</script>", trials=2)
    search(sweep, tmp_path / "results")
    runtime = make_runtime(tmp_path / "results")
    with existing_study(sweep, runtime) as study:
        html, _ = write_sweep_report(study, runtime, tmp_path / "out")
    assert "<script>alert" not in html.read_text()
    assert "&lt;script&gt;alert(1)" in html.read_text()


def test_the_answer_names_the_best_trial(tmp_path: Path) -> None:
    """Its number, its score and the base's own score stand in the first sentence."""
    analysis = make_analysis(tmp_path)
    assert analysis.best is not None
    best = analysis.best
    assert analysis.answer.startswith(
        f"Trial {best.number} reaches a validation accuracy of {best.score:.2%}".replace("%", " % with")
    )
    assert analysis.answer.endswith("the base's own values reach 75.27 %.")


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_hopeless_trials_do_not_flatten_the_others(sign: float) -> None:
    """The axis ends a tenth of the way beyond the worse quartile, or at the worst trial where that is nearer."""
    assert edge_of([sign * each for each in (0.1, 0.2, 0.8, 0.9, 0.9)], maximize=sign > 0) == pytest.approx(sign * 0.13)
    assert edge_of([sign * each for each in (0.1, 0.8, 0.9, 0.9, 1.0)], maximize=sign > 0) == pytest.approx(sign * 0.78)
    assert edge_of([sign * each for each in (0.8, 0.8, 1.0)], maximize=sign > 0) == sign * 0.8
    assert edge_of([sign * 0.5], maximize=sign > 0) == sign * 0.5
