"""How do the trials get done? One driver asks, has runs trained, stops the hopeless, and tells."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from ablation_suite.core.config.menu import build
from ablation_suite.core.config.run_config import RunConfig
from ablation_suite.core.config.runtime import Runtime
from ablation_suite.core.runs.identity import RECIPE, run_id
from ablation_suite.core.runs.store import RunFolder
from ablation_suite.core.scheduling.attempt import BAD_CONFIG, BAD_DATA, PREEMPTED
from ablation_suite.core.scheduling.executors import Event, Executor
from ablation_suite.sweeps.spec import Sweep
from ablation_suite.sweeps.storage import TrialLost
from ablation_suite.sweeps.study import Study
from ablation_suite.sweeps.trial import Outcome, Trial

MAX_TRIES = 3
BACK_OFF_SECONDS = 1.0
POLL_SECONDS = 0.25
DIVERGED = "loss not finite"
"""The kind of failure that says something about the trial's values."""


class Reporter(Protocol):
    """Is told how the sweep goes."""

    def begin(self, sweep: Sweep, trials: list[Trial], num_workers: int) -> None: ...

    def news(self, trial: Trial, event: Event) -> None: ...

    def ended(self, trial: Trial) -> None: ...

    def waits(self) -> None: ...


@dataclass(kw_only=True)
class _Active:
    """A trial under way: one run per seed, one after the other."""

    trial: Trial
    jobs: list[dict[str, Any]]
    scores: list[float] = field(default_factory=list)
    last_step: int
    tries: int = 0
    message: str = ""
    """What the executor last said about its run."""
    not_before: float = 0.0

    @property
    def run_id(self) -> str:
        """The run of the seed under way, or of the last."""
        return self.jobs[min(len(self.scores), len(self.jobs) - 1)]["run_id"]

    def can_save(self, by_seeds: bool) -> bool:
        """Whether stopping at the last step would spare anything: later epochs, or later seeds."""
        if by_seeds:
            return self.last_step < len(self.jobs)
        return self.last_step < self.jobs[0]["config"]["epochs"] or len(self.jobs) > 1


def drive(sweep: Sweep, study: Study, runtime: Runtime, executor: Executor, reporter: Reporter) -> list[Trial]:
    """Bring the study to its number of trials and return those that this call ended.

    Trials that a dead driver left are gone on with; finished runs are reused, whoever trained them. A trial is judged
    epoch by epoch in order, wherever its run is by then, so that the verdicts do not depend on timing. Where the last
    trials are another driver's, this one stays until they have ended or fall to it.
    """
    reporter.begin(sweep, study.trials(), executor.capacity())
    return _Driver(sweep, study, runtime, executor, reporter).run()


class _Driver:
    def __init__(self, sweep: Sweep, study: Study, runtime: Runtime, executor: Executor, reporter: Reporter):
        self.sweep, self.study, self.runtime = sweep, study, runtime
        self.executor, self.reporter = executor, reporter
        self.deadline = time.monotonic() + 3600.0 * sweep.spec.hours if sweep.spec.hours else None
        self.by_seeds = sweep.spec.pruner.name == "wilcoxon"
        self.active: list[_Active] = []
        self.running: dict[str, int | None] = {}
        """Run id -> None while the executor trains it, then its exit status until that was looked at."""
        self.ended: list[Trial] = []
        self.fingerprints: dict[str, str] = {}

    def run(self) -> list[Trial]:
        while True:
            while len(self.active) < self.executor.capacity() and self._begin():
                pass
            if not self.active and not self.running:
                if self._is_late() or not self.study.has_others():
                    return self.ended
                self.reporter.waits()
            for active in self.active:
                self._submit(active)
            self._wait()
            for active in list(self.active):
                with self._unless_lost(active):
                    self._look(active)
            self.running = {name: status for name, status in self.running.items() if status is None}
            lost = self.study.watch()
            for active in [each for each in self.active if each.trial.number in lost]:
                self._drop(active)

    def _is_late(self) -> bool:
        return self.deadline is not None and time.monotonic() > self.deadline

    def _begin(self) -> bool:
        """Take one more trial, unless there are enough."""
        if self._is_late():
            return False
        num_failed_here = sum(each.outcome == "failed" for each in self.ended)
        trial = self.study.next_trial((self.sweep.spec.trials or sys.maxsize) - num_failed_here)
        if trial is None:
            return False
        jobs = [self._job(trial, seed) for seed in self.sweep.seeds]
        active = _Active(trial=trial, jobs=jobs, last_step=max(trial.curve, default=0))
        self.active.append(active)
        with self._unless_lost(active):
            self.study.begin_runs(trial.number, [job["run_id"] for job in jobs])
            if active.can_save(self.by_seeds) and self.study.should_stop(trial.number):
                self._end(active, "pruned")
        return True

    def _job(self, trial: Trial, seed: int) -> dict[str, Any]:
        config = self.sweep.run_config(trial.values, seed)
        fingerprint = data_fingerprint(config, self.runtime, self.fingerprints)
        return {
            "run_id": run_id(config, fingerprint),
            "recipe": RECIPE,
            "config": config.model_dump(mode="json"),
            "data_fingerprint": fingerprint,
            "labels": _labels(self.sweep, trial, seed),
        }

    def _submit(self, active: _Active) -> None:
        name, num_running = active.run_id, sum(status is None for status in self.running.values())
        folder = RunFolder(self.runtime.store / name)
        waits = time.monotonic() < active.not_before or num_running >= self.executor.capacity()
        if waits or name in self.running or folder.is_finished() or _has_diverged(folder):
            return
        if not folder.has_job():
            folder.create(active.jobs[len(active.scores)])
        self.running[name] = None
        self.executor.submit(folder.path)

    def _wait(self) -> None:
        """Hear the news; return as soon as something may have changed."""
        if not self.running:
            if all(active.not_before > time.monotonic() for active in self.active):
                time.sleep(POLL_SECONDS)
            return
        for event in self.executor.poll(POLL_SECONDS):
            if event.exit_status is not None:
                self.running[event.run_id] = event.exit_status
                for active in self._of_run(event.run_id):
                    active.message = event.message
            else:
                for active in self._of_run(event.run_id):
                    self.reporter.news(active.trial, event)

    def _of_run(self, name: str) -> list[_Active]:
        return [active for active in self.active if active.run_id == name]

    def _look(self, active: _Active) -> None:
        """Report new epochs, and act on what has become of the trial's run."""
        folder = RunFolder(self.runtime.store / active.run_id)
        record = folder.record() if folder.is_finished() else None
        if self._is_hopeless(active, record["history"] if record else folder.ledger.history()):
            self._cancel(active)
            self._end(active, "pruned")
        elif record is not None:
            self._scored(active, record["metrics"][self.sweep.spec.metric])
        elif active.run_id not in self.running or self.running[active.run_id] is not None:
            self._stopped(active, folder, self.running.get(active.run_id))

    def _is_hopeless(self, active: _Active, history: list[dict[str, Any]]) -> bool:
        """The pruner's verdict on the epochs of the first seed that it has not seen."""
        if active.scores or self.by_seeds:
            return False
        rows = (row for row in history if row["epoch"] > active.last_step)
        return any(self._judge(active, row["epoch"], row[self.sweep.spec.metric]) for row in rows)

    def _judge(self, active: _Active, step: int, value: float) -> bool:
        active.last_step = step
        return self.study.report(active.trial.number, step, value) and active.can_save(self.by_seeds)

    def _scored(self, active: _Active, score: float) -> None:
        active.scores.append(score)
        seed_number = len(active.scores)
        active.tries = 0
        if self.by_seeds and seed_number > active.last_step and self._judge(active, seed_number, score):
            self._end(active, "pruned")
        elif seed_number == len(active.jobs):
            self._end(active, "complete", score=sum(active.scores) / seed_number)

    def _stopped(self, active: _Active, folder: RunFolder, status: int | None) -> None:
        """A run is not under way and has no record: go on with it where that may help. None: it was not begun."""
        failure = folder.failure() or {}
        if failure.get("kind") == DIVERGED:
            self._end(active, "diverged", reason=failure["message"])
        elif status == PREEMPTED:
            active.not_before = time.monotonic() + BACK_OFF_SECONDS
        elif status is not None:
            active.tries += 1
            active.not_before = time.monotonic() + BACK_OFF_SECONDS * 4 ** (active.tries - 1)
            if status in (BAD_DATA, BAD_CONFIG) or active.tries >= MAX_TRIES:
                reason = active.message or failure.get("message") or "the worker ended without a result"
                self._end(active, "failed", reason=reason)

    def _end(self, active: _Active, outcome: Outcome, *, score: float | None = None, reason: str = "") -> None:
        self.study.tell(active.trial.number, outcome, score=score, reason=reason)
        self.active.remove(active)
        trial = self.study.trial(active.trial.number)
        self.ended.append(trial)
        self.reporter.ended(trial)

    @contextmanager
    def _unless_lost(self, active: _Active) -> Iterator[None]:
        try:
            yield
        except TrialLost:
            self._drop(active)

    def _drop(self, active: _Active) -> None:
        """Leave a trial to the driver that took it over; it waits again under another number, so it has not ended."""
        self._cancel(active)
        self.active.remove(active)
        self.reporter.ended(self.study.trial(active.trial.number))

    def _cancel(self, active: _Active) -> None:
        if self.running.get(active.run_id, 0) is None:
            self.executor.cancel(active.run_id)


def data_fingerprint(config: RunConfig, runtime: Runtime, known: dict[str, str]) -> str:
    """The fingerprint of a config's data set, computed once per `known`."""
    key = config.data.model_dump_json()
    if key not in known:
        source = build(config.data, data_root=Path(runtime.data_root), cache=Path(runtime.cache))
        known[key] = source.fingerprint()
    return known[key]


def _labels(sweep: Sweep, trial: Trial, seed: int) -> Mapping[str, Any]:
    """What people call a run; core passes it on to the tracker unread."""
    return {
        "project": sweep.spec.project,
        "group": sweep.name,
        "job_type": "trial",
        "name": f"trial-{trial.number}-{seed}",
        "trial": trial.number,
        "seed": seed,
        "factors": sweep.space.settings(trial.values),
        "tags": [f"{path}={value}" for path, value in trial.values.items()],
        "sweep": sweep.name,
        "spec": sweep.source,
        "overrides": list(sweep.overrides),
    }


def _has_diverged(folder: RunFolder) -> bool:
    return (folder.failure() or {}).get("kind") == DIVERGED
