"""What becomes of trials that a search did not make itself? They are shown as imported, and told from its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from ablation_suite.reports.sweep_analysis import analyse
from ablation_suite.reports.sweep_figures import draw_sweep
from ablation_suite.sweeps.session import existing_study, journal_path
from ablation_suite.sweeps.spec import Sweep
from ablation_suite.sweeps.trial import best, count
from tests.sweeps.conftest import Ablate
from tests.sweeps.fake import make_fake_sweep, make_runtime, search, write_spec

LR, DROPOUT = "optimizer.lr", "model.head.dropout"
RANGES = {LR: FloatDistribution(1e-5, 1e-1, log=True), DROPOUT: FloatDistribution(0.0, 0.9)}


def plain(sweep: Sweep, folder: Path) -> optuna.Study:
    """The study of a sweep as plain Optuna opens it."""
    backend = JournalFileBackend(str(journal_path(sweep, make_runtime(folder))))
    return optuna.load_study(study_name=sweep.name, storage=JournalStorage(backend))


def add(study: optuna.Study, score: float, **values: float) -> None:
    """A finished trial, added by hand."""
    values = {LR: 1e-2, DROPOUT: 0.3} | values
    study.add_trial(optuna.trial.create_trial(params=values, distributions=RANGES, value=score))


def test_a_foreign_trial_is_imported_and_never_made_again(tmp_path: Path, ablate: Ablate) -> None:
    """It counts neither as done nor as the best, whatever it claims, and no command is printed that has no runs."""
    results = tmp_path / "results"
    spec = write_spec(tmp_path, trials=3, pruner="none")
    assert ablate(str(spec))[0] == 0
    sweep = make_fake_sweep(tmp_path, trials=3, pruner="none")
    add(plain(sweep, results), 0.999)
    with existing_study(sweep, make_runtime(results)) as study:
        trials = study.trials()
        assert count(trials) == {"complete": 3, "imported": 1}
        assert (trials[3].outcome, trials[3].score, trials[3].runs) == ("imported", 0.999, ())
        assert best(trials, True) == max(trials[:3], key=lambda trial: trial.score or 0.0)
        analysis = analyse(study, make_runtime(results).store)
    row = analysis.tables["trials"].rows[3]
    assert (row.values["outcome"], row.values["reason"]) == ("imported", "added by hand, without runs")
    assert analysis.counts == "3 complete, 1 imported"
    assert "figures" not in draw_sweep(analysis)
    status, out, err = ablate("best", str(spec))
    assert (status, err) == (0, "")
    assert out.startswith(f"best: trial {best(trials, True).number}, ")  # type: ignore[union-attr]
    assert "ablate reproduce " in out
    more, _ = search(make_fake_sweep(tmp_path, trials=4, pruner="none"), results)
    assert len(more) == 1, "the imported one is beside the trials that were asked for"


def test_only_foreign_trials_are_no_best(tmp_path: Path, ablate: Ablate) -> None:
    """Nothing is complete, and no line says how to make again what was never made here."""
    results = tmp_path / "results"
    spec = write_spec(tmp_path, trials=1, pruner="none")
    assert ablate(str(spec), fails=lambda config: "bad configuration")[0] == 1
    add(plain(make_fake_sweep(tmp_path, trials=1, pruner="none"), results), 0.999)
    status, out, _ = ablate("best", str(spec))
    assert (status, out) == (0, "fake: no trial is complete yet\n")


def test_values_beyond_the_space_are_in_the_table_and_in_no_figure(tmp_path: Path) -> None:
    """Plain Optuna checks nothing, and a choice that the space does not have has no place on its axis."""
    space = {LR: {"log": [1e-5, 1e-1]}, "optimizer": {"choice": ["adam", "sgd"]}}
    sweep = make_fake_sweep(tmp_path, space=space, trials=4, pruner="none")
    search(sweep, tmp_path)
    ranges: dict[str, Any] = {"other": FloatDistribution(0.0, 1.0)}
    trial = optuna.trial.create_trial(params={"other": 0.5}, distributions=ranges, value=0.5)
    plain(sweep, tmp_path).add_trial(trial)
    with existing_study(sweep, make_runtime(tmp_path)) as study:
        analysis = analyse(study, make_runtime(tmp_path).store)
    assert len(analysis.trials) == 5
    assert len(analysis.drawn) == 4
    assert "history.svg" in draw_sweep(analysis)


def test_plain_optuna_shows_what_the_search_did(tmp_path: Path) -> None:
    """The name of the metric, the scores of the seeds, and choices by readable names."""
    sgd = {"name": "sgd", "momentum": 0.9}
    space = {LR: {"log": [1e-5, 1e-1]}, "optimizer": {"choice": ["adam", sgd]}}
    sweep = make_fake_sweep(tmp_path, space=space, seeds=2, trials=5, pruner="none", sampler="random")
    search(sweep, tmp_path)
    study = plain(sweep, tmp_path)
    assert study.metric_names == ["val/accuracy"]
    for trial in study.get_trials():
        scores = [trial.user_attrs[f"score at seed {seed}"] for seed in (1000, 1001)]
        assert trial.value == pytest.approx(sum(scores) / 2)
        assert trial.params["optimizer"] in ("adam", "sgd")
    with existing_study(sweep, make_runtime(tmp_path)) as ours:
        assert [list(trial.scores) for trial in ours.trials()] == [[1000, 1001]] * 5
