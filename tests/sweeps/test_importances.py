"""Do importances say how far they can be trusted? Searches with a known effect, and one setting without any."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import optuna

from ablation_suite.reports.sweep_analysis import SweepAnalysis, analyse
from ablation_suite.sweeps.importances import importance_ends
from ablation_suite.sweeps.session import existing_study
from tests.sweeps.fake import make_fake_sweep, make_runtime, search


def only_the_rate_matters(config: dict[str, Any]) -> float:
    """A score that the dropout has no part in."""
    return 0.99 * math.exp(-0.2 * (math.log10(config["optimizer"]["lr"]) + 2) ** 2)


def searched(folder: Path, trials: int, sampler: Any = "random") -> SweepAnalysis:
    """The analysis of a search in which every trial runs to its end."""
    sweep = make_fake_sweep(folder, trials=trials, pruner="none", sampler=sampler)
    search(sweep, folder, score=only_the_rate_matters)
    runtime = make_runtime(folder)
    with existing_study(sweep, runtime) as study:
        return analyse(study, runtime.store)


def test_few_trials_are_said_to_be_few(tmp_path: Path) -> None:
    """At 29 complete trials there is no interval, and the table says that the order is largely chance."""
    few = searched(tmp_path, trials=29)
    assert few.importance.ends == {}
    assert (
        "These are 29 complete trials, and below about 30 the order is largely chance" in few.tables["importances"].note
    )
    assert all("[" not in row.texts["share"] for row in few.tables["importances"].rows)


def test_enough_trials_have_intervals_that_tell_the_dead_setting(tmp_path: Path) -> None:
    """At 60 the interval of the setting that matters lies above that of the other; each holds its own share."""
    many = searched(tmp_path, trials=60)
    rate, dropout = (many.importance.ends[path] for path in ("optimizer.lr", "model.head.dropout"))
    assert rate[0] > dropout[1]
    for path, (low, high) in many.importance.ends.items():
        assert low <= many.importance.shares[path] <= high
    rows = {row.values["parameter"]: row for row in many.tables["importances"].rows}
    low, high = (100 * end for end in rate)
    assert rows["optimizer.lr"].texts["share"].endswith(f" [{low:.0f}, {high:.0f}]")
    assert "largely chance" not in many.tables["importances"].note


def test_a_dead_setting_comes_first_by_chance_at_twelve_trials() -> None:
    """One setting has an effect beside the noise and one has none: the claim of the table, counted over 40 searches."""
    first = {12: 0, 60: 0}
    for number in range(40):
        rng = np.random.default_rng(number)
        for size in first:
            study = optuna.create_study(direction="maximize")
            ranges = {name: optuna.distributions.FloatDistribution(0.0, 1.0) for name in ("alive", "dead")}
            for point in rng.random((size, 2)):
                values = dict(zip(ranges, map(float, point), strict=True))
                score = values["alive"] + rng.normal(0, 0.25)
                study.add_trial(optuna.trial.create_trial(params=values, distributions=ranges, value=score))
            shares = optuna.importance.get_param_importances(study)
            first[size] += shares["dead"] > shares["alive"]
    assert first[12] >= 6
    assert first[60] <= first[12] / 2


def test_the_intervals_are_the_same_each_time(tmp_path: Path) -> None:
    """They are drawn by the generator that is given, and the study itself stays as it was."""
    sweep = make_fake_sweep(tmp_path, trials=32, pruner="none", sampler="random")
    search(sweep, tmp_path)
    with existing_study(sweep, make_runtime(tmp_path)) as study:
        found: list[Any] = [importance_ends(study, np.random.default_rng(1)) for _ in range(2)]
        assert found[0] == found[1]
        assert len(study.trials()) == 32
