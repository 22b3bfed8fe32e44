"""What does a search make of trials that plain Optuna put into its study?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import FloatDistribution
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState, create_trial

from ablation_suite.reports.sweep_analysis import analyse
from ablation_suite.reports.sweep_figures import draw_sweep
from ablation_suite.sweeps.session import existing_study
from ablation_suite.sweeps.trial import Trial, as_row
from tests.sweeps.conftest import Ablate
from tests.sweeps.fake import make_fake_sweep, make_runtime, search, write_spec

LR, DROPOUT = "optimizer.lr", "model.head.dropout"
RANGES: dict[str, Any] = {LR: FloatDistribution(1e-5, 1e-1, log=True), DROPOUT: FloatDistribution(0.0, 0.9)}
INSIDE: dict[str, float] = {LR: 0.02, DROPOUT: 0.25}


def plain_study(folder: Path) -> optuna.Study:
    """The study as anyone opens it who has Optuna alone."""
    journal = JournalStorage(JournalFileBackend(str(folder / "results" / "sweeps" / "fake" / "journal.log")))
    return optuna.load_study(study_name="fake", storage=journal)


def begin(folder: Path, **keys: Any) -> optuna.Study:
    """The study of a search of two trials that are done."""
    search(make_fake_sweep(folder, **{"trials": 2, "pruner": "none", **keys}), folder / "results")
    return plain_study(folder)


def all_trials(folder: Path, **keys: Any) -> list[Trial]:
    with existing_study(make_fake_sweep(folder, **keys), make_runtime(folder / "results")) as study:
        return study.trials()


def test_trials_of_others_are_shown_as_imported_and_are_none_of_the_trials_asked_for(
    tmp_path: Path, ablate: Ablate
) -> None:
    """Three were added; `trials=4` then means four of ours, and the one without a run is told, never the best."""
    study = begin(tmp_path)
    study.add_trial(create_trial(value=0.999, params=INSIDE, distributions=RANGES))
    study.add_trial(create_trial(state=TrialState.PRUNED, params=INSIDE, distributions=RANGES))
    study.add_trial(create_trial(state=TrialState.FAIL, params=INSIDE, distributions=RANGES))
    spec = str(write_spec(tmp_path, pruner="none"))
    status, out, err = ablate(spec, "trials=4")
    assert status == 0
    assert "2 are done already, 3 imported" in err
    assert out.splitlines()[:2] == ["fake: 4 complete, 3 imported", "best: trial 5, val/accuracy 0.9182"]
    assert "imported trial 2 was told val/accuracy 0.9990; no run stands behind it, so that it is not the best" in out
    assert [each.number for each in all_trials(tmp_path, pruner="none") if not each.is_imported] == [0, 1, 5, 6]


def test_a_trial_copied_from_another_study_is_imported_whatever_it_says(tmp_path: Path, ablate: Ablate) -> None:
    """`add_trials` brings driver and runs along, which are no sign that this search began it or that it can be made."""
    study, other = begin(tmp_path), begin(tmp_path / "other", trials=3)
    best = max(other.trials, key=lambda each: each.value or 0.0)
    study.add_trials(other.trials)
    study.add_trial(create_trial(value=0.999, params=INSIDE, distributions=RANGES, user_attrs=best.user_attrs))
    study.add_trial(create_trial(value=0.998, params=INSIDE, distributions=RANGES, user_attrs={"runs": ["0123"]}))
    study.add_trial(create_trial(state=TrialState.FAIL, params=INSIDE, distributions=RANGES))
    found = all_trials(tmp_path, pruner="none")
    assert [each.is_imported for each in found] == [False] * 2 + [True] * 6
    assert [each.runs for each in found[2:]] == [()] * 6
    assert found[-1].reason == ""
    _, out, _ = ablate("best", str(write_spec(tmp_path, pruner="none")))
    assert out.startswith("best: trial 1, ")
    assert "imported trial 5 was told val/accuracy 0.9990; no run stands behind it" in out


def test_an_imported_trial_informs_the_sampler(tmp_path: Path) -> None:
    """TPE proposes otherwise after a very good trial far from the others than without it."""
    keys: dict[str, Any] = {"sampler": {"name": "tpe", "startup_trials": 1}, "pruner": "none"}
    study = begin(tmp_path / "with", **keys)
    study.add_trial(create_trial(value=0.999, params={LR: 1.1e-5, DROPOUT: 0.85}, distributions=RANGES))
    begin(tmp_path / "without", **keys)
    found = [
        search(make_fake_sweep(tmp_path / name, trials=12, **keys), tmp_path / name / "results")[0]
        for name in ("with", "without")
    ]
    near = [sum(each.values[LR] < 1e-4 for each in trials) for trials in found]
    assert near[0] > near[1]


def test_what_another_process_runs_is_left_to_it(tmp_path: Path) -> None:
    """A trial under way elsewhere is neither taken over nor waited for, and its owner may tell it in the end."""
    foreign = begin(tmp_path).ask(RANGES)
    ours, _ = search(make_fake_sweep(tmp_path, trials=4, pruner="none"), tmp_path / "results")
    assert [each.number for each in ours] == [3, 4]
    study = plain_study(tmp_path)
    assert study.trials[foreign.number].state == TrialState.RUNNING
    study.tell(foreign.number, 0.5)
    assert [each.is_imported for each in all_trials(tmp_path, pruner="none")] == [False, False, True, False, False]


def test_what_is_enqueued_with_plain_optuna_is_run_as_ours(tmp_path: Path) -> None:
    """Its values are kept, the others proposed, and the trial is one of those asked for."""
    begin(tmp_path).enqueue_trial({LR: 0.02})
    ours, fake = search(make_fake_sweep(tmp_path, trials=3, pruner="none"), tmp_path / "results")
    assert [(each.number, each.values[LR], each.is_imported) for each in ours] == [(2, 0.02, False)]
    assert len(fake.trained) == 1


def test_what_is_enqueued_outside_the_space_is_told_and_not_run(tmp_path: Path, ablate: Ablate) -> None:
    """A value beyond the range, and a name that is no setting: refused, which is neither imported nor tried again."""
    study = begin(tmp_path)
    study.enqueue_trial({DROPOUT: 0.95})
    study.enqueue_trial({"optimizer.lrr": 0.02})
    spec = str(write_spec(tmp_path, trials=3, pruner="none"))
    _, out, err = ablate(spec)
    assert "trial 2 was enqueued with model.head.dropout: 0.95 lies outside its range; it is not run" in err
    assert "optimizer.lrr: no setting of the space (did you mean 'optimizer.lr'?)" in err
    assert out.startswith("fake: 3 complete, 2 refused")
    err = ablate(spec, "trials=4")[2]
    assert "enqueued" not in err
    assert "3 are done already, 2 refused" in err
    found = all_trials(tmp_path, pruner="none")
    assert [each.shown_as for each in found] == ["complete"] * 2 + ["refused"] * 2 + ["complete"] * 2
    assert "outside its range" in as_row(found[2])["reason"]


def test_an_imported_combination_of_a_grid_is_not_visited_again(tmp_path: Path) -> None:
    """Two of four were done here and one elsewhere; a point elsewhere that is none of the grid fills nothing."""
    space = {LR: {"choice": [1e-4, 1e-2]}, DROPOUT: {"choice": [0.1, 0.5]}}
    study = begin(tmp_path, space=space, sampler="grid")
    ranges: dict[str, Any] = {
        LR: optuna.distributions.CategoricalDistribution([1e-4, 1e-2]),
        DROPOUT: optuna.distributions.CategoricalDistribution([0.1, 0.5]),
    }
    study.add_trial(create_trial(value=0.5, params={LR: 1e-2, DROPOUT: 0.1}, distributions=ranges))
    study.add_trial(create_trial(value=0.5, params={LR: 1e-2}, distributions={LR: ranges[LR]}))
    ours, _ = search(
        make_fake_sweep(tmp_path, space=space, sampler="grid", trials=None, pruner="none"), tmp_path / "results"
    )
    assert [each.values for each in ours] == [{LR: 1e-2, DROPOUT: 0.5}]


def test_a_report_tells_imported_trials_apart_and_takes_any_values(tmp_path: Path) -> None:
    """One without a run is not the answer; settings that the space lacks are in no figure; nothing is spent."""
    other: dict[str, Any] = {LR: FloatDistribution(0.0, 9.0), "epochs": optuna.distributions.IntDistribution(1, 9)}
    begin(tmp_path).add_trial(create_trial(value=0.999, params={LR: 5.0, "epochs": 9}, distributions=other))
    runtime = make_runtime(tmp_path / "results")
    with existing_study(make_fake_sweep(tmp_path, pruner="none"), runtime) as study:
        analysis = analyse(study, runtime.store)
    assert analysis.answer.startswith("Trial 1 reaches a validation accuracy of 81.43 % with")
    assert "imported trial 2 was told 99.90 %, with no run behind it" in analysis.answer
    assert [row.texts["outcome"] for row in analysis.tables["trials"].rows] == ["complete", "complete", "imported"]
    assert len(analysis.expected) == 2
    assert analysis.effort.trained_epochs == 8
    assert "history.svg" in draw_sweep(analysis)


def test_plain_optuna_reads_the_study_without_us(tmp_path: Path) -> None:
    """The metric has its name, a choice of mappings its words, and each seed its score."""
    levels = [{"name": "adam", "betas": [0.9, 0.99]}, {"name": "adam", "betas": [0.9, 0.999]}, "sgd"]
    space = {LR: {"log": [1e-5, 1e-1]}, "optimizer": {"choice": levels}}
    search(make_fake_sweep(tmp_path, space=space, trials=3, seeds=2, pruner="none"), tmp_path / "results")
    study = plain_study(tmp_path)
    assert study.metric_names == ["val/accuracy"]
    words = ("adam (betas [0.9, 0.99])", "adam (betas [0.9, 0.999])", "sgd")
    assert study.trials[0].distributions["optimizer"] == optuna.distributions.CategoricalDistribution(words)
    for trial in study.trials:
        assert list(trial.user_attrs["scores"]) == ["1000", "1001"]
        assert trial.value == sum(trial.user_attrs["scores"].values()) / 2
