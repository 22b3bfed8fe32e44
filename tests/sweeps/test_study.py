"""Does a sweep propose what Optuna proposes, stop what Optuna stops, and do nothing twice?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import optuna
import pytest

from ablation_suite.core.runs.identity import run_id
from ablation_suite.core.runs.run_folder import RunFolder
from ablation_suite.sweeps.identity import StudyMismatch
from ablation_suite.sweeps.importances import importances
from ablation_suite.sweeps.session import existing_study, journal_path
from ablation_suite.sweeps.storage import StorageError, SweepBusy
from ablation_suite.sweeps.trial import Trial, best, count
from tests.sweeps.fake import SPACE, Fake, make_fake_sweep, make_runtime, score, search

LR, DROPOUT = "optimizer.lr", "model.head.dropout"
DISTRIBUTIONS: dict[str, optuna.distributions.BaseDistribution] = {
    LR: optuna.distributions.FloatDistribution(1e-5, 1e-1, log=True),
    DROPOUT: optuna.distributions.FloatDistribution(0.0, 0.9),
}


@pytest.mark.parametrize("name", ["tpe", "random"])
def test_proposals_are_those_of_optunas_sampler(tmp_path: Path, name: str) -> None:
    """Given the trials before it, each proposal is what a fresh Optuna sampler of the trial's own seed asks for."""
    sweep = make_fake_sweep(tmp_path, sampler=name, pruner="none")
    trials, _ = search(sweep, tmp_path / "results")
    with existing_study(sweep, make_runtime(tmp_path / "results")) as study:
        for trial in trials[1:]:
            kinds = {"tpe": optuna.samplers.TPESampler, "random": optuna.samplers.RandomSampler}
            reference = optuna.create_study(direction="maximize", sampler=kinds[name](seed=study.key(0, trial.number)))
            for earlier in trials[: trial.number]:
                reference.add_trial(
                    optuna.trial.create_trial(
                        value=earlier.score,
                        params=earlier.values,
                        distributions=DISTRIBUTIONS,
                        intermediate_values=earlier.curve,
                    )
                )
            assert reference.ask(DISTRIBUTIONS).params == trial.values


@pytest.mark.parametrize(
    ("name", "pruner"),
    [
        ("halving", optuna.pruners.SuccessiveHalvingPruner(min_resource=2, reduction_factor=3)),
        ("median", optuna.pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=1)),
    ],
)
def test_what_is_stopped_is_what_optunas_own_loop_stops(
    name: str, pruner: optuna.pruners.BasePruner, tmp_path: Path
) -> None:
    """Halving and the median rule stop the same trials at the same epochs as `study.optimize` over the same curves."""
    sweep = make_fake_sweep(tmp_path, sampler="random", trials=25, pruner=name)
    trials, fake = search(sweep, tmp_path / "results")
    reference = optuna.create_study(direction="maximize", pruner=pruner)

    def objective(trial: optuna.Trial) -> float:
        values = {LR: trial.suggest_float(LR, 1e-5, 1e-1, log=True), DROPOUT: trial.suggest_float(DROPOUT, 0.0, 0.9)}
        final = score(sweep.run_config(values, sweep.seeds[0]).model_dump(mode="json"))
        for epoch in range(1, 5):
            trial.report(final * (1.0 - 0.5**epoch), epoch)
            if epoch < 4 and trial.should_prune():
                raise optuna.TrialPruned
        return final * (1.0 - 0.5**4)

    for trial in trials:
        reference.enqueue_trial(trial.values)
    reference.optimize(objective, n_trials=len(trials))
    theirs = [(each.state.name.lower(), each.intermediate_values) for each in reference.trials]
    assert [(each.outcome, each.curve) for each in trials] == theirs
    assert count(trials)["pruned"] > 3
    assert len(fake.trained) == count(trials)["complete"]


def test_the_first_trial_is_the_base_itself(tmp_path: Path) -> None:
    """Trial 0 has the base's own values, and its run is the base's run at the tuning seed."""
    sweep = make_fake_sweep(tmp_path, trials=1)
    trials, _ = search(sweep, tmp_path / "results")
    assert trials[0].values == {LR: 1e-3, DROPOUT: 0.2}
    base = sweep.config.model_copy(update={"seed": sweep.seeds[0]})
    folder = RunFolder(tmp_path / "results" / "runs" / trials[0].runs[0])
    assert run_id(base, folder.job()["data_fingerprint"]) == folder.run_id


def test_the_same_values_are_not_trained_twice(tmp_path: Path) -> None:
    """A second study over the same base that proposes the same values reuses the first one's records."""
    sweep = make_fake_sweep(tmp_path, sampler="random", pruner="none", trials=6)
    first, fake = search(sweep, tmp_path / "results")
    again = make_fake_sweep(tmp_path, sampler="random", pruner="none", trials=6, sweep="other")
    object.__setattr__(again, "stream", sweep.stream)
    second, idle = search(again, tmp_path / "results")
    assert len(fake.trained) == 6
    assert idle.trained == []
    assert [each.score for each in second] == [each.score for each in first]


def test_a_grid_visits_every_combination_once(tmp_path: Path) -> None:
    """Grid and brute force end by themselves after all combinations, without repeats, and differ in order alone."""
    space = {LR: {"log": [1e-3, 1e-1], "points": 3}, DROPOUT: {"uniform": [0.0, 0.5], "points": 2}}
    found = {}
    for name in ("grid", "brute_force"):
        sweep = make_fake_sweep(tmp_path, sweep=name, sampler=name, space=space, trials=None, pruner="none")
        found[name] = [tuple(trial.values.values()) for trial in search(sweep, tmp_path / name)[0]]
        assert len(found[name]) == len(set(found[name])) == 6
    assert set(found["grid"]) == set(found["brute_force"])
    assert found["grid"] == sorted(found["grid"])
    assert found["brute_force"] != found["grid"]


def test_a_trial_of_several_seeds_scores_their_mean(tmp_path: Path) -> None:
    """Three seeds give three runs, and the score is the mean of their metrics."""
    sweep = make_fake_sweep(tmp_path, seeds=3, trials=2, pruner="none")
    trials, fake = search(sweep, tmp_path / "results")
    assert len(fake.trained) == 6
    for trial in trials:
        records = [RunFolder(tmp_path / "results" / "runs" / name).record() for name in trial.runs]
        scores = [record["metrics"]["val/accuracy"] for record in records if record]
        assert trial.score == pytest.approx(sum(scores) / 3, abs=1e-15)


def test_wilcoxon_stops_a_trial_between_its_seeds(tmp_path: Path) -> None:
    """A trial that is worse at each of its first seeds does not train the rest of them."""
    sweep = make_fake_sweep(tmp_path, seeds=8, trials=6, pruner={"name": "wilcoxon", "startup_seeds": 3})
    trials, fake = search(sweep, tmp_path / "results")
    pruned = [trial for trial in trials if trial.outcome == "pruned"]
    assert pruned
    assert all(3 < max(trial.curve) < 8 for trial in pruned)
    assert len(fake.trained) == 8 * (6 - len(pruned)) + sum(max(trial.curve) for trial in pruned)


@pytest.mark.parametrize("pruner", ["halving", "hyperband", "median"])
def test_a_pruned_run_is_cancelled_and_keeps_what_it_did(tmp_path: Path, pruner: str) -> None:
    """A stopped run stays as an unfinished folder with its epochs, and nothing else of it is trained."""
    sweep = make_fake_sweep(tmp_path, sampler="random", trials=20, pruner=pruner)
    trials, _ = search(sweep, tmp_path / "results")
    pruned = [trial for trial in trials if trial.outcome == "pruned"]
    assert pruned
    for trial in pruned:
        folder = RunFolder(tmp_path / "results" / "runs" / trial.runs[0])
        assert folder.record() is None
        assert len(folder.ledger.history()) < 4


def test_a_diverged_trial_is_a_result_and_no_failure(tmp_path: Path) -> None:
    """A loss that is not finite is kept apart, is never tried again, and teaches TPE to stay away."""

    def diverges(config: dict[str, Any]) -> str | None:
        return "loss not finite" if config["optimizer"]["lr"] > 0.01 else None

    sweep = make_fake_sweep(tmp_path, trials=30, pruner="none")
    trials, _ = search(sweep, tmp_path / "results", fails=diverges)
    diverged = [trial for trial in trials if trial.outcome == "diverged"]
    assert diverged
    assert all(trial.values[LR] > 0.01 and trial.reason == "loss not finite" for trial in diverged)
    late = [trial for trial in diverged if trial.number >= 20]
    assert len(late) <= 3
    again, fake = search(sweep, tmp_path / "results", fails=diverges)
    assert again == []
    assert fake.trained == []


def test_a_failed_trial_is_tried_again_and_never_counted_as_done(tmp_path: Path) -> None:
    """What failed in one call is tried again by the next, with the same values, until the number of trials is full."""
    sweep = make_fake_sweep(tmp_path, sampler="random", trials=6, pruner="none")
    broken, _ = search(sweep, tmp_path / "results", fails=lambda config: "bad configuration")
    assert [trial.outcome for trial in broken] == ["failed"] * 6
    repaired, _ = search(sweep, tmp_path / "results")
    assert [trial.values for trial in repaired] == [trial.values for trial in broken]
    assert [trial.retry_of for trial in repaired] == [trial.number for trial in broken]
    with existing_study(sweep, make_runtime(tmp_path / "results")) as study:
        assert count(study.trials()) == {"complete": 6}


@pytest.mark.parametrize("sampler", ["grid", "brute_force"])
def test_a_combination_that_fails_does_not_keep_a_grid_from_its_end(tmp_path: Path, sampler: str) -> None:
    """Each of the four is tried once per call, whatever fails; the next call tries only the failed ones again."""
    space = {LR: {"choice": [1e-4, 1e-2]}, DROPOUT: {"choice": [0.1, 0.5]}}
    sweep = make_fake_sweep(tmp_path, sampler=sampler, space=space, trials=None, pruner="none")

    def fails(config: dict[str, Any]) -> str | None:
        return "bad configuration" if config["optimizer"]["lr"] == 1e-2 else None

    trials, _ = search(sweep, tmp_path / "results", fails=fails)
    assert sorted(trial.outcome for trial in trials) == ["complete", "complete", "failed", "failed"]
    again, _ = search(sweep, tmp_path / "results")
    assert [trial.outcome for trial in again] == ["complete", "complete"]
    assert all(trial.values[LR] == 1e-2 for trial in again)
    assert search(sweep, tmp_path / "results")[0] == []


def test_a_study_belongs_to_its_sweep(tmp_path: Path) -> None:
    """Another base, space, metric or number of seeds under the same name is refused with the difference."""
    sweep = make_fake_sweep(tmp_path, trials=2)
    search(sweep, tmp_path / "results")
    changes = {
        "base.epochs was 4 and is now 5": {"shared": {"epochs": 5}},
        "space.optimizer.lr.log was [1e-05, 0.1]": {"space": {**SPACE, LR: {"log": [1e-4, 1e-1]}}},
        "it is to maximize its metric, and the sweep is to minimize val/loss": {"metric": "val/loss"},
        "seeds was [1000] and is now [1000, 1001]": {"seeds": 2},
    }
    for message, keys in changes.items():
        with pytest.raises(StudyMismatch) as caught:
            search(make_fake_sweep(tmp_path, **{"trials": 2, **keys}), tmp_path / "results")
        assert message in str(caught.value)
    assert len(search(make_fake_sweep(tmp_path, trials=3), tmp_path / "results")[0]) == 1


@pytest.mark.parametrize("sampler", ["tpe", "random", "qmc", {"name": "gp", "startup_trials": 3}])
def test_every_sampler_keeps_to_steps(tmp_path: Path, sampler: Any) -> None:
    """Dropouts in tenths are the tenths themselves, and batch sizes are spread over their powers of two."""
    space = {DROPOUT: {"uniform": [0.0, 0.9], "step": 0.1}, "batch_size": {"int": [4, 256], "log": True}}
    sweep = make_fake_sweep(tmp_path, space=space, sampler=sampler, pruner="none", trials=12)
    trials, _ = search(sweep, tmp_path / "results")
    assert {trial.values[DROPOUT] for trial in trials} <= {0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9}
    sizes = [trial.values["batch_size"] for trial in trials]
    assert all(isinstance(size, int) for size in sizes)
    assert sum(size < 32 for size in sizes) >= 3


def test_a_loss_is_made_small(tmp_path: Path) -> None:
    """With val/loss the best trial is the one of the lowest score."""
    sweep = make_fake_sweep(tmp_path, metric="val/loss", trials=8, pruner="none")
    trials, _ = search(sweep, tmp_path / "results")
    top = best(trials, sweep.maximize)
    assert top is not None
    assert top.score == min(trial.score for trial in trials if trial.score is not None)


def test_two_drivers_do_not_share_a_journal(tmp_path: Path) -> None:
    """A second driver on the same journal is told so and leaves, and the first is not disturbed."""
    sweep = make_fake_sweep(tmp_path, trials=2)

    def intrude() -> None:
        with pytest.raises(SweepBusy, match="another driver"):
            search(sweep, tmp_path / "results")

    assert len(search(sweep, tmp_path / "results", before_poll=intrude)[0]) == 2


def test_looking_at_nothing_says_so_and_leaves_nothing(tmp_path: Path) -> None:
    """A study that was never begun is one clear line, and no folder appears."""
    with (
        pytest.raises(StorageError, match="no such study yet"),
        existing_study(make_fake_sweep(tmp_path), make_runtime(tmp_path / "results")),
    ):
        pass
    assert not (tmp_path / "results").exists()


def test_importance_follows_what_the_score_depends_on(tmp_path: Path) -> None:
    """The score moves with the learning rate and hardly with dropout, and PED-ANOVA says so."""
    sweep = make_fake_sweep(tmp_path, sampler="qmc", pruner="none", trials=32)
    search(sweep, tmp_path / "results")
    with existing_study(sweep, make_runtime(tmp_path / "results")) as study:
        shares = importances(study)
    assert shares[LR] > 0.7
    assert sum(shares.values()) == pytest.approx(1.0)


def test_jobs_share_a_run_that_two_trials_want(tmp_path: Path) -> None:
    """Two trials of equal values side by side train one run and get the same score."""
    space = {DROPOUT: {"choice": [0.1, 0.2]}}
    sweep = make_fake_sweep(tmp_path, space=space, sampler="random", pruner="none", trials=8)
    trials, fake = search(sweep, tmp_path / "results", size=4)
    assert len(trials) == 8
    assert len(fake.trained) == len(set(fake.trained)) == 2


def test_the_journal_holds_no_more_than_it_needs(tmp_path: Path) -> None:
    """Every line of the journal is whole JSON, and a finished study takes fewer than 20 lines per trial."""
    sweep = make_fake_sweep(tmp_path)
    search(sweep, tmp_path / "results")
    lines = journal_path(sweep, make_runtime(tmp_path / "results")).read_text().splitlines()
    assert all(json.loads(line) for line in lines)
    assert len(lines) < 20 * 15


def test_the_fake_executor_is_an_executor(tmp_path: Path) -> None:
    """What the driver calls, the stand-in has with the same signature."""
    from ablation_suite.core.scheduling.executors import Executor

    executor: Executor = Fake(tmp_path)
    assert executor.capacity() == 1


@pytest.mark.parametrize("maximize", [True, False])
def test_the_best_of_equal_trials_is_the_first(maximize: bool) -> None:
    """However they are listed: a search that goes on must not change its answer for nothing."""
    equals = [Trial(number=number, outcome="complete", values={}, score=0.5) for number in (2, 1, 3)]
    worse = Trial(number=0, outcome="complete", values={}, score=0.4 if maximize else 0.6)
    assert best([*equals, worse], maximize) == equals[1]
