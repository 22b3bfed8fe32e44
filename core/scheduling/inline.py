"""How are runs trained in this very process? One after the other, for debuggers and tests."""

from __future__ import annotations

from pathlib import Path

from ablation_suite.core.config.errors import UserError
from ablation_suite.core.config.runtime import Runtime
from ablation_suite.core.runs.run_folder import RunFolder
from ablation_suite.core.scheduling.attempt import LOST_DEVICE, Datasets, retry_after, work
from ablation_suite.core.scheduling.executors import Event


class Inline:
    """Trains a run when it is polled for."""

    def __init__(self, runtime: Runtime):
        self.runtime = runtime
        self.datasets = Datasets()
        self.waiting: list[Path] = []

    def check(self) -> None:
        """This process is here."""

    def capacity(self) -> int:
        return 1

    def room(self) -> int:
        return 1

    def adopt(self) -> set[str]:
        return set()

    def submit(self, folder: Path) -> None:
        self.waiting.append(folder)

    def poll(self, seconds: float) -> list[Event]:
        folder = RunFolder(self.waiting.pop(0))
        heard: list[str] = []
        status = work(folder, self.runtime, self.datasets, on_failure=heard.append)
        if status == LOST_DEVICE:
            raise UserError(f"{heard[-1]}; run the same command again, in a new process")
        return [Event(run_id=folder.run_id, retry=retry_after(status), message="; ".join(heard))]

    def cancel(self, run_id: str) -> None:
        """Too late: a run that was polled for has ended."""

    def close(self, detach: bool) -> None:
        self.waiting.clear()
