"""How are runs trained side by side on this machine? In a pool of worker processes that import once."""

from __future__ import annotations

import json
import os
import selectors
import shlex
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import IO

from ablation_suite.core.config.runtime import Runtime
from ablation_suite.core.scheduling import isolation
from ablation_suite.core.scheduling.executors import Event

GRACE_SECONDS = 10.0
"""How long a run may take to save itself when the pool closes."""
BYTES_PER_WORKER = 2 * 1024**3
"""Host memory that a worker needs for itself (torch's libraries) and a small network."""


class ProcessPool:
    """Workers are started when first needed, each takes one run at a time, and one that dies is replaced."""

    def __init__(self, runtime: Runtime):
        self.runtime = runtime
        self.size = num_jobs(runtime)
        self.workers: list[_Worker] = []
        self.selector = selectors.DefaultSelector()

    def capacity(self) -> int:
        return self.size

    def submit(self, folder: Path) -> None:
        worker = next((each for each in self.workers if each.folder is None), None) or self._start()
        worker.give(folder)

    def poll(self, seconds: float) -> list[Event]:
        events: list[Event] = []
        for key, _ in self.selector.select(timeout=seconds):
            worker: _Worker = key.data
            lines = worker.read()
            if lines is None:
                events += self._bury(worker)
            else:
                events += map(worker.event, lines)
        return events

    def cancel(self, run_id: str) -> None:
        for worker in self.workers:
            if worker.folder is not None and worker.folder.name == run_id:
                worker.send({"cancel": run_id})

    def close(self) -> None:
        for worker in self.workers:
            worker.stop()
        deadline = time.monotonic() + GRACE_SECONDS
        for worker in self.workers:
            worker.end(max(0.1, deadline - time.monotonic()))
        self.selector.close()
        self.workers.clear()

    def _start(self) -> _Worker:
        worker = _Worker(self.runtime, number=len(self.workers))
        self.workers.append(worker)
        self.selector.register(worker.output, selectors.EVENT_READ, worker)
        return worker

    def _bury(self, worker: _Worker) -> list[Event]:
        self.selector.unregister(worker.output)
        self.workers.remove(worker)
        status = worker.end(GRACE_SECONDS)
        if worker.folder is None:
            return []
        cause = f"killed by {signal.Signals(-status).name}" if status < 0 else f"exit status {status}"
        message = f"the worker ended without a result ({cause}); {worker.last_words()}"
        return [Event(run_id=worker.folder.name, exit_status=status or 1, message=message)]


class _Worker:
    def __init__(self, runtime: Runtime, number: int):
        log = Path(runtime.results) / "logs" / f"worker-{number}.txt"
        log.parent.mkdir(parents=True, exist_ok=True)
        self.log = log
        output, news = os.pipe()  # a pipe of its own: anything may be printed to the standard output
        environment = isolation.environment(
            ABLATE_RUNTIME=runtime.model_dump_json(),
            ABLATE_COMMAND=shlex.join(sys.argv),
            OMP_NUM_THREADS=str(runtime.threads),
            MKL_NUM_THREADS=str(runtime.threads),
        )
        with open(log, "wb") as printed:
            self.process = subprocess.Popen(
                isolation.command("ablation_suite.core.scheduling.worker", f"serve({news})"),
                stdin=subprocess.PIPE,
                stdout=printed,
                stderr=printed,
                env=environment,
                pass_fds=[news],
                start_new_session=True,
            )
        os.close(news)
        assert self.process.stdin is not None
        self.input: IO[bytes] = self.process.stdin
        self.output: IO[bytes] = os.fdopen(output, "rb")
        os.set_blocking(output, False)
        self.folder: Path | None = None
        self.partial = b""

    def give(self, folder: Path) -> None:
        self.folder = folder
        self.send({"folder": str(folder)})

    def send(self, message: dict[str, str]) -> None:
        with suppress(BrokenPipeError):  # the end of a worker shows at the next poll
            self.input.write(json.dumps(message).encode() + b"\n")
            self.input.flush()

    def read(self) -> list[bytes] | None:
        """Whole lines that have arrived, or None at the end of the worker."""
        data = self.output.read()
        if data == b"":
            return None
        *lines, self.partial = (self.partial + (data or b"")).split(b"\n")
        return lines

    def event(self, line: bytes) -> Event:
        event = Event(**json.loads(line))
        if event.exit_status is not None:
            self.folder = None
        return event

    def stop(self) -> None:
        """Ask for a checkpoint and an end."""
        self.process.terminate()
        with suppress(BrokenPipeError):
            self.input.close()

    def end(self, seconds: float) -> int:
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()

    def last_words(self) -> str:
        """The last line that the worker or its run printed."""
        logs = [self.log] + ([self.folder / "log.txt"] if self.folder else [])
        lines = [line for log in logs if log.exists() for line in log.read_text(errors="replace").splitlines() if line]
        return f"it last said: {lines[-1]}" if lines else "it said nothing"


def num_jobs(runtime: Runtime) -> int:
    """Runs side by side: as asked for, else one on a CUDA device, else as many as cores and memory allow."""
    if runtime.jobs != "auto":
        return runtime.jobs
    if runtime.device.startswith("cuda") or (runtime.device == "auto" and Path("/dev/nvidia0").exists()):
        return 1
    num_cores = len(os.sched_getaffinity(0)) // runtime.threads
    return max(1, min(num_cores, _available_bytes() // BYTES_PER_WORKER))


def _available_bytes() -> int:
    """Memory that processes may still take, page cache included; all of it where the kernel does not say."""
    try:
        lines = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
        return int(lines["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError):
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
