"""Is a run that another machine trains left to it, where the locks of that machine are not seen here?"""

from __future__ import annotations

import os
import threading
import time

import pytest

from ablation_suite.core.runs import lease
from ablation_suite.core.runs.files import read_json, write_json
from ablation_suite.core.runs.run_folder import Busy, RunFolder
from ablation_suite.core.scheduling.attempt import PREEMPTED, Datasets, work


@pytest.fixture
def folder(tmp_path):
    """An empty run."""
    folder = RunFolder(tmp_path / "runs" / "a")
    folder.create({"run_id": "a", "config": {}})
    return folder


@pytest.fixture
def quick(monkeypatch):
    """Twenty beats a second."""
    monkeypatch.setattr(lease, "BEAT_SECONDS", 0.05)


def lease_of_another(folder, age=0.0):
    """What a process of another machine leaves in a run folder."""
    attempt = folder.path / "attempts" / "1"
    attempt.mkdir(parents=True)
    write_json(attempt / "claim.json", {"host": "node7", "pid": 4711, "time": time.time() - 3600})
    write_json(folder.lease_path, {"host": "node7", "machine": "another", "pid": 4711, "token": "theirs"})
    os.utime(folder.lease_path, (time.time() - age,) * 2)


def test_a_run_of_another_machine_is_busy_and_its_holder_is_named(folder):
    """Nobody holds the file lock here, and still the run counts as running."""
    lease_of_another(folder)
    assert folder.status() == "running"
    with pytest.raises(Busy, match="being trained by process 4711 on node7 since"), folder.claim():
        pass
    assert folder.attempts() == [1]


def test_a_lease_that_has_not_beaten_for_a_minute_counts_no_more(folder):
    """The machine is gone, or its process is stuck."""
    lease_of_another(folder, age=lease.STALE_SECONDS + 1)
    assert folder.status() == "interrupted"
    with folder.claim(), folder.beating(lambda: True):
        assert folder.attempts() == [1, 2]


@pytest.mark.fault(
    "a clock that jumps while another machine trains",
    injected="our clock an hour ahead, an hour behind",
    promised="a lease counts by the clock of its file system: what beats is left alone, what does not is taken over",
)
@pytest.mark.parametrize("jump", [-3600, 3600])
def test_a_lease_does_not_ask_our_clock(jump, folder, monkeypatch):
    """Neither is a run stolen that the other trains, nor is one waited for whose machine is gone."""
    lease_of_another(folder, age=10)
    begun = time.time()
    monkeypatch.setattr(time, "time", lambda: begun + jump)
    assert folder.status() == "running"
    os.utime(folder.lease_path, (begun - lease.STALE_SECONDS - 1,) * 2)
    assert folder.status() == "interrupted"
    assert [path.name for path in folder.path.iterdir() if path.name.startswith("tmp")] == []


@pytest.mark.fault(
    "a lease from the future",
    injected="a lease whose time is an hour ahead, as a clock that is ahead or a copied store leaves it",
    promised="it is left alone for one minute, in which it beats or counts no more; it is not waited for an hour",
)
def test_a_lease_from_the_future_beats_or_ages_from_now_on(folder, monkeypatch):
    """It may be alive, so it is not stolen at once."""
    lease_of_another(folder, age=-3600)
    assert folder.status() == "running"
    assert 0 <= lease.age_seconds(folder.lease_path) < 10
    monkeypatch.setattr(lease, "_now", lambda folder: time.time() + lease.STALE_SECONDS + 1)
    assert folder.status() == "interrupted"
    with folder.claim(), folder.beating(lambda: True):
        pass


def test_a_lease_of_this_machine_counts_for_nothing_without_the_lock(folder):
    """Here the kernel frees the lock however its process ends, and nobody waits for a minute."""
    lease_of_another(folder)
    write_json(folder.lease_path, {**read_json(folder.lease_path), "machine": lease._machine()})
    assert folder.status() == "interrupted"


@pytest.mark.usefixtures("quick")
def test_a_lease_beats_while_its_process_does_something_and_is_gone_afterwards(folder):
    """A stuck process is seen by the age of its lease."""
    alive = threading.Event()
    alive.set()
    with folder.claim(), folder.beating(alive.is_set):
        os.utime(folder.lease_path, (0, 0))
        time.sleep(0.2)
        assert lease.age_seconds(folder.lease_path) < 10
        alive.clear()
        time.sleep(0.2)
        os.utime(folder.lease_path, (0, 0))
        time.sleep(0.2)
        assert lease.age_seconds(folder.lease_path) > 10
    assert lease.age_seconds(folder.lease_path) is None


@pytest.mark.usefixtures("quick")
def test_whoever_loses_the_lease_is_told_and_leaves_it_to_the_other(folder):
    """Two machines took it at once."""
    with folder.claim(), folder.beating(lambda: True) as unwanted:
        write_json(folder.lease_path, {"host": "node7", "machine": "another", "pid": 4711, "token": "theirs"})
        assert unwanted.wait(5.0)
    assert read_json(folder.lease_path)["token"] == "theirs"


@pytest.mark.usefixtures("quick", "one_thread")
def test_a_cancelled_run_saves_itself_and_ends(make_config, make_folder, runtime):
    """As if it had been preempted; taken back, it goes on from there."""
    folder = make_folder(make_config(epochs=40))

    def cancel(step):
        if step.epoch == 2 and step.number == 1:
            folder.cancel()

    assert work(folder, runtime, Datasets(), on_step=cancel) == PREEMPTED
    assert folder.is_cancelled()
    num_epochs = len(folder.ledger.history())
    assert 1 <= num_epochs < 40
    assert list((folder.path / "checkpoints").glob("*.pt"))
