"""Which setting matters? Shares by PED-ANOVA, and how far the trials at hand carry them."""

from __future__ import annotations

import warnings

import numpy as np
import optuna
from optuna.trial import FrozenTrial, TrialState

from ablation_suite.sweeps.study import Study

ENOUGH_FOR_IMPORTANCES = 30
"""Complete trials below which a setting without any effect is often ranked first (tests/sweeps/test_importances.py)."""
NUM_RESAMPLES = 100


def importances(study: Study, step: int | None = None) -> dict[str, float]:
    """Parameter -> share of the score's variation that it explains (PED-ANOVA); empty where trials are too few.

    step: instead of the scores of the complete trials, what all that got so far had reached there.
    """
    scored = _scored(study, step)
    return _shares(_of(study, scored), scored)


def importance_ends(study: Study, rng: np.random.Generator, step: int | None = None) -> dict[str, tuple[float, float]]:
    """Parameter -> the middle 95 % of its share over resampled trials (percentile bootstrap); empty for too few.

    Proposals that learn are no independent draws, so that this says how far the trials at hand carry, and no more.
    """
    scored = _scored(study, step)
    if len(scored) < ENOUGH_FOR_IMPORTANCES:
        return {}
    found: list[dict[str, float]] = []
    for _ in range(NUM_RESAMPLES):
        again = _of(study, [scored[index] for index in rng.integers(len(scored), size=len(scored))])
        found += [shares] if (shares := _shares(again, scored)) else []
    ends = {
        path: np.percentile([shares.get(path, 0.0) for shares in found], [2.5, 97.5])
        for path in importances(study, step)
        if found
    }
    return {path: (float(low), float(high)) for path, (low, high) in ends.items()}


def _scored(study: Study, step: int | None) -> list[FrozenTrial]:
    trials = study.study.get_trials(deepcopy=False)
    if step is None:
        at = study.sweep.objectives.index(study.sweep.spec.metric)
        return [
            optuna.trial.create_trial(params=each.params, distributions=each.distributions, value=each.values[at])
            for each in trials
            if each.state == TrialState.COMPLETE
        ]
    reached = [each for each in trials if each.state.is_finished() and step in each.intermediate_values]
    return [
        optuna.trial.create_trial(
            params=each.params, distributions=each.distributions, value=each.intermediate_values[step]
        )
        for each in reached
        if np.isfinite(each.intermediate_values[step])
    ]


def _of(study: Study, scored: list[FrozenTrial]) -> optuna.Study:
    """A study in memory of these trials alone."""
    found = optuna.create_study(direction="maximize" if study.sweep.maximize else "minimize")
    found.add_trials(scored)
    return found


def _shares(study: optuna.Study, scored: list[FrozenTrial]) -> dict[str, float]:
    """The shares of the parameters that all these trials have.

    Where the best trials are not fewer than all of them, Optuna warns and gives equal shares, which say nothing.
    """
    if len(scored) < 2:
        return {}
    always = sorted(set.intersection(*(set(each.params) for each in scored)))
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="Target and region quantiles")
        try:
            return optuna.importance.get_param_importances(study, params=always) if always else {}
        except UserWarning:
            return {}
