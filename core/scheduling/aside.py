"""How is code tried that may end or hang a process? In one of its own, which costs the blamed part alone."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any

from ablation_suite.core.config.own import own_parts
from ablation_suite.core.config.run_config import RunConfig
from ablation_suite.core.config.runtime import Runtime
from ablation_suite.core.metrics import OwnMetric
from ablation_suite.core.own.kept import packed
from ablation_suite.core.runs.memory import memory, num_oom_kills
from ablation_suite.core.scheduling import isolation
from ablation_suite.core.training.tried import FirstStep, Tried

PATIENCE = {"import": 120.0, "data": 1800.0, "metric": 600.0, "step": 600.0}
"""Seconds that the import of an own part, the reading of own data, an own metric and a first step may take."""
GRACE = 10.0
"""Seconds in which a process tells by itself that it is overdue; one whose code holds the interpreter cannot."""


def try_aside(
    configs: Mapping[str, RunConfig],
    runtime: Runtime,
    metrics: Sequence[str | OwnMetric] = (),
    groups: str | None = None,
) -> Tried:
    """Take the first step of every config in a process of its own; what ends or hangs it is told as broken.

    The rest is then tried in another one. Nothing is started where neither a config nor a metric is an own part.
    """
    found = Tried()
    left = dict(configs) if any(own_parts((*configs.values(), *metrics))) else {}
    asked = [each if isinstance(each, str) else each.model_dump(mode="json") for each in metrics]
    while left:
        data = {name: config.model_dump(mode="json") for name, config in left.items()}
        order = {
            "runtime": runtime.model_dump_json(),
            "configs": data,
            "metrics": asked,
            "groups": groups,
            "code": packed([*data.values(), {"metrics": asked}]),
            "patience": PATIENCE,
        }
        begun: dict[str, Any] = {}
        late = None
        with Aside("ablation_suite.core.training.first_step", order) as process:
            for answer in process.answers():
                if "tried" in answer:
                    return _joined(found, answer["tried"])
                if "late" in answer:
                    late = answer["late"] or ""
                else:
                    begun = answer
                    process.patience = PATIENCE[begun["begun"]] + GRACE if begun["parts"] else None
        if not begun.get("names"):
            raise RuntimeError(f"the process that tries first steps {process.ending}")
        found.broken.update(dict.fromkeys(begun["names"], _ended(begun, late, process)))
        left = {name: config for name, config in left.items() if name not in found.broken}
    return found


class Aside:
    """A process of ours that takes one order and answers in lines of JSON, on a pipe of its own.

    It is a group of processes, and the whole group is gone when the context is left. What it prints is kept from people
    but for the last line, which `ending` quotes.
    """

    def __init__(self, module: str, order: Mapping[str, Any], **variables: str):
        output, answers = os.pipe()
        self.patience: float | None = None
        """Seconds for the next answer."""
        self.is_late = False
        self._num_oom_kills = num_oom_kills()
        self._pipe = output
        self._printed = tempfile.TemporaryFile()  # noqa: SIM115 (closed when the context is left)
        try:
            self.process = subprocess.Popen(
                isolation.command(module, f"main({answers})"),
                stdin=subprocess.PIPE,
                stdout=self._printed,
                stderr=self._printed,
                env=isolation.environment(**variables),
                pass_fds=[answers],
                start_new_session=True,
            )
        finally:
            os.close(answers)
        assert self.process.stdin is not None
        with suppress(BrokenPipeError), self.process.stdin as orders:
            orders.write(json.dumps(order).encode() + b"\n")

    def __enter__(self) -> Aside:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self.is_late or kind is not None:
            self.process.kill()
        self.process.wait()
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        os.close(self._pipe)
        self.last_line = self._last_line()
        self._printed.close()

    def answers(self) -> Iterator[dict[str, Any]]:
        """Each answer as it comes, until the process is gone, or none came in `patience` seconds."""
        received, since = b"", time.monotonic()
        while True:
            ready = select.select([self._pipe], [], [], 0.2)[0]
            if not ready:
                if self.process.poll() is not None:
                    return  # what it started may still hold the pipe
                self.is_late = self.patience is not None and time.monotonic() - since > self.patience
                if self.is_late:
                    return
                continue
            piece = os.read(self._pipe, 1 << 16)
            if not piece:
                return
            *lines, received = (received + piece).split(b"\n")
            since = time.monotonic()
            for line in lines:
                yield json.loads(line)

    @property
    def ending(self) -> str:
        """How it ended, as the rest of a sentence, with the last line that it printed; known when it is gone."""
        status = self.process.returncode
        if status == -signal.SIGKILL and num_oom_kills() > self._num_oom_kills:
            return f"was killed because memory ran out: {memory()}; fewer --jobs or a smaller batch_size need less"
        how = f"is ended by {signal.Signals(-status).name}" if status < 0 else f"ends with exit status {status}"
        return how + (f" (its last words: {self.last_line})" if self.last_line else "")

    def _last_line(self) -> str:
        self._printed.seek(max(0, self._printed.seek(0, os.SEEK_END) - 4096))
        lines = self._printed.read().decode(errors="replace").split("\n")
        return next((line.strip() for line in reversed(lines) if line.strip()), "")[:200]


def _ended(begun: Mapping[str, Any], late: str | None, process: Aside) -> str:
    """Why nothing more was heard, in one line that begins with the user's line where that is known."""
    doing = {
        "import": "imported",
        "data": "asked for its images",
        "metric": "asked for its value",
        "step": "in a first step",
    }[begun["begun"]]
    parts = begun["parts"] or "a config of the house's own parts"
    if late is not None or process.is_late:
        place = f"{late}: " if late else ""
        return f"{place}{parts}, {doing}: does not come to an end within {PATIENCE[begun['begun']]:.0f} s"
    return f"{parts}, {doing}: the whole process {process.ending}"


def _joined(found: Tried, answer: Mapping[str, Any]) -> Tried:
    """What earlier processes told of, and the answer of the last one."""
    steps = {name: FirstStep(**values) for name, values in answer["steps"].items()}
    return Tried(**{**answer, "steps": steps, "broken": {**found.broken, **answer["broken"]}})
