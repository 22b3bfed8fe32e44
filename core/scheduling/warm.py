"""Where do the workers of a pool come from? From one warm process, which imports once and forks one for each order.

It has no thread and has asked nothing of a device, so that what it forks is as good as new and begins within
milliseconds. An order is the worker's runtime with three files: its input, what it prints to, and where it tells news.
"""

from __future__ import annotations

import atexit
import gc
import json
import math
import os
import signal
import socket
import subprocess
import sys
import time
import traceback
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any, NoReturn

from ablation_suite.core.scheduling import isolation

FORKS = sys.platform == "linux"
"""Elsewhere the libraries of the system may not be used after a fork, and a warm process becomes the one worker."""
LOOK_SECONDS = 1.0
"""Between two looks whether a warm process that tells nothing is still there."""
BEGIN_SECONDS = 60.0
"""In which a warm process imports and begins its first worker, unless it hangs."""
UNKNOWN = 1
"""The exit status of a worker of which nobody tells."""
MAX_BYTES = 1 << 16
"""Of an order, and of what is told."""


class Warm:
    """The pool's end: it starts the warm process and orders workers of it."""

    def __init__(self, log: Path, **variables: str):
        """`log`: where it prints to; `variables`: what its environment, and that of its workers, has beside ours."""
        self.log = log
        self.channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET if FORKS else socket.SOCK_STREAM)
        self.told: list[dict[str, int]] = []
        """Of each worker its process id, once it has begun, and its exit status, once it has ended."""
        with theirs, open(log, "wb") as printed:
            self.process = subprocess.Popen(
                isolation.command("ablation_suite.core.scheduling.warm", f"main({theirs.fileno()})"),
                stdin=subprocess.DEVNULL,
                stdout=printed,
                stderr=printed,
                env=isolation.environment(**variables),
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )

    @property
    def has_room(self) -> bool:
        """Whether it can be asked for one more worker."""
        return self.process.poll() is None and (FORKS or not self.told)

    def fork(self, runtime: str, files: tuple[int, int, int]) -> Forked:
        """Order a worker; it is under way when its process is warm."""
        self.told.append({})
        with suppress(BrokenPipeError, ConnectionResetError):  # then the worker's files end, as those of a dead one do
            socket.send_fds(self.channel, [runtime.encode()], files)
        return Forked(self, len(self.told) - 1)

    def hear(self, seconds: float | None) -> None:
        """Take what it has told; where that is nothing, wait for it, at most so long, or until the process is gone."""
        with suppress(TimeoutError, BlockingIOError, ConnectionResetError, subprocess.TimeoutExpired):
            self.channel.settimeout(seconds)
            while packet := self.channel.recv(MAX_BYTES):
                news = json.loads(packet)
                self.told[news.pop("number")].update(news)
                self.channel.settimeout(0.0)
            self.process.wait(seconds)

    def close(self) -> None:
        """End it; its workers have ended, or do so by themselves."""
        self.channel.close()
        self.process.kill()
        self.process.wait()


class Forked:
    """One worker, with what subprocess.Popen has for a child of our own; until it has begun, it is the warm process."""

    def __init__(self, warm: Warm, number: int):
        self.warm, self.number = warm, number

    @property
    def pid(self) -> int:
        """Its process id, which is waited for; that of the warm process, where it does not begin."""
        deadline = time.monotonic() + BEGIN_SECONDS
        while "pid" not in self._told and self.warm.process.poll() is None and time.monotonic() < deadline:
            self.warm.hear(LOOK_SECONDS)
        return self._told.get("pid", self.warm.process.pid)

    def terminate(self) -> None:
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        self._signal(signal.SIGKILL)

    def wait(self, seconds: float = math.inf) -> int:
        """Its exit status, as subprocess has them; that of the warm process, where it ended first. TimeoutExpired.

        UNKNOWN where the worker is gone, and the warm process, which alone could know, says nothing.
        """
        deadline = time.monotonic() + seconds
        while "status" not in self._told:
            if (status := self.warm.process.poll()) is not None:
                return status
            if (left := deadline - time.monotonic()) <= 0.0:
                raise subprocess.TimeoutExpired("worker", seconds)
            is_gone = "pid" in self._told and _is_gone(self._told["pid"])
            self.warm.hear(min(left, LOOK_SECONDS))
            if is_gone and "status" not in self._told:
                return UNKNOWN  # the warm process is alive and tells nothing: somebody has stopped it
        return self._told["status"]

    @property
    def _told(self) -> dict[str, int]:
        return self.warm.told[self.number]

    def _signal(self, number: signal.Signals) -> None:
        self.warm.hear(0.0)
        if "status" not in self._told:
            with suppress(ProcessLookupError):
                os.kill(self._told.get("pid", self.warm.process.pid), number)


def _is_gone(pid: int) -> bool:
    """Whether a process has ended, though its parent may not have taken note."""
    try:
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0] == b"Z"
    except OSError:
        return FORKS  # without forks there is no /proc either, and the warm process is the worker


def main(channel: int) -> int:
    """Import what every run needs, then fork a worker for each order, until the pool is gone; tell how they fare."""
    import ablation_suite.core.training.finish  # noqa: F401

    gc.freeze()  # the workers look through none of it again, and their memory of it stays shared
    pool = socket.socket(fileno=channel)
    numbers: dict[int, int] = {}

    def tell(**news: Any) -> None:
        with suppress(BrokenPipeError):
            pool.send(json.dumps(news).encode())

    def reap(*_: Any) -> None:
        with suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                tell(number=numbers.pop(ended[0]), status=os.waitstatus_to_exitcode(ended[1]))

    signal.signal(signal.SIGCHLD, reap)
    for number in count():
        order, files, *_ = socket.recv_fds(pool, MAX_BYTES, 3)
        if not order:
            break
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD])  # until its number is known
        if not FORKS:
            tell(number=number, pid=os.getpid())
        pid = os.fork() if FORKS else 0
        if pid == 0:
            pool.close()
            _be_a_worker(order.decode(), files)
        numbers[pid] = number
        tell(number=number, pid=pid)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGCHLD])
        for file in files:
            os.close(file)
    return 0


def _be_a_worker(runtime: str, files: list[int]) -> NoReturn:
    """What a fork does for the rest of its life: it serves in a session of its own."""
    from ablation_suite.core.scheduling.worker import serve

    status = 1
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGCHLD])
        if FORKS:
            os.setsid()
        source, printed, news = files
        for file, place in ((source, 0), (printed, 1), (printed, 2)):
            os.dup2(file, place)
        os.close(source)
        os.close(printed)
        os.environ["ABLATE_RUNTIME"] = runtime
        status = serve(news)
    except BaseException:
        traceback.print_exc()
    finally:
        # The rest of an interpreter's end takes torch's thousand modules apart, which costs a second and serves nobody.
        with suppress(Exception):
            atexit._run_exitfuncs()
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status)
