"""Which share of the learning rate does a step use? Pure functions of the step, so that a resume needs no state."""

from __future__ import annotations

import math
from collections.abc import Callable

from ablation_suite.core.optim import Constant, Cosine

Schedule = Callable[[int], float]


def constant(entry: Constant, num_steps: int, steps_per_epoch: int) -> Schedule:
    """Step (from 0) to 1.0, after the warm-up."""
    warmup_steps = round(entry.warmup_epochs * steps_per_epoch)
    return lambda step: _warmup(step, warmup_steps)


def cosine(entry: Cosine, num_steps: int, steps_per_epoch: int) -> Schedule:
    """Step (from 0) to half a cosine from 1.0, after the warm-up, to `final_fraction` at step `num_steps`.

    The values are those of torch's `SequentialLR` of `LinearLR(start_factor=0.01)` and `CosineAnnealingLR`.
    """
    warmup_steps = round(entry.warmup_epochs * steps_per_epoch)

    def factor(step: int) -> float:
        if step < warmup_steps:
            return _warmup(step, warmup_steps)
        progress = (step - warmup_steps) / max(1, num_steps - warmup_steps)
        return entry.final_fraction + (1.0 - entry.final_fraction) * (1.0 + math.cos(math.pi * progress)) / 2.0

    return factor


def _warmup(step: int, warmup_steps: int) -> float:
    return 1.0 if step >= warmup_steps else 0.01 + 0.99 * step / warmup_steps
