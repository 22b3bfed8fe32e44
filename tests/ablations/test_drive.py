"""Does the driver train what is missing, try again what may succeed, and never lose what is finished?"""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from functools import partial
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import pytest

from ablation_suite.ablations.plan import make_plans
from ablation_suite.core.config.runtime import Runtime
from ablation_suite.core.runs.run_folder import RunFolder
from ablation_suite.core.scheduling import executors, known_rows
from ablation_suite.core.scheduling import scheduler as module
from ablation_suite.core.scheduling.attempt import PREEMPTED, retry_after
from ablation_suite.core.scheduling.executors import Event
from ablation_suite.core.scheduling.grid import DriverBusy, _sole_driver, drive
from ablation_suite.core.scheduling.scheduler import Scheduler
from tests.core.tracked_run import BARE_RECORD


class Script:
    """An executor whose runs end with the exit statuses that the test gives, 0 once they are used up."""

    def __init__(self, statuses: dict[str, list[int]], before_poll: Callable[[RunFolder], None] = lambda folder: None):
        self.statuses = {name: list(each) for name, each in statuses.items()}
        self.before_poll = before_poll
        self.left_under_way: set[str] = set()
        self.submitted: list[str] = []
        self.waiting: list[Path] = []

    def check(self) -> None: ...

    def capacity(self) -> int:
        return 2

    def room(self) -> int:
        return 2

    def adopt(self) -> set[str]:
        return self.left_under_way

    def submit(self, folder: Path) -> None:
        self.submitted.append(folder.name)
        self.waiting.append(folder)

    def poll(self, seconds: float) -> list[Event]:
        folder = self.waiting.pop(0)
        self.before_poll(RunFolder(folder))
        status = self.statuses.get(folder.name, []).pop(0) if self.statuses.get(folder.name) else 0
        if status == 0:
            (folder / "record.json").write_text(json.dumps(BARE_RECORD))
        return [Event(run_id=folder.name, retry=retry_after(status))]

    def cancel(self, run_id: str) -> None:
        self.statuses.setdefault(run_id, []).insert(0, PREEMPTED)

    def close(self, detach: bool) -> None:
        self.closed = "detached" if detach else "ended"


class Quiet:
    def __init__(self):
        self.failures: dict[str, str | None] = {}
        self.lines: list[str] = []

    def begin(self, jobs, num_finished, num_workers):
        self.begun = (len(jobs), num_finished)

    def news(self, event):
        pass

    def ended(self, folder: RunFolder, failure: str | None, *, here: bool = True) -> None:
        self.failures[folder.run_id] = failure

    def line(self, text: str) -> None:
        self.lines.append(text)


@pytest.fixture
def grid(tmp_path, monkeypatch):
    """Drives runs a, b, c under a script of exit statuses."""
    monkeypatch.setattr(module, "BACK_OFF_SECONDS", 0.0)
    monkeypatch.setattr(module, "POLL_SECONDS", 0.01)
    runtime = Runtime(results=str(tmp_path / "results"), cache=str(tmp_path / "cache"))

    def run(statuses: dict[str, list[int]], names: str = "abc", before_poll=lambda folder: None, **kwargs):
        executor, reporter = Script(statuses, before_poll), Quiet()
        outcome = drive({name: {"run_id": name, "config": {}} for name in names}, runtime, executor, reporter, **kwargs)
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


def test_one_run_of_each_kind_comes_first_and_then_the_longest(grid, monkeypatch):
    """Of kinds that take 1, 5 and 3 seconds with three seeds each; a worker with a long one is not left alone."""
    seconds = {"a": 1.0, "b": 5.0, "c": 3.0}
    jobs = {
        f"{kind}{seed}": {"run_id": f"{kind}{seed}", "config": {"loss": kind, "seed": seed}}
        for kind in seconds
        for seed in range(3)
    }

    def poll(self, _):
        folder = self.waiting.pop(0)
        record = {**BARE_RECORD, "cost": {"seconds": seconds[folder.name[0]]}}
        (folder / "record.json").write_text(json.dumps(record))
        return [Event(run_id=folder.name, retry=retry_after(0))]

    monkeypatch.setattr(Script, "poll", poll)
    executor = Script({})
    drive(jobs, grid.runtime, executor, Quiet())
    assert executor.submitted == ["a0", "b0", "c0", "b1", "b2", "c1", "c2", "a1", "a2"]
    for folder in (grid.runtime.store / name for name in jobs):
        (folder / "record.json").unlink()
    monkeypatch.setattr(Script, "capacity", lambda self: 1)
    executor = Script({})
    drive(jobs, grid.runtime, executor, Quiet())
    assert executor.submitted == list(jobs)  # one after the other there is nothing to gain


def test_what_finished_is_read_for_the_looks_that_follow(grid, monkeypatch):
    """In parts and at the end, once each; and when the drive is broken off."""
    monkeypatch.setattr(module, "NOTED_AT_ONCE", 2)
    monkeypatch.setattr(known_rows, "RACY_NS", -(10**9))
    at_last = []

    def before_poll(folder):
        known.read()
        at_last[:] = known.rows
        if folder.run_id == "f":
            raise KeyboardInterrupt

    known = known_rows.KnownRows(Path(grid.runtime.cache), grid.runtime.store)
    with pytest.raises(KeyboardInterrupt):
        grid({}, "abcdef", before_poll)
    assert at_last == ["a", "b"]
    known.read()
    assert list(known.rows) == ["a", "b", "c", "d", "e"]
    assert known.num_lines == 5
    assert known.get("a")["state"] == "finished"


def test_removing_one_run_folder_trains_one_run(grid):
    """Nothing else remembers it."""
    grid({})
    (grid.runtime.store / "b" / "record.json").unlink()
    _, executor, reporter = grid({})
    assert executor.submitted == ["b"]
    assert reporter.begun == (1, 2)


@pytest.mark.fault(
    "a run that always fails", injected="an exit status of 1", promised="tried three times; the others go on"
)
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
    """Exit status 75 does not count as a try, however often it comes, where the run got on: an epoch, a checkpoint."""

    def get_on(folder: RunFolder) -> None:
        if len(folder.ledger.rows()) < 3:
            folder.ledger.append("epoch", epoch=1)
        else:
            (folder.path / "checkpoints").mkdir(exist_ok=True)
            (folder.path / "checkpoints" / f"{len(list(folder.path.glob('checkpoints/*'))):012d}.pt").touch()

    outcome, executor, _ = grid({"b": [75] * 6}, before_poll=get_on)
    assert executor.submitted.count("b") == 7
    assert not outcome.failed


def test_a_run_that_is_preempted_without_getting_on_fails_in_the_end(grid):
    """Three ends with 75 in a row, though each leaves rows of its start and end; a 75 that got on begins the count."""
    polls = iter(range(9))

    def restart(folder: RunFolder) -> None:
        folder.ledger.append("epoch" if next(polls) == 1 else "start", epoch=1)

    outcome, executor, _ = grid({"b": [75] * 9}, "b", before_poll=restart)
    assert executor.submitted.count("b") == 5
    assert outcome.failed == {"b": "preempted 3 times in a row, without an epoch or a checkpoint between"}


def test_a_run_that_another_process_holds_is_named_at_once_and_no_worker_waits_for_it(grid):
    """The others go on meanwhile; when the holder has left, the run is begun."""
    folder = RunFolder(grid.runtime.store / "b")
    folder.create({"run_id": "b", "config": {}})
    with ExitStack() as held:
        held.enter_context(folder.claim())
        begun: list[str] = []

        def leave_after_the_others(other: RunFolder) -> None:
            begun.append(other.run_id)
            if len(begun) == 2:
                held.close()

        outcome, executor, reporter = grid({}, before_poll=leave_after_the_others)
    assert executor.submitted == ["a", "c", "b"]
    assert not outcome.failed
    since = time.strftime("%Y-%m-%d %H:%M", time.localtime(folder.claimant()["time"]))
    assert len(reporter.lines) == 1
    assert (
        f"run b waits: it is being trained by process {os.getpid()} on {socket.gethostname()} since {since}"
        in (reporter.lines[0])
    )


def test_a_run_that_finds_itself_busy_time_and_again_has_not_failed(grid):
    """Another driver's worker took it first: status 75 without an epoch, while the lock is held."""
    with ExitStack() as held:

        def take(folder: RunFolder) -> None:
            held.close()
            held.enter_context(folder.claim())

        def room(plain: Callable[[], int]) -> int:
            held.close()
            return plain()

        executor = Script({"b": [75] * 6}, before_poll=take)
        executor.room = partial(room, executor.room)
        assert drive({"b": {"run_id": "b", "config": {}}}, grid.runtime, executor, Quiet()).failed == {}
    assert executor.submitted.count("b") == 7


def test_a_run_that_an_earlier_driver_left_in_the_queue_is_gone_on_with(grid):
    """Its lock is held by our own job, which is nobody to wait for; another's would be."""
    folder = RunFolder(grid.runtime.store / "b")
    folder.create({"run_id": "b", "config": {}})
    executor = Script({})
    executor.left_under_way = {"b"}
    reporter = Quiet()
    with folder.claim():
        assert drive({"b": {"run_id": "b", "config": {}}}, grid.runtime, executor, reporter).elsewhere == ["b"]
    assert executor.submitted == ["b"]
    assert reporter.lines == []


def test_a_cancelled_run_ends_and_is_begun_again_only_by_the_next_call(grid):
    """Whether it was under way (a), or had not been begun (c)."""

    def cancel(folder: RunFolder) -> None:
        for name in "ac":
            if not (grid.runtime.store / name / "cancelled").exists():
                RunFolder(grid.runtime.store / name).create({"run_id": name, "config": {}})
                RunFolder(grid.runtime.store / name).cancel()

    outcome, executor, _ = grid({"a": [75]}, before_poll=cancel)
    assert executor.submitted == ["a", "b"]
    assert outcome.failed == dict.fromkeys("ac", module.CANCELLED)
    outcome, executor, _ = grid({})
    assert executor.submitted == ["a", "c"]
    assert not outcome.failed


def test_a_line_of_an_executor_is_told_with_its_run(grid):
    """A worker that hangs, say; the run goes on."""
    executor, reporter = Script({}), Quiet()
    plain = executor.poll
    news = [[Event(run_id="b", message="its worker is killed")]]
    executor.poll = lambda seconds: news.pop() if news else plain(seconds)
    assert drive({"b": {"run_id": "b", "config": {}}}, grid.runtime, executor, reporter).failed == {}
    assert reporter.lines == ["run b: its worker is killed"]


@pytest.mark.parametrize(
    ("end", "closed"), [(None, "ended"), (KeyboardInterrupt(), "detached"), (SystemExit(143), "detached")]
)
def test_a_command_that_is_broken_off_leaves_the_queue_its_runs(grid, monkeypatch, end, closed):
    """Ctrl-C and SIGTERM detach; a command that comes to its end has nothing left to leave."""
    executor = Script({})
    monkeypatch.setattr(executors, "make_executor", lambda runtime: executor)
    with suppress(KeyboardInterrupt, SystemExit), executors.open_executor(grid.runtime):
        if end:
            raise end
    assert executor.closed == closed


@pytest.mark.parametrize(("statuses", "gaps"), [([75, 75], [1.0, 1.0]), ([1, 1], [1.0, 4.0])])
def test_each_try_waits_for_the_machine_to_recover(grid, monkeypatch, statuses, gaps):
    """By a clock of the test's own: a second after a preemption, one and four after failures."""
    clock = SimpleNamespace(now=100.0)

    def sleep(seconds: float) -> None:
        clock.now += seconds

    monkeypatch.setattr(module, "BACK_OFF_SECONDS", 1.0)
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: clock.now, sleep=sleep))
    begun: list[float] = []
    grid({"b": statuses}, "b", before_poll=lambda folder: begun.append(clock.now))
    waited = [later - earlier for earlier, later in pairwise(begun)]
    assert waited == pytest.approx(gaps, abs=2 * module.POLL_SECONDS)


@pytest.mark.fault(
    "a worker that says done without a record", injected="exit status 0 and no file", promised="a failed attempt"
)
def test_a_worker_that_says_done_without_a_record_has_failed(grid):
    """The store is the truth; an exit status is advice, and one that is not true will not be at the next try."""
    executor = Script({})
    executor.poll = lambda seconds: [Event(run_id=executor.waiting.pop(0).name, retry=retry_after(0))]
    outcome = drive({"a": {"run_id": "a", "config": {}}}, grid.runtime, executor, Quiet())
    assert outcome.failed == {"a": "the worker ended without a result"}
    assert executor.submitted == ["a"]


def test_what_another_driver_trained_is_not_counted_as_ours(grid):
    """Found finished before it was begun (c), by our worker (b), or by our worker on finding it busy (d)."""
    starts = {"a": 1, "b": 1}

    def others(folder: RunFolder) -> None:
        for name in ("c", "d"):
            RunFolder(grid.runtime.store / name).create({"run_id": name, "config": {}})
        if folder.run_id in starts:
            for attempt in range(1, 2 + (folder.run_id == "b")):
                (folder.path / "attempts" / str(attempt)).mkdir(parents=True)
            folder.ledger.append("start", attempt=1)
        if folder.run_id == "a":
            (grid.runtime.store / "c" / "record.json").write_text(json.dumps(BARE_RECORD))
        if folder.run_id == "d":
            (folder.path / "record.json").write_text(json.dumps(BARE_RECORD))

    outcome, executor, _ = grid({"d": [75]}, "abcd", before_poll=others)
    assert executor.submitted == ["a", "b", "d"]
    assert outcome.finished == ["a"]
    assert sorted(outcome.elsewhere) == ["b", "c", "d"]


class Fickle:
    """A strategy that wants the runs of each of these words in turn, and after the last what of it is not finished."""

    def __init__(self, *wishes: str):
        self.wishes = list(wishes)
        self.done: dict[str, bool] = {}

    def wanted(self, capacity: int):
        names = self.wishes.pop(0) if len(self.wishes) > 1 else self.wishes[0]
        return [{"run_id": name, "config": {}} for name in names if name not in self.done] or None

    def progress(self, event):
        pass

    def finished(self, folder: RunFolder, *, here: bool) -> None:
        self.done[folder.run_id] = here

    def failed(self, folder: RunFolder, reason: str) -> None:
        raise AssertionError(reason)

    def told(self, line: str) -> None:
        raise AssertionError(line)


def test_a_run_that_is_no_longer_wanted_is_stopped_and_wanted_again_it_goes_on(grid):
    """Its end is then no try, however often it was stopped: b three times, and c for good."""
    executor, strategy = Script({}), Fickle("ab", "c", "b", "c", "b", "c", "b")
    Scheduler(grid.runtime, executor, strategy).run()
    assert executor.submitted == list("abcbcbcb")
    assert strategy.done == {"a": True, "b": True}


@pytest.mark.fault(
    "a stale driver's lock", injected="the number of a living process in it", promised="it does not matter"
)
def test_what_stands_in_the_drivers_lock_does_not_matter(grid):
    """The process id is for people; that of a driver that was killed may by now be anybody's."""
    Path(grid.runtime.results).mkdir()
    (Path(grid.runtime.results) / "driver.lock").write_text("1")
    assert len(grid({})[0].finished) == 3


def test_a_spec_that_is_named_twice_is_planned_once(tmp_path):
    """Whether it is a file or a folder of them."""
    (tmp_path / "base.yaml").write_text("data: digits")
    spec = tmp_path / "specs" / "tiny.yaml"
    spec.parent.mkdir()
    spec.write_text("ablation: tiny\nquestion: Is it?\nbase: ../base.yaml\narms: {b: {epochs: 2}}\n")
    runtime = Runtime(results=str(tmp_path / "results"))
    for name, num_specs in {str(spec): 1, str(spec.parent): 1, "quickstart": 4}.items():
        assert len(make_plans([name], runtime)) == len(make_plans([name, name], runtime)) == num_specs


@pytest.mark.fault(
    "two drivers in one results folder",
    injected="a second driver",
    promised="it says so and leaves, or joins when asked",
)
def test_a_second_driver_says_so_and_leaves_or_joins_when_asked(grid):
    """The lock belongs to the process, so that a killed driver leaves none, and nothing of its number in the words."""
    Path(grid.runtime.results).mkdir()
    (Path(grid.runtime.results) / "driver.lock").write_text("12345678901234")
    with _sole_driver(Path(grid.runtime.results), join=False):
        with pytest.raises(DriverBusy, match=rf"\(process {os.getpid()}\).*--join"):
            grid({})
        outcome, _, _ = grid({}, join=True)
    assert len(outcome.finished) == 3
