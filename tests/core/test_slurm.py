"""Does a grid go through Slurm's queue once, whatever becomes of its driver, its jobs and its controller?"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from ablation_suite.core.config.errors import UserError
from ablation_suite.core.config.runtime import Runtime
from ablation_suite.core.runs.files import write_json
from ablation_suite.core.runs.run_folder import RunFolder
from ablation_suite.core.scheduling import elsewhere, scheduler, slurm, slurm_queue, slurm_task
from ablation_suite.core.scheduling.grid import drive
from ablation_suite.core.scheduling.scheduler import CANCELLED
from ablation_suite.core.scheduling.slurm import Slurm
from ablation_suite.core.scheduling.slurm_queue import Submission
from tests.core.fake_slurm import FakeSlurm, FakeTask, wait_until
from tests.core.tracked_run import BARE_RECORD

CONFIG = {"data": "digits", "epochs": 2}


class Killed(BaseException):
    """The driver is gone between two of its lines."""


class Quiet:
    """A reporter that keeps what it is told."""

    def __init__(self):
        self.lines: list[str] = []

    def begin(self, jobs, num_finished, num_workers): ...

    def news(self, event): ...

    def ended(self, folder, failure, *, here=True): ...

    def line(self, text: str) -> None:
        self.lines.append(text)


@pytest.fixture
def cluster(tmp_path, monkeypatch):
    """A fake Slurm on the PATH, and nothing that waits for people or disks."""
    fake = FakeSlurm(tmp_path / "slurm-commands")
    monkeypatch.setenv("PATH", f"{fake.folder}:{os.environ['PATH']}")
    monkeypatch.setattr(slurm_queue, "ASK_SECONDS", 0.1)
    monkeypatch.setattr(slurm, "LOOK_SECONDS", 0.02)
    monkeypatch.setattr(scheduler, "POLL_SECONDS", 0.02)
    monkeypatch.setattr(scheduler, "BACK_OFF_SECONDS", 0.0)
    yield fake
    fake.close()


@pytest.fixture
def runtime(tmp_path):
    """Runs go to Slurm, and their folders below the test's own."""
    return Runtime(results=str(tmp_path / "results"), executor="slurm", tracker="off")


@pytest.fixture
def grid(runtime):
    """Drives runs a, b, ... through Slurm and gives what they came to, and what people were told."""

    def run(names: str = "abc", **changes):
        reporter = Quiet()
        settings = runtime.model_copy(update=changes)
        jobs = {name: {"run_id": name, "config": CONFIG} for name in names}
        return drive(jobs, settings, Slurm(settings), reporter), reporter.lines

    return run


def finish(folder: RunFolder, seconds: float = 1.0) -> None:
    """What a worker leaves of a run that it has trained."""
    attempt = folder.path / "attempts" / str(len(folder.attempts()) + 1)
    attempt.mkdir(parents=True)
    folder.ledger.append("start", attempt=int(attempt.name))
    folder.commit({**BARE_RECORD, "config": CONFIG, "cost": {"seconds": seconds}})


def say(task: FakeTask, run: str, *statuses: int | None) -> None:
    """Rows of a task about one of its runs."""
    with open(Submission(task.home).rows_path(task.index), "a") as rows:
        for status in statuses:
            rows.write(json.dumps({"run": run, "status": status}) + "\n")


def trains(store: Path, seconds: float = 1.0) -> Callable[[FakeTask], str]:
    """Each task finishes its runs at once."""

    def train(task: FakeTask) -> str:
        for run in task.runs:
            if not RunFolder(store / run).is_finished():
                say(task, run, None)
                finish(RunFolder(store / run), seconds)
                say(task, run, 0)
        return "COMPLETED"

    return train


def in_turn(*acts: Callable[[FakeTask], str]) -> Callable[[FakeTask], str]:
    """The first task that starts does the first, and so on; the last does for all that follow."""
    left = list(acts)
    return lambda task: (left.pop(0) if len(left) > 1 else left[0])(task)


def test_a_grid_is_one_array_whose_runs_are_on_disk_before_sbatch_is_asked(cluster, grid, runtime):
    """The options of the user, and those that save a run in time, go with it."""
    cluster.train = trains(runtime.store)
    seen = []
    plain = cluster.answer
    cluster.answer = lambda words: (
        seen.append(list(Path(runtime.results, "slurm").glob("*/folders.txt"))) if words[0] == "sbatch" else None,
        plain(words),
    )[1]
    outcome, lines = grid("abc", slurm="--partition=gpu -t 8:00:00", jobs=2)
    assert sorted(outcome.finished) == ["a", "b", "c"]
    assert lines == []
    assert cluster.count("sbatch") == 1
    assert [path.read_text() for path in seen[0]] == ["a\nb\nc\n"]
    words = next(call for call in cluster.calls if call[0] == "sbatch")
    for word in ("--partition=gpu", "-t", "8:00:00", "--array=0-2%2", "--signal=TERM@60", "--requeue"):
        assert word in words


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ("--partition=nowhere", "slurm refuses --slurm '--partition=nowhere': Batch job submission failed: Invalid"),
        ("--array=1-9", "--array=1-9 is set by the suite itself"),
        ("-Jmine", "-Jmine is set by the suite itself"),
    ],
)
def test_what_slurm_would_refuse_is_one_line_at_check_and_no_job(cluster, runtime, options, says):
    """A partition that is not there, and options that are ours."""
    with pytest.raises(UserError) as caught:
        Slurm(runtime.model_copy(update={"slurm": options})).check()
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)
    assert cluster.count("sbatch") == 0
    Slurm(runtime.model_copy(update={"slurm": "--partition=gpu --gres=gpu:1"})).check()


def test_a_machine_without_slurm_and_a_controller_that_is_away_are_one_line_at_check(cluster, runtime, monkeypatch):
    """Before anything is planned."""
    cluster.broken["sbatch"] = "Unable to contact slurm controller (connect failure)"
    with pytest.raises(UserError, match=r"Unable to contact slurm controller \(connect failure\)$"):
        Slurm(runtime).check()
    monkeypatch.setattr(slurm_queue, "COMMAND_SECONDS", 0.0)
    with pytest.raises(UserError, match="sbatch has not answered for 0 s"):
        Slurm(runtime).check()
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(UserError, match="no squeue on the PATH; this machine is no node of a Slurm cluster"):
        Slurm(runtime).check()


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_driver_that_is_killed_around_sbatch_leaves_one_job_which_the_next_one_finds(
    cluster, grid, runtime, monkeypatch, when
):
    """Before it: nothing is in the queue, and the next driver submits. After it: the next one attaches by the name."""
    cluster.train = trains(runtime.store)
    cluster.held = True
    plain = slurm_queue.run

    def dying(command, *words, **options):
        if command == "sbatch" and when == "before":
            raise Killed
        answer = plain(command, *words, **options)
        if command == "sbatch":
            raise Killed
        return answer

    with monkeypatch.context() as patch:
        patch.setattr(slurm_queue, "run", dying)
        with pytest.raises(Killed):
            grid()
    cluster.held = False
    if when == "after":
        cluster.slots = 1  # the queue is still at it when the next driver comes
    outcome, _ = grid()
    assert len(outcome.finished) + len(outcome.elsewhere) + outcome.reused == 3
    assert cluster.count("sbatch") == 1
    assert all(RunFolder(runtime.store / name).attempts() == [1] for name in "abc")


def test_an_sbatch_of_a_killed_driver_that_still_submits_is_waited_for(cluster, grid, runtime):
    """It holds a lock that it inherited; the job that it makes is found, and no second one is made."""
    cluster.train, cluster.held = trains(runtime.store), True
    executor = Slurm(runtime)
    RunFolder(runtime.store / "a").create({"run_id": "a", "config": CONFIG})
    executor.waiting = ["a"]
    submission = Submission(executor.queue.home / "ablate-late")
    submission.create([["a"]], {})
    held = os.open(executor.queue.home / "sbatch.lock", os.O_CREAT | os.O_RDWR)
    orphan = slurm_queue.subprocess.Popen(
        ["bash", "-c", f"sleep 0.5; sbatch {' '.join(executor._words(submission, 1))}"], pass_fds=[held]
    )
    fcntl.flock(held, fcntl.LOCK_EX)
    os.close(held)
    assert Slurm(runtime).adopt() == {"a"}
    assert orphan.wait() == 0
    cluster.held = False
    assert not grid("a")[0].failed
    assert cluster.count("sbatch") == 1


def test_a_driver_that_hangs_in_sbatch_is_named_and_not_waited_for(cluster, grid, runtime, monkeypatch):
    """An sbatch itself is given up after a minute."""
    cluster.train = trains(runtime.store)
    grid("a")
    monkeypatch.setattr(slurm_queue, "COMMAND_SECONDS", 0.1)
    words = rf"^slurm: process {os.getpid()} on \S+ has not come back from sbatch; end it$"
    with Slurm(runtime)._sole_submitter(), pytest.raises(UserError, match=words):
        Slurm(runtime).adopt()


def test_a_submission_that_failed_and_yet_is_in_the_queue_is_not_made_again(cluster, grid, runtime):
    """`Socket timed out`: the controller took the job, and only its answer was lost."""
    cluster.train = trains(runtime.store)
    plain = cluster.answer

    def losing(words):
        answer = plain(words)
        lost = {"status": 1, "output": "", "errors": "sbatch: error: Socket timed out on send/recv operation\n"}
        return lost if words[0] == "sbatch" else answer

    cluster.answer = losing
    outcome, lines = grid()
    assert sorted(outcome.finished) == ["a", "b", "c"]
    assert lines == ["slurm takes no job now: Socket timed out on send/recv operation; it is asked again"]
    assert cluster.count("sbatch") == 1


def test_a_limit_on_submissions_is_met_by_smaller_ones(cluster, grid, runtime):
    """Ten runs where three may be submitted at a time: told once, and all are trained."""
    cluster.train, cluster.limit = trains(runtime.store), 3
    outcome, lines = grid("abcdefghij")
    assert len(outcome.finished) == 10
    why = "Batch job submission failed: Job violates accounting/QOS policy"
    assert lines == [f"slurm takes no job now: {why}; it is asked again"]


def test_a_squeue_that_fails_is_no_news(cluster, grid, runtime):
    """The controller is away for ten questions; its jobs go on, and none is submitted again."""
    asked = []
    plain, train = cluster.answer, trains(runtime.store)

    def silent(words):
        if words[0] == "squeue":
            asked.append(words)
            if 1 < len(asked) < 10:
                return {"status": 1, "output": "", "errors": "slurm_load_jobs error: Unable to contact\n"}
        return plain(words)

    cluster.answer, cluster.held, cluster.train = silent, True, train
    executor = Slurm(runtime)
    executor.adopt()
    RunFolder(runtime.store / "a").create({"run_id": "a", "config": CONFIG})
    executor.submit(runtime.store / "a")
    deadline = time.monotonic() + 30
    while len(asked) < 10 and time.monotonic() < deadline:
        assert executor.poll(0.01) == []
    cluster.held = False
    wait_until(lambda: [event.retry for event in executor.poll(0.01)] == ["never"])
    assert cluster.count("sbatch") == 1


def test_the_queue_is_asked_once_in_a_while_however_many_tasks_there_are(cluster, runtime):
    """One squeue for all of them."""
    cluster.held = True
    executor = Slurm(runtime)
    executor.adopt()
    begun = time.monotonic()
    for number in range(50):
        RunFolder(runtime.store / f"r{number}").create({"run_id": f"r{number}", "config": CONFIG})
        executor.submit(runtime.store / f"r{number}")
    while time.monotonic() - begun < 1.0:
        executor.poll(0.01)
    assert cluster.count("squeue") <= 1 + (time.monotonic() - begun) / slurm_queue.ASK_SECONDS


def test_scancel_is_final_though_the_run_had_been_preempted_before(cluster, grid, runtime):
    """A stale 75 from before is no reason to submit again."""

    def preempted_then_cancelled(task: FakeTask) -> str:
        say(task, "a", None, 75)
        return "PENDING" if task.num_starts == 1 else "CANCELLED"

    cluster.train = in_turn(preempted_then_cancelled)
    outcome, _ = grid("a")
    assert outcome.failed == {"a": "its Slurm job 100_0 was cancelled"}
    assert cluster.count("sbatch") == 1
    cluster.train = trains(runtime.store)
    assert grid("a")[0].finished == ["a"]  # asked for again by a person


def test_a_preempted_task_is_slurms_to_bring_back(cluster, grid, runtime):
    """It is seen as PREEMPTED for a moment, then as PENDING, and no job is submitted for it."""

    def comes_back(task: FakeTask) -> str:
        if task.num_starts > 1:
            return trains(runtime.store)(task)
        say(task, "a", None, 75)
        asked = cluster.count("squeue")

        def later():
            wait_until(lambda: cluster.count("squeue") > asked)
            cluster.end("PENDING", 0)

        slurm_queue_thread = threading.Thread(target=later)
        slurm_queue_thread.start()
        return "PREEMPTED"

    cluster.train = in_turn(comes_back)
    outcome, _ = grid("a")
    assert outcome.finished == ["a"]
    assert cluster.count("sbatch") == 1


@pytest.mark.parametrize("state", ["PREEMPTED", "NODE_FAIL", "TIMEOUT"])
def test_what_the_engine_ended_goes_on_free_of_charge(cluster, grid, runtime, state):
    """Four times, which would be too often for failures; each time an epoch further."""

    def ended(task: FakeTask) -> str:
        say(task, "a", None)
        RunFolder(runtime.store / "a").ledger.append("epoch", epoch=1, num_steps=1)
        return state

    cluster.train = in_turn(ended, ended, ended, ended, trains(runtime.store))
    outcome, _ = grid("a")
    assert outcome.finished == ["a"]
    assert cluster.count("sbatch") == 5


def test_a_worker_that_dies_is_a_failure_and_what_it_had_not_begun_is_not(cluster, grid, runtime):
    """Of a task of three runs the second kills the worker: it is tried three times, and the third run is trained."""

    def dies(task: FakeTask) -> str:
        for run in task.runs:
            say(task, run, None)
            if run == "b":
                (task.home / f"{task.index}.txt").write_text("Killed\n")
                return "FAILED"
            finish(RunFolder(runtime.store / run))
            say(task, run, 0)
        return "COMPLETED"

    cluster.train = dies
    outcome, _ = grid("abc", pack=3)
    assert sorted(outcome.finished) == ["a", "c"]
    assert "ended without a result (failed); it last said: Killed" in outcome.failed["b"]
    assert cluster.count("sbatch") == 3


def test_a_task_that_cannot_even_begin_is_told_after_three_times(cluster, grid, runtime):
    """A node without our Python."""

    def cannot(task: FakeTask) -> str:
        (task.home / f"{task.index}.txt").write_text("exec: /venv/bin/python: No such file or directory\n")
        return "FAILED"

    cluster.train = cannot
    outcome, _ = grid("ab", pack=2)
    assert len(outcome.failed) == 2
    assert all("No such file or directory" in reason for reason in outcome.failed.values())
    assert cluster.count("sbatch") == 3


def test_a_run_that_failed_is_tried_again_while_its_task_goes_on(cluster, grid, runtime):
    """Its row is enough; the other runs of the task are not waited for."""

    def slow(task: FakeTask) -> str:
        say(task, "a", None, 65)
        return "RUNNING"

    cluster.train = in_turn(slow)
    executor_done = []
    plain = cluster.answer
    cluster.answer = lambda words: (executor_done.append(words), plain(words))[1]

    def then_cancel():
        wait_until(lambda: sum(call[0] == "squeue" for call in executor_done) > 3)
        cluster.end("CANCELLED", 0)

    thread = threading.Thread(target=then_cancel)
    thread.start()
    outcome, _ = grid("ab", pack=2)
    thread.join()
    assert outcome.failed == {
        "a": "the worker ended without a result",
        "b": "its Slurm job 100_0 was cancelled",
    }


def test_short_runs_are_packed_as_asked_for_or_as_finished_ones_were_short(cluster, grid, runtime):
    """Finished runs of a minute on the same data: ten to a task. Nothing known: one to a task."""
    cluster.train = trains(runtime.store, seconds=60.0)
    arrays = lambda: [call[-2].partition("=")[2] for call in cluster.calls if call[0] == "sbatch"]  # noqa: E731
    grid("ab")
    grid("cdefghijklmnopqrstuvw")
    grid("xyz", pack=2)
    assert arrays() == ["0-1", "0-2", "0-1"]
    grid("0123456789", jobs=5)
    assert arrays()[-1] == "0-4%5"


def test_a_hung_worker_is_told_and_its_step_killed_once(cluster, runtime, monkeypatch):
    """Its lease has not beaten for too long, by our own clock; the task then ends by itself."""
    monkeypatch.setattr(elsewhere, "HUNG_SECONDS", 0.3)
    cluster.train = lambda task: "RUNNING"
    executor = Slurm(runtime)
    executor.adopt()
    folder = RunFolder(runtime.store / "a")
    folder.create({"run_id": "a", "config": CONFIG})
    executor.submit(folder.path)
    executor.poll(0.0)
    with folder.claim():
        write_json(folder.lease_path, {"machine": "another", "token": "theirs"})
        told = []
        begun = time.monotonic()
        while time.monotonic() - begun < 1.5:
            told += [event.message for event in executor.poll(0.01)]
    assert len(told) == 1
    assert f"(process {os.getpid()} on " in told[0]
    assert [call[1:] for call in cluster.calls if call[0] == "scancel"] == [["--quiet", "--signal=KILL", "100_0"]]


def test_a_run_that_is_no_longer_wanted_leaves_the_queue_or_its_worker(cluster, runtime):
    """Before sbatch, pending, and running: each ends free, and can be wanted again."""
    cluster.held = True
    cluster.train = lambda task: "RUNNING"
    executor = Slurm(runtime)
    executor.adopt()
    for name in "ab":
        RunFolder(runtime.store / name).create({"run_id": name, "config": CONFIG})
        executor.submit(runtime.store / name)
    executor.cancel("b")
    ended = []
    wait_until(lambda: ended.extend(executor.poll(0.0)) or len(ended) == 1)
    assert (ended[0].run_id, ended[0].retry) == ("b", "free")
    wait_until(lambda: executor.poll(0.0) or executor.queue.known)
    executor.cancel("a")
    wait_until(lambda: ended.extend(executor.poll(0.0)) or len(ended) == 2)
    assert cluster.tasks[0].state == "CANCELLED"
    cluster.held = False
    executor.submit(runtime.store / "a")
    wait_until(lambda: executor.poll(0.0) or cluster.tasks[-1].state == "RUNNING")
    executor.cancel("a")
    assert RunFolder(runtime.store / "a").is_cancelled()
    say(cluster.tasks[-1], "a", None, 75)
    wait_until(lambda: ended.extend(executor.poll(0.0)) or len(ended) == 3)
    assert [event.retry for event in ended] == ["free"] * 3
    assert not any(RunFolder(runtime.store / name).is_cancelled() for name in "ab")


def test_closing_leaves_the_queue_its_jobs_or_ends_them(cluster, runtime):
    """Ctrl-C leaves them; an end that was meant takes them out."""
    cluster.held = True
    executor = Slurm(runtime)
    executor.adopt()
    RunFolder(runtime.store / "a").create({"run_id": "a", "config": CONFIG})
    executor.submit(runtime.store / "a")
    wait_until(lambda: executor.poll(0.0) or executor.queue.known)
    executor.close(detach=True)
    assert cluster.count("scancel") == 0
    again = Slurm(runtime)
    assert again.adopt() == {"a"}
    again.submit(runtime.store / "a")
    again.close(detach=False)
    assert cluster.tasks[0].state == "CANCELLED"


def test_runs_that_are_cancelled_by_name_leave_the_queue_and_their_driver_knows(cluster, grid, runtime):
    """A task goes when all of its runs do; for `a` alone it stays, and that of `c` is trained."""
    cluster.held, cluster.train = True, trains(runtime.store)

    ended: list[list[str]] = []

    def cancel():
        wait_until(lambda: len(cluster.tasks) == 2)
        for name in ("a", "b"):
            RunFolder(runtime.store / name).cancel()
        ended.append(slurm_queue.cancel({"a"}, Path(runtime.results)))
        ended.append(slurm_queue.cancel({"a", "b"}, Path(runtime.results)))
        cluster.held = False

    thread = threading.Thread(target=cancel)
    thread.start()
    outcome, _ = grid("abc", pack=2)
    thread.join()
    assert ended == [[], ["100_0"]]
    assert outcome.failed == {"a": CANCELLED, "b": CANCELLED}
    assert outcome.finished == ["c"]


def test_a_thousand_tiny_runs_cost_their_driver_less_than_five_seconds_of_cpu(cluster, runtime, monkeypatch):
    """With the real times between looks and questions; the cluster has 50 slots."""
    for module, name in ((slurm_queue, "ASK_SECONDS"), (slurm, "LOOK_SECONDS"), (scheduler, "POLL_SECONDS")):
        monkeypatch.setattr(module, name, {"ASK_SECONDS": 15.0, "LOOK_SECONDS": 1.0, "POLL_SECONDS": 0.25}[name])
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    cluster.train = trains(runtime.store)
    jobs = {f"{number:016x}": {"run_id": f"{number:016x}", "config": CONFIG} for number in range(1000)}
    begun = time.thread_time()
    outcome = drive(jobs, runtime, Slurm(runtime), Quiet())
    seconds = time.thread_time() - begun
    assert len(outcome.finished) == 1000
    assert cluster.count("sbatch") == 1
    assert seconds < 5.0


@pytest.fixture
def task(tmp_path, runtime, make_config, make_folder):
    """A submission of two runs of the digits, as a task of Slurm finds it."""
    folders = [make_folder(make_config(seed=seed), "results/runs") for seed in (0, 1)]
    submission = Submission(tmp_path / "results" / "slurm" / "ablate-1")
    settings = runtime.model_copy(update={"device": "cpu", "compile": "off", "cache": str(tmp_path)})
    submission.create([[folder.run_id for folder in folders]], {"runtime": settings.model_dump(), "command": "ablate"})
    return SimpleNamespace(submission=submission, folders=folders)


@pytest.mark.usefixtures("one_thread")
def test_a_task_trains_its_runs_and_says_how_each_ended(task, monkeypatch):
    """Started again after a preemption, it leaves out what is finished and what failed for good."""
    monkeypatch.setattr(slurm_task, "stop_flag", lambda: threading.Event())
    first, second = task.folders
    second.create({**second.job(), "data_fingerprint": "another"})
    assert slurm_task.train(str(task.submission.path), 0) == 0
    assert first.is_finished()
    assert {run: row["status"] for run, row in task.submission.last_rows(0).items()} == {
        first.run_id: 0,
        second.run_id: 65,
    }
    assert slurm_task.train(str(task.submission.path), 0) == 0
    assert (first.attempts(), second.attempts()) == ([1], [1])


def test_a_task_shares_its_device_with_no_other(task, monkeypatch):
    """Of eight tasks side by side each may take its whole device for its images, as Slurm gave it."""
    path = task.submission.path / "job.json"
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, "runtime": {**content["runtime"], "jobs": 8}}))
    seen = []
    monkeypatch.setattr(slurm_task, "stop_flag", lambda: threading.Event())
    monkeypatch.setattr(slurm_task, "work", lambda folder, runtime, *_, **__: seen.append(runtime.jobs) or 0)
    slurm_task.train(str(task.submission.path), 0)
    assert seen == [1, 1]


@pytest.mark.parametrize(
    ("status", "state", "left", "asks"),
    [
        (75, "RUNNING", 45, True),
        (75, "RUNNING", 28740, False),  # somebody's TERM
        (75, "COMPLETING", 45, False),  # scancel near the limit
        (75, "RUNNING", None, False),
        (0, "RUNNING", 45, False),
        (137, "RUNNING", 45, False),
    ],
)
def test_a_task_asks_for_more_time_only_near_its_limit(task, monkeypatch, status, state, left, asks):
    """After scancel and after a preemption it must not; a second requeue of a preempted job is an error of its own."""
    calls: list[str] = []
    end = "Unknown" if left is None else time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(time.time() + left))

    def run(command, *words):
        calls.append(" ".join(words))
        facts = f"JobId=7 JobState={state} Reason=None EndTime={end} PreemptTime=None\n"
        return slurm_queue.CommandResult(status=0, output=facts, errors="")

    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "0")
    monkeypatch.setattr(slurm_queue, "run", run)
    done = lambda *args, **kwargs: SimpleNamespace(returncode=status)  # noqa: E731
    monkeypatch.setattr(slurm_task.subprocess, "run", done)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    row = {"run": task.folders[0].run_id, "status": status, "has_got_on": True}
    task.submission.rows_path(0).write_text(json.dumps(row) + "\n")
    assert slurm_task.main(str(task.submission.path)) == status
    assert ("requeue 7" in calls) == asks
    calls.clear()
    task.submission.rows_path(0).write_text(json.dumps({**row, "has_got_on": False}) + "\n")
    slurm_task.main(str(task.submission.path))
    assert "requeue 7" not in calls  # more time would not help


def test_a_task_that_is_being_preempted_stays_until_slurm_puts_it_back_into_the_queue(monkeypatch):
    """One that has ended by itself would be over. Where the preemption is called off, it ends."""
    monkeypatch.setattr(slurm_task, "PREEMPTION_LOOK_SECONDS", 0.0)
    answers = ["2026-01-01T00:00:00", "2026-01-01T00:00:00", "None"]
    asked = []

    def run(command, *words):
        asked.append(words)
        facts = f"JobState=RUNNING PreemptTime={answers[len(asked) - 1]} EndTime=Unknown"
        return slurm_queue.CommandResult(status=0, output=facts, errors="")

    monkeypatch.setattr(slurm_queue, "run", run)
    slurm_task._come_back("7", has_got_on=True)
    assert asked == [("--oneliner", "show", "job", "7")] * 3


@pytest.mark.slow
def test_the_batch_script_trains_under_srun_as_it_stands(cluster, runtime, task, tmp_path):
    """The whole way: sbatch, bash, Python, srun, worker; the record is there, and the log holds no complaint."""
    settings = Runtime.model_validate_json(json.dumps(task.submission.job()["runtime"]))
    jobs = {folder.run_id: folder.job() for folder in task.folders[:1]}
    outcome = drive(jobs, settings, Slurm(settings), Quiet())
    logs = [path.read_text() for path in (tmp_path / "results" / "slurm").glob("ablate-*/0.txt")]
    assert outcome.finished == [task.folders[0].run_id], logs
    assert logs == [""]
