"""How far is the sweep? One line that is redrawn on a terminal, and one line per trial that stays."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Mapping
from typing import Any, TextIO

from ablation_suite.core.scheduling.executors import Event
from ablation_suite.sweeps.spec import Sweep
from ablation_suite.sweeps.trial import DONE, Trial, best, count


class Progress:
    """Trials done, pruned and failed, the best so far, time left."""

    def __init__(self, out: TextIO | None = None):
        self.out = out or sys.stderr
        self.live = self.out.isatty()
        self.begun = time.monotonic()
        self.has_told_of_waiting = False

    def begin(self, sweep: Sweep, trials: list[Trial], num_workers: int) -> None:
        self.sweep = sweep
        self.best = best(trials, sweep.maximize)
        self.counts: Counter[str] = Counter(count(trials))
        self.num_before = sum(self.counts[outcome] for outcome in DONE)
        self.num_ended = 0
        budget = f"{sweep.spec.trials} trials" if sweep.spec.trials else "trials"
        hours = f" within {sweep.spec.hours:g} h" if sweep.spec.hours else ""
        workers = f"{num_workers} worker{'s' * (num_workers > 1)}"
        self._line(f"{sweep.name}: {budget}{hours} on {workers}; {self.num_before} are done already")

    def news(self, trial: Trial, event: Event) -> None:
        if self.live:
            epochs = self.sweep.config.epochs
            text = f"{self._counts()}  trial {trial.number}: epoch {event.epoch}/{epochs}  {self._time_left()}"
            self.out.write(f"\r\x1b[2K{text[:150]}")
            self.out.flush()

    def ended(self, trial: Trial) -> None:
        self.num_ended += 1
        self.counts[trial.outcome] += 1
        self.best = best([each for each in (self.best, trial) if each], self.sweep.maximize)
        values = "  ".join(f"{path.rpartition('.')[2]} {short(value)}" for path, value in trial.values.items())
        told = short_score(trial.score) if trial.score is not None else self._why(trial)
        self._line(f"trial {trial.number:3d}  {told:24.60s} {values}  [{self._counts()}]  {self._time_left()}")

    def waits(self) -> None:
        if not self.has_told_of_waiting:
            self._line("nothing left to begin; waiting for the last trials of other drivers")
        self.has_told_of_waiting = True

    def _why(self, trial: Trial) -> str:
        if trial.outcome != "pruned":
            return f"{trial.outcome}: {trial.reason}"
        step, value = max(trial.curve.items(), default=(0, float("nan")))
        return f"pruned at {step} ({short_score(value)})"

    def _counts(self) -> str:
        total = f"/{self.sweep.spec.trials}" if self.sweep.spec.trials else ""
        done = sum(self.counts[outcome] for outcome in DONE)
        parts = [f"{done}{total} done"]
        parts += [f"{self.counts[name]} {name}" for name in ("pruned", "diverged", "failed") if self.counts[name]]
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
        if left is None or left <= 0:
            return ""
        return f"about {left:.0f} s left" if left < 120 else f"about {left / 60:.0f} min left"

    def _line(self, text: str) -> None:
        self.out.write(("\r\x1b[2K" if self.live else "") + text.rstrip() + "\n")
        self.out.flush()


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
