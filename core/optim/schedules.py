"""Which share of the learning rate does a step use? Pure functions of the step, so that a resume needs no state.

Only `Reduction` has one, since it follows the validation. All but one_cycle begin after the warm-up, as torch's
`SequentialLR` of `LinearLR(start_factor=0.01)` and the scheduler.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from ablation_suite.core.optim import Constant, Cosine, Exponential, Linear, MultiStep, OneCycle, Plateau, Step

Schedule = Callable[[int], float]


def constant(entry: Constant, num_steps: int, steps_per_epoch: int) -> Schedule:
    """Step (from 0) to 1.0, after the warm-up."""
    return _after_warmup(entry.warmup_epochs, steps_per_epoch, lambda step: 1.0)


def cosine(entry: Cosine, num_steps: int, steps_per_epoch: int) -> Schedule:
    """Half a cosine from 1.0 to `final_fraction` at step `num_steps`."""
    remaining = _remaining(entry.warmup_epochs, num_steps, steps_per_epoch)

    def factor(step: int) -> float:
        return _cosine(1.0, entry.final_fraction, step / remaining)

    return _after_warmup(entry.warmup_epochs, steps_per_epoch, factor)


def step(entry: Step, num_steps: int, steps_per_epoch: int) -> Schedule:
    """`gamma` to the power of the intervals that are over."""
    interval = max(1, round(entry.every_epochs * steps_per_epoch))
    return _after_warmup(entry.warmup_epochs, steps_per_epoch, lambda step: entry.gamma ** (step // interval))


def multi_step(entry: MultiStep, num_steps: int, steps_per_epoch: int) -> Schedule:
    """`gamma` to the power of the milestones that are passed."""
    milestones = [round(epochs * steps_per_epoch) for epochs in entry.milestones]

    def factor(step: int) -> float:
        return entry.gamma ** sum(step >= milestone for milestone in milestones)

    return _after_warmup(entry.warmup_epochs, steps_per_epoch, factor)


def exponential(entry: Exponential, num_steps: int, steps_per_epoch: int) -> Schedule:
    """`gamma` to the power of the epochs that are over, in parts of an epoch."""
    return _after_warmup(entry.warmup_epochs, steps_per_epoch, lambda step: entry.gamma ** (step / steps_per_epoch))


def linear(entry: Linear, num_steps: int, steps_per_epoch: int) -> Schedule:
    """From 1.0 to `final_fraction` at step `num_steps`, evenly."""
    remaining = _remaining(entry.warmup_epochs, num_steps, steps_per_epoch)
    drop = (1.0 - entry.final_fraction) / remaining
    return _after_warmup(entry.warmup_epochs, steps_per_epoch, lambda step: 1.0 - drop * step)


def one_cycle(entry: OneCycle, num_steps: int, steps_per_epoch: int) -> Schedule:
    """From 1 / div_factor up to 1.0 and down to a `final_div_factor`th of the first, reached at the last step."""
    first = 1.0 / entry.div_factor
    peak, last = entry.pct_start * num_steps - 1.0, num_steps - 1.0

    def factor(step: int) -> float:
        if step < peak:
            return _cosine(first, 1.0, step / peak)
        return _cosine(1.0, first / entry.final_div_factor, (step - peak) / (last - peak))

    return factor


class Reduction:
    """torch's ReduceLROnPlateau, with relative thresholds, as a share of the learning rate."""

    def __init__(self, entry: Plateau, num_steps: int, steps_per_epoch: int):
        self.entry = entry
        self.warmed = _after_warmup(entry.warmup_epochs, steps_per_epoch, lambda step: 1.0)
        self.share, self.best, self.num_bad, self.cooling = 1.0, -math.inf, 0, 0

    def __call__(self, step: int) -> float:
        """Step (from 0) to what the drops so far have left of 1.0, after the warm-up."""
        return self.share * self.warmed(step)

    def watch(self, validated: Mapping[str, float]) -> None:
        """Take the metrics of an epoch, and drop if there have been too many that were no better."""
        sign = 1.0 if self.entry.metric == "accuracy" else -1.0  # the larger the better
        value = sign * validated[self.entry.metric]
        if value > self.best + self.entry.threshold * abs(self.best) or self.best == -math.inf:
            self.best, self.num_bad = value, 0
        else:
            self.num_bad += 1
        if self.cooling > 0:
            self.cooling, self.num_bad = self.cooling - 1, 0
        if self.num_bad > self.entry.patience:
            self.share = max(self.share * self.entry.factor, self.entry.final_fraction)
            self.cooling, self.num_bad = self.entry.cooldown, 0

    def state_dict(self) -> dict[str, Any]:
        """What the epochs so far have come to."""
        return {name: getattr(self, name) for name in ("share", "best", "num_bad", "cooling")}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go back to a saved state."""
        vars(self).update(state)


def _after_warmup(warmup_epochs: float, steps_per_epoch: int, factor: Schedule) -> Schedule:
    """A line from 0.01 to 1.0, then the factor of the steps since."""
    warmup_steps = round(warmup_epochs * steps_per_epoch)

    def warmed(step: int) -> float:
        return factor(step - warmup_steps) if step >= warmup_steps else 0.01 + 0.99 * step / warmup_steps

    return warmed


def _remaining(warmup_epochs: float, num_steps: int, steps_per_epoch: int) -> int:
    """Steps after the warm-up, at least one."""
    return max(1, num_steps - round(warmup_epochs * steps_per_epoch))


def _cosine(start: float, end: float, progress: float) -> float:
    """Half a cosine from start to end, at a progress in [0, 1]."""
    return end + (start - end) * (1.0 + math.cos(math.pi * progress)) / 2.0
