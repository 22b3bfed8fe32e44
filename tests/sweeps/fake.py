"""What does a sweep see of training? Runs of a known score that advance one epoch whenever they are polled for."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy
from optuna.storages import RDBStorage

from ablation_suite.core.config.runtime import Runtime
from ablation_suite.core.config.schema import dump
from ablation_suite.core.runs.files import write_json
from ablation_suite.core.runs.run_folder import RunFolder
from ablation_suite.core.scheduling.attempt import BAD_CONFIG, DONE, PREEMPTED, retry_after
from ablation_suite.core.scheduling.executors import Event
from ablation_suite.sweeps.session import run_sweep
from ablation_suite.sweeps.spec import Sweep, read_sweep
from ablation_suite.sweeps.trial import Trial

BASE = {
    "data": "digits",
    "model": {"head": {"name": "linear", "dropout": 0.2}},
    "optimizer": {"name": "adam", "lr": 1e-3},
    "epochs": 4,
}
SPACE = {"optimizer.lr": {"log": [1e-5, 1e-1]}, "model.head.dropout": {"uniform": [0.0, 0.9]}}


def score(config: dict[str, Any]) -> float:
    """The final validation accuracy: best at a learning rate of 0.01 and a dropout of 0.3, a little noise by seed."""
    distance = (math.log10(config["optimizer"]["lr"]) + 2) ** 2 + (config["model"]["head"]["dropout"] - 0.3) ** 2
    return 0.99 * math.exp(-0.2 * distance) - 0.001 * (config["seed"] % 7)


def cost(config: dict[str, Any]) -> dict[str, float]:
    """Less with more dropout, so that the most accurate network is not the smallest."""
    parameters = round(10_000 * (1.0 - config["model"]["head"]["dropout"]))
    return {"parameters": parameters, "flops_per_image": 2 * parameters}


class Fake:
    """An executor that trains nothing; `before_poll` may raise, as a kill would, and `fails` says why a run fails."""

    def __init__(
        self,
        store: Path,
        size: int = 1,
        before_poll: Callable[[], None] = lambda: None,
        fails: Callable[[dict[str, Any]], str | None] = lambda config: None,
        score: Callable[[dict[str, Any]], float] = score,
    ):
        self.store, self.size, self.before_poll, self.fails, self.score = store, size, before_poll, fails, score
        self.waiting: list[Path] = []
        self.cancelled: set[str] = set()
        self.trained: list[str] = []

    def check(self) -> None: ...

    def capacity(self) -> int:
        return self.size

    def room(self) -> int:
        return self.size

    def adopt(self) -> set[str]:
        return set()

    def submit(self, folder: Path) -> None:
        assert len(self.waiting) < self.size
        self.waiting.append(folder)

    def cancel(self, run_id: str) -> None:
        self.cancelled.add(run_id)

    def poll(self, seconds: float) -> list[Event]:
        self.before_poll()
        return [event for path in list(self.waiting) for event in self._advance(RunFolder(path))]

    def close(self, detach: bool) -> None:
        self.waiting.clear()

    def _advance(self, folder: RunFolder) -> list[Event]:
        job = folder.job()
        config, history = job["config"], folder.ledger.history()
        reason = self.fails(config)
        if reason is not None:
            attempt = folder.path / "attempts" / str(len(folder.attempts()) + 1)
            attempt.mkdir(parents=True)
            write_json(attempt / "failure.json", {"kind": reason, "message": reason, "status": BAD_CONFIG})
            return [self._ended(folder, BAD_CONFIG)]
        if folder.run_id in self.cancelled:
            self.cancelled.discard(folder.run_id)
            return [self._ended(folder, PREEMPTED)]
        epoch = min(len(history) + 1, config["epochs"])
        value = self.score(config) * (1.0 - 0.5**epoch)
        if epoch > len(history):
            values = {"val/accuracy": value, "val/loss": 1.0 - value, "seconds": 1.0}
            folder.ledger.append("epoch", epoch=epoch, **values)
        if epoch < config["epochs"]:
            return [Event(run_id=folder.run_id, epoch=epoch, step=1, num_steps=1)]
        metrics = {"val/accuracy": value, "val/loss": 1.0 - value, "best_epoch": epoch}
        spent = {**cost(config), "seconds": epoch}
        folder.commit({**job, "metrics": metrics, "history": folder.ledger.history(), "cost": spent, "classes": []})
        self.trained.append(folder.run_id)
        return [self._ended(folder, DONE)]

    def _ended(self, folder: RunFolder, status: int) -> Event:
        self.waiting.remove(folder.path)
        return Event(run_id=folder.run_id, retry=retry_after(status))


class Silent:
    """A reporter that keeps what it hears."""

    def __init__(self) -> None:
        self.trials: list[Trial] = []

    def begin(self, sweep: Sweep, trials: list[Trial], num_workers: int) -> None: ...

    def news(self, trial: Trial, event: Event) -> None: ...

    def ended(self, trial: Trial) -> None:
        self.trials.append(trial)

    def waits(self) -> None: ...

    def line(self, text: str) -> None: ...


def write_spec(folder: Path, **keys: Any) -> Path:
    """A sweep file over the fake base, with some keys of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "base.yaml").write_text(dump(BASE))
    spec = {"sweep": "fake", "base": "base.yaml", "space": SPACE, "trials": 15, **keys}
    path = folder / "sweep.yaml"
    path.write_text(dump({key: value for key, value in spec.items() if value is not None}))
    return path


def make_fake_sweep(folder: Path, **keys: Any) -> Sweep:
    """The sweep of `write_spec`."""
    return read_sweep(write_spec(folder, **keys))


def make_runtime(folder: Path) -> Runtime:
    """A runtime whose results lie in a folder."""
    return Runtime(results=str(folder), tracker="off")


def search(sweep: Sweep, folder: Path, url: str | None = None, **options: Any) -> tuple[list[Trial], Fake]:
    """Run a sweep on a fake executor: the trials that this call ended, and the executor."""
    runtime = make_runtime(folder)
    fake = Fake(runtime.store, **options)
    return run_sweep(sweep, runtime, Silent(), url=url, executor=fake), fake


@contextmanager
def plain_storage(url: str, **options: Any) -> Iterator[RDBStorage]:
    """A database as plain Optuna opens it, every connection closed when it is done with."""
    storage = RDBStorage(url, {"poolclass": sqlalchemy.NullPool}, **options)
    try:
        yield storage
    finally:
        storage.remove_session()
        storage.engine.dispose()
