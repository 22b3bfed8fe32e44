"""Does a sweep that is killed, torn or shared come to what it would have come to undisturbed?"""

from __future__ import annotations

import io
import multiprocessing
import os
import random
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from ablation_suite.sweeps.progress import SweepProgress
from ablation_suite.sweeps.session import existing_study, journal_path, run_sweep
from ablation_suite.sweeps.spec import Sweep
from ablation_suite.sweeps.storage import StorageError, repair_journal
from ablation_suite.sweeps.trial import Trial, count
from tests.sweeps.fake import Fake, make_fake_sweep, make_runtime, plain_storage, search

SPAWN = multiprocessing.get_context("fork")
GRID = {
    "optimizer.lr": {"log": [1e-4, 1e-1], "points": 4},
    "model.head.dropout": {"uniform": [0.0, 0.6], "points": 3},
}
CONDITIONAL = {
    "optimizer": {"choice": ["adam", "adamw"]},
    "optimizer.lr": {"log": [1e-5, 1e-1]},
    "optimizer.weight_decay": {"log": [1e-4, 1e-1], "when": {"optimizer": "adamw"}},
    "batch_size": {"int": [16, 64]},
}
CASES: dict[str, dict[str, Any]] = {
    "tpe": {},
    "tpe, conditional": {"space": CONDITIONAL, "trials": 20},
    "tpe, hyperband": {"pruner": "hyperband"},
    "tpe, seeds": {"seeds": 3, "pruner": {"name": "wilcoxon", "startup_seeds": 1}, "trials": 12},
    "random": {"sampler": "random"},
    "qmc": {"sampler": "qmc"},
    "grid": {"sampler": "grid", "space": GRID, "trials": None},
    "brute force": {"sampler": "brute_force", "space": GRID, "trials": None},
}


class Killed(BaseException):
    """The driver is gone."""


def facts(sweep: Sweep, results: Path) -> list[tuple[Any, ...]]:
    """What must not depend on interruptions: number, outcome, values, score and curve of each trial."""
    with existing_study(sweep, make_runtime(results)) as study:
        return [(each.number, each.outcome, each.values, each.score, each.curve) for each in study.trials()]


def killer(after: int) -> Callable[[], None]:
    """Raise at the poll of this number."""
    polls = iter(range(after))

    def kill() -> None:
        if next(polls, None) is None:
            raise Killed

    return kill


@pytest.mark.parametrize("case", CASES)
def test_an_interrupted_sweep_proposes_what_an_undisturbed_one_proposes(tmp_path: Path, case: str) -> None:
    """With one worker, stopping every few epochs changes no trial, and no two trials are the same."""
    sweep = make_fake_sweep(tmp_path, **CASES[case])
    search(sweep, tmp_path / "whole")
    num_kills = 0
    while True:
        try:
            search(sweep, tmp_path / "parts", before_poll=killer(2 + num_kills % 4))
            break
        except Killed:
            num_kills += 1
    assert num_kills > 5
    expected = facts(sweep, tmp_path / "whole")
    assert facts(sweep, tmp_path / "parts") == expected
    assert len({str(values) for _, _, values, _, _ in expected}) == len(expected)


@pytest.mark.slow
def test_gaussian_process_resumes_exactly(tmp_path: Path) -> None:
    """The Gaussian process, too, proposes the same after an interruption in each of its fitted trials."""
    sweep = make_fake_sweep(tmp_path, sampler={"name": "gp", "startup_trials": 4}, trials=8, pruner="none")
    search(sweep, tmp_path / "whole")
    for _ in range(40):
        try:
            search(sweep, tmp_path / "parts", before_poll=killer(3))
            break
        except Killed:
            pass
    assert facts(sweep, tmp_path / "parts") == facts(sweep, tmp_path / "whole")


def die_at_write(sweep: Sweep, results: Path, number: int, cut: int) -> None:
    """Run the sweep, and be killed at the sync of this number with the journal's last line torn by `cut` bytes."""
    left = [number]
    sync = os.fsync

    def fsync(descriptor: int) -> None:
        left[0] -= 1
        if left[0] == 0:
            if os.readlink(f"/proc/self/fd/{descriptor}").endswith("journal.log"):
                os.ftruncate(descriptor, max(0, os.fstat(descriptor).st_size - cut))
            os.kill(os.getpid(), signal.SIGKILL)
        sync(descriptor)

    os.fsync = fsync
    search(sweep, results)


@pytest.mark.fault(
    "a search killed twenty times", injected="SIGKILL to its driver", promised="it ends as one that was not"
)
@pytest.mark.parametrize("case", ["tpe", "tpe, conditional", "tpe, hyperband"])
def test_a_sweep_that_is_killed_twenty_times_ends_as_one_that_was_not(tmp_path: Path, case: str) -> None:
    """SIGKILL at twenty random writes, half of them torn: no finished trial is lost, none is repeated or altered."""
    sweep = make_fake_sweep(tmp_path, **CASES[case])
    search(sweep, tmp_path / "whole")
    draw = random.Random(5)
    finished: set[str] = set()
    for kill in range(20):
        child = SPAWN.Process(
            target=die_at_write,
            args=(sweep, tmp_path / "parts", draw.randint(1, 18), draw.choice([0, draw.randint(1, 60)])),
        )
        child.start()
        child.join(30)
        assert child.exitcode == -signal.SIGKILL, f"kill {kill} came after the end"
        records = {path.parent.name for path in (tmp_path / "parts" / "runs").glob("*/record.json")}
        assert finished <= records
        finished = records
    search(sweep, tmp_path / "parts")
    assert facts(sweep, tmp_path / "parts") == facts(sweep, tmp_path / "whole")


@pytest.mark.fault("a torn last line of a study's journal", injected="bytes after the last newline", promised="cut off")
def test_a_torn_last_line_is_cut_off(tmp_path: Path) -> None:
    """Bytes after the last newline are removed, whole lines stay, and a file without a newline becomes empty."""
    journal = tmp_path / "journal.log"
    for content, kept in [(b"", b""), (b"{}\n", b"{}\n"), (b'{}\n{"op', b"{}\n"), (b"x" * 100_000, b""),
                          (b"{}\n" + b"y" * 200_000, b"{}\n")]:  # fmt: skip
        journal.write_bytes(content)
        assert repair_journal(journal) == len(content) - len(kept)
        assert journal.read_bytes() == kept


@pytest.mark.fault("damage inside a study's journal", injected="a line that is no JSON", promised="one clear line")
def test_damage_inside_the_journal_is_one_clear_line(tmp_path: Path) -> None:
    """A line that is no JSON is told as damage of that file."""
    sweep = make_fake_sweep(tmp_path, trials=1)
    search(sweep, tmp_path / "results")
    journal = journal_path(sweep, make_runtime(tmp_path / "results"))
    journal.write_bytes(b"garbage\n" + journal.read_bytes())
    with pytest.raises(StorageError, match=r"journal\.log: the journal is damaged"):
        search(sweep, tmp_path / "results")


def drive_child(sweep: Sweep, results: Path, url: str) -> None:
    search(sweep, results, url=url)


def die_in_training(sweep: Sweep, results: Path, url: str) -> None:
    def die() -> None:
        if next(polls) == 9:
            os.kill(os.getpid(), signal.SIGKILL)

    polls = iter(range(100))
    search(sweep, results, url=url, before_poll=die)


def database_trials(sweep: Sweep, results: Path, url: str) -> list[Trial]:
    with existing_study(sweep, make_runtime(results), url) as study:
        return study.trials()


@pytest.mark.parametrize(
    ("keys", "num_trials"),
    [({"sampler": "random", "trials": 10}, 10), ({"sampler": "grid", "space": GRID, "trials": None}, 12)],
    ids=["random", "grid"],
)
def test_a_second_driver_joins_through_a_database(tmp_path: Path, keys: dict[str, Any], num_trials: int) -> None:
    """Two processes on one SQLite study share its trials: each is done once, and they are as many as asked for."""
    sweep = make_fake_sweep(tmp_path, **keys)
    url = f"sqlite:///{tmp_path / 'study.db'}"
    children = [SPAWN.Process(target=drive_child, args=(sweep, tmp_path / "results", url)) for _ in range(2)]
    for child in children:
        child.start()
    for child in children:
        child.join(60)
        assert child.exitcode == 0
    trials = database_trials(sweep, tmp_path / "results", url)
    assert len(trials) == num_trials
    assert {trial.outcome for trial in trials} <= {"complete", "pruned"}
    assert len({str(trial.values) for trial in trials}) == len(trials)


def test_a_dead_drivers_trial_is_inherited_under_its_number(tmp_path: Path) -> None:
    """In a database, too, the trial of a driver that was killed on this folder goes on, and the study is the same."""
    sweep = make_fake_sweep(tmp_path, trials=8)
    url = f"sqlite:///{tmp_path / 'study.db'}"
    child = SPAWN.Process(target=die_in_training, args=(sweep, tmp_path / "results", url))
    child.start()
    child.join(30)
    assert child.exitcode == -signal.SIGKILL
    assert count(database_trials(sweep, tmp_path / "results", url))["running"] == 1
    search(sweep, tmp_path / "results", url=url)
    search(sweep, tmp_path / "whole")
    ours = [(each.number, each.outcome, each.values) for each in database_trials(sweep, tmp_path / "results", url)]
    assert ours == [(number, outcome, values) for number, outcome, values, _, _ in facts(sweep, tmp_path / "whole")]
    assert list((tmp_path / "results" / "sweeps" / "fake" / "drivers").iterdir()) == []


@pytest.mark.parametrize(
    ("poll", "num_trained"), [(1, 4), (5, 5), (7, 6)], ids=["at a report", "between the seeds", "at its end"]
)
def test_a_trial_that_was_taken_away_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, poll: int, num_trained: int
) -> None:
    """Whenever the driver finds out, it writes nothing more to the trial and does another in its place."""
    monkeypatch.setattr("ablation_suite.sweeps.study.HEARTBEAT_SECONDS", 0.01)
    sweep, url = make_fake_sweep(tmp_path, pruner="none", trials=2, seeds=2), f"sqlite:///{tmp_path / 'study.db'}"
    polls = iter(range(100))

    def rob() -> None:
        if next(polls) == poll:
            with plain_storage(url) as storage:
                optuna.load_study(study_name="fake", storage=storage).tell(0, state=TrialState.FAIL)

    ended, fake = search(sweep, tmp_path / "results", url=url, before_poll=rob)
    with plain_storage(url) as storage:
        robbed, *others = optuna.load_study(study_name="fake", storage=storage).trials
    assert (robbed.state, robbed.values, len(robbed.intermediate_values)) == (TrialState.FAIL, None, min(poll, 4))
    assert [each.state for each in others] == [TrialState.COMPLETE] * 2
    assert [trial.number for trial in ended] == [1, 2]
    assert len(fake.trained) == num_trained


def test_a_driver_that_died_in_taking_a_trial_leaves_it_to_the_next(tmp_path: Path) -> None:
    """A trial that was to run next, on no one knows which machine, and has no values yet, is gone on with at once."""
    sweep, url = make_fake_sweep(tmp_path, trials=2), f"sqlite:///{tmp_path / 'study.db'}"
    search(sweep, tmp_path / "one", url=url)
    with plain_storage(url) as storage:
        optuna.load_study(study_name="fake", storage=storage).enqueue_trial({}, user_attrs={"driver": "gone"})
    ended, _ = search(make_fake_sweep(tmp_path, trials=4), tmp_path / "another", url=url)
    assert [trial.number for trial in ended] == [2, 3]
    search(make_fake_sweep(tmp_path, trials=4), tmp_path / "whole")
    assert database_trials(sweep, tmp_path / "one", url)[2].values == facts(sweep, tmp_path / "whole")[2][2]


def test_a_driver_with_nothing_left_to_begin_says_that_it_waits(tmp_path: Path) -> None:
    """The last trial is another machine's: one line says so, once, and the driver ends when that trial has ended."""
    url, runtime = f"sqlite:///{tmp_path / 'study.db'}", make_runtime(tmp_path / "one")
    search(make_fake_sweep(tmp_path, trials=2), tmp_path / "one", url=url)
    with plain_storage(url) as storage:
        study = optuna.load_study(study_name="fake", storage=storage)
        theirs = study.ask()
        theirs.set_user_attr("driver", "elsewhere")

        class Waiting(SweepProgress):
            looks = 0

            def waits(self) -> None:
                super().waits()
                self.looks += 1
                if self.looks == 3:
                    study.tell(theirs, 0.5)

        out = io.StringIO()
        sweep, executor = make_fake_sweep(tmp_path, trials=3), Fake(runtime.store)
        assert run_sweep(sweep, runtime, Waiting(out), url=url, executor=executor) == []
        assert out.getvalue().count("waiting for the last trials of other drivers") == 1
        assert [each.state for each in study.trials] == [TrialState.COMPLETE] * 3
