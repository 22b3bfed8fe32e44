"""What can an ablation ask? A baseline, arms that differ from it in one factor, the same seeds for all."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator

from ablation_suite.core.config import schema
from ablation_suite.core.config.menu import Frozen
from ablation_suite.core.config.schema import Fault, SchemaError
from ablation_suite.core.data import groups
from ablation_suite.core.metrics import MetricField, OwnMetric

SHIPPED_SPECS = Path(__file__).parent / "specs"
CONTROL = "control (A/A)"
"""Name of the arm that `control: true` adds; no arm of a spec can have it, since names there hold no slash."""
OVER = "over blocks"
"""What tables call the mean of all blocks; no block can have the name."""

MAX_ARMS = 1000
"""More are no comparison."""


class Seeds(Frozen):
    """As many seeds as the question needs: from `min`, one more at a time, to at most `max`."""

    min: int = Field(3, ge=2)
    """Seeds that every arm gets."""
    max: int = Field(20, ge=2, le=100)
    """Seeds that no arm exceeds."""
    until: Literal["decided"] | None = None
    """`decided`: stop an arm as soon as its difference has a verdict."""
    precision: float | None = Field(None, gt=0.0)
    """Stop an arm once its interval is this narrow on either side, in percentage points or the metric's own unit."""


class Spec(Frozen):
    """The keys of a spec file, before its base, shared settings and arms are resolved."""

    ablation: str
    """Name of the ablation; names its report and its W&B group."""
    question: str = Field(min_length=1)
    """The question in one sentence; its answer heads the report."""
    base: str
    """RunConfig file that everything starts from, relative to the spec."""
    shared: dict[str, Any] = {}
    """Dotted path -> value, for the baseline and all arms."""
    metric: MetricField | None = None
    """What is compared, as `test/macro_f1`; null takes accuracy, on test images where all runs have labelled ones."""
    metrics: tuple[MetricField, ...] = ()
    """Several of one split, where a report should show more than one: the first decides."""
    seeds: int | tuple[int, ...] | Seeds = 3
    """A number of seeds, a list of them, or `{min, max, until | precision}`."""
    baseline: str = "baseline"
    """Name of the baseline."""
    blocks: dict[str, dict[str, Any]] = {}
    """Block -> its settings by dotted path: the whole comparison is repeated under each."""
    block: str | None = None
    """Only this block of them."""
    arms: dict[str, Any] = {}
    """Arm -> one factor and its level, or `compound:` with several."""
    grid: dict[str, tuple[Any, ...]] = {}
    """Factor -> levels: a full factorial, whose first levels are the baseline."""
    margin: float | None = Field(None, gt=0.0)
    """Differences smaller than this, in percentage points or the metric's own unit, count as equivalent."""
    groups: str | None = None
    """Which images belong together, by their file names, as `{plant}_*.jpg`: they are judged as one. No run changes."""
    control: bool = False
    """Whether the baseline is also compared with itself on other seeds, which should find no difference."""
    project: str = "ablation-suite"
    """W&B project."""
    tuned: str | None = None
    """File of the values that `ablate tune` found, relative to the spec; every arm is then compared under them."""

    @field_validator("grid")
    @classmethod
    def _can_be_trained(cls, grid: dict[str, tuple[Any, ...]]) -> dict[str, tuple[Any, ...]]:
        if (num := math.prod(map(len, grid.values()))) > MAX_ARMS:
            raise ValueError(f"{num:,} combinations; {MAX_ARMS:,} are the most, and a sweep searches more")
        return grid

    @field_validator("groups")
    @classmethod
    def _groups_are_told_apart(cls, rule: str | None) -> str | None:
        if rule is not None and (fault := groups.rule_fault(rule)):
            told = groups.is_told(rule)
            raise ValueError(f"{rule} is told with the data, where runs keep it: data.groups" if told else fault)
        return rule


class Arm(Frozen):
    """A name and what it changes: one factor -> one level, or an explicit compound."""

    name: str
    delta: dict[str, Any] = {}
    compound: bool = False
    note: str = ""
    control: bool = False
    """Whether this is the baseline again, on other seeds (A/A)."""


class Ablation(Frozen):
    """A spec whose arms are listed: the baseline first, then the arms in the order of the file."""

    ablation: str
    question: str
    metric: str | None
    """The metric that decides."""
    metrics: tuple[str | OwnMetric, ...] = ()
    """All that were asked for by name, that one first."""
    seeds: tuple[int, ...]
    rule: Seeds | None
    """How seeds are added, where their number is not fixed."""
    baseline: str
    arms: tuple[Arm, ...]
    grid: dict[str, tuple[Any, ...]]
    margin: float | None
    groups: str | None = None
    """The rule on file names by which images belong together."""
    project: str
    tuned: str | None = None
    """The file of found values that the arms take."""
    family: str = ""
    """The name of the spec, where this is one of its blocks."""
    block: str | None = None
    """Which one."""
    blocks: tuple[str, ...] = ()
    """All blocks of the spec."""
    overrides: tuple[str, ...]
    """`path=value`, as given on the command line."""
    source: str
    """The spec as a command line names it: a shipped name, or the path of the file."""

    def arm(self, name: str) -> Arm:
        """The arm of this name; SchemaError names the nearest where there is none."""
        names = [arm.name for arm in self.arms]
        if name not in names:
            message = f"no arm '{name}'{schema.nearest(name, names)}; the arms are {', '.join(names)}"
            raise SchemaError([Fault(self.source, "arms", message)])
        return self.arms[names.index(name)]
