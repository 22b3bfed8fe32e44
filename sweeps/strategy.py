"""Which runs do the trials of a sweep need, and what do they come to? A strategy: it asks, judges, stops and tells."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from ablation_suite.core.config.runtime import Runtime
from ablation_suite.core.runs.identity import data_fingerprint, job_of
from ablation_suite.core.runs.labels import Labels
from ablation_suite.core.runs.run_folder import RunFolder
from ablation_suite.core.runs.shape import EpochRow, Job
from ablation_suite.core.runs.teachers import pinned
from ablation_suite.core.scheduling.attempt import DIVERGED
from ablation_suite.core.scheduling.executors import Event, Executor
from ablation_suite.core.scheduling.scheduler import Scheduler
from ablation_suite.sweeps.before_training import known_before
from ablation_suite.sweeps.objectives import mean, measured
from ablation_suite.sweeps.spec import Sweep
from ablation_suite.sweeps.storage import TrialLost
from ablation_suite.sweeps.trial import Outcome, Trial

if TYPE_CHECKING:  # which loads Optuna
    from ablation_suite.sweeps.study import Study


class SweepReporter(Protocol):
    """Is told how the sweep goes."""

    def begin(self, sweep: Sweep, trials: list[Trial], num_workers: int) -> None: ...

    def news(self, trial: Trial, event: Event) -> None: ...

    def ended(self, trial: Trial) -> None: ...

    def waits(self) -> None: ...

    def line(self, text: str) -> None: ...


@dataclass(kw_only=True)
class _Active:
    """A trial under way: one run per seed, one after the other."""

    trial: Trial
    jobs: list[Job]
    measured: list[dict[str, float]] = field(default_factory=list)
    """What the finished run of each seed came to."""
    last_step: int

    @property
    def job(self) -> Job:
        """The run of the seed under way, or of the last."""
        return self.jobs[min(len(self.measured), len(self.jobs) - 1)]

    def can_save(self, by_seeds: bool) -> bool:
        """Whether stopping at the last step would spare anything: later epochs, or later seeds."""
        if by_seeds:
            return self.last_step < len(self.jobs)
        return self.last_step < self.jobs[0]["config"]["epochs"] or len(self.jobs) > 1


def drive(sweep: Sweep, study: Study, runtime: Runtime, executor: Executor, reporter: SweepReporter) -> list[Trial]:
    """Bring the study to its number of trials and return those that this call ended.

    Trials that a dead driver left are gone on with; finished runs are reused, whoever trained them. A trial is judged
    epoch by epoch in order, wherever its run is by then, so that the verdicts do not depend on timing. Where the last
    trials are another driver's, this one stays until they have ended or fall to it.
    """
    reporter.begin(sweep, study.trials(), executor.capacity())
    trials = _Trials(sweep, study, runtime, reporter)
    Scheduler(runtime, executor, trials).run()
    return trials.ended


class _Trials:
    """The strategy of a sweep: as many trials under way as there is room for, each with the run of its next seed."""

    def __init__(self, sweep: Sweep, study: Study, runtime: Runtime, reporter: SweepReporter):
        self.sweep, self.study, self.runtime, self.reporter = sweep, study, runtime, reporter
        self.deadline = time.monotonic() + 3600.0 * sweep.spec.hours if sweep.spec.hours else None
        self.by_seeds = sweep.spec.pruner.name == "wilcoxon"
        self.active: list[_Active] = []
        self.ended: list[Trial] = []
        self.fingerprints: dict[str, str] = {}
        self.num_classes: dict[str, int] = {}

    def wanted(self, capacity: int) -> list[Job] | None:
        for active in list(self.active):
            self._look(active)
        lost = self.study.watch()
        for active in [each for each in self.active if each.trial.number in lost]:
            self._drop(active)
        while len(self.active) < capacity and self._begin():
            pass
        if not self.active:
            if self._is_late() or not self.study.has_others():
                return None
            self.reporter.waits()
        return [active.job for active in self.active]

    def progress(self, event: Event) -> None:
        for active in self._of_run(event.run_id):
            self.reporter.news(active.trial, event)

    def finished(self, folder: RunFolder, *, here: bool) -> None:
        record = folder.record()
        assert record is not None
        for active in self._of_run(folder.run_id):
            with self._unless_lost(active):
                if self._is_hopeless(active, record["history"]):
                    self._end(active, "pruned")
                else:
                    self._scored(active, measured(record))

    def failed(self, folder: RunFolder, reason: str) -> None:
        for active in self._of_run(folder.run_id):
            self._look(active)
            if active in self.active:
                with self._unless_lost(active):
                    self._end(active, "failed", reason=reason)

    def told(self, line: str) -> None:
        self.reporter.line(line)

    def _is_late(self) -> bool:
        return self.deadline is not None and time.monotonic() > self.deadline

    def _begin(self) -> bool:
        """Take one more trial, unless there are enough."""
        if self._is_late():
            return False
        for refused in self.study.refuse_outside():
            self.reporter.line(f"trial {refused.number} was {refused.reason}; it is not run")
        num_failed_here = sum(each.outcome == "failed" for each in self.ended)
        trial = self.study.next_trial((self.sweep.spec.trials or sys.maxsize) - num_failed_here)
        if trial is None:
            return False
        config = self.sweep.run_config(trial.values, self.sweep.seeds[0])
        known = known_before(self.sweep, config, self.runtime, self.num_classes)
        jobs = [] if known else [self._job(trial, seed) for seed in self.sweep.seeds]
        active = _Active(trial=trial, jobs=jobs, last_step=max(trial.curve, default=0))
        self.active.append(active)
        with self._unless_lost(active):
            if known:
                self._end(active, "infeasible", found=known)
                return True
            self.study.begin_runs(trial.number, [job["run_id"] for job in jobs])
            for job in jobs:
                RunFolder(self.runtime.store / job["run_id"]).uncancel()
            if active.can_save(self.by_seeds) and self.study.should_stop(trial.number):
                self._end(active, "pruned")
            else:
                self._look(active)
        return True

    def _job(self, trial: Trial, seed: int) -> Job:
        config = pinned(self.sweep.run_config(trial.values, seed), self.runtime)
        fingerprint = data_fingerprint(config, self.runtime, self.fingerprints)
        return job_of(config, fingerprint, _labels(self.sweep, trial, seed))

    def _of_run(self, name: str) -> list[_Active]:
        return [active for active in self.active if active.job["run_id"] == name]

    def _look(self, active: _Active) -> None:
        """Report new epochs of the trial's run, whoever trains it, and end the trial where they are reason to."""
        folder = RunFolder(self.runtime.store / active.job["run_id"])
        with self._unless_lost(active):
            if self._is_hopeless(active, folder.ledger.history()):
                self._end(active, "pruned")
                return
            failure = folder.failure() or {}
            if failure.get("kind") == DIVERGED:
                self._end(active, "diverged", reason=failure["message"])

    def _is_hopeless(self, active: _Active, history: list[EpochRow]) -> bool:
        """The pruner's verdict on the epochs of the first seed that it has not seen."""
        if active.measured or self.by_seeds:
            return False
        rows = (row for row in history if row["epoch"] > active.last_step)
        return any(self._judge(active, row["epoch"], row[self.sweep.spec.metric]) for row in rows)

    def _judge(self, active: _Active, step: int, value: float) -> bool:
        active.last_step = step
        return self.study.report(active.trial.number, step, value) and active.can_save(self.by_seeds)

    def _scored(self, active: _Active, found: dict[str, float]) -> None:
        missing = [name for name in (*self.sweep.objectives, *self.sweep.spec.constraints) if name not in found]
        if missing:
            self._end(active, "failed", reason=f"the record of run {active.job['run_id']} has no {missing[0]}")
            return
        active.measured.append(found)
        seed_number, score = len(active.measured), found[self.sweep.spec.metric]
        scores = [each[self.sweep.spec.metric] for each in active.measured]
        self.study.note_scores(active.trial.number, dict(zip(self.sweep.seeds, scores, strict=False)))
        if self.by_seeds and seed_number > active.last_step and self._judge(active, seed_number, score):
            self._end(active, "pruned")
        elif seed_number == len(active.jobs):
            self._end(active, "complete", found=mean(active.measured))

    def _end(
        self, active: _Active, outcome: Outcome, *, found: Mapping[str, float] | None = None, reason: str = ""
    ) -> None:
        self.study.tell(active.trial.number, outcome, measured=found, reason=reason)
        trial = self.study.trial(active.trial.number)
        self._label(active, trial)
        self.active.remove(active)
        self.ended.append(trial)
        self.reporter.ended(trial)

    def _label(self, active: _Active, trial: Trial) -> None:
        """Let the runs of a trial say how it ended: before a pruned one is stopped, which is then no failure."""
        ended: dict[str, Any] = {"outcome": trial.shown_as, "score": trial.score}
        if self.sweep.is_multi:
            ended["objectives"] = dict(trial.objectives)
        for job in active.jobs:
            folder = RunFolder(self.runtime.store / job["run_id"])
            study = {**job["labels"]["studies"][self.sweep.name], **ended}
            if folder.has_job():
                with suppress(OSError):  # somebody else's results
                    folder.create({**job, "labels": {**job["labels"], "studies": {self.sweep.name: study}}})

    @contextmanager
    def _unless_lost(self, active: _Active) -> Iterator[None]:
        try:
            yield
        except TrialLost:
            self._drop(active)

    def _drop(self, active: _Active) -> None:
        """Leave a trial to the driver that took it over; it waits again under another number, so it has not ended."""
        self.active.remove(active)
        self.reporter.ended(self.study.trial(active.trial.number))


def _labels(sweep: Sweep, trial: Trial, seed: int) -> Labels:
    """What people call a run; core passes it on to the tracker unread."""
    names = sweep.space.names
    return {
        "project": sweep.spec.project,
        "group": f"{sweep.name}-trial-{trial.number}",
        "job_type": "trial",
        "name": f"trial-{trial.number}-{seed}",
        "seed": seed,
        "studies": {
            sweep.name: {
                "trial": trial.number,
                "seed": seed,
                "params": {names[path]: value for path, value in trial.values.items()},
                "outcome": "running",
                "score": None,
                "question": sweep.question,
                "tags": [sweep.name],
            }
        },
        "spec": sweep.source,
        "overrides": list(sweep.overrides),
    }
