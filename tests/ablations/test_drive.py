"""Does the driver train what is missing, try again what may succeed, and never lose what is finished?"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ablation_suite.core.config.runtime import Runtime
from ablation_suite.core.runs.store import RunFolder
from ablation_suite.core.scheduling import scheduler as module
from ablation_suite.core.scheduling.executors import Event
from ablation_suite.core.scheduling.scheduler import DriverBusy, drive


class Script:
    """An executor whose runs end with the exit statuses that the test gives, 0 once they are used up."""

    def __init__(self, statuses: dict[str, list[int]]):
        self.statuses = {name: list(each) for name, each in statuses.items()}
        self.submitted: list[str] = []
        self.waiting: list[Path] = []

    def capacity(self) -> int:
        return 2

    def submit(self, folder: Path) -> None:
        self.submitted.append(folder.name)
        self.waiting.append(folder)

    def poll(self, seconds: float) -> list[Event]:
        folder = self.waiting.pop(0)
        status = self.statuses.get(folder.name, []).pop(0) if self.statuses.get(folder.name) else 0
        if status == 0:
            (folder / "record.json").write_text(json.dumps({"run_id": folder.name}))
        return [Event(run_id=folder.name, exit_status=status)]

    def close(self) -> None:
        self.closed = True


class Quiet:
    def __init__(self):
        self.failures: dict[str, str | None] = {}

    def begin(self, jobs, num_finished, num_workers):
        self.begun = (len(jobs), num_finished)

    def news(self, event):
        pass

    def ended(self, folder: RunFolder, failure: str | None) -> None:
        self.failures[folder.run_id] = failure


@pytest.fixture
def grid(tmp_path, monkeypatch):
    """Drives runs a, b, c under a script of exit statuses."""
    monkeypatch.setattr(module, "BACK_OFF_SECONDS", 0.0)
    monkeypatch.setattr(module, "POLL_SECONDS", 0.01)
    runtime = Runtime(results=str(tmp_path / "results"))

    def run(statuses: dict[str, list[int]], names: str = "abc", **kwargs):
        executor, reporter = Script(statuses), Quiet()
        outcome = drive({name: {"run_id": name} for name in names}, runtime, executor, reporter, **kwargs)
        return outcome, executor, reporter

    run.runtime = runtime
    return run


def test_every_missing_run_is_trained_once_and_finished_ones_never(grid):
    """The second call has nothing to do."""
    outcome, executor, _ = grid({})
    assert sorted(executor.submitted) == ["a", "b", "c"]
    outcome, executor, _ = grid({})
    assert executor.submitted == []
    assert outcome.reused == 3


def test_removing_one_run_folder_trains_one_run(grid):
    """Nothing else remembers it."""
    grid({})
    (grid.runtime.store / "b" / "record.json").unlink()
    _, executor, reporter = grid({})
    assert executor.submitted == ["b"]
    assert reporter.begun == (1, 2)


def test_a_failing_run_is_tried_three_times_and_the_others_go_on(grid):
    """Exit status 1 may pass; after three it is a failure with a reason."""
    outcome, executor, reporter = grid({"b": [1] * 9})
    assert executor.submitted.count("b") == 3
    assert sorted(outcome.finished) == ["a", "c"]
    assert list(outcome.failed) == ["b"]
    assert reporter.failures["b"]


def test_a_run_that_succeeds_at_the_second_try_is_finished(grid):
    """A worker that was killed once."""
    outcome, executor, _ = grid({"b": [-9]})
    assert executor.submitted.count("b") == 2
    assert sorted(outcome.finished) == ["a", "b", "c"]


@pytest.mark.parametrize("status", [65, 78])
def test_bad_data_and_bad_configuration_are_never_tried_again(grid, status):
    """They would fail in the same way."""
    outcome, executor, _ = grid({"b": [status] * 9})
    assert executor.submitted.count("b") == 1
    assert list(outcome.failed) == ["b"]


def test_a_preempted_run_goes_on_free_of_charge(grid):
    """Exit status 75 does not count as a try, however often it comes."""
    outcome, executor, _ = grid({"b": [75] * 6})
    assert executor.submitted.count("b") == 7
    assert not outcome.failed


def test_a_worker_that_says_done_without_a_record_has_failed(grid):
    """The store is the truth; an exit status is advice."""
    executor = Script({})
    executor.poll = lambda seconds: [Event(run_id=executor.waiting.pop(0).name, exit_status=0)]
    outcome = drive({"a": {"run_id": "a"}}, grid.runtime, executor, Quiet())
    assert outcome.failed == {"a": "the worker ended without a result"}


def test_a_second_driver_says_so_and_leaves_or_joins_when_asked(grid):
    """The lock belongs to the process, so that a killed driver leaves none."""
    with module._sole_driver(Path(grid.runtime.results), join=False):
        with pytest.raises(DriverBusy, match="--join"):
            grid({})
        outcome, _, _ = grid({}, join=True)
    assert len(outcome.finished) == 3
