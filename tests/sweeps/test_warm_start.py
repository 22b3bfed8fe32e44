"""Does a search that begins with earlier trials learn from those that fit, and count none of them as its own?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState, create_trial

from ablation_suite.core.runs.store import run_folders
from ablation_suite.sweeps.session import existing_study, run_sweep
from ablation_suite.sweeps.trial import Trial
from tests.sweeps.conftest import Ablate
from tests.sweeps.fake import (
    BASE,
    SPACE,
    Fake,
    Silent,
    make_fake_sweep,
    make_runtime,
    plain_storage,
    search,
    write_spec,
)

LR, DROPOUT = "optimizer.lr", "model.head.dropout"
WIDE = {LR: {"log": [1e-6, 1.0]}, DROPOUT: {"uniform": [0.0, 0.95]}}
NARROW = {LR: {"log": [1e-3, 1e-1]}, DROPOUT: {"uniform": [0.0, 0.9]}}


def plain_study(folder: Path, name: str) -> optuna.Study:
    journal = JournalStorage(JournalFileBackend(str(folder / "results" / "sweeps" / name / "journal.log")))
    return optuna.load_study(study_name=name, storage=journal)


def earlier(folder: Path, **keys: Any) -> list[Trial]:
    """The trials of a search named `old`, in the results that the next one uses."""
    sweep = make_fake_sweep(folder, sweep="old", **{"trials": 12, "pruner": "none", "sampler": "random", **keys})
    return search(sweep, folder / "results")[0]


def begin(ablate: Ablate, folder: Path, source: str, **keys: Any) -> tuple[int, str, str]:
    """`ablate sweep --from` with one trial of its own."""
    spec = write_spec(folder, **{"sweep": "new", "trials": 1, "pruner": "none", "sampler": "random", **keys})
    return ablate(str(spec), "--from", source)


@pytest.mark.parametrize("source", ["old", "results/sweeps/old/journal.log", "results/sweeps/old"])
@pytest.mark.parametrize("space", [WIDE, NARROW])
def test_what_lies_in_the_new_ranges_is_taken_over_with_its_score(
    tmp_path: Path, ablate: Ablate, monkeypatch: pytest.MonkeyPatch, source: str, space: dict[str, Any]
) -> None:
    """By name, file or folder: those in the ranges as complete trials of Optuna, the others counted with the reason."""
    monkeypatch.chdir(tmp_path)
    old = earlier(tmp_path)
    low, high = space[LR]["log"]
    inside = [each for each in old if low <= each.values[LR] <= high]
    status, out, err = begin(ablate, tmp_path, source, space=space)
    assert status == 0
    assert f"{len(inside)} of 12 trials inform this search" in err
    if space is NARROW:
        assert 0 < len(inside) < 12
        assert f"{12 - len(inside)} left out: optimizer.lr lies outside its range" in err
    study = plain_study(tmp_path, "new")
    taken = [each for each in study.trials if "imported_from" in each.user_attrs]
    assert [(each.params, each.value) for each in taken] == [(each.values, each.score) for each in inside]
    assert all(each.distributions[LR] == FloatDistribution(low, high, log=True) for each in taken)
    assert out.startswith(f"new: {len(inside)} imported, 1 complete")


def test_they_inform_the_sampler_and_count_for_nothing_else(tmp_path: Path) -> None:
    """TPE begins where a plain Optuna study with the same trials would; the number of trials and the rule are ours."""
    old = earlier(tmp_path)
    keys: dict[str, Any] = {"sweep": "new", "pruner": "none", "sampler": {"name": "tpe", "startup_trials": 5}}
    sweep = make_fake_sweep(tmp_path, trials=3, until={"score": 0.9}, **keys)
    runtime = make_runtime(tmp_path / "results")
    ours = run_sweep(sweep, runtime, Silent(), executor=Fake(runtime.store), source="old")
    assert max(each.score or 0.0 for each in old) >= 0.9
    assert not any(each.is_imported for each in ours)
    with existing_study(sweep, runtime) as study:
        assert sum(each.is_imported for each in study.trials()) >= 11
        last = ours[-1]
        reference = optuna.create_study(
            direction="maximize", sampler=optuna.samplers.TPESampler(seed=study.key(0, last.number), n_startup_trials=5)
        )
        for each in study.study.trials[: last.number]:
            reference.add_trial(each)
        ranges: dict[str, Any] = {LR: FloatDistribution(1e-5, 1e-1, log=True), DROPOUT: FloatDistribution(0.0, 0.9)}
        assert reference.ask(ranges).params == last.values


def test_the_best_may_be_an_earlier_one_whose_runs_are_here_and_no_other(tmp_path: Path, ablate: Ablate) -> None:
    """With its runs it is made again by a command; without them its score is told and it is not the best."""
    old = earlier(tmp_path)
    top = max(old, key=lambda each: each.score or 0.0)
    _, out, _ = begin(ablate, tmp_path, "old")
    assert "best: trial" in out
    assert f"(imported), val/accuracy {top.score:.4f}" in out
    assert f"make it again: ablate reproduce {top.runs[0]}" in out
    for folder in run_folders(tmp_path / "results" / "runs"):
        folder.path.rename(folder.path.with_suffix(".away"))
    _, out, _ = begin(ablate, tmp_path, "old", sweep="other")
    assert "(imported), val" not in out
    assert f"was told val/accuracy {top.score:.4f}; no run stands behind it" in out


@pytest.mark.parametrize(
    ("keys", "reason"),
    [
        ({"metric": "val/loss"}, ""),
        ({"shared": {"epochs": 3}}, "12 left out: trained otherwise: epochs is not 3 there"),
        ({"seeds": 2}, "12 left out: other seeds, 1 per trial"),
        ({"space": {"batch_size": {"int": [4, 8]}}}, "12 left out: batch_size lies outside its range"),
        ({"space": {"optimizer": {"choice": ["sgd", "rmsprop"]}}}, "12 left out: optimizer has another level there"),
        ({"space": {LR: SPACE[LR]}}, "left out: trained otherwise: model.head.dropout is not 0.2 there"),
    ],
)
def test_each_difference_that_parts_two_searches_is_told(
    tmp_path: Path, ablate: Ablate, keys: dict[str, Any], reason: str
) -> None:
    """Another metric is read from the records of the runs; all else that differs is a reason to leave a trial out."""
    earlier(tmp_path)
    _, _, err = begin(ablate, tmp_path, "old", **keys)
    assert reason in err
    assert ("12 of 12 trials inform" in err) == (not reason)


def test_another_metric_without_records_is_a_reason(tmp_path: Path, ablate: Ablate) -> None:
    """And so are trials that failed or are under way there."""
    earlier(tmp_path, trials=4)
    study = plain_study(tmp_path, "old")
    study.ask()
    study.add_trial(create_trial(state=TrialState.FAIL))
    for folder in run_folders(tmp_path / "results" / "runs"):
        folder.path.rename(folder.path.with_suffix(".away"))
    _, _, err = begin(ablate, tmp_path, "old", metric="val/loss")
    assert "0 of 6 trials inform this search" in err
    assert "4 left out: another metric, val/accuracy" in err
    assert "1 left out: running there" in err
    assert "1 left out: failed there" in err


def test_stopped_and_diverged_trials_are_taken_over_as_such(tmp_path: Path, ablate: Ablate) -> None:
    """With what they had reached, from which samplers and pruners learn."""
    old = earlier(tmp_path, pruner="halving", trials=12)
    assert any(each.outcome == "pruned" for each in old)
    begin(ablate, tmp_path, "old", pruner="halving")
    taken = [each for each in plain_study(tmp_path, "new").trials if "imported_from" in each.user_attrs]
    assert [(each.state.name.lower(), each.intermediate_values) for each in taken if each.state.name == "PRUNED"] == [
        ("pruned", each.curve) for each in old if each.outcome == "pruned"
    ]


def test_the_runs_of_the_store_may_be_begun_with(tmp_path: Path, ablate: Ablate) -> None:
    """Whoever trained them; two seeds of the same settings are one trial, and what another base trained is left out."""
    old = earlier(tmp_path, seeds=2, trials=5)
    search(make_fake_sweep(tmp_path, sweep="else", trials=2, shared={"epochs": 2}), tmp_path / "results")
    _, _, err = begin(ablate, tmp_path, "runs", seeds=2)
    assert "5 of 7 trials inform this search" in err
    assert "2 left out: trained otherwise: epochs is not 4 there" in err
    taken = [each for each in plain_study(tmp_path, "new").trials if "imported_from" in each.user_attrs]
    assert sorted(each.value or 0.0 for each in taken) == sorted(each.score or 0.0 for each in old)
    assert all(len(each.user_attrs["runs"]) == 2 for each in taken)


def test_one_search_serves_another_with_more_objectives_and_limits(tmp_path: Path, ablate: Ablate) -> None:
    """What its runs measured is read from their records, and what goes beyond the limit is told as such."""
    old = earlier(tmp_path)
    keys = {"metrics": ["val/accuracy", "parameters"], "constraints": {"parameters": {"at_most": 6000}}}
    begin(ablate, tmp_path, "old", pruner=None, **keys)
    taken = [each for each in plain_study(tmp_path, "new").trials if "imported_from" in each.user_attrs]
    assert [each.values for each in taken] == [[each.score, each.measured["parameters"]] for each in old]
    assert [each.constraints["parameters at_most 6000"] for each in taken] == [
        each.measured["parameters"] - 6000 for each in old
    ]


def first_of_ours(folder: Path, sampler: Any) -> tuple[optuna.trial.FrozenTrial, list[optuna.trial.FrozenTrial], int]:
    """The first trial that a search begun with 30 others proposes, those before it, and the key of its generator."""
    earlier(folder, trials=30)
    runtime = make_runtime(folder / "results")
    sweep = make_fake_sweep(folder, sweep="new", sampler=sampler, trials=1, pruner="none")
    (ours,) = run_sweep(sweep, runtime, Silent(), executor=Fake(runtime.store), source="old")
    with existing_study(sweep, runtime) as study:
        trials = study.study.trials
        return trials[ours.number], trials[: ours.number], study.key(0, ours.number)


def test_a_database_that_is_not_there_is_told_and_not_made(tmp_path: Path, ablate: Ablate) -> None:
    """Looking writes nothing, also where SQLite would begin a file."""
    url = f"sqlite:///{tmp_path}/nowhere.db?timeout=1"
    told = f"storage {url}: no such file yet; `ablate sweep SPEC` begins it\n"
    status, _, err = begin(ablate, tmp_path, url)
    assert (status, err) == (2, told)
    status, _, err = ablate("status", str(write_spec(tmp_path)), "--storage", url)
    assert (status, err) == (2, told)
    assert not (tmp_path / "nowhere.db").exists()


@pytest.mark.parametrize("trials", [1, 9])
def test_cmaes_says_that_few_earlier_trials_do_not_move_it(tmp_path: Path, ablate: Ablate, trials: int) -> None:
    """It begins with the best tenth of them, of which ten are the fewest; the search goes on as without them."""
    pytest.importorskip("cmaes")
    num_inside = len([each for each in earlier(tmp_path, trials=trials) if 1e-6 <= each.values[LR] <= 1.0])
    status, out, err = begin(ablate, tmp_path, "old", space=WIDE, sampler="cmaes", trials=4)
    assert status == 0, err
    assert f"CMA-ES begins with 10 complete trials or more, so that these {num_inside} do not move it" in err
    assert "4 complete" in out


def test_cmaes_passes_over_foreign_trials_outside_its_space(tmp_path: Path) -> None:
    """Plain Optuna may add what has other settings or lies beyond a range, however many of it."""
    pytest.importorskip("cmaes")
    keys: dict[str, Any] = {"sweep": "new", "sampler": "cmaes", "pruner": "none"}
    search(make_fake_sweep(tmp_path, trials=1, **keys), tmp_path / "results")
    study = plain_study(tmp_path, "new")
    kinds = {LR: FloatDistribution(1e-9, 1e3, log=True), DROPOUT: FloatDistribution(0.0, 1.0)}
    for k in range(12):
        params = {LR: 10.0 ** (2 - k % 2), DROPOUT: 0.5} if k < 6 else {LR: 1e-3}
        distributions = {path: kinds[path] for path in params}
        study.add_trial(create_trial(params=params, distributions=distributions, value=0.5))
    ended, _ = search(make_fake_sweep(tmp_path, trials=5, **keys), tmp_path / "results")
    assert [each.outcome for each in ended] == ["complete"] * 4


def test_cmaes_begins_as_optunas_does_with_source_trials(tmp_path: Path) -> None:
    """Its first distribution is that of WS-CMA-ES (Nomura et al. 2021) around the best of the others."""
    pytest.importorskip("cmaes")
    ours, before, key = first_of_ours(tmp_path, {"name": "cmaes", "population": 6})
    ranges: dict[str, Any] = {LR: FloatDistribution(1e-5, 1e-1, log=True), DROPOUT: FloatDistribution(0.0, 0.9)}
    found = []
    for source in (before, None):
        sampler = optuna.samplers.CmaEsSampler(seed=key, popsize=6, source_trials=source)
        reference = optuna.create_study(direction="maximize", sampler=sampler)
        reference.add_trials(before)
        found.append(reference.ask(ranges).params)
    assert found[0] == pytest.approx(ours.params)
    assert found[1] != pytest.approx(ours.params)


def test_the_others_are_the_first_generation_of_a_genetic_algorithm(tmp_path: Path) -> None:
    """The first trial of ours is of the second generation, whose parents are the best of them."""
    ours, before, _ = first_of_ours(tmp_path, {"name": "nsga2", "population": 6})
    assert ours.system_attrs["NSGAIISampler:generation"] == 1
    good = sorted((each.value for each in before if each.value is not None), reverse=True)[:6]
    near = [each for each in before if each.value in good]
    assert min(each.params[LR] for each in near) <= ours.params[LR] <= max(each.params[LR] for each in near)


@pytest.mark.parametrize("after", [0, 1, 3])
def test_a_kill_while_trials_are_taken_over_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    """The next call takes the others over, without being told again, and proposes the same trials."""
    earlier(tmp_path, trials=6)
    runtime = make_runtime(tmp_path / "results")
    sweeps = [make_fake_sweep(tmp_path, sweep=name, pruner="none", trials=3) for name in ("new", "cut")]
    run_sweep(sweeps[0], runtime, Silent(), executor=Fake(runtime.store), source="old")
    add_trial, added = optuna.Study.add_trial, []

    def killed(study: optuna.Study, trial: Any) -> None:
        if len(added) == after:
            raise KeyboardInterrupt
        added.append(trial)
        add_trial(study, trial)

    monkeypatch.setattr(optuna.Study, "add_trial", killed)
    with pytest.raises(KeyboardInterrupt):
        run_sweep(sweeps[1], runtime, Silent(), executor=Fake(runtime.store), source="old")
    monkeypatch.setattr(optuna.Study, "add_trial", add_trial)
    run_sweep(sweeps[1], runtime, Silent(), executor=Fake(runtime.store))
    whole, cut = (plain_study(tmp_path, each.name).trials for each in sweeps)
    ours = [[each for each in trials if "imported_from" in each.user_attrs] for trials in (whole, cut)]
    assert [each.params for each in ours[0]] == [each.params for each in ours[1]]
    assert len(whole) == len(cut)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("oldd", "no such study or file (did you mean 'old'?)"),
        ("fake", "is the study that would begin with it"),
        ("plain.db", "was not made by `ablate sweep`"),
        ("two.db", "holds 2 studies, a, b; write two.db#NAME"),
        ("two.db#c", "no study 'c'"),
        ("sweep.yaml", "the journal is damaged"),
        ("sqlite://user:secret@/x.db", "storage"),
    ],
)
def test_what_cannot_be_begun_with_is_one_line(
    tmp_path: Path, ablate: Ablate, monkeypatch: pytest.MonkeyPatch, source: str, message: str
) -> None:
    """Exit status 2, no traceback, no password, and nothing was begun."""
    monkeypatch.chdir(tmp_path)
    earlier(tmp_path, trials=1)
    for file, names in (("plain.db", ["only"]), ("two.db", ["a", "b"])):
        with plain_storage(f"sqlite:///{file}") as storage:
            for name in names:
                optuna.create_study(study_name=name, storage=storage)
    status, _, err = ablate(str(write_spec(tmp_path)), "--from", source)
    assert status == 2
    assert message in err
    assert len(err.splitlines()) == 1
    assert "secret" not in err


def test_the_page_tells_what_was_begun_with(tmp_path: Path, ablate: Ablate) -> None:
    """How many trials of which study, and what was left out."""
    earlier(tmp_path)
    begin(ablate, tmp_path, "old", space=NARROW)
    spec = write_spec(tmp_path, sweep="new", trials=1, pruner="none", sampler="random", space=NARROW)
    ablate("report", str(spec))
    for name in ("report.html", "report.md"):
        text = (tmp_path / "results" / "sweeps" / "new" / "report" / name).read_text()
        assert "12 trials inform this search" in text
        assert "lies outside its range" in text


def test_the_base_is_what_both_have(tmp_path: Path, ablate: Ablate) -> None:
    """A setting that was searched there and stands in the base here fits where it was the same."""
    old = earlier(tmp_path, space={LR: SPACE[LR], "epochs": {"choice": [2, BASE["epochs"]]}})
    same = sum(each.values["epochs"] == BASE["epochs"] for each in old)
    assert 0 < same < 12
    assert f"--from old: {same} of 12 trials" in begin(ablate, tmp_path, "old")[2]


def test_a_name_is_looked_up_in_the_database_of_the_search(tmp_path: Path, ablate: Ablate) -> None:
    """With `--storage` the earlier study of that name lies in the same database."""
    url = f"sqlite:///{tmp_path / 'studies.db'}"
    old = make_fake_sweep(tmp_path, sweep="old", trials=3, pruner="none", sampler="random")
    search(old, tmp_path / "results", url=url)
    spec = str(write_spec(tmp_path, sweep="new", trials=1, pruner="none", sampler="random"))
    assert "3 of 3 trials inform this search" in ablate(spec, "--from", "old", "--storage", url)[2]
