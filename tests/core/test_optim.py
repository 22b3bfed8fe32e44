"""Do optimizers and schedules move as torch's own do, step by step?"""

from __future__ import annotations

import copy

import pytest
import torch
from torch.optim import lr_scheduler

from ablation_suite.core.config.menu import build
from ablation_suite.core.config.schema import SchemaError
from ablation_suite.core.models.network import build_network
from ablation_suite.core.optim import (
    SAM,
    SGD,
    Adam,
    AdamW,
    Constant,
    Cosine,
    Exponential,
    Linear,
    MultiStep,
    Muon,
    OneCycle,
    Plateau,
    RMSprop,
    Step,
)
from ablation_suite.core.optim.groups import parameter_groups
from ablation_suite.core.training.session import set_up

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
        (RMSprop(lr=0.03), lambda p: torch.optim.RMSprop(p, lr=0.03, foreach=False)),
        (
            RMSprop(lr=0.03, alpha=0.9, eps=1e-3, momentum=0.5, centered=True, weight_decay=0.1),
            lambda p: torch.optim.RMSprop(p, 0.03, 0.9, 1e-3, 0.1, 0.5, True, foreach=False),
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


def hidden_and_rest(values):
    return [{"params": values[:-1], "is_hidden": True}, {"params": values[-1:], "is_hidden": False}]


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_muon_walks_as_torchs_on_matrices_and_adamw_on_the_rest(memory_format):
    """A matrix, and a filter as the matrix of its outputs and all else, by torch.optim.Muon; a bias by AdamW.

    In channels last the columns stand in another order, which changes no more than the rounding of bfloat16 does.
    """
    source = torch.Generator().manual_seed(0)
    shapes = ((8, 6), (5, 4, 3, 3), (5,))
    ours, theirs = ([torch.randn(shape, generator=source) for shape in shapes] for _ in range(2))
    theirs = [torch.nn.Parameter(each.clone()) for each in ours]
    ours[1] = ours[1].to(memory_format=memory_format)
    ours = [torch.nn.Parameter(each) for each in ours]
    matrices = [theirs[0], torch.nn.Parameter(theirs[1].detach().flatten(1).clone())]
    settings = {"lr": 0.02, "weight_decay": 0.2, "momentum": 0.9, "nesterov": False, "adjust_lr_fn": "original"}
    muon = torch.optim.Muon(matrices, **settings)
    adamw = torch.optim.AdamW([theirs[2]], lr=0.02, betas=(0.8, 0.99), eps=1e-6, weight_decay=0.2)
    entry = Muon(**settings, betas=(0.8, 0.99), eps=1e-6)
    optimizer = build(entry, hidden_and_rest(ours))
    for _ in range(6):
        for values in (ours, [*matrices, theirs[2]]):
            for each in values:
                each.grad = None
            sum((each.sin() * each).sum() for each in values).backward()
        for each in (optimizer, muon, adamw):
            each.step()
    exact = memory_format == torch.contiguous_format
    for one, other in zip(ours, [matrices[0], matrices[1].view(5, 4, 3, 3), theirs[2]], strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6 if exact else 0.02, atol=1e-6 if exact else 0.01)


def test_muon_resumes_to_the_bit_and_takes_each_groups_learning_rate():
    """A copy that loads the state and the values goes on as the first; a learning rate of 0 moves nothing."""

    def steps(optimizer, values, count):
        for _ in range(count):
            optimizer.zero_grad()
            sum((each.sin() * each).sum() for each in values).backward()
            optimizer.step()

    first = parameters()
    optimizer = build(Muon(lr=0.02), hidden_and_rest(first))
    steps(optimizer, first, 3)
    second = [torch.nn.Parameter(each.detach().clone()) for each in first]
    other = build(Muon(lr=0.02), hidden_and_rest(second))
    other.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for group in other.param_groups:
        group["lr"] = 0.02
    steps(optimizer, first, 2)
    steps(other, second, 2)
    assert all(torch.equal(one, two) for one, two in zip(first, second, strict=True))
    before = [each.detach().clone() for each in second]
    for group in other.param_groups:
        group["lr"] = 0.0
    steps(other, second, 1)
    assert all(torch.equal(one, two) for one, two in zip(before, second, strict=True))


@pytest.mark.parametrize("adaptive", [False, True])
def test_sharpness_aware_steps_are_the_papers(adaptive):
    """By hand on f(w) = sum w^4: w + rho T^2 g / |T g|, the gradient there, and SGD's step from w; T is |w| or 1."""
    values = [torch.nn.Parameter(torch.tensor([1.0, -2.0])), torch.nn.Parameter(torch.tensor([[0.5]]))]
    optimizer = build(SAM(lr=0.01, rho=0.1, adaptive=adaptive, momentum=0.0), values)
    flat = torch.cat([each.detach().flatten() for each in values]).double()
    for _ in range(3):
        for again in (False, True):
            optimizer.zero_grad()
            sum((each**4).sum() for each in values).backward()
            if not again:
                before = [each.detach().clone() for each in values]
                optimizer.climb()
        optimizer.back()
        assert all(torch.equal(one, other) for one, other in zip(before, values, strict=True))
        optimizer.step()
        size = flat.abs() if adaptive else torch.ones(3, dtype=torch.float64)
        gradient = 4 * flat**3
        worst = flat + 0.1 * size**2 * gradient / (size * gradient).norm()
        flat = flat - 0.01 * 4 * worst**3
        found = torch.cat([each.detach().flatten() for each in values]).double()
        torch.testing.assert_close(found, flat, rtol=1e-5, atol=1e-6)


def grouped(make_config, changes, beside=None):
    """(learning-rate factor, weight decay) of every trained tensor, by its name."""
    config = make_config(changes)
    network = build_network(config.model, 10, 0)
    groups = parameter_groups(config, network, beside)
    optimizer = build(config.optimizer, groups)
    names = {id(each): name for name, each in network.named_parameters()}
    return {
        names.get(id(each), "beside"): (group.get("lr_scale", 1.0), group["weight_decay"])
        for group in optimizer.param_groups
        for each in group["params"]
    }


def test_norms_and_biases_can_be_spared_the_weight_decay(make_config):
    """Every tensor of one dimension has none, all others the optimizer's; by default all are treated alike."""
    adamw = {"name": "adamw", "weight_decay": 0.3}
    found = grouped(make_config, {"optimizer": {**adamw, "decay_norms_and_biases": False}})
    network = build_network(make_config().model, 10, 0)
    for name, each in network.named_parameters():
        assert found[name] == (1.0, 0.0 if each.dim() == 1 else 0.3), name
    assert {*grouped(make_config, {"optimizer": adamw}).values()} == {(1.0, 0.3)}
    assert isinstance(parameter_groups(make_config({"optimizer": adamw}), network, None)[0], torch.nn.Parameter)


def test_the_head_and_the_layers_have_learning_rates_of_their_own(make_config):
    """resnet18 with a decay of 0.5: the stem, eight blocks and the head, which has the factor 10."""
    model = {"backbone": {"name": "resnet18"}}
    found = grouped(make_config, {"model": model, "layer_decay": 0.5, "head_lr_factor": 10.0})
    assert found["head.linear.weight"][0] == found["head.linear.bias"][0] == 10.0
    assert found["backbone.conv1.weight"][0] == found["backbone.bn1.bias"][0] == 0.5**9
    for stage in range(4):
        for block in range(2):
            names = [name for name in found if name.startswith(f"backbone.layer{stage + 1}.{block}.")]
            assert {found[name][0] for name in names} == {0.5 ** (8 - 2 * stage - block)}


def test_a_step_moves_each_group_by_its_own_learning_rate(make_config, digits, runtime):
    """Plain SGD, whose step is the rate times the gradient: with a factor of 3 the head goes three times as far."""
    moved = []
    for factor in (1.0, 3.0):
        sgd = {"name": "sgd", "lr": 0.01, "momentum": 0.0}
        session = set_up(make_config({"optimizer": sgd, "head_lr_factor": factor}), digits, runtime)
        before = {name: each.detach().clone() for name, each in session.parts.network.named_parameters()}
        epoch = session.draw(1)
        for images, rows in session.feed.batches(epoch.views[:1]):
            session.step(epoch, 0, images, rows, torch.zeros(3, dtype=torch.float64))
        moved.append({name: each.detach() - before[name] for name, each in session.parts.network.named_parameters()})
    for name, each in moved[0].items():
        factor = 3.0 if name.startswith("head.") else 1.0
        torch.testing.assert_close(moved[1][name], factor * each, rtol=1e-3, atol=1e-7)


def test_a_sharpness_aware_run_keeps_batch_norms_statistics_and_dropout_of_one_pass(make_config, digits, runtime):
    """Running statistics are those of a plain step on the same batch, and so is the loss that is told."""
    found = []
    for optimizer in ({"name": "sgd", "lr": 0.05}, {"name": "sam", "lr": 0.05, "rho": 0.5}):
        changes = {"optimizer": optimizer, "mix": "mixup", "model.head": {"name": "linear", "dropout": 0.5}}
        session = set_up(make_config(changes, accumulate=2), digits, runtime)
        epoch, tally = session.draw(1), torch.zeros(3, dtype=torch.float64)
        for images, rows in session.feed.batches(epoch.views[:1]):
            session.step(epoch, 0, images, rows, tally)
        found.append((dict(session.parts.network.named_buffers()), tally, session.parts.network.head.linear.weight))
    plain, sharp = found
    assert all(torch.equal(each, sharp[0][name]) for name, each in plain[0].items())
    assert plain[1][0] == sharp[1][0]
    assert plain[1][2] == sharp[1][2]
    assert plain[1][1] != sharp[1][1]
    assert not torch.equal(plain[2], sharp[2])


def test_optimizers_that_cannot_step_are_refused(make_config):
    """SAM's second gradient does not fit fp16's scaler, and a frozen backbone leaves Muon nothing."""
    with pytest.raises(SchemaError, match="take precision=bf16"):
        make_config({"optimizer": "sam"}, precision="fp16")
    with pytest.raises(SchemaError, match="freeze=backbone keeps them all"):
        make_config({"optimizer": "muon", "model.freeze": "backbone"})


@pytest.mark.parametrize(
    ("entry", "settings"),
    [
        (Plateau(patience=1), {"patience": 1}),
        (Plateau(patience=0, cooldown=2, factor=0.5), {"patience": 0, "cooldown": 2, "factor": 0.5}),
        (Plateau(patience=1, threshold=0.05, final_fraction=0.05), {"patience": 1, "threshold": 0.05, "min_lr": 0.05}),
        (Plateau(patience=2, metric="accuracy", threshold=0.02), {"patience": 2, "mode": "max", "threshold": 0.02}),
    ],
)
def test_a_plateau_is_torchs_reduce_lr_on_plateau(entry, settings):
    """60 epochs of a curve that falls, wavers and rises; so does one that took over its state."""
    source = torch.Generator().manual_seed(1)
    curve = (1.0 / torch.arange(1, 61).sqrt() + 0.1 * torch.rand(60, generator=source)).tolist()
    optimizer = torch.optim.SGD(parameters(), lr=1.0)
    theirs = lr_scheduler.ReduceLROnPlateau(optimizer, **{"factor": 0.1, "threshold": 1e-4, **settings})
    ours = build(entry, 600, 10)
    shares = []
    for epoch, value in enumerate(curve):
        value = 1.0 - value if entry.metric == "accuracy" else value
        theirs.step(value)
        ours.watch({"loss": value, "accuracy": value})
        assert ours(10 * epoch + 3) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-9, abs=1.1e-8)
        shares.append(ours(0))
        if epoch == 25:
            state, ours = ours.state_dict(), build(entry, 600, 10)
            ours.load_state_dict(state)
    assert len({*shares}) > 2


def test_a_plateau_warms_up_as_the_others_do():
    """A line from a hundredth over two epochs of five steps, then what the drops have left."""
    schedule = build(Plateau(warmup_epochs=2.0, patience=0, factor=0.5), 50, 5)
    assert [schedule(step) for step in (0, 5, 10, 30)] == pytest.approx([0.01, 0.505, 1.0, 1.0])
    for value in (1.0, 2.0):
        schedule.watch({"loss": value})
    assert schedule(30) == 0.5
