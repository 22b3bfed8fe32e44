"""Does the CMA-ES of the menu propose what Optuna's would, and say where it cannot?"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ablation_suite.sweeps import faults
from tests.sweeps.conftest import Ablate
from tests.sweeps.fake import SPACE, make_fake_sweep, search, write_spec

pytest.importorskip("cmaes")
LR, DROPOUT = "optimizer.lr", "model.head.dropout"


def test_cmaes_comes_nearer_than_chance(tmp_path: Path) -> None:
    """Over its last ten trials of sixty the mean score is far above that of random ones, and all lie in the ranges."""
    means = []
    for sampler in ("cmaes", "random"):
        sweep = make_fake_sweep(tmp_path / sampler, sampler=sampler, trials=60, pruner="none")
        trials, _ = search(sweep, tmp_path / sampler)
        assert all(sweep.space.outside(each.values) == {} for each in trials)
        means.append(np.mean([each.score or 0.0 for each in trials[-10:]]))
    assert means[0] > means[1] + 0.1


def test_the_generations_are_those_of_optunas_sampler(tmp_path: Path) -> None:
    """By its own notes in the study: after one random trial each six are one generation, whole numbers included."""
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    space = {**SPACE, "batch_size": {"int": [16, 64], "step": 16}}
    keys: dict[str, Any] = {"sampler": {"name": "cmaes", "population": 6}, "trials": 19, "space": space}
    search(make_fake_sweep(tmp_path, pruner="none", **keys), tmp_path / "results")
    journal = JournalStorage(JournalFileBackend(str(tmp_path / "results" / "sweeps" / "fake" / "journal.log")))
    trials = optuna.load_study(study_name="fake", storage=journal).trials
    noted = [each.system_attrs.get("cma:generation") for each in trials]
    assert noted == [None, *[0] * 6, *[1] * 6, *[2] * 6]
    assert {each.params["batch_size"] for each in trials} <= {16, 32, 48, 64}


@pytest.mark.parametrize("pruner", ["none", "halving"])
def test_a_killed_cmaes_goes_on_to_the_same_study(tmp_path: Path, pruner: str) -> None:
    """Killed at every seventh poll: the same trials as without a kill."""
    keys: dict[str, Any] = {"sampler": {"name": "cmaes", "population": 4}, "trials": 14, "pruner": pruner}
    whole, _ = search(make_fake_sweep(tmp_path / "whole", **keys), tmp_path / "whole")
    polls = iter(range(10**6))
    cut: dict[int, Any] = {}

    def kill() -> None:
        if next(polls) % 7 == 6:
            raise KeyboardInterrupt

    from ablation_suite.sweeps.session import existing_study
    from tests.sweeps.fake import make_runtime

    for _ in range(100):
        try:
            search(make_fake_sweep(tmp_path / "cut", **keys), tmp_path / "cut", before_poll=kill)
            break
        except KeyboardInterrupt:
            continue
    with existing_study(make_fake_sweep(tmp_path / "cut", **keys), make_runtime(tmp_path / "cut")) as study:
        cut = {each.number: (each.values, each.score) for each in study.trials()}
    assert next(polls) > 14
    assert cut == {each.number: (each.values, each.score) for each in whole}


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ({LR: {"log": [1e-5, 1e-1]}, "optimizer": {"choice": ["adam", "sgd"]}}, "which has no levels"),
        ({LR: {"log": [1e-5, 1e-1]}}, "needs two or more; use tpe"),
    ],
)
def test_what_cmaes_cannot_search_is_refused_with_the_reason(
    tmp_path: Path, ablate: Ablate, space: dict[str, Any], message: str
) -> None:
    """One line, exit status 2."""
    status, _, err = ablate(str(write_spec(tmp_path, space=space, sampler="cmaes")))
    assert status == 2
    assert message in err
    assert len(err.splitlines()) == 1


def test_without_its_package_cmaes_says_how_to_get_it(
    tmp_path: Path, ablate: Ablate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And names what needs none."""
    monkeypatch.setattr(faults, "find_spec", lambda name: None if name == "cmaes" else importlib.util.find_spec(name))
    status, _, err = ablate(str(write_spec(tmp_path, sampler="cmaes")))
    assert status == 2
    assert "pip install 'ablation-suite[cmaes]'; nsga2 needs none" in err
