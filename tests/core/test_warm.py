"""Do workers come from one warm process, and does the pool hear how they end?"""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from ablation_suite.core.config.runtime import Runtime
from ablation_suite.core.scheduling.warm import UNKNOWN, Warm


class Order:
    """A worker of a warm process, and the pool's ends of its files."""

    def __init__(self, warm: Warm):
        source, self.input = os.pipe()
        self.news, told = os.pipe()
        self.worker = warm.fork(Runtime().model_dump_json(), (source, os.open(os.devnull, os.O_WRONLY), told))
        os.close(source)
        os.close(told)

    def close(self) -> None:
        os.close(self.input)


@pytest.mark.fault(
    "the warm process is killed",
    injected="SIGKILL",
    promised="its workers end by their input, and the pool hears of it",
)
def test_workers_are_forks_of_one_warm_process_and_their_ends_are_told(tmp_path):
    """One that is killed, one whose input ends, one that the warm process does not outlive; none imports again."""
    warm = Warm(tmp_path / "log.txt", OMP_NUM_THREADS="1")
    killed, ended, orphan = Order(warm), Order(warm), Order(warm)
    pids = [each.worker.pid for each in (killed, ended, orphan)]
    parents = [int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1]) for pid in pids]
    assert parents == [warm.process.pid] * 3
    killed.worker.kill()
    assert killed.worker.wait(60.0) == -signal.SIGKILL
    ended.close()
    assert ended.worker.wait(60.0) == 0
    assert warm.has_room
    warm.process.kill()
    assert orphan.worker.wait(60.0) == -signal.SIGKILL
    assert not warm.has_room
    orphan.close()
    assert os.read(orphan.news, 1) == b""  # nobody holds the other end any more
    assert (tmp_path / "log.txt").read_text() == ""
    warm.close()


@pytest.mark.fault("a worker killed before it began", injected="kill()", promised="the warm process ends in its place")
def test_a_worker_that_has_not_begun_is_killed_at_once(tmp_path):
    """Nobody waits until torch is imported."""
    warm = Warm(tmp_path / "log.txt")
    order = Order(warm)
    order.worker.kill()
    assert order.worker.wait(60.0) == -signal.SIGKILL
    assert os.read(order.news, 1) == b""
    order.close()
    warm.close()


@pytest.mark.fault(
    "the warm process is stopped",
    injected="SIGSTOP",
    promised="the end of its workers is seen all the same, and no driver waits for it",
)
@pytest.mark.slow
def test_a_worker_that_ends_beside_a_stopped_warm_process_is_seen_to_be_gone(tmp_path):
    """Its status is told of nobody, and it stays a zombie until the pool closes."""
    warm = Warm(tmp_path / "log.txt", OMP_NUM_THREADS="1")
    order = Order(warm)
    assert order.worker.pid != warm.process.pid
    os.kill(warm.process.pid, signal.SIGSTOP)
    order.close()
    assert order.worker.wait(60.0) == UNKNOWN
    warm.close()
