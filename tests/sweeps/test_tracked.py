"""Does a tracker show trials as trials? Asked of the run folders of searches, and of a stand-in for W&B."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path

import pytest

from ablation_suite.commands.sync import sync_runs
from ablation_suite.core.runs.run_folder import RunFolder
from ablation_suite.core.runs.store import run_folders
from ablation_suite.core.tracking.projection import Shown, shown
from ablation_suite.core.tracking.wandb import open_tracker
from ablation_suite.sweeps.session import existing_study
from ablation_suite.sweeps.trial import Trial
from tests.core.conftest import server  # noqa: F401 (a fixture)
from tests.core.wandb_server import WandbServer
from tests.sweeps.fake import make_fake_sweep, make_runtime, search


def searched(folder: Path, **keys: object) -> tuple[list[Trial], list[Shown]]:
    """Every trial of a search on runs that train nothing, and what a tracker is shown of every run."""
    sweep = make_fake_sweep(folder, **keys)
    search(sweep, folder, size=3)
    with existing_study(sweep, make_runtime(folder)) as study:
        trials = study.trials()
    return trials, [shown(each) for each in run_folders(make_runtime(folder).store)]


def test_a_sweep_of_20_trials_and_2_seeds_groups_into_20(tmp_path: Path) -> None:
    """By W&B's group and by `config.trial`; each group has the trial's parameters, seeds, outcome and mean score."""
    trials, runs = searched(tmp_path, trials=20, seeds=2, question="Which learning rate?")
    assert len(trials) == 20
    assert {trial.outcome for trial in trials} == {"complete", "pruned"}
    groups: dict[str, list[Shown]] = defaultdict(list)
    for run in runs:
        groups[str(run.group)].append(run)
    assert len(groups) == len({run.config["trial"] for run in runs}) == 20
    for trial in trials:
        group = groups[f"fake-trial-{trial.number}"]
        assert {run.run_id for run in group} <= set(trial.runs)
        assert len(group) == (2 if trial.outcome == "complete" else 1)
        assert len({run.config["seed"] for run in group}) == len(group)
        for run in group:
            assert run.config["study"] == "fake"
            assert run.config["trial"] == trial.number
            assert run.config["params"] == {
                "lr": trial.values["optimizer.lr"],
                "dropout": trial.values["model.head.dropout"],
            }
            assert run.config["outcome"] == trial.outcome
            assert run.config.get("score") == trial.score
            assert not run.has_failed
            assert run.notes == "Which learning rate?"


def test_30_trials_have_few_tags(tmp_path: Path) -> None:
    """At most eight distinct ones, none longer than W&B takes."""
    _, runs = searched(tmp_path, trials=30)
    tags = {tag for run in runs for tag in run.tags}
    assert 1 <= len(tags) <= 8
    assert max(map(len, tags)) <= 64


def test_a_pruned_trial_is_finished_at_wandb(server: WandbServer, tmp_path: Path) -> None:  # noqa: F811
    """Live, the search labels the run before it stops it, and by a sync afterwards: exit code 0, outcome pruned."""
    _, runs = searched(tmp_path, trials=20)
    pruned = next(run for run in runs if run.config["outcome"] == "pruned")
    runtime = make_runtime(tmp_path).model_copy(update={"tracker": "online"})
    folder = RunFolder(runtime.store / pruned.run_id)

    class Stopped(Exception):
        outcome = "interrupted"

    with pytest.raises(Stopped), open_tracker(runtime, folder):
        raise Stopped
    assert server.exit_codes.pop(folder.run_id) == 0
    assert sync_runs([folder], runtime, print) == 0
    assert server.exit_codes == {folder.run_id: 0}
    config = {key: item["value"] for key, item in json.loads(server.runs[folder.run_id]["config"]).items()}
    assert (config["outcome"], config["study"]) == ("pruned", "fake")
    assert server.runs[folder.run_id]["groupName"] == pruned.group


def test_a_diverged_trial_is_a_failed_run(tmp_path: Path) -> None:
    """Its own settings made the loss infinite: outcome diverged, and not as a finished run."""
    from ablation_suite.core.scheduling.attempt import DIVERGED

    sweep = make_fake_sweep(tmp_path, trials=3)
    search(sweep, tmp_path, fails=lambda config: DIVERGED if config["optimizer"]["lr"] != 1e-3 else None)
    found = [shown(each) for each in run_folders(make_runtime(tmp_path).store)]
    assert sorted(run.config["outcome"] for run in found) == ["complete", "diverged", "diverged"]
    assert [run.has_failed for run in found] == [run.config["outcome"] == "diverged" for run in found]
