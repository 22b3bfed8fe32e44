"""Does every factor have an effect, and only where it should? One step of each arm beside one of the baseline."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ablation_suite.ablations.spec import Ablation
from ablation_suite.core.config.errors import OwnPartError
from ablation_suite.core.config.menu import build
from ablation_suite.core.config.run_config import RunConfig
from ablation_suite.core.config.runtime import Runtime
from ablation_suite.core.data import groups
from ablation_suite.core.data.dataset import DataError, Dataset

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
"""Settings that a first step on a few images need not show."""


@dataclass(kw_only=True)
class Effects:
    """What the first steps said."""

    without: list[str] = field(default_factory=list)
    """Arms whose factor changed nothing."""
    moved: dict[str, list[str]] = field(default_factory=dict)
    """Arm -> what it should share with the baseline and does not."""
    misfits: list[str] = field(default_factory=list)
    """What these images cannot give, each once; no step is taken then."""
    broken: dict[str, str] = field(default_factory=dict)
    """Arm -> why its network or its own parts cannot take a step."""
    groups: list[str] = field(default_factory=list)
    """How many groups the images of each split are, and which lie in several."""
    untried: str = ""
    """Why nothing could be tried, if so."""


def try_effects(ablation: Ablation, arms: Mapping[str, RunConfig], runtime: Runtime) -> Effects:
    """Take one step of the baseline and of every arm, at one seed, on the same few images.

    Where the data or the weights are not on this machine, nothing is tried and the reason is given.
    """
    from ablation_suite.core.models.weights import NetworkError, WeightsError
    from ablation_suite.core.own.loading import told
    from ablation_suite.core.training.first_step import first_step
    from ablation_suite.core.training.fit import misfits

    try:
        datasets: dict[Any, Dataset] = {}
        for data in dict.fromkeys(config.data for config in arms.values()):
            datasets[data] = build(data, data_root=Path(runtime.data_root), cache=Path(runtime.cache)).load()
        unfit = [
            fault for each in arms.values() for fault in misfits(each, datasets[each.data], ablation.metrics, runtime)
        ]
        rule, splits = ablation.groups, datasets[arms[ablation.baseline].data].splits
        names = {split: each.names for split, each in splits.items()}
        unfit += groups.faults(names, rule) if rule is not None else []
        if unfit:
            return Effects(misfits=list(dict.fromkeys(unfit)))
        steps, broken = {}, {}
        for name, config in arms.items():
            try:
                steps[name] = first_step(config, datasets[config.data], runtime)
            except (OwnPartError, NetworkError) as error:
                broken[name] = str(error)
            except Exception as error:
                if (own := told(error)) is None:
                    raise
                broken[name] = str(own)
    except (DataError, WeightsError) as error:
        return Effects(untried=str(error).splitlines()[0])
    except OwnPartError as error:
        return Effects(misfits=[str(error)])
    found = Effects(broken=broken, groups=groups.in_words(names, rule) if rule is not None else [])
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
