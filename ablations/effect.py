"""Does every factor have an effect, and only where it should? Two steps of each arm beside the baseline's."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from ablation_suite.ablations.plan import Cell, Plan, distinct, folder
from ablation_suite.ablations.spec import Ablation
from ablation_suite.core.config.own import own_parts
from ablation_suite.core.config.run_config import RunConfig
from ablation_suite.core.config.runtime import Runtime
from ablation_suite.core.config.schema import Fault, SchemaError
from ablation_suite.core.metrics import OwnMetric
from ablation_suite.core.scheduling.aside import try_aside
from ablation_suite.core.training.tried import Tried

LATER_FACTORS = (
    "epochs",
    "schedule",
    "selection",
    "early_stopping",
    "ema_decay",
    "swa",
    "clip_norm",
    "batch_size",
    "accumulate",
    "data.eval_size",
    "data.eval_crop",
)
"""Settings that two steps on a few images need not show."""


@dataclass(kw_only=True)
class Effects:
    """What the first steps said."""

    without: list[str] = field(default_factory=list)
    """Arms whose factor changed nothing."""
    moved: dict[str, list[str]] = field(default_factory=dict)
    """Arm -> what it should share with the baseline and does not."""
    misfits: dict[str, list[str]] = field(default_factory=dict)
    """What these images cannot give -> the arms that ask for it, or none where all do; no step is taken then."""
    broken: dict[str, str] = field(default_factory=dict)
    """Arm -> why its network or its own parts cannot take a step."""
    groups: list[str] = field(default_factory=list)
    """How many groups the images of each split are, and which lie in several."""
    untried: str = ""
    """Why nothing could be tried, if so."""


def try_effects(ablation: Ablation, arms: Mapping[str, RunConfig], runtime: Runtime) -> Effects:
    """Take two steps of the baseline and of every arm, at one seed, on the same few images.

    Where the data or the weights are not on this machine, nothing is tried and the reason is given.
    """
    first = {ablation.baseline: arms[ablation.baseline], **arms}
    tried = _first_steps(first, ablation, runtime)
    unfit = {fault: [] if len(names) == len(first) else names for fault, names in tried.misfits.items()}
    found = Effects(misfits=unfit, broken=tried.broken, groups=tried.groups, untried=tried.untried)
    if shared := _shared_by_all(tried, arms):
        found.misfits, found.broken = {fault: [] for fault in shared}, {}
    steps = tried.steps
    baseline = steps.get(ablation.baseline)
    for arm in ablation.arms[1:]:
        if arm.control or baseline is None or arm.name not in steps:
            continue
        if not steps[arm.name].has_effect_against(baseline) and not _acts_later(arm.delta):
            found.without.append(arm.name)
        moved = steps[arm.name].moved_against(baseline)
        if unasked := [each for each in moved if not _is_asked_for(each, arm.delta)]:
            found.moved[arm.name] = unasked
    return found


def place_of(arms: Sequence[str], block: str | None = None) -> str:
    """Where a fault of some arms stands in its spec, for people: `block small, arms.gem and 2 more`."""
    more = f" and {len(arms) - 1} more" if len(arms) > 1 else ""
    return ", ".join(([f"block {block}"] if block else []) + ([f"arms.{arms[0]}{more}"] if arms else []))


def require_steps(plans: Sequence[Plan], runtime: Runtime) -> None:
    """SchemaError where an own part of a missing run cannot take a first step, or an own metric fails, before training.

    A config that a run of any seed has finished is known to work, and so are the metrics of an ablation that has a
    finished run; nothing is started for them.
    """
    asked: dict[tuple[str | OwnMetric, ...], list[Plan]] = {}
    for plan in plans:
        is_new = any(own_parts(plan.ablation.metrics)) and not _has_finished(plan.cells, runtime)
        asked.setdefault(tuple(plan.ablation.metrics) if is_new else (), []).append(plan)
    if faults := [fault for metrics, each in asked.items() for fault in _step_faults(each, metrics, runtime)]:
        raise SchemaError(faults)


def _step_faults(plans: Sequence[Plan], metrics: Sequence[str | OwnMetric], runtime: Runtime) -> Iterator[Fault]:
    """What is wrong with the own parts of plans, and with metrics that none of their runs has yet, by one process."""
    new: dict[str, list[Fault]] = {}
    configs = {}
    for plan in plans:
        for cells in distinct(plan.cells):
            config, arm = cells[0].config, cells[0].arm
            has_own = any(own_parts(config)) or (metrics and arm == plan.ablation.baseline)
            if has_own and not _has_finished(cells, runtime):
                key = config.model_dump_json()
                configs[key] = config
                new.setdefault(key, []).append(Fault(plan.ablation.source, place_of([arm], plan.ablation.block), ""))
    tried = try_aside(configs, runtime, metrics)
    shared = _shared_by_all(tried, configs)
    yield from (Fault(plans[0].ablation.source, "", line) for line in [*shared, *(tried.misfits if metrics else ())])
    yield from (fault._replace(message=line) for key, line in tried.broken.items() for fault in new[key] if not shared)


def _shared_by_all(tried: Tried, configs: Mapping[str, RunConfig]) -> list[str]:
    """The one reason for which no config can take a step, such as a part that all have, or a metric; else none."""
    reasons = set(tried.broken.values())
    return [*reasons] if len(tried.broken) == len(configs) > 1 and len(reasons) == 1 else []


def _has_finished(cells: Iterable[Cell], runtime: Runtime) -> bool:
    return any(folder(cell, runtime.store).is_finished() for cell in cells)


def _first_steps(arms: Mapping[str, RunConfig], ablation: Ablation, runtime: Runtime) -> Tried:
    """The first steps of all arms: here, where all code is ours, else aside."""
    if any(own_parts((*arms.values(), *ablation.metrics))):
        return try_aside(arms, runtime, ablation.metrics, ablation.groups)
    from ablation_suite.core.training.first_step import try_steps

    return try_steps(arms, runtime, ablation.metrics, ablation.groups)


def _acts_later(delta: Mapping[str, object]) -> bool:
    return any(f"{factor}.".startswith(f"{later}.") for factor in delta for later in LATER_FACTORS)


def _is_asked_for(moved: str, delta: Mapping[str, object]) -> bool:
    """Whether a factor is about the very thing: augmentation about draws, data about order, weights about values."""
    subjects = {
        "order": ("data", "batch_size"),
        "draws": ("augment", "data"),
        "initial": ("model.weights", "model.backbone.zero_init_residual"),
    }
    return any(factor.startswith(subjects[moved.split()[0]]) for factor in delta)
