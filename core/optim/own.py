"""How do a user's own optimizer and schedule take part? As torch's optimizers do, and as a function of the step."""

from __future__ import annotations

import math
from collections.abc import Iterable

from torch import nn, optim

from ablation_suite.core.config.errors import OwnPartError
from ablation_suite.core.optim import OwnOptimizer, OwnSchedule
from ablation_suite.core.optim.schedules import Schedule
from ablation_suite.core.own.loading import make, takes


def own_optimizer(entry: OwnOptimizer, parameters: Iterable[nn.Parameter]) -> optim.Optimizer:
    """The optimizer that a user's name leads to."""
    made = make(entry, params=parameters)
    if not isinstance(made, optim.Optimizer):
        raise OwnPartError(f"{entry.name}: gives {type(made).__name__}; it should give a torch.optim.Optimizer")
    return made


def own_schedule(entry: OwnSchedule, num_steps: int, steps_per_epoch: int) -> Schedule:
    """The schedule that a user's name leads to."""
    made = make(entry, num_steps=num_steps, steps_per_epoch=steps_per_epoch)
    takes(made, ("step",))

    def factor(step: int) -> float:
        value = made(step)
        if not isinstance(value, int | float) or not math.isfinite(value) or value < 0.0:
            raise OwnPartError(
                f"{entry.name}: gives {value!r} for step {step}; a schedule gives a factor of at least 0"
            )
        return float(value)

    return factor
