"""Does a search of several objectives, or one with limits, say and do what plain Optuna would?"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from optuna._hypervolume import compute_hypervolume
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from ablation_suite.core.runs.store import run_folders
from ablation_suite.core.scheduling.attempt import DIVERGED
from ablation_suite.core.tracking.projection import shown
from ablation_suite.reports.sweep_analysis import analyse
from ablation_suite.reports.sweep_page import write_sweep_report
from ablation_suite.sweeps import before_training
from ablation_suite.sweeps.before_training import known_before
from ablation_suite.sweeps.front import front, hypervolume, reference_point
from ablation_suite.sweeps.session import existing_study
from ablation_suite.sweeps.trial import Trial, best
from tests.sweeps.conftest import Ablate
from tests.sweeps.fake import cost, make_fake_sweep, make_runtime, search, write_spec

TWO = ["val/accuracy maximise", "parameters minimise"]
THREE = ["val/accuracy", "parameters", "val/loss"]


def study_of(folder: Path) -> optuna.Study:
    """The study as anyone reads it who has Optuna alone."""
    journal = JournalStorage(JournalFileBackend(str(folder / "sweeps" / "fake" / "journal.log")))
    return optuna.load_study(study_name="fake", storage=journal)


def trials_of(folder: Path, **keys: Any) -> list[Trial]:
    with existing_study(make_fake_sweep(folder, **keys), make_runtime(folder / "results")) as study:
        return study.trials()


def pages_of(folder: Path, **keys: Any) -> list[Path]:
    """The report of the search of a folder, written."""
    runtime = make_runtime(folder / "results")
    with existing_study(make_fake_sweep(folder, **keys), runtime) as study:
        return write_sweep_report(study, runtime, folder / "report")


@pytest.mark.parametrize("metrics", [TWO, THREE])
@pytest.mark.parametrize("sampler", ["tpe", "nsga2", "gp", "random"])
def test_the_front_and_its_hypervolume_are_optunas(tmp_path: Path, metrics: list[str], sampler: str) -> None:
    """`study.best_trials`, and Optuna's own hypervolume of them against the same point."""
    keys = {"metrics": metrics, "sampler": sampler, "trials": 14}
    search(make_fake_sweep(tmp_path, **keys), tmp_path / "results")
    sweep, trials, study = (
        make_fake_sweep(tmp_path, **keys),
        trials_of(tmp_path, **keys),
        study_of(tmp_path / "results"),
    )
    assert study.metric_names == [name.split()[0] for name in metrics]
    found = front(trials, sweep.objectives)
    assert {each.number for each in found} == {each.number for each in study.best_trials}
    assert 1 < len(found) < 14
    signs = np.array([-1.0 if each.name == "MAXIMIZE" else 1.0 for each in study.directions])
    losses = np.array([each.values for each in study.trials]) * signs
    point = reference_point(sweep, trials)
    worst = np.array([point[name] for name in sweep.objectives]) * signs
    assert worst == pytest.approx(losses.max(axis=0) * np.where(signs < 0, 0.9, 1.1))
    assert hypervolume(trials, point) == pytest.approx(compute_hypervolume(losses, worst), rel=1e-9)


@pytest.mark.parametrize("num", [1, 2, 3, 4])
def test_the_hypervolume_of_any_points_is_optunas(tmp_path: Path, num: int) -> None:
    """Random points with ties, and some beyond the reference point, which add nothing."""
    names = ("val/loss", "parameters", "flops", "seconds")[:num]
    rng = np.random.default_rng(num)
    for _ in range(20):
        points = rng.integers(0, 9, size=(12, num)).astype(float)
        trials = [
            Trial(number=n, outcome="complete", values={}, score=0.0, objectives=dict(zip(names, point, strict=True)))
            for n, point in enumerate(points.tolist())
        ]
        worst = np.full(num, 6.0)
        inside = points[(points < worst).all(axis=1)]
        expected = compute_hypervolume(inside, worst) if len(inside) else 0.0
        assert hypervolume(trials, dict.fromkeys(names, 6.0)) == pytest.approx(expected)


@pytest.mark.parametrize("sampler", ["tpe", {"name": "nsga2", "population": 4}])
def test_a_killed_search_of_several_objectives_goes_on_to_the_same_study(tmp_path: Path, sampler: Any) -> None:
    """Killed at every ninth poll; the trials, their values and the front are those of a search without a kill."""
    keys = {"metrics": TWO, "sampler": sampler, "trials": 12}
    whole, _ = search(make_fake_sweep(tmp_path / "whole", **keys), tmp_path / "whole" / "results")
    polls = iter(range(10**6))

    def kill() -> None:
        if next(polls) % 9 == 8:
            raise KeyboardInterrupt

    for _ in range(100):
        try:
            search(make_fake_sweep(tmp_path / "cut", **keys), tmp_path / "cut" / "results", before_poll=kill)
            break
        except KeyboardInterrupt:
            continue
    cut = trials_of(tmp_path / "cut", **keys)
    assert next(polls) > 20
    assert [(each.values, each.objectives) for each in cut] == [(each.values, each.objectives) for each in whole]


def test_nothing_is_pruned_and_a_diverged_trial_stops_no_sampler(tmp_path: Path) -> None:
    """Every trial runs to its end; one that diverged has no values and is none of the front."""
    keys = {"metrics": TWO, "trials": 14, "sampler": {"name": "tpe", "startup_trials": 3}}
    trials, _ = search(
        make_fake_sweep(tmp_path, **keys),
        tmp_path / "results",
        fails=lambda config: DIVERGED if config["optimizer"]["lr"] > 0.02 else None,
    )
    assert {each.outcome for each in trials} == {"complete", "diverged"}
    assert all(each.may_be_best for each in front(trials, ("val/accuracy", "parameters")))


def test_the_page_and_the_words_tell_the_front(tmp_path: Path, ablate: Ablate) -> None:
    """`best` says every trial of the front and how it is made again; page, text, table and figure have it."""
    keys = {"metrics": TWO, "trials": 12, "reference": {"val/accuracy": 0.2, "parameters": 10_000.0}}
    spec = str(write_spec(tmp_path, **keys))
    status, out, err = ablate(spec)
    assert status == 0
    assert "no trial is stopped early" in err
    told = [shown(folder).config["studies"]["fake"] for folder in run_folders(tmp_path / "results" / "runs")]
    assert all(each["objectives"]["val/accuracy"] == each["score"] for each in told)
    found = front(trials_of(tmp_path, **keys), ("val/accuracy", "parameters"))
    assert f"front: {len(found)} of 12 complete trials, hypervolume " in out
    assert "against val/accuracy 0.2000 and parameters 10,000" in out
    assert [line.split()[4].rstrip(",") for line in out.splitlines() if line.startswith("on the front: trial")] == [
        str(each.number) for each in found
    ]
    assert out.count("make it again: ablate reproduce") == len(found)
    scores = [each.objectives["val/accuracy"] for each in found]
    assert all(above > below for above, below in pairwise(scores))
    runtime = make_runtime(tmp_path / "results")
    with existing_study(make_fake_sweep(tmp_path, **keys), runtime) as study:
        pages = write_sweep_report(study, runtime, tmp_path / "report")
        analysis = analyse(study, runtime.store)
    assert analysis.best is None
    text = pages[1].read_text()
    assert f"Front: {len(found)} of 12 complete trials" in text
    assert "figures/front.svg" in text
    assert len((tmp_path / "report" / "tables" / "front.csv").read_text().splitlines()) == 1 + len(found)
    assert pages[0].read_text().count("on the front: val/accuracy") == len(found)


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """The networks of the fake runs cost before their training what their records say."""
    monkeypatch.setattr(before_training, "_count", lambda config, num: cost(config.model_dump(mode="json")))


@pytest.mark.parametrize("sampler", ["tpe", "random", "qmc", "cmaes"])
def test_what_is_known_to_break_a_limit_is_not_trained(tmp_path: Path, counted: None, sampler: str) -> None:
    """No run of a network that is too large begins; Optuna has the trial as pruned, with by how much it is."""
    keys = {"constraints": {"parameters": {"at_most": 6000}}, "pruner": "none", "trials": 12, "sampler": sampler}
    ended, fake = search(make_fake_sweep(tmp_path, **keys), tmp_path / "results")
    beyond = [each for each in ended if 10_000 * (1 - each.values["model.head.dropout"]) > 6000.5]
    assert 0 < len(beyond) < 12
    assert [each for each in ended if each.outcome == "infeasible"] == beyond
    assert len(fake.trained) == len(list((tmp_path / "results" / "runs").iterdir())) == 12 - len(beyond)
    for each in beyond:
        plain = study_of(tmp_path / "results").trials[each.number]
        assert plain.state.name == "PRUNED"
        assert plain.constraints == {"parameters at_most 6000": each.measured["parameters"] - 6000}
        assert (each.runs, each.shown_as, each.score) == ((), "infeasible", None)


@pytest.mark.parametrize(
    ("sampler", "limits"),
    [
        ("gp", {"parameters": {"at_most": 6000}}),
        ("nsga2", {"parameters": {"at_most": 6000}}),
        ("tpe", {"val/accuracy": {"at_least": 0.5}}),
        ("tpe", {"seconds": {"at_most": 1.0}}),
    ],
)
def test_what_only_training_tells_is_trained(
    tmp_path: Path, counted: None, sampler: str, limits: dict[str, Any]
) -> None:
    """Scores and seconds, and whatever a sampler needs complete trials for."""
    keys = {"constraints": limits, "pruner": "none", "trials": 6, "sampler": sampler}
    ended, fake = search(make_fake_sweep(tmp_path, **keys), tmp_path / "results")
    assert {each.outcome for each in ended} == {"complete"}
    assert len(fake.trained) == 6
    assert any(each.violated for each in ended)


def test_a_network_is_counted_before_its_training_as_after(tmp_path: Path) -> None:
    """The parameters of ten classes, by hand; a network that cannot be built is left to its run."""
    backbone = {"name": "bottleneck", "planes": [64], "blocks": [1], "groups": 1, "width_per_group": 64}
    keys = {"space": {"model.head.dropout": {"choice": [0.1, 0.2]}}, "constraints": {"parameters": {"at_most": 1}}}
    sweep = make_fake_sweep(tmp_path, shared={"model.backbone": backbone}, **keys)
    config, runtime, known = sweep.run_config({}, 1000), make_runtime(tmp_path), dict[str, int]()
    found = known_before(sweep, config, runtime, known)
    assert found is not None
    head = 256 * 10 + 10
    stem = found["parameters"] - head
    assert list(known.values()) == [10]
    hundred = known_before(sweep, config, runtime, dict.fromkeys(known, 100))
    assert hundred is not None
    assert hundred["parameters"] == stem + 256 * 100 + 100
    impossible = config.model_copy(update={"data": config.data.model_copy(update={"size": 0})})
    assert known_before(sweep, impossible, runtime, {impossible.data.model_dump_json(): 10}) is None


def test_a_trial_beyond_a_limit_is_told_and_never_the_best(tmp_path: Path, ablate: Ablate, counted: None) -> None:
    """The best is Optuna's own best among the feasible trials, whose constraints it reads from the study."""
    keys = {"constraints": {"parameters": {"at_most": 6000}}, "pruner": "none", "trials": 12, "sampler": "random"}
    status, out, err = ablate(str(write_spec(tmp_path, **keys)))
    assert status == 0
    trials = trials_of(tmp_path, **keys)
    beyond = [each.number for each in trials if each.measured["parameters"] > 6000]
    assert 0 < len(beyond) < 12
    assert [each.number for each in trials if each.shown_as == "infeasible"] == beyond
    plain, found = study_of(tmp_path / "results"), best(trials, maximize=True)
    assert found is not None
    assert found.number == plain.best_trial.number
    assert f"{len(beyond)} infeasible" in out
    assert "not trained" in err
    assert "(not parameters at_most 6000)" in err
    assert f"{len(beyond)} of them were never trained" in "".join(
        page.read_text() for page in pages_of(tmp_path, **keys)
    )


def test_a_limit_moves_the_sampler_as_it_moves_optunas(tmp_path: Path, counted: None) -> None:
    """With a limit TPE proposes more networks that keep to it than without."""
    keys = {"pruner": "none", "trials": 30, "sampler": {"name": "tpe", "startup_trials": 8}}
    kept = []
    for name, more in (("with", {"constraints": {"parameters": {"at_most": 4000}}}), ("without", {})):
        trials, _ = search(make_fake_sweep(tmp_path / name, **keys, **more), tmp_path / name)
        kept.append(sum(each.measured["parameters"] <= 4000 for each in trials))
    assert kept[0] > 2 * kept[1]


def test_an_infeasible_trial_is_no_standard_for_the_pruner(tmp_path: Path) -> None:
    """Networks that are too good do best; those that may win are stopped by each other, not by these."""
    keys = {
        "constraints": {"val/accuracy": {"at_most": 0.5}},
        "pruner": {"name": "median", "startup_trials": 1, "warmup_epochs": 0},
        "space": {"model.head.dropout": {"choice": [0.1, 0.2, 0.8]}},
        "sampler": "grid",
        "trials": None,
    }
    trials, _ = search(
        make_fake_sweep(tmp_path, **keys),
        tmp_path / "results",
        score=lambda config: 1.0 - config["model"]["head"]["dropout"],
    )
    assert [each.shown_as for each in trials] == ["infeasible", "infeasible", "complete"]


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"metrics": ["val/accuracy"]}, "takes two objectives or more"),
        ({"metrics": ["val/accuracy", "val/accuracy", "flops"]}, "names an objective twice"),
        ({"metrics": ["parameters", "flops"]}, "costs alone need no training"),
        ({"metrics": ["val/accuracy", "parameter"]}, "did you mean 'parameters'?"),
        ({"metrics": ["val/accuracy minimise", "flops"]}, "val/accuracy is there to maximise"),
        ({"metrics": ["test/accuracy", "flops"]}, "would choose by the test images"),
        ({"metrics": TWO, "metric": "val/loss"}, "stands beside `metrics:`"),
        ({"metrics": TWO, "pruner": "median"}, "a pruner compares one metric by epoch"),
        ({"metrics": TWO, "until": {"patience": 3}}, "has no best score to wait for"),
        ({"metrics": TWO, "sampler": "cmaes"}, "cmaes improves one metric"),
        ({"metrics": TWO, "reference": {"val/accuracy": 0.1}}, "names the objectives, each once"),
        ({"reference": {"val/accuracy": 0.1}}, "one metric has none"),
        ({"constraints": {"parameters": {}}}, "names no limit"),
        ({"constraints": {"parameters": {"at_most": 1, "at_least": 2}}}, "nothing is at least 2 and at most 1"),
        ({"constraints": {"params": {"at_most": 1}}}, "'params' is no measure"),
        ({"constraints": {"val/accuracy": {"at_least": 90}}}, "between 0 and 1"),
    ],
)
def test_objectives_and_limits_that_say_nothing_are_one_line(
    tmp_path: Path, ablate: Ablate, keys: dict[str, Any], message: str
) -> None:
    """Exit status 2, one line, no traceback."""
    status, _, err = ablate(str(write_spec(tmp_path, **keys)))
    assert status == 2
    assert message in err
    assert len(err.splitlines()) == 1


def test_a_study_goes_on_only_with_its_own_objectives_and_limits(tmp_path: Path, ablate: Ablate) -> None:
    """Another front, or another limit, is another study."""
    ablate(str(write_spec(tmp_path, metrics=TWO, trials=2)))
    assert "maximize" in ablate(str(write_spec(tmp_path, metric="val/accuracy", trials=2)))[2]
    status, _, err = ablate(str(write_spec(tmp_path, metrics=TWO, trials=2, constraints={"flops": {"at_most": 9}})))
    assert status == 2
    assert "constraints.flops.at_most was None and is now 9" in err
