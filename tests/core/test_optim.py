"""Do optimizers and schedules move as torch's own do, step by step?"""

from __future__ import annotations

import pytest
import torch
from torch.optim import lr_scheduler

from ablation_suite.core.config.menu import build
from ablation_suite.core.optim import (
    SGD,
    Adam,
    AdamW,
    Constant,
    Cosine,
    Exponential,
    Linear,
    MultiStep,
    OneCycle,
    Step,
)

STEPS_PER_EPOCH, EPOCHS = 7, 6
NUM_STEPS = STEPS_PER_EPOCH * EPOCHS


def parameters() -> list[torch.nn.Parameter]:
    source = torch.Generator().manual_seed(0)
    return [torch.nn.Parameter(torch.randn(shape, generator=source)) for shape in ((8, 3), (8,))]


def walk(optimizer: torch.optim.Optimizer, values: list[torch.nn.Parameter]) -> list[torch.Tensor]:
    """The values after each of 20 steps on gradients that depend on them and on the step."""
    path = []
    for step in range(20):
        optimizer.zero_grad()
        sum((each.sin() * each * (1 + step % 3)).sum() for each in values).backward()
        optimizer.step()
        path.append(torch.cat([each.detach().flatten() for each in values]))
    return path


@pytest.mark.parametrize(
    ("entry", "reference"),
    [
        (Adam(lr=0.03), lambda p: torch.optim.Adam(p, lr=0.03, foreach=False)),
        (
            Adam(lr=0.03, betas=(0.8, 0.99), eps=1e-3, weight_decay=0.1),
            lambda p: torch.optim.Adam(p, 0.03, (0.8, 0.99), 1e-3, 0.1, foreach=False),
        ),
        (AdamW(lr=0.03, weight_decay=0.1), lambda p: torch.optim.AdamW(p, lr=0.03, weight_decay=0.1, foreach=False)),
        (SGD(lr=0.03), lambda p: torch.optim.SGD(p, lr=0.03, momentum=0.9, foreach=False)),
        (
            SGD(lr=0.03, momentum=0.5, nesterov=True, weight_decay=0.1),
            lambda p: torch.optim.SGD(p, 0.03, 0.5, weight_decay=0.1, nesterov=True, foreach=False),
        ),
    ],
)
def test_each_optimizer_walks_as_torchs_plain_one(entry, reference):
    """The fused form stays within rounding of torch's loop over tensors, for 20 steps, and every setting arrives."""
    ours, theirs = parameters(), parameters()
    walks = zip(walk(build(entry, ours), ours), walk(reference(theirs), theirs), strict=True)
    for one, other in walks:
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)


def factors(make) -> list[float]:
    """The learning rates of a torch scheduler over all steps, where the highest is 1."""
    optimizer = torch.optim.SGD(parameters(), lr=1.0)
    scheduler = make(optimizer)
    rates = []
    for _ in range(NUM_STEPS):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


def warm(optimizer, steps, after):
    first = lr_scheduler.LinearLR(optimizer, start_factor=0.01, total_iters=steps)
    return lr_scheduler.SequentialLR(optimizer, [first, after], milestones=[steps])


@pytest.mark.filterwarnings("ignore:The epoch parameter")
@pytest.mark.parametrize(
    ("entry", "make"),
    [
        (Constant(), lambda o: lr_scheduler.ConstantLR(o, factor=1.0)),
        (Constant(warmup_epochs=2.0), lambda o: lr_scheduler.LinearLR(o, start_factor=0.01, total_iters=14)),
        (Constant(warmup_epochs=0.5), lambda o: lr_scheduler.LinearLR(o, start_factor=0.01, total_iters=4)),
        (Cosine(), lambda o: lr_scheduler.CosineAnnealingLR(o, T_max=NUM_STEPS)),
        (Cosine(final_fraction=0.1), lambda o: lr_scheduler.CosineAnnealingLR(o, T_max=NUM_STEPS, eta_min=0.1)),
        (
            Cosine(warmup_epochs=1.5, final_fraction=0.1),
            lambda o: warm(o, 10, lr_scheduler.CosineAnnealingLR(o, T_max=NUM_STEPS - 10, eta_min=0.1)),
        ),
        (Step(every_epochs=2, gamma=0.5), lambda o: lr_scheduler.StepLR(o, step_size=14, gamma=0.5)),
        (
            Step(every_epochs=1.5, warmup_epochs=1.0),
            lambda o: warm(o, 7, lr_scheduler.StepLR(o, step_size=10, gamma=0.1)),
        ),
        (
            MultiStep(milestones=(2, 3.5, 5), gamma=0.2),
            lambda o: lr_scheduler.MultiStepLR(o, milestones=[14, 24, 35], gamma=0.2),
        ),
        (
            MultiStep(milestones=(1, 3), warmup_epochs=2.0),
            lambda o: warm(o, 14, lr_scheduler.MultiStepLR(o, milestones=[7, 21], gamma=0.1)),
        ),
        (Exponential(gamma=0.7), lambda o: lr_scheduler.ExponentialLR(o, gamma=0.7 ** (1 / 7))),
        (
            Exponential(gamma=0.7, warmup_epochs=1.0),
            lambda o: warm(o, 7, lr_scheduler.ExponentialLR(o, gamma=0.7 ** (1 / 7))),
        ),
        (Linear(), lambda o: lr_scheduler.LinearLR(o, start_factor=1.0, end_factor=0.0, total_iters=NUM_STEPS)),
        (
            Linear(warmup_epochs=1.0, final_fraction=0.2),
            lambda o: warm(o, 7, lr_scheduler.LinearLR(o, 1.0, 0.2, total_iters=NUM_STEPS - 7)),
        ),
        (OneCycle(), lambda o: lr_scheduler.OneCycleLR(o, 1.0, total_steps=NUM_STEPS, cycle_momentum=False)),
        (
            OneCycle(pct_start=0.5, div_factor=10.0, final_div_factor=100.0),
            lambda o: lr_scheduler.OneCycleLR(
                o, 1.0, NUM_STEPS, pct_start=0.5, div_factor=10.0, final_div_factor=100.0, cycle_momentum=False
            ),
        ),
    ],
)
def test_each_schedule_equals_torchs_scheduler_at_every_step(entry, make):
    """Every entry of the menu, with and without linear warm-up (1.5 epochs of 7 steps are 10), within rounding."""
    schedule = build(entry, NUM_STEPS, STEPS_PER_EPOCH)
    assert [schedule(step) for step in range(NUM_STEPS)] == pytest.approx(factors(make), rel=1e-9, abs=1e-12)


def test_a_schedule_is_a_function_of_the_step_alone():
    """Asked backwards it says the same, so that a resume needs no state."""
    schedule = build(Cosine(warmup_epochs=1.0), NUM_STEPS, STEPS_PER_EPOCH)
    forwards = [schedule(step) for step in range(NUM_STEPS)]
    assert [schedule(step) for step in reversed(range(NUM_STEPS))] == forwards[::-1]
    assert len(set(forwards)) > NUM_STEPS / 2


@pytest.mark.parametrize("num_steps", [1, 2, 3, 5])
def test_a_run_of_few_steps_has_rates_too(num_steps):
    """Where torch divides by zero: each factor is a share of the learning rate, whatever the schedule."""
    entries = [Cosine(), Step(every_epochs=0.1), MultiStep(milestones=(0.1,)), Exponential(), Linear(), OneCycle()]
    for entry in [*entries, OneCycle(pct_start=1 / 3), OneCycle(pct_start=0.9), Cosine(warmup_epochs=9.0)]:
        schedule = build(entry, num_steps, 1)
        assert all(0.0 <= schedule(step) <= 1.0 for step in range(num_steps))
