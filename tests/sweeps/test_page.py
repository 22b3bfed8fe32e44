"""Does the page of a search draw what the trials say, and leave out what they do not say?"""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest

from ablation_suite.reports.page import rendered
from ablation_suite.reports.sweep_analysis import SweepAnalysis
from ablation_suite.reports.sweep_drawings import history, score_of
from ablation_suite.reports.sweep_importance import Importance, common_step
from ablation_suite.reports.sweep_map import parameter_axis, predicts, setting_map
from ablation_suite.reports.sweep_page import claim, judged_epoch, sweep_context
from ablation_suite.reports.sweep_rivals import Rivals
from ablation_suite.sweeps.importances import importances
from ablation_suite.sweeps.parameter import read_parameter
from ablation_suite.sweeps.session import existing_study
from ablation_suite.sweeps.trial import Trial
from tests.sweeps.fake import SPACE, make_fake_sweep, make_runtime, search
from tests.sweeps.test_figures import SIX
from tests.sweeps.test_report import make_analysis

RATE, DROPOUT = "optimizer.lr", "model.head.dropout"


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> SweepAnalysis:
    """A search of two settings, in which the rate decides nearly all and some trials were stopped."""
    return make_analysis(tmp_path_factory.mktemp("two"), trials=32)


def page_of(analysis: SweepAnalysis) -> str:
    return rendered("sweep.html", **sweep_context(analysis))


def with_trials(analysis: SweepAnalysis, scores: dict[tuple[float, float], float], told: Any) -> SweepAnalysis:
    """The analysis with complete trials at (rate, dropout) alone, none of them told apart, and intervals of shares."""
    trials = tuple(
        Trial(number=index, outcome="complete", values={RATE: rate, DROPOUT: dropout}, score=score)
        for index, ((rate, dropout), score) in enumerate(scores.items())
    )
    importance = Importance(num_trials=40, step=None, shares=dict.fromkeys(told, 0.5), ends=told)
    others = tuple(trial.number for trial in trials[1:])
    rivals = Rivals(numbers=others, num_others=len(others), num_images=359, num_seeds=1)
    return replace(analysis, trials=trials, best=trials[0], importance=importance, early=None, rivals=rivals)


def test_the_claim_names_where_the_good_trials_lie_and_what_is_not_known(found: SweepAnalysis) -> None:
    """A range for the setting whose share is surely more than an equal one; nothing of one that spans its range."""
    narrow = {(0.003, 0.1): 0.99, (0.02, 0.8): 0.98}
    told = with_trials(found, narrow, {RATE: (0.7, 0.99), DROPOUT: (0.01, 0.3)})
    assert claim(told) == "lr from 0.003 to 0.02; on dropout these trials say little."
    unsure = with_trials(found, narrow, {RATE: (0.4, 0.99), DROPOUT: (0.01, 0.6)})
    assert claim(unsure) == "These trials do not tell where the good settings lie."
    wide = {(1e-5, 0.1): 0.99, (0.02, 0.8): 0.98}
    assert claim(with_trials(found, wide, {RATE: (0.7, 0.99), DROPOUT: (0.01, 0.3)})) == claim(unsure)
    assert claim(replace(told, rivals=None)) == ""


def test_early_shares_are_those_of_what_the_trials_had_reached(tmp_path: Path) -> None:
    """The same as Optuna's of a study whose scores are the values at the last step that no trial missed."""
    sweep = make_fake_sweep(tmp_path, trials=32)
    search(sweep, tmp_path)
    with existing_study(sweep, make_runtime(tmp_path)) as study:
        trials = study.trials()
        step = common_step(trials)
        assert step == 2
        expected = optuna.create_study(direction="maximize")
        for trial, frozen in zip(trials, study.study.trials, strict=True):
            again = {"params": frozen.params, "distributions": frozen.distributions, "value": trial.curve[2]}
            expected.add_trial(optuna.trial.create_trial(**again))
        assert importances(study, step) == optuna.importance.get_param_importances(expected)
        assert importances(study, step) != importances(study)


def test_the_grey_ground_holds_the_best_and_its_rivals_alone(found: SweepAnalysis) -> None:
    """Marks of the trials that the images cannot tell apart lie on it, the others beside it."""
    scores = {(0.003, 0.1): 0.99, (0.004, 0.2): 0.985, (0.02, 0.8): 0.7}
    analysis = with_trials(found, scores, {RATE: (0.7, 0.99)})
    analysis = replace(analysis, rivals=Rivals(numbers=(1,), num_others=2, num_images=359, num_seeds=1))
    plane = history(analysis, score_of(analysis))
    assert plane is not None
    assert plane.ground is not None
    assert plane.title == "Validation error"
    low, high = plane.ground
    assert [low < mark.y < high for mark in plane.marks] == [True, True, False]


@pytest.mark.parametrize("noise", [0.1, 100.0])
def test_a_map_has_a_ground_only_where_neighbours_tell_of_each_other(noise: float, found: SweepAnalysis) -> None:
    """The kernel mean of the others against their plain mean, both written out trial by trial."""
    rng = np.random.default_rng(3)
    at, width = rng.random((40, 2)), np.array([0.15, 0.15])
    values = at[:, 0] + rng.normal(0, noise, size=40)
    near, far = 0.0, 0.0
    for index in range(40):
        others = [each for each in range(40) if each != index]
        weights = [np.exp(-0.5 * (((at[each] - at[index]) / width) ** 2).sum()) for each in others]
        near += (values[index] - np.average(values[others], weights=weights)) ** 2
        far += (values[index] - np.mean(values[others])) ** 2
    assert predicts(at, values, width) == (near < far) == (noise < 1)


def test_few_trials_are_dots_without_a_ground(found: SweepAnalysis) -> None:
    """Below eight that came to a common step nothing is smoothed, and the page says so."""
    drawn = setting_map(replace(found, trials=found.trials[:7]), score_of(found))
    assert drawn is not None
    assert (drawn[0].tiles, len(drawn[0].marks)) == ([], 7)
    assert drawn[1] == "No ground: fewer than 8 trials came to a common step."
    plenty = setting_map(found, score_of(found))
    assert plenty is not None
    assert plenty[0].tiles
    assert "after step 2, which 32 trials reached" in plenty[1]


def test_panels_that_say_nothing_are_left_out(found: SweepAnalysis, tmp_path: Path) -> None:
    """Parallel axes need three settings and a map two numeric ones; a share without an interval is no finding."""
    two = page_of(found)
    assert "Where the good settings lie" in two
    assert "All settings together" not in two
    assert re.search(r"\d %, too few trials", two)
    choices = make_analysis(tmp_path / "one", space={"batch_size": {"choice": [16, 32, 64, 128]}}, trials=6)
    one = page_of(choices)
    assert "Where the good settings lie" not in one
    assert "All settings together" not in one
    six = page_of(make_analysis(tmp_path / "six", space=SIX, trials=12))
    assert "All settings together" in six


def test_a_page_of_no_complete_trial_says_so(found: SweepAnalysis) -> None:
    """A search that has just begun has a page."""
    begun = Trial(number=0, outcome="running", values={RATE: 0.1, DROPOUT: 0.1}, curve={1: 0.2})
    importance = Importance(num_trials=0, step=None, shares={}, ends={})
    empty = replace(found, trials=(begun,), best=None, importance=importance, early=None, expected=(), tables={})
    text = page_of(empty)
    assert "No trial is complete yet." in text
    assert "none is complete yet" in text
    assert "Make the best again" not in text


def test_the_page_says_which_epoch_judges_and_prints_settings_that_can_be_typed(
    found: SweepAnalysis, tmp_path: Path
) -> None:
    """The kept epoch, chosen on the same images, or the last; nothing where the search itself chooses among them."""
    assert "judged by the kept epoch of their runs, the best on these same images" in page_of(found)
    last = make_fake_sweep(tmp_path, shared={"selection": "last"})
    assert judged_epoch(last) == "trials are judged by the last epoch of their runs"
    assert judged_epoch(make_fake_sweep(tmp_path, space={"selection": {"choice": ["best", "last"]}})) == ""
    levels = [{"name": "adam", "betas": [0.5, 0.9]}, {"name": "adam", "betas": [0.6, 0.9]}]
    analysis = make_analysis(tmp_path / "levels", space={**SPACE, "optimizer": {"choice": levels}}, trials=2)
    words = shlex.split(str(sweep_context(analysis)["settings"]))
    assert json.loads(next(word for word in words if word.startswith("optimizer=")).partition("=")[2]) in levels


def test_a_range_by_factors_is_drawn_by_factors() -> None:
    """Whole numbers by factors too: 64 lies in the middle of 8 to 512."""
    ranges = {"epochs": {"int": [8, 512], "log": True}, "optimizer.lr": {"log": [8, 512]}, "seconds": {"int": [8, 512]}}
    at = [parameter_axis(read_parameter(path, entry, {}), 0, 100).at(64) for path, entry in ranges.items()]
    assert at == [50.0, 50.0, 11.11]
