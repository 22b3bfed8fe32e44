"""Does tuning give every arm the same chance, and is what it found used only where it holds?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click.testing
import pytest

from ablation_suite.ablations.plan import jobs, make_plans
from ablation_suite.ablations.resolve import resolve
from ablation_suite.ablations.tuned import read_tuned, tuned_arms, tuned_path
from ablation_suite.commands.tune import make_searches
from ablation_suite.core.config.schema import SchemaError, dump, load
from ablation_suite.core.scheduling import executors
from ablation_suite.sweeps.front import best_in
from ablation_suite.sweeps.session import existing_study
from ablation_suite.sweeps.trial import Trial
from ablation_suite.training_verbs import tune
from tests.sweeps.fake import BASE, SPACE, Fake, make_runtime, search, write_spec
from tests.sweeps.test_objectives import TWO

LR, DROPOUT = "optimizer.lr", "model.head.dropout"
ARMS = {"decoupled": {"optimizer": {"name": "adamw", "lr": 1e-2}}, "longer": {"epochs": 6}}


def write_ablation(folder: Path, arms: dict[str, Any] = ARMS, **keys: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "base.yaml").write_text(dump(BASE))
    spec = {"ablation": "asked", "question": "Is it?", "base": "base.yaml", "arms": arms, **keys}
    path = folder / "asked.yaml"
    path.write_text(dump(spec))
    return path


def run_tune(monkeypatch: pytest.MonkeyPatch, folder: Path, spec: Path, sweep: Path, *more: str, **fake: Any) -> int:
    """`ablate tune SPEC --space SWEEP` on a fake executor, and its exit status."""
    monkeypatch.setattr(executors, "make_executor", lambda runtime: Fake(runtime.store, **fake))
    words = [str(spec), "--space", str(sweep), "--results", str(folder), "--tracker", "off", *more]
    result = click.testing.CliRunner().invoke(tune, words, standalone_mode=False, catch_exceptions=False)
    return int(result.return_value)


def test_every_arm_gets_the_same_first_trials(tmp_path: Path) -> None:
    """Until the sampler has learned something, all arms try the same values, the baseline's own first."""
    spec, sweep = write_ablation(tmp_path), write_spec(tmp_path, trials=8, pruner="none")
    _, _, sweeps = make_searches(spec, sweep)
    tried = []
    for each in sweeps.values():
        trials, _ = search(each, tmp_path / "results")
        tried.append([trial.values for trial in trials])
    assert tried[0] == tried[1] == tried[2]
    assert tried[0][0] == {LR: 1e-3, DROPOUT: 0.2}
    assert len(tried[0]) == 8


def test_the_found_values_are_written_and_put_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file holds each arm's best trial; arms get their own values, or all of them the baseline's."""
    spec, sweep = write_ablation(tmp_path), write_spec(tmp_path, trials=6, pruner="none")
    assert run_tune(monkeypatch, tmp_path / "results", spec, sweep) == 0
    ablation, arms = resolve(spec)
    tuned = read_tuned(tuned_path(tmp_path / "results", "asked"), ablation, arms)
    assert list(tuned.arms) == list(arms)
    for name, each in make_searches(spec, sweep)[2].items():
        with existing_study(each, make_runtime(tmp_path / "results")) as study:
            scores = {trial.number: trial.score for trial in study.trials()}
        assert tuned.arms[name].score == max(filter(None, scores.values()))
        assert scores[tuned.arms[name].trial] == tuned.arms[name].score
    own = tuned_arms(arms, tuned)
    shared = tuned_arms(arms, tuned, values_of="baseline")
    for name, config in own.items():
        assert config.optimizer.lr == tuned.arms[name].values[LR]
        assert shared[name].optimizer.lr == tuned.arms[ablation.baseline].values[LR]
    assert own["decoupled"].optimizer.name == "adamw"
    assert own["longer"].epochs == 6


@pytest.mark.parametrize(("objective", "end"), [("val/accuracy", max), ("parameters", min)])
def test_an_arm_takes_the_named_end_of_its_front(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, objective: str, end: Any
) -> None:
    """By hand: the largest accuracy, or the fewest parameters, that a trial of the arm has within the limits."""
    limits = {"val/loss": {"at_most": 0.3}}
    spec, sweep = write_ablation(tmp_path), write_spec(tmp_path, trials=8, metrics=TWO, constraints=limits)
    assert run_tune(monkeypatch, tmp_path / "results", spec, sweep, "--front", objective) == 0
    ablation, arms = resolve(spec)
    tuned = read_tuned(tuned_path(tmp_path / "results", "asked"), ablation, arms)
    assert (tuned.metric, tuned.objectives) == (objective, ("val/accuracy", "parameters"))
    for name, each in make_searches(spec, sweep, (), objective)[2].items():
        with existing_study(each, make_runtime(tmp_path / "results")) as study:
            inside = [trial for trial in study.trials() if trial.measured["val/loss"] <= 0.3]
            assert 0 < len(inside) < 8
        assert tuned.arms[name].score == end(trial.measured[objective] for trial in inside)


def test_equals_of_a_front_are_told_apart_by_the_other_objectives() -> None:
    """Two with the same parameters: the more accurate one; two that are alike: the earlier."""
    points = [(0.5, 10.0), (0.7, 10.0), (0.7, 10.0), (0.9, 20.0)]
    trials = [
        Trial(number=index, outcome="complete", values={}, score=a, objectives={"val/accuracy": a, "parameters": p})
        for index, (a, p) in enumerate(points)
    ]
    found = [best_in(name, trials, ("val/accuracy", "parameters")) for name in ("parameters", "val/accuracy")]
    assert [each.number for each in found if each] == [1, 3]
    assert best_in("parameters", [], ("val/accuracy", "parameters")) is None


@pytest.mark.parametrize(
    ("keys", "front", "message"),
    [
        ({"metrics": TWO}, None, "name the point of the front: --front val/accuracy"),
        ({"metrics": TWO}, "parameter", "is no objective of {} (did you mean 'parameters'?)"),
        ({}, "val/accuracy", "--front: {} improves one metric alone"),
    ],
)
def test_a_front_without_a_point_is_refused(
    tmp_path: Path, keys: dict[str, Any], front: str | None, message: str
) -> None:
    """Several objectives need a named end of the front, and one metric has none."""
    sweep = write_spec(tmp_path / "sweep", **keys)
    with pytest.raises(SchemaError) as caught:
        make_searches(write_ablation(tmp_path), sweep, (), front)
    assert message.format(sweep) in str(caught.value)


def test_stale_values_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a change of the base, of an arm, or of the seeds, the file is an error that says what to do."""
    spec, sweep = write_ablation(tmp_path), write_spec(tmp_path, trials=2)
    run_tune(monkeypatch, tmp_path / "results", spec, sweep)
    place = tuned_path(tmp_path / "results", "asked")
    ablation, arms = resolve(spec, ("batch_size=32",))
    with pytest.raises(SchemaError) as caught:
        read_tuned(place, ablation, arms)
    assert len(caught.value.faults) == 3
    assert "is stale: the arm's settings are not those that were tuned" in str(caught.value)
    with pytest.raises(SchemaError, match="1000 is a seed of tuning"):
        read_tuned(place, *resolve(spec, ("seeds=[0, 1000]",)))
    grown = write_ablation(tmp_path, {**ARMS, "wider": {"batch_size": 8}})
    with pytest.raises(SchemaError, match=r"arms\.wider: is missing"):
        read_tuned(place, *resolve(grown))
    place.unlink()
    with pytest.raises(SchemaError, match="no such file; `ablate tune"):
        read_tuned(place, ablation, arms)


def test_results_change_the_meaning_of_no_spec_that_did_not_ask(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tuning leaves the spec's folder and its plans alone; `--tuned` or `tuned:` takes the values up, for good."""
    spec, sweep = write_ablation(tmp_path / "specs"), write_spec(tmp_path, trials=2)
    runtime = make_runtime(tmp_path / "results")
    before = sorted(spec.parent.iterdir()), jobs(make_plans([str(spec)], runtime))
    assert run_tune(monkeypatch, tmp_path / "results", spec, sweep) == 0
    assert (sorted(spec.parent.iterdir()), jobs(make_plans([str(spec)], runtime))) == before
    taken = jobs(make_plans([str(spec)], runtime, tuned=True))
    names = {name for job in taken.values() for name in job["labels"]["ablations"]}
    assert names == {"asked-baseline-values", "asked-own-values"}
    for job in taken.values():  # its own command makes the same runs again
        assert set(jobs(make_plans([job["labels"]["spec"]], runtime, tuple(job["labels"]["overrides"])))) == set(taken)
    with open(spec, "a") as file:
        file.write("tuned: ../results/tuned/asked.yaml\n")
    assert set(jobs(make_plans([str(spec)], runtime))) == set(taken)


@pytest.mark.parametrize(
    ("ablation", "sweep", "message"),
    [
        ({"arms": {"faster": {LR: 0.1}}}, {}, "changes optimizer.lr, which the space of the search would change again"),
        ({"seeds": [0, 1000]}, {}, "1000 is a seed of tuning"),
        ({}, {"trials": None, "hours": 1.0}, "arms get equal trials"),
        ({}, {"until": {"patience": 5}}, "arms get equal trials; a rule would end"),
        ({}, {"space": {**SPACE, "optimizer.momentum": {"uniform": [0, 0.9]}}}, "(in arm 'decoupled')"),
    ],
)
def test_an_unfair_search_is_refused(
    tmp_path: Path, ablation: dict[str, Any], sweep: dict[str, Any], message: str
) -> None:
    """An arm whose factor is searched, a shared seed, unequal budgets, a setting that an arm lacks: one clear fault."""
    spec = write_ablation(tmp_path, **ablation)
    with pytest.raises(SchemaError) as caught:
        make_searches(spec, write_spec(tmp_path / "sweep", **sweep))
    assert message in str(caught.value)


def test_an_arm_without_a_result_is_no_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where every trial of an arm fails, the exit status is 1 and no file is written; repaired, it goes on."""
    spec, sweep = write_ablation(tmp_path), write_spec(tmp_path, trials=2)

    def fails(config: dict[str, Any]) -> str | None:
        return "bad configuration" if config["optimizer"]["name"] == "adamw" else None

    assert run_tune(monkeypatch, tmp_path / "results", spec, sweep, fails=fails) == 1
    place = tuned_path(tmp_path / "results", "asked")
    assert not place.exists()
    assert run_tune(monkeypatch, tmp_path / "results", spec, sweep) == 0
    assert load(place).data["arms"]["decoupled"]["score"] > 0
