"""How long will the runs that are left take? Told from epochs that were seen to end, and by nothing else."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from ablation_suite.core.runs.identity import canonical
from ablation_suite.core.scheduling.executors import Event

if TYPE_CHECKING:
    from ablation_suite.core.runs.shape import Job
    from ablation_suite.core.scheduling.scheduler import Jobs


class _Span(NamedTuple):
    """What was seen of a run: its first and its latest place, in epochs, with their times."""

    first: float
    first_time: float
    latest: float
    latest_time: float

    @property
    def has_an_epoch(self) -> bool:
        """Whether an epoch was seen to end, with the validation and the checkpoint that follow its steps."""
        return self.latest - self.first >= 1.0 and self.latest // 1 > self.first // 1


class Pace:
    """The seconds that an epoch takes in each kind of run, where a kind is a config at any seed."""

    def __init__(self, jobs: Jobs, num_workers: int):
        self.num_workers = num_workers
        self.num_epochs = {name: job["config"]["epochs"] for name, job in jobs.items()}
        self.kinds = {name: kind_of(job) for name, job in jobs.items()}
        self.kind_epochs = {self.kinds[name]: num_epochs for name, num_epochs in self.num_epochs.items()}
        self.waiting = Counter(self.kinds.values())
        """How many runs of each kind have not been heard of yet."""
        self.running: dict[str, _Span] = {}
        self.measured: dict[str, tuple[float, float]] = {}
        """Of the runs that ended, by kind: seconds and epochs."""

    def news(self, event: Event) -> None:
        """A run is at this place now."""
        place, now = event.epoch - 1 + event.step / event.num_steps, time.monotonic()
        if event.step == event.num_steps:
            place -= 1e-9  # the validation is still to come
        before = self.running.get(event.run_id)
        if before is None:
            self.waiting[self.kinds[event.run_id]] -= 1
            self.running[event.run_id] = _Span(place, now, place, now)
        else:
            self.running[event.run_id] = before._replace(latest=place, latest_time=now)

    def ended(self, run_id: str, *, trained: bool) -> None:
        """A run has its record, which was `trained` as we heard, or was made by others, or will never be."""
        span, kind = self.running.pop(run_id, None), self.kinds[run_id]
        if span is None:
            self.waiting[kind] -= 1
        elif trained:
            seconds, epochs = self.measured.get(kind, (0.0, 0.0))
            more = self.num_epochs[run_id] - span.first
            self.measured[kind] = (seconds + time.monotonic() - span.first_time, epochs + more)

    def words(self) -> str:
        """Words for the time that is left, and the number of runs that nobody timed; none where no epoch has ended."""
        known = self._seconds_per_epoch()
        rests = [
            (self.num_epochs[name] - span.latest) * known[self.kinds[name]]
            for name, span in self.running.items()
            if self.kinds[name] in known
        ]
        whole = {
            kind: known[kind] * self.kind_epochs[kind]
            for kind, count in self.waiting.items()
            if kind in known and count
        }
        rests_waiting = sum(self.waiting[kind] * seconds for kind, seconds in whole.items())
        seconds = max([(sum(rests) + rests_waiting) / self.num_workers, *rests, *whole.values()])
        left = self.waiting + Counter(self.kinds[name] for name in self.running)
        num_unknown = sum(count for kind, count in left.items() if kind not in known)
        beside = f", not counting {num_unknown} run{'s' * (num_unknown > 1)} of other kinds" if num_unknown else ""
        return f"{words}{beside}" if (words := time_left(seconds)) else ""

    def _seconds_per_epoch(self) -> dict[str, float]:
        totals = dict(self.measured)
        for name, span in self.running.items():
            if span.has_an_epoch:
                seconds, epochs = totals.get(self.kinds[name], (0.0, 0.0))
                seen = (span.latest_time - span.first_time, span.latest - span.first)
                totals[self.kinds[name]] = (seconds + seen[0], epochs + seen[1])
        return {kind: seconds / epochs for kind, (seconds, epochs) in totals.items() if epochs}


def kind_of(job: Job) -> str:
    """What all seeds of a config have in common; their runs take about as long."""
    return canonical({**job["config"], "seed": None}, allow_nan=True)


def time_left(seconds: float) -> str:
    """Words for a time that is left; none for no time."""
    if seconds <= 0.0:
        return ""
    return f"about {seconds:.0f} s left" if seconds < 120 else f"about {seconds / 60:.0f} min left"
