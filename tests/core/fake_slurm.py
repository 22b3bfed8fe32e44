"""What does the suite see of Slurm? A controller in a thread of the test, and its commands on the PATH.

A task either runs its batch script, or "trains" by a function of the test. Time passes by `tick` alone where the test
says so: states change when it wants them to.
"""

from __future__ import annotations

import json
import os
import re
import socketserver
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

CLIENT = """#!{python} -SE
import json, os, socket, sys
name = os.path.basename(sys.argv[0])
if name == "srun":
    words = sys.argv[1:]
    while words[0].startswith("--"):
        words = words[1:]
    os.execvp(words[0], words)
with socket.socket(socket.AF_UNIX) as server:
    server.connect({path!r})
    server.sendall(json.dumps([name, *sys.argv[1:]]).encode() + b"\\n")
    answer = json.loads(server.makefile().read())
sys.stdout.write(answer["output"])
sys.stderr.write(answer["errors"])
sys.exit(answer["status"])
"""


@dataclass(kw_only=True)
class FakeTask:
    job: str
    name: str
    index: int
    script: str
    state: str = "PENDING"
    reason: str = "Resources"
    num_starts: int = 0
    process: subprocess.Popen[bytes] | None = None

    @property
    def home(self) -> Path:
        return Path(self.script).parent

    @property
    def runs(self) -> list[str]:
        return (self.home / "folders.txt").read_text().splitlines()[self.index].split()


@dataclass
class FakeSlurm:
    """`slots` tasks at a time, for each of which `train` is called, or its script is run where there is none."""

    folder: Path
    slots: int = 10**6
    train: Callable[[FakeTask], str] | None = None
    """Gives the state that the task ends in."""
    time_left: str = "7:00:00"
    calls: list[list[str]] = field(default_factory=list)
    tasks: list[FakeTask] = field(default_factory=list)
    broken: dict[str, str] = field(default_factory=dict)
    """Command -> what it says when it fails."""
    limit: int = 10**6
    """Tasks in one submission."""
    held: bool = False
    """Whether nothing starts."""

    def __post_init__(self) -> None:
        self.lock = threading.RLock()
        self.over = threading.Event()
        self.folder.mkdir()
        path = self.folder / "controller"
        for name in ("sbatch", "squeue", "scancel", "scontrol", "srun"):
            command = self.folder / name
            command.write_text(CLIENT.format(python=sys.executable, path=str(path)))
            command.chmod(0o755)
        fake = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                with fake.lock:
                    self.wfile.write(json.dumps(fake.answer(json.loads(self.rfile.readline()))).encode())

        self.server = socketserver.ThreadingUnixStreamServer(str(path), Handler)
        self.threads = [
            threading.Thread(target=self.server.serve_forever, args=(0.05,)),
            threading.Thread(target=self._run),
        ]
        for thread in self.threads:
            thread.start()

    def close(self) -> None:
        self.over.set()
        self.server.shutdown()
        self.server.server_close()
        for thread in self.threads:
            thread.join()
        for task in self.tasks:
            if task.process is not None and task.process.poll() is None:
                os.killpg(task.process.pid, 9)
                task.process.wait()

    def count(self, command: str, without: str = "--test-only") -> int:
        """How often a command was called."""
        return sum(call[0] == command and without not in call for call in self.calls)

    def end(self, state: str, *indices: int) -> None:
        """Let tasks end in a state, whatever they do."""
        with self.lock:
            for index in indices:
                self.tasks[index].state = state

    def answer(self, words: list[str]) -> dict[str, Any]:
        self.calls.append(words)
        if words[0] in self.broken:
            return {"status": 1, "output": "", "errors": f"{words[0]}: error: {self.broken[words[0]]}\n"}
        errors, output = "", getattr(self, f"_{words[0]}")(words[1:])
        if output.startswith("error: "):
            output, errors = "", f"{words[0]}: {output}\n"
        return {"status": int(bool(errors)), "output": output, "errors": errors}

    def _sbatch(self, words: list[str]) -> str:
        options = dict(word.partition("=")[::2] for word in words)
        if options.get("-p", "gpu") != "gpu" or "--partition=nowhere" in words:
            return "error: Batch job submission failed: Invalid partition name specified"
        if "--test-only" in words:
            return ""
        num_tasks = int(re.match(r"0-(\d+)", options["--array"])[1]) + 1
        if num_tasks > self.limit:
            return "error: Batch job submission failed: Job violates accounting/QOS policy"
        job = 100 + len(self.tasks)
        for index in range(num_tasks):
            self.tasks.append(FakeTask(job=f"{job}_{index}", name=options["--job-name"], index=index, script=words[-1]))
        return f"{job}\n"

    def _squeue(self, words: list[str]) -> str:
        jobs = [word.partition("=")[2] for word in words if word.startswith("--jobs=")]
        if jobs:
            return next(f"{task.state}|{self.time_left}\n" for task in self.tasks if task.job == jobs[0])
        lines = [f"{each.name}|{each.index}|{each.state}|{each.job}|N/A|{each.reason}" for each in self.tasks]
        return "".join(f"{line}\n" for line in ["interactive|N/A|RUNNING|7|N/A|None", *lines])

    def _scancel(self, words: list[str]) -> str:
        for task in self.tasks:
            if task.job in words and task.state in ("PENDING", "RUNNING"):
                if "--signal=KILL" in words:
                    self._signal(task, 9)
                else:
                    task.state = "CANCELLED"
                    self._signal(task, 15)
        return ""

    def _scontrol(self, words: list[str]) -> str:
        for task in self.tasks:
            if words[0] == "requeue" and task.job == words[1]:
                task.state, task.reason = "PENDING", "BeginTime"
        return ""

    def _signal(self, task: FakeTask, number: int) -> None:
        """To the step, which is all processes but the batch script's."""
        if task.process is None:
            return
        children = subprocess.run(
            ["ps", "-o", "pid=", "-g", str(task.process.pid)], capture_output=True, text=True
        ).stdout.split()
        for each in map(int, children):
            if each != task.process.pid:
                os.kill(each, number)

    def _run(self) -> None:
        while not self.over.wait(0.01):
            with self.lock:
                self._reap()
                running = sum(task.state == "RUNNING" for task in self.tasks)
                waiting = [task for task in self.tasks if task.state == "PENDING" and task.process is None]
                for task in [] if self.held else waiting[: max(0, self.slots - running)]:
                    task.state, task.reason = "RUNNING", "None"
                    task.num_starts += 1
                    if self.train is not None:
                        task.state = self.train(task)
                    else:
                        self._start(task)

    def _start(self, task: FakeTask) -> None:
        environment = {
            **os.environ,
            "SLURM_JOB_ID": task.job,
            "SLURM_ARRAY_TASK_ID": str(task.index),
            "SLURM_RESTART_COUNT": str(task.num_starts - 1),
        }
        with open(task.home / f"{task.index}.txt", "ab") as log:
            task.process = subprocess.Popen(
                ["bash", task.script], env=environment, stdout=log, stderr=log, start_new_session=True
            )

    def _reap(self) -> None:
        for task in self.tasks:
            if task.process is not None and task.process.poll() is not None:
                if task.state == "RUNNING":
                    task.state = "COMPLETED" if task.process.returncode == 0 else "FAILED"
                task.process = None


def wait_until(condition: Callable[[], Any], seconds: float = 60.0) -> None:
    """Until a condition holds; fails where it never does."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the moment never came"
        time.sleep(0.01)
