"""What was asked, and of which runs? A plan as plain data, which a report carries so that it can be checked later."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ablation_suite.ablations.resolve import describe
from ablation_suite.ablations.spec import SHIPPED_SPECS
from ablation_suite.core.config.errors import shell_line
from ablation_suite.core.config.levels import level_names, value_at
from ablation_suite.core.metrics import OwnMetric, key_of

if TYPE_CHECKING:
    from ablation_suite.ablations.plan import Plan
    from ablation_suite.ablations.spec import Ablation, Arm


@dataclass(frozen=True, kw_only=True)
class DesignArm:
    """One arm: what it changes in words, whether that is several things at once, and its levels in a grid.

    `factor` is the dotted path of what it changes, empty where that is not one thing. `control`: the baseline again.
    `delta` holds the levels as the spec has them, for `has_levels`.
    """

    name: str
    changes: str
    compound: bool
    note: str
    levels: tuple[str, ...]
    factor: str = ""
    control: bool = False
    delta: dict[str, Any] = field(default_factory=dict)

    def has_levels(self, config: Mapping[str, Any]) -> bool:
        """Whether the config of a record has the levels that this arm stands for."""
        return all(_is_level(level, value_at(config, factor)) for factor, level in self.delta.items())


@dataclass(frozen=True, kw_only=True)
class Design:
    """An ablation as a reader needs it: arms with the baseline first, and cells (arm, seed, run id).

    `margin` and the `precision` of `rule` are in percentage points, as in the spec. `factors` is empty without a grid.
    """

    ablation: str
    question: str
    metric: str | None
    """The metric that decides; null is accuracy, on the split that answers."""
    baseline: str
    margin: float | None
    rule: dict[str, Any] | None
    factors: dict[str, tuple[str, ...]]
    arms: tuple[DesignArm, ...]
    cells: tuple[tuple[str, int, str], ...]
    spec: str
    overrides: tuple[str, ...]
    family: str = ""
    """The name of the spec, where this is one of its blocks."""
    block: str = ""
    """Which one."""
    tuned: bool = False
    """Whether every arm has the values that a search of its own found."""
    groups: str | None = None
    """The rule on file names by which images belong together; null counts each image alone."""
    metrics: tuple[str, ...] = ()
    """All metrics that were asked for by name, the deciding one first."""
    own_metrics: tuple[OwnMetric, ...] = ()
    """Those of them that are the user's own."""

    @property
    def measures(self) -> tuple[str, ...]:
        """The metrics without their split; accuracy where none was named."""
        return tuple(name.partition("/")[2] for name in self.metrics or (self.metric or "val/accuracy",))

    @property
    def own(self) -> dict[str, OwnMetric]:
        """Measure -> the metric of the user's own that it is."""
        return {each.measure: each for each in self.own_metrics}

    @property
    def control(self) -> str | None:
        """The arm that is the baseline on other seeds, where there is one."""
        return next((arm.name for arm in self.arms if arm.control), None)

    def arm(self, name: str) -> DesignArm:
        """The arm of this name."""
        return next(arm for arm in self.arms if arm.name == name)

    @property
    def contenders(self) -> list[DesignArm]:
        """The arms that change something: neither the baseline nor its control."""
        return [arm for arm in self.arms if arm.name != self.baseline and not arm.control]

    def to_json(self) -> dict[str, Any]:
        """The design as JSON data; `from_json` gives it back."""
        return asdict(self) | {"own_metrics": [each.model_dump(mode="json") for each in self.own_metrics]}

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> Design:
        """The design that `to_json` wrote; the code of own metrics has to be known, or it is an error of theirs."""
        return Design(
            **{
                **data,
                "factors": {name: tuple(levels) for name, levels in data["factors"].items()},
                "arms": tuple(DesignArm(**{**arm, "levels": tuple(arm["levels"])}) for arm in data["arms"]),
                "cells": tuple((arm, seed, run_id) for arm, seed, run_id in data["cells"]),
                "overrides": tuple(data["overrides"]),
                "metrics": tuple(data["metrics"]),
                "own_metrics": tuple(OwnMetric.model_validate(each) for each in data["own_metrics"]),
            }
        )

    def command(self, arm: str, seed: int) -> str:
        """The command line that makes one run again."""
        words = ["ablate", "run", self.spec, *self.overrides, "--arm", arm, "--seed", str(seed)]
        return shell_line(words)


def design_of(plan: Plan) -> Design:
    """The plain data of a plan."""
    ablation = plan.ablation
    factors = {factor: level_names(levels) for factor, levels in ablation.grid.items()}
    return Design(
        ablation=ablation.ablation,
        question=ablation.question,
        metric=ablation.metric,
        metrics=tuple(map(key_of, ablation.metrics)),
        own_metrics=tuple(each for each in ablation.metrics if isinstance(each, OwnMetric)),
        tuned=ablation.tuned is not None,
        family=ablation.family,
        block=ablation.block or "",
        baseline=ablation.baseline,
        margin=ablation.margin,
        groups=ablation.groups,
        rule=ablation.rule.model_dump() if ablation.rule else None,
        factors=factors,
        arms=tuple(_design_arm(arm, ablation, factors) for arm in ablation.arms),
        cells=tuple((cell.arm, cell.seed, cell.run_id) for cell in plan.cells),
        spec=_spec_name(ablation.source),
        overrides=tuple(ablation.overrides),
    )


def _design_arm(arm: Arm, ablation: Ablation, factors: Mapping[str, tuple[str, ...]]) -> DesignArm:
    """In a grid an arm lists all its levels; what it changes are those that are not the baseline's, which tells all."""
    first = {factor: levels[0] for factor, levels in ablation.grid.items()}
    delta = {factor: level for factor, level in arm.delta.items() if factor not in first or level != first[factor]}
    told = arm if arm.name == ablation.baseline else arm.model_copy(update={"delta": delta})
    return DesignArm(
        name=arm.name,
        changes="nothing, on other seeds" if arm.control else describe(told),
        compound=len(delta) > 1 if factors else arm.compound,
        note=arm.note,
        levels=tuple(
            factors[factor][ablation.grid[factor].index(arm.delta.get(factor, first[factor]))] for factor in factors
        ),
        factor=next(iter(delta)) if len(delta) == 1 else "",
        control=arm.control,
        delta=arm.model_dump(mode="json")["delta"],
    )


def _is_level(level: Any, value: Any) -> bool:
    """Whether a setting is a level of a spec: a bare name stands for its entry, and defaults may be left out.

    A group that may be absent is switched by true and false.
    """
    if level is True and isinstance(value, Mapping):
        return True
    if level is False and value is None:
        return True
    if isinstance(level, Mapping):
        return isinstance(value, Mapping) and all(_is_level(each, value.get(key)) for key, each in level.items())
    return bool(level == (value.get("name") if isinstance(value, Mapping) else value))


def _spec_name(source: str) -> str:
    """A shipped spec goes by its short name, which is the same on every machine."""
    path = Path(source)
    return path.relative_to(SHIPPED_SPECS).with_suffix("").as_posix() if path.is_relative_to(SHIPPED_SPECS) else source
