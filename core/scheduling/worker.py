"""What does a warm worker process do? It takes run folders from its input, one line each, and tells how they go.

`python -m ablation_suite.core.scheduling.worker RUN_FOLDER...` trains the given folders and ends with the last one's
exit status; the process pool keeps one warm with `serve`.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from ablation_suite.core.config.runtime import Runtime
from ablation_suite.core.runs.lease import Stillness
from ablation_suite.core.runs.run_folder import RunFolder
from ablation_suite.core.scheduling.attempt import LOST_DEVICE, PREEMPTED, Datasets, retry_after, work

if TYPE_CHECKING:
    from ablation_suite.core.training.session import StepTaken

PROGRESS_SECONDS = 0.5
BEAT_SECONDS = 2.0
"""Between two signs of life while a step, an evaluation or the end of a run takes long."""
ORPHAN_SECONDS = 60.0
"""How long a worker may take to end when its driver is gone; a step that hangs would else hold its run for ever."""


def main() -> int:
    """Train the folders of the command line; signals only set a flag, and the loop saves at the end of the step."""
    runtime, stopping, datasets = _begin()
    status = 0
    for name in sys.argv[1:]:
        if stopping.is_set():
            break
        status = work(RunFolder(Path(name)), runtime, datasets, stop=stopping.is_set) or status
    return status


def serve(news: int) -> int:
    """Train the folders that come as lines of JSON, until there are no more; `news` is where to tell, a pipe."""
    os.set_inheritable(news, False)
    runtime, stopping, datasets = _begin()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    answers = os.fdopen(news, "w")
    cancelled: set[str] = set()
    folders = _read_input(stopping, cancelled)
    while (message := folders.get()) is not None:
        folder = RunFolder(Path(message["folder"]))
        runtime = runtime.model_copy(update={"jobs": message["jobs"]})
        writer = _NewsWriter(answers, folder.run_id)
        with printing_to(folder.path / "log.txt"):
            stop = partial(_should_stop, stopping, cancelled, folder.run_id)
            with writer.alive():
                status = work(
                    folder, runtime, datasets, stop=stop, on_step=writer.on_step, on_failure=writer.on_failure
                )
        if status == LOST_DEVICE:
            return status  # not told, so that no other run is given to this process before it ends
        writer.tell(retry=retry_after(status), message=writer.failure)
        if stopping.is_set():
            break
    return 0


class _NewsWriter:
    """Writes the news of one run, not more often than someone can read them, and in between that it lives."""

    def __init__(self, answers: TextIO, run_id: str):
        self.answers, self.run_id, self.last, self.failure = answers, run_id, 0.0, ""
        self.lock = threading.Lock()
        self.over = threading.Event()

    def on_step(self, step: StepTaken) -> None:
        if time.monotonic() - self.last > PROGRESS_SECONDS:
            self.last = time.monotonic()
            self.tell(epoch=step.epoch, step=step.number, num_steps=step.num_steps)

    def on_failure(self, message: str) -> None:
        self.failure = message

    def tell(self, **news: Any) -> None:
        with self.lock, suppress(BrokenPipeError):
            self.answers.write(json.dumps({"run_id": self.run_id, **news}) + "\n")
            self.answers.flush()

    @contextmanager
    def alive(self) -> Iterator[None]:
        """Say every few seconds that the process lives, from a thread that stops where the whole process is stopped."""
        thread = threading.Thread(target=self._beat, daemon=True)
        thread.start()
        try:
            yield
        finally:
            self.over.set()
            thread.join()

    def _beat(self) -> None:
        stillness = Stillness()
        self.tell()
        while not self.over.wait(BEAT_SECONDS):
            stillness.begun = self.last > 0.0
            if not stillness.is_too_long():
                self.tell()


def _begin() -> tuple[Runtime, threading.Event, Datasets]:
    """The runtime of the environment, a flag that signals set, and no data sets yet."""
    return Runtime.model_validate_json(os.environ.get("ABLATE_RUNTIME", "{}")), stop_flag(), Datasets()


def stop_flag() -> threading.Event:
    """What the signals set that ask a process to stop."""
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    return stopping


def _should_stop(stopping: threading.Event, cancelled: set[str], run_id: str) -> bool:
    """Whether the worker is to leave, or this one run is no longer wanted."""
    return stopping.is_set() or run_id in cancelled


def _read_input(stopping: threading.Event, cancelled: set[str]) -> queue.Queue[dict[str, Any] | None]:
    """Messages of runs to be trained, as they arrive: `folder`, and `jobs`, the number of runs on our device.

    The end of the input means that the driver is gone, and the run saves and stops; where it does not, the process
    ends all the same. A message that cancels a run adds it to `cancelled`; being given again takes it out.
    """
    folders: queue.Queue[dict[str, Any] | None] = queue.Queue()

    def read() -> None:
        for line in sys.stdin:
            message = json.loads(line)
            if "cancel" in message:
                cancelled.add(message["cancel"])
            else:
                cancelled.discard(Path(message["folder"]).name)
                folders.put(message)
        stopping.set()
        folders.put(None)
        time.sleep(ORPHAN_SECONDS)
        os._exit(PREEMPTED)

    threading.Thread(target=read, daemon=True).start()
    return folders


@contextmanager
def printing_to(path: Path) -> Iterator[None]:
    """What libraries print during a run belongs to its folder; on a disk that takes no more, it goes where it went."""
    sys.stderr.flush()
    saved = os.dup(2)
    with suppress(OSError), open(path, "ab") as file:
        os.dup2(file.fileno(), 2)
        os.dup2(file.fileno(), 1)
    try:
        yield
    finally:
        with suppress(OSError):
            sys.stderr.flush()
            sys.stdout.flush()
        os.dup2(saved, 2)
        os.dup2(saved, 1)
        os.close(saved)


if __name__ == "__main__":
    sys.exit(main())
