"""What is known of one trial? Its values, how it went and what it scored, as plain data without Optuna."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from ablation_suite.core.config.errors import shell_line
from ablation_suite.sweeps.space import Values

Outcome = Literal["complete", "pruned", "diverged", "infeasible", "failed", "refused", "running", "waiting"]
DONE: tuple[Outcome, ...] = ("complete", "pruned", "diverged", "infeasible")
"""Outcomes that are results; a failed trial is tried again. An infeasible one was never trained, and neither was a
refused one, whose values lie outside the space."""


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One trial of a study, numbered from 0."""

    number: int
    outcome: Outcome
    values: Values
    score: float | None = None
    """The metric, averaged over the trial's seeds; None unless complete. Of several objectives, the first score."""
    objectives: Mapping[str, float] = field(default_factory=dict)
    """Objective -> its mean over the seeds; empty unless complete."""
    measured: Mapping[str, float] = field(default_factory=dict)
    """Measure -> its mean over the seeds, for a complete trial of ours: the scores and what the network costs.
    Of one that was never trained, what its network would cost."""
    violated: tuple[str, ...] = ()
    """The constraints that it does not keep to, in words."""
    curve: dict[int, float] = field(default_factory=dict)
    """Epoch (for Wilcoxon's pruner: number of the seed) -> the metric that was reported."""
    runs: tuple[str, ...] = ()
    """Run ids, one per seed."""
    reason: str = ""
    """Why it failed or diverged."""
    begin: float | None = None
    """Seconds since 1970."""
    seconds: float | None = None
    retry_of: int | None = None
    """The failed trial that this one tries again."""
    is_imported: bool = False
    """Whether something else than this search began it: it informs the sampler, and counts for nothing else."""

    @property
    def shown_as(self) -> str:
        """How it is told apart from others in counts, tables and figures."""
        if self.is_imported:
            return "imported"
        return "infeasible" if self.violated else self.outcome

    @property
    def may_be_best(self) -> bool:
        """Whether it is complete, keeps to the constraints, and has a run behind it."""
        return self.score is not None and not self.violated and bool(self.runs or not self.is_imported)


def best(trials: Iterable[Trial], maximize: bool) -> Trial | None:
    """The trial of the best score among those that may be it, the first of equals."""
    complete = [each for each in trials if each.may_be_best]
    sign = -1.0 if maximize else 1.0
    return min(complete, key=lambda each: (sign * (each.score or 0.0), each.number), default=None)


def count(trials: Iterable[Trial]) -> dict[str, int]:
    """Outcome or "imported" -> number of trials; a failed trial that was tried again counts by its retry."""
    trials = list(trials)
    retried = {each.retry_of for each in trials}
    outcomes = [each.shown_as for each in trials if not (each.outcome == "failed" and each.number in retried)]
    return {outcome: outcomes.count(outcome) for outcome in dict.fromkeys(outcomes)}


def as_row(trial: Trial) -> dict[str, Any]:
    """A trial as one flat row of a table."""
    return {
        "trial": trial.number,
        "outcome": "infeasible" if trial.violated else trial.outcome,
        "imported": trial.is_imported,
        "score": trial.score,
        **{name: value for name, value in trial.objectives.items() if len(trial.objectives) > 1},
        **trial.values,
        "last_step": max(trial.curve, default=None),
        "seconds": trial.seconds,
        "runs": " ".join(trial.runs),
        "reason": trial.reason or " and ".join(f"not {each}" for each in trial.violated),
    }


def reproduce_command(trial: Trial, given: Iterable[str] = ()) -> str:
    """The command line that trains the runs of a trial again and compares, with the options that were given."""
    return " && ".join(shell_line(["ablate", "reproduce", run, *given]) for run in trial.runs)
