"""How are runs trained side by side on this machine? In a pool of worker processes that import once."""

from __future__ import annotations

import json
import os
import selectors
import shlex
import signal
import statistics
import subprocess
import sys
import time
from collections import deque
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from ablation_suite.core.config.runtime import Runtime
from ablation_suite.core.runs.memory import available_bytes, memory, num_oom_kills
from ablation_suite.core.runs.run_folder import RunFolder
from ablation_suite.core.scheduling import devices
from ablation_suite.core.scheduling.attempt import LOST_DEVICE
from ablation_suite.core.scheduling.executors import Event
from ablation_suite.core.scheduling.warm import Warm

GRACE_SECONDS = 10.0
"""How long a run may take to save itself when the pool closes."""
PATIENCE_SECONDS = 600.0
"""How long a worker may be silent before it says that it has begun a run: it starts and imports."""
SILENCE_SECONDS, SILENCE_RATIO = 30.0, 20.0
"""How long it may be silent afterwards: so many seconds, or times its own usual time between news if that is longer."""
LONGEST_LOOK_SECONDS = 2.0
"""Of the time between two looks of ours, more is no silence of the workers: we did not run, so perhaps no one did."""
SHORT_SHARE = 0.1
"""Memory is short where less than this share was free at one of the last looks; a killed worker has given its back."""
MEMORY_LOOK_SECONDS, NUM_MEMORY_LOOKS = 1.0, 10


class ProcessPool:
    """Workers are started when first needed, each takes one run at a time, and one that dies is replaced."""

    def __init__(self, runtime: Runtime, name: str = "worker"):
        """`name`: how the files begin that the workers print to."""
        self.runtime, self.name = runtime, name
        self.devices = devices.cuda_devices(runtime)
        self.runs_per_device: int | None = None
        """What `--jobs auto` learns from the runs that end; one until then."""
        self.warm: Warm | None = None
        self.workers: list[_Worker] = []
        self.selector = selectors.DefaultSelector()
        self.looked_at = time.monotonic()
        self.free_bytes = deque([available_bytes()], maxlen=NUM_MEMORY_LOOKS)
        self.memory_looked_at = time.monotonic()

    def check(self) -> None:
        """This machine is here."""

    def capacity(self) -> int:
        return devices.num_jobs(self.runtime, self.runs_per_device or 1)

    def room(self) -> int:
        return self.capacity()

    def adopt(self) -> set[str]:
        return set()  # workers end with their driver

    def submit(self, folder: Path) -> None:
        idle = (each for each in self.workers if each.folder is None and not each.is_hung)
        worker = next(idle, None) or self._start()
        worker.give(folder, num_beside=-(-self.capacity() // max(1, len(self.devices))))

    def poll(self, seconds: float) -> list[Event]:
        events: list[Event] = []
        if time.monotonic() - self.memory_looked_at >= MEMORY_LOOK_SECONDS:
            self.memory_looked_at = time.monotonic()
            self.free_bytes.append(available_bytes())
        for key, _ in self.selector.select(timeout=seconds):
            worker: _Worker = key.data
            lines = worker.read()
            if lines is None:
                events += self._reap(worker)
            else:
                events += filter(None, map(worker.event, lines))
        if self.devices and self.runtime.jobs == "auto":
            for event in events:
                if event.retry is not None and (folder := RunFolder(self.runtime.store / event.run_id)).is_finished():
                    self._learn(folder)
        return events + self._end_the_hung()

    def cancel(self, run_id: str) -> None:
        for worker in self.workers:
            if worker.folder is not None and worker.folder.name == run_id:
                worker.send({"cancel": run_id})

    def close(self, detach: bool) -> None:
        for worker in self.workers:
            worker.stop()
        deadline = time.monotonic() + GRACE_SECONDS
        for worker in self.workers:
            worker.end(max(0.1, deadline - time.monotonic()))
        self.selector.close()
        self.workers.clear()
        if self.warm is not None:
            self.warm.close()

    def _start(self) -> _Worker:
        taken = [each.device for each in self.workers]
        runtime = devices.placed(self.runtime, self.devices, taken)
        folder = Path(runtime.results) / "logs"
        folder.mkdir(parents=True, exist_ok=True)
        if self.warm is None or not self.warm.has_room:
            self.warm = Warm(
                folder / f"{self.name}.txt",
                ABLATE_COMMAND=shlex.join(sys.argv),
                OMP_NUM_THREADS=str(runtime.threads),
                MKL_NUM_THREADS=str(runtime.threads),
            )
        log = folder / f"{self.name}-{len(self.workers)}.txt"
        worker = _Worker(runtime, self.warm, log, device=next(iter(runtime.devices), None))
        self.workers.append(worker)
        self.selector.register(worker.output, selectors.EVENT_READ, worker)
        return worker

    def _learn(self, folder: RunFolder) -> None:
        """How many runs such as this one a device takes at a time; of several kinds, the largest says it."""
        record = folder.record()
        if record is None:
            return
        cost = record["cost"]
        step_flops = 3 * cost["flops_per_image"] * cost["images_seen"] / cost["optimizer_steps"]
        memory = devices.cuda_memory()
        device_bytes = min(memory[number] for number in self.devices)
        fitting = devices.runs_per_device(step_flops, cost["peak_memory_bytes"], device_bytes)
        self.runs_per_device = min(fitting, self.runs_per_device or fitting)

    def _end_the_hung(self) -> list[Event]:
        """Kill workers that have been silent for too long; their end is then found like that of any other."""
        now, told = time.monotonic(), []
        for worker in self.workers:
            if worker.folder is None or worker.is_hung:
                continue
            worker.silence.last(min(now - self.looked_at, LONGEST_LOOK_SECONDS))
            if worker.silence.is_too_long():
                worker.is_hung = True
                told.append(Event(run_id=worker.folder.name, message=worker.hung_words()))
                worker.process.kill()
        self.looked_at = now
        return told

    def _reap(self, worker: _Worker) -> list[Event]:
        self.selector.unregister(worker.output)
        self.workers.remove(worker)
        status = worker.end(GRACE_SECONDS)
        if worker.folder is None:
            return []
        if status == LOST_DEVICE:
            return [Event(run_id=worker.folder.name, retry="counted")]  # the run's failure says why
        if worker.is_hung:
            message = worker.hung_words()
        elif status == -signal.SIGKILL:
            message = self._killed_words(worker)
        else:
            cause = f"killed by {signal.Signals(-status).name}" if status < 0 else f"exit status {status}"
            message = f"the worker ended without a result ({cause})"
        message = f"{message}; {worker.last_words()}"
        return [Event(run_id=worker.folder.name, retry="counted", message=message)]

    def _killed_words(self, worker: _Worker) -> str:
        """Who killed a worker that we did not kill, and what needs less memory where that ran out."""
        assert worker.folder is not None
        there = memory()
        if num_oom_kills() > worker.num_oom_kills:
            cause = "the kernel killed the worker"
        elif min(self.free_bytes) < SHORT_SHARE * there.total_bytes:
            cause = "the worker was killed (SIGKILL), most likely"
        else:
            return f"the worker was killed from outside (SIGKILL), not for want of memory: {there}"
        folder = RunFolder(worker.folder)
        size = folder.job()["config"].get("batch_size") if folder.has_job() else None
        return (
            f"{cause} because memory ran out: {there}; set fewer --jobs ({self.capacity()} now), or a smaller "
            f"batch_size{f' ({size} now)' if size else ''} with more accumulate"
        )


class _Worker:
    def __init__(self, runtime: Runtime, warm: Warm, log: Path, device: int | None):
        self.device = device
        self.logs = [warm.log, log]
        output, news = os.pipe()  # a pipe of its own: anything may be printed to the standard output
        source, given = os.pipe()
        with open(log, "wb") as printed:
            self.process = warm.fork(runtime.model_dump_json(), (source, printed.fileno(), news))
        os.close(source)
        os.close(news)
        self.input: IO[bytes] = os.fdopen(given, "wb")
        self.output: IO[bytes] = os.fdopen(output, "rb")
        os.set_blocking(output, False)
        self.folder: Path | None = None
        self.partial = b""
        self.silence = _Silence()
        self.is_hung = False
        self.num_oom_kills = num_oom_kills()

    def give(self, folder: Path, num_beside: int) -> None:
        """Let it train a run, as one of so many on its device."""
        self.folder = folder
        self.silence = _Silence()
        self.send({"folder": str(folder), "jobs": num_beside})

    def send(self, message: dict[str, Any]) -> None:
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

    def event(self, line: bytes) -> Event | None:
        """The news in a line; None where it says only that the worker lives."""
        event = Event(**json.loads(line))
        self.silence.end()
        if event.retry is not None:
            self.folder = None
        return event if event.retry is not None or event.num_steps else None

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
        finally:
            with suppress(BrokenPipeError):
                self.input.close()
            self.output.close()

    def hung_words(self) -> str:
        seconds = self.silence.seconds
        return f"its worker (process {self.process.pid}) gave no sign of life for {seconds:.0f} s and is killed"

    def last_words(self) -> str:
        """The last line that the worker or its run printed."""
        logs = self.logs + ([self.folder / "log.txt"] if self.folder else [])
        lines = [line for log in logs if log.exists() for line in log.read_text(errors="replace").splitlines() if line]
        return f"it last said: {lines[-1]}" if lines else "it said nothing"


class _Silence:
    """For how many seconds a worker has said nothing about its run, and whether that is too long."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.has_begun = False
        self.before: deque[float] = deque(maxlen=100)

    def last(self, seconds: float) -> None:
        """Nothing was heard for so long."""
        self.seconds += seconds

    def end(self) -> None:
        """Something was heard."""
        if self.has_begun:
            self.before.append(self.seconds)
        self.has_begun, self.seconds = True, 0.0

    def is_too_long(self) -> bool:
        if not self.has_begun:
            return self.seconds > PATIENCE_SECONDS
        usual = statistics.median(self.before) if self.before else 0.0
        return self.seconds > max(SILENCE_SECONDS, SILENCE_RATIO * usual)
