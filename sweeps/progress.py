"""How far is the sweep? One line per trial that stays, and on a terminal the trials under way."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from typing import Any

from ablation_suite.core.scheduling.console import Bar, Display, share_done
from ablation_suite.core.scheduling.executors import Event
from ablation_suite.core.scheduling.pace import time_left
from ablation_suite.sweeps.objectives import measure_text
from ablation_suite.sweeps.spec import Sweep
from ablation_suite.sweeps.trial import DONE, Trial, best, count


class SweepProgress(Display):
    """A sweep: trials done, pruned and failed, the best so far, time left."""

    def begin(self, sweep: Sweep, trials: list[Trial], num_workers: int) -> None:
        self.sweep = sweep
        self.begun = time.monotonic()
        self.best = None if sweep.is_multi else best(trials, sweep.maximize)
        self.counts: Counter[str] = Counter(count(trials))
        self.num_before = self._num_done()
        self.num_ended = 0
        self.current: dict[int, Event] = {}
        self.has_told_of_waiting = False
        budget = f"{sweep.spec.trials} trials" if sweep.spec.trials else "trials"
        hours = f" within {sweep.spec.hours:g} h" if sweep.spec.hours else ""
        workers = f"{num_workers} worker{'s' * (num_workers > 1)}"
        others = "".join(f", {self.counts[kind]} {kind}" for kind in ("imported", "refused") if self.counts[kind])
        self.line(f"{sweep.name}: {budget}{hours} on {workers}; {self.num_before} are done already{others}")
        if sweep.is_multi:
            self.line(f"{', '.join(sweep.objectives)} at once: no trial is stopped early")

    def news(self, trial: Trial, event: Event) -> None:
        self.current[trial.number] = event
        self._draw()

    def ended(self, trial: Trial) -> None:
        self.num_ended += 1
        self.current.pop(trial.number, None)
        self.counts[trial.shown_as] += 1
        if not self.sweep.is_multi:
            self.best = best([each for each in (self.best, trial) if each], self.sweep.maximize)
        values = "  ".join(f"{path.rpartition('.')[2]} {short(value)}" for path, value in trial.values.items())
        told = "  ".join(measure_text(*each) for each in trial.objectives.items()) or self._why(trial)
        told += f"  (not {' and '.join(trial.violated)})" if trial.violated else ""
        self.line(f"trial {trial.number:3d}  {told:24.80s} {values}  [{self._counts()}]  {self._time_left()}")
        self._draw()

    def waits(self) -> None:
        if not self.has_told_of_waiting:
            self.line("nothing left to begin; waiting for the last trials of other drivers")
        self.has_told_of_waiting = True

    def _draw(self) -> None:
        total, epochs = self.sweep.spec.trials, self.sweep.config.epochs
        share = min(1.0, self._num_done() / total) if total else None
        whole = Bar(self.sweep.name, share, f"{self._counts()}  {self._time_left()}")
        parts = [
            Bar(f"trial {number}", share_done(event, epochs), f"epoch {event.epoch}/{epochs}")
            for number, event in self.current.items()
        ]
        self.draw([whole, *parts])

    def _why(self, trial: Trial) -> str:
        if trial.outcome == "infeasible":
            return "not trained"
        if trial.outcome != "pruned":
            return f"{trial.outcome}: {trial.reason}"
        step, value = max(trial.curve.items(), default=(0, float("nan")))
        return f"pruned at {step} ({short_score(value)})"

    def _num_done(self) -> int:
        return sum(self.counts[outcome] for outcome in DONE)

    def _counts(self) -> str:
        total = f"/{self.sweep.spec.trials}" if self.sweep.spec.trials else ""
        parts = [f"{self._num_done()}{total} done"]
        parts += [
            f"{self.counts[name]} {name}"
            for name in ("infeasible", "pruned", "diverged", "failed")
            if self.counts[name]
        ]
        if self.best is not None and self.best.score is not None:
            parts.append(f"best {short_score(self.best.score)}")
        return ", ".join(parts)

    def _time_left(self) -> str:
        """From the mean time per trial of this call."""
        seconds = time.monotonic() - self.begun
        if self.sweep.spec.trials is None:
            left = 3600.0 * self.sweep.spec.hours - seconds if self.sweep.spec.hours else None
        else:
            num_left = self.sweep.spec.trials - self.num_before - self.num_ended
            left = seconds / self.num_ended * num_left if self.num_ended else None
        return time_left(left or 0.0)


def short(value: Any) -> str:
    """A value in few characters."""
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def short_score(score: float) -> str:
    """A score in few characters."""
    return f"{score:.4f}"


def as_overrides(settings: Mapping[str, Any]) -> list[str]:
    """Settings as the words of a command line."""
    from ablation_suite.core.runs.identity import canonical

    return [f"{path}={value if isinstance(value, str) else canonical(value)}" for path, value in settings.items()]
