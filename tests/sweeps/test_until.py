"""Does a search end where its rule says?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.terminator import BestValueStagnationEvaluator

from ablation_suite.sweeps.budget import rule_met
from ablation_suite.sweeps.trial import Trial
from tests.sweeps.conftest import Ablate
from tests.sweeps.fake import make_fake_sweep, search, write_spec


@pytest.mark.parametrize(("metric", "target"), [("val/accuracy", 0.8), ("val/loss", 0.2)])
def test_no_trial_begins_after_the_score_was_reached(tmp_path: Path, metric: str, target: float) -> None:
    """The trials are those of a search without the rule up to the first that is good enough."""
    keys: dict[str, Any] = {"metric": metric, "sampler": "random", "pruner": "none", "trials": 30}
    whole, _ = search(make_fake_sweep(tmp_path / "whole", **keys), tmp_path / "whole")
    sweep = make_fake_sweep(tmp_path / "part", **keys, until={"score": target})
    part, _ = search(sweep, tmp_path / "part")
    scores = [each.score or 0.0 for each in whole]
    first = next(i for i, score in enumerate(scores) if (score >= target if sweep.maximize else score <= target))
    assert [each.score for each in part] == scores[: first + 1]
    assert 1 < len(part) < 30
    assert search(sweep, tmp_path / "part")[0] == []


def test_patience_is_that_of_optunas_terminator(tmp_path: Path) -> None:
    """Where nothing is pruned, the search ends where `BestValueStagnationEvaluator` has no trial left to wait for."""
    sweep = make_fake_sweep(tmp_path, sampler="random", pruner="none", trials=200, until={"patience": 6})
    trials, _ = search(sweep, tmp_path / "results")
    scores = [each.score or 0.0 for each in trials]
    left = [
        BestValueStagnationEvaluator(6).evaluate(
            [optuna.trial.create_trial(value=score) for score in scores[:num]], optuna.study.StudyDirection.MAXIMIZE
        )
        for num in range(1, len(scores) + 1)
    ]
    assert left[-1] == 0
    assert min(left[:-1]) > 0


def test_stopped_trials_use_up_patience_and_imported_ones_do_not(tmp_path: Path) -> None:
    """By hand: one pruned and one diverged after the best of ours; a better one of somebody else counts nowhere."""
    sweep = make_fake_sweep(tmp_path, until={"score": 0.9, "patience": 2})
    trials = [
        Trial(number=0, outcome="complete", values={}, score=0.7),
        Trial(number=1, outcome="complete", values={}, score=0.95, is_imported=True),
        Trial(number=2, outcome="pruned", values={}),
        Trial(number=3, outcome="failed", values={}),
    ]
    assert rule_met(sweep, trials) == ""
    more = [*trials, Trial(number=4, outcome="diverged", values={})]
    assert rule_met(sweep, more) == "2 trials brought nothing better than trial 0"
    assert rule_met(sweep, [*trials[2:3], *more[4:]]) == "2 trials had no score"


def test_the_rule_that_was_met_is_told(tmp_path: Path, ablate: Ablate) -> None:
    """By the search itself and by a look at it."""
    spec = str(write_spec(tmp_path, until={"score": 0.6}))
    told = "no new trial begins: trial 0 reached 0.7527, and 0.6 was asked for"
    assert told in ablate(spec)[1]
    assert told in ablate("status", spec)[1]
    assert "no new trial" not in ablate("status", spec, "until.score=0.99")[1]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["until={score: 93}"], "an accuracy lies between 0 and 1"),
        (["until={}"], "names no rule"),
        (["until.patience=0"], "greater than or equal to 1"),
    ],
)
def test_a_rule_that_says_nothing_is_a_fault(tmp_path: Path, ablate: Ablate, words: list[str], message: str) -> None:
    """One line, exit status 2."""
    status, _, err = ablate(str(write_spec(tmp_path)), *words)
    assert status == 2
    assert message in err
    assert len(err.splitlines()) == 1
