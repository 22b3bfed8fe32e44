"""Do locks tell who holds a file, and are they gone with whoever held it?"""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from ablation_suite.core.runs import locks

HOLDER = """
import fcntl, sys, time
file = open(sys.argv[1], "a")
fcntl.flock(file, fcntl.LOCK_EX)
print("held", flush=True)
time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path: Path):
    """Another process that holds the lock of `tmp_path/lock`, taken by the system's own call."""
    process = subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path / "lock")], stdout=subprocess.PIPE)
    assert process.stdout is not None
    with process, process.stdout:
        assert process.stdout.readline() == b"held\n"
        yield process
        process.kill()


def test_a_lock_of_another_process_is_seen_and_not_taken_until_that_is_killed(holder, tmp_path):
    """The kernel frees it with its holder; looking at it takes nothing."""
    path = tmp_path / "lock"
    with open(path, "a") as file:
        assert locks.is_taken(path)
        assert not locks.try_take(file)
        assert not locks.take_soon(file)
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        assert not locks.is_taken(path)
        assert locks.try_take(file)
        assert locks.is_taken(path)
    assert not locks.is_taken(path)


def test_who_looks_at_a_lock_does_not_keep_others_from_it(tmp_path):
    """A reader of the status holds it for an instant, and whoever comes then waits that long."""
    with open(tmp_path / "lock", "a") as reader, open(tmp_path / "lock", "a") as claimant:
        fcntl.flock(reader, fcntl.LOCK_SH)
        assert not locks.try_take(claimant)
        assert not locks.is_taken(tmp_path / "lock"), "two may look at once"
        threading.Timer(0.05, lambda: fcntl.flock(reader, fcntl.LOCK_UN)).start()
        assert locks.take_soon(claimant)


def test_a_wait_for_a_lock_heeds_what_ends_it(holder, tmp_path):
    """SIGTERM sets a flag; what looks at that raises, and the wait is over."""
    looks = iter([None, None])
    with open(tmp_path / "lock", "a") as file, pytest.raises(StopIteration):
        locks.take(file, heed=lambda: next(looks), look_seconds=0.001)


def test_a_child_that_inherits_a_file_keeps_its_lock(tmp_path):
    """So that a command which was begun under a lock still has it when its parent is gone."""
    with open(tmp_path / "lock", "a") as file:
        locks.take(file)
        child = subprocess.Popen(["sleep", "60"], pass_fds=[file.fileno()])
    assert locks.is_taken(tmp_path / "lock")
    child.kill()
    child.wait()
    assert not locks.is_taken(tmp_path / "lock")


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP], ids=errno.errorcode.get)
def test_a_file_system_without_locks_is_told_as_one(monkeypatch, tmp_path, code):
    """Nobody is seen there, and who would take one learns it in words."""

    def unsupported(*_):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fcntl, "flock", unsupported)
    with open(tmp_path / "lock", "a") as file, pytest.raises(locks.NoLocks, match="this file system has no file locks"):
        locks.try_take(file)
    assert not locks.is_taken(tmp_path / "lock")


def test_a_pipe_in_the_place_of_a_lock_keeps_nobody_waiting(tmp_path):
    """It opens at once, and nobody holds it."""
    os.mkfifo(tmp_path / "lock")
    assert not locks.is_taken(tmp_path / "lock")
