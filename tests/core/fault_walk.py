"""What becomes of a run of which one file operation fails, or is its last? Each in turn, in the kernel's own way.

A process that has imported everything forks a child for every run; `strace` attaches to the child, counts its calls of
a kind, and lets the n-th fail, or kills it there.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from ablation_suite.core.config.runtime import Runtime
from ablation_suite.core.runs.run_folder import RunFolder
from ablation_suite.core.scheduling.attempt import DONE

CALLS = ("openat", "mkdir", "write", "fsync", "rename", "link", "unlink", "ftruncate")
"""What a run does to files, by the names of the kernel."""
TORN = "half of it, then SIGKILL"
"""What the kernel may leave of a write; for writes alone."""
FAULTS = ("error=EIO", "error=ENOSPC", "signal=SIGKILL", TORN)
PATIENCE_SECONDS = 60.0
"""What takes longer hangs; a run takes a third of a second."""

_ZYGOTE = """
import dataclasses, json, os, signal, sys
from pathlib import Path
import ablation_suite.core.training.finish
from ablation_suite.core.config.menu import build
from ablation_suite.core.config.runtime import Runtime
from ablation_suite.core.data import Digits
from ablation_suite.core.runs.run_folder import RunFolder
from ablation_suite.core.scheduling.attempt import Datasets, work
def few(split):
    return dataclasses.replace(split, images=split.images[:32], labels=split.labels[:32], names=split.names[:32])
digits = build(Digits(), data_root=Path("unused"), cache=Path("unused")).load()
digits = dataclasses.replace(digits, splits={name: few(split) for name, split in digits.splits.items()})
class Few(Datasets):
    def get(self, *args):
        return digits
import torch
torch.set_num_threads(1)
for line in sys.stdin:
    job = json.loads(line)
    child = os.fork()
    if child == 0:
        said = os.open(job["said"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o666)
        os.dup2(said, 1), os.dup2(said, 2)
        os.kill(os.getpid(), signal.SIGSTOP)
        words = []
        try:
            status = work(RunFolder(Path(job["folder"])), Runtime.model_validate_json(job["runtime"]), Few(),
                          on_failure=words.append)
        except BaseException:
            import traceback
            traceback.print_exc()
            sys.stderr.flush()
            os._exit(99)
        for word in words:
            os.write(said, word.encode() + b"\\n")
        os._exit(status)
    print(child, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


class Case(NamedTuple):
    """Which call of which kind, and what happens to it."""

    call: str
    number: int
    fault: str

    def __str__(self) -> str:
        return f"{self.call} {self.number}, {self.fault}"


class Walker:
    """Trains run folders, each in a child of its own, with a fault where one is asked for."""

    def __init__(self, scratch: Path, runtime: Runtime):
        self.scratch, self.runtime = scratch, runtime
        self.process = subprocess.Popen(
            [sys.executable, "-c", _ZYGOTE],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )

    def run(self, folder: RunFolder, *options: str) -> tuple[int, str]:
        """Train under `strace` with these options, or without it; the exit status and what was said.

        TimeoutError where it hangs.
        """
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        said = self.scratch / "said.txt"
        job = {"folder": str(folder.path), "runtime": self.runtime.model_dump_json(), "said": str(said)}
        print(json.dumps(job), file=self.process.stdin, flush=True)
        child = int(self.process.stdout.readline())
        _wait_for(lambda: Path(f"/proc/{child}/stat").read_text().rpartition(") ")[2].startswith("T"))
        tracer = _attach(child, *options) if options else None
        os.kill(child, signal.SIGCONT)
        deadline = subprocess.Popen(["sh", "-c", f"sleep {PATIENCE_SECONDS}; kill -9 {child}"], start_new_session=True)
        status = int(self.process.stdout.readline())
        hung = deadline.poll() is not None
        if not hung:
            os.killpg(deadline.pid, signal.SIGKILL)
        deadline.wait()
        if tracer is not None:
            tracer.communicate()
        if hung:
            raise TimeoutError(f"no end after {PATIENCE_SECONDS:.0f} s")
        return status, said.read_text()

    def calls(self, folder: RunFolder) -> list[tuple[str, int]]:
        """The calls that an undisturbed run makes on files below its store: name and number; it is trained."""
        log = self.scratch / "calls.txt"
        status, said = self.run(folder, "-y", "-o", str(log), "-e", f"trace={','.join(CALLS)}")
        assert (status, said) == (DONE, ""), said
        found, numbers = [], Counter[str]()
        first = re.compile(rf"(\d+) +({'|'.join(CALLS)})\((.*)")
        lines = [match.groups() for match in map(first.match, log.read_text().splitlines()) if match]
        for process, call, arguments in lines:
            if process == lines[0][0]:  # strace counts the calls of each thread by themselves
                numbers[call] += 1
                if str(folder.path) in arguments:
                    found.append((call, numbers[call]))
        return found

    def close(self) -> None:
        """End the process."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


def outcome(walker: Walker, folder: RunFolder, case: Case) -> str:
    """Train with the fault, then without: what came of the first, in one word; AssertionError says what is wrong.

    The caller looks at the folder afterwards: the run is finished, as it would have been.
    """
    log = walker.scratch / "writes.txt"
    fault = "signal=SIGKILL" if case.fault == TORN else case.fault
    whole = ("-y", "-xx", "-s", "100000000") if case.fault == TORN else ()
    inject = f"inject={case.call}:{fault}:when={case.number}"
    status, said = walker.run(folder, "-o", str(log), *whole, "-e", f"trace={case.call}", "-e", inject)
    if case.fault == TORN:
        _write_half_of_the_last(log)
    assert "Traceback" not in said, f"{case}: {said}"
    if status == DONE:
        assert folder.is_finished(), f"{case}: says done without a record"
        assert not said, f"{case}: done, and says {said}"
    elif status != -signal.SIGKILL:
        assert len(said.splitlines()) == 1, f"{case}: status {status} says {said!r}"
    is_finished = folder.is_finished()
    again, said_again = walker.run(folder)
    assert again == DONE, f"{case}: the next attempt ends with {again}: {said_again}"
    word = "killed" if status == -signal.SIGKILL else "done" if status == DONE else "failed"
    return f"{word}, finished already" if word != "done" and is_finished else word


def _write_half_of_the_last(log: Path) -> None:
    """Put half of the bytes of the write that was a process's end behind what its file holds."""
    hexadecimal = r"((?:\\x[0-9a-f]{2})*)"
    end = r"(?:\) += \?| <unfinished \.\.\.>)"
    found = re.findall(rf'write\(\d+<{hexadecimal}>, "{hexadecimal}", \d+{end}', log.read_text())
    path, data = (bytes.fromhex(text.replace("\\x", "")) for text in found[-1])
    with open(path, "ab") as file:
        file.write(data[: len(data) // 2])


def missing() -> str:
    """What is missing for a walk, or nothing."""
    if shutil.which("strace") is None:
        return "needs strace"
    done = subprocess.run(["strace", "-o", "/dev/null", "-e", "inject=fsync:error=EIO", "true"], capture_output=True)
    return "" if done.returncode == 0 else "strace may not trace here"


def _attach(child: int, *options: str) -> subprocess.Popen[str]:
    tracer = subprocess.Popen(["strace", "-f", "-p", str(child), *options], stderr=subprocess.PIPE, text=True)
    assert tracer.stderr is not None
    while "attached" not in (line := tracer.stderr.readline()):
        assert line, "strace has ended"
    return tracer


def _wait_for(condition) -> None:
    while not condition():
        time.sleep(0.001)
