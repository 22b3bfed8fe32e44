"""What does a sweep ask? A RunConfig, a search space around it, a budget, and how to search."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from ablation_suite.core.config import schema
from ablation_suite.core.config.levels import value_at
from ablation_suite.core.config.menu import Frozen
from ablation_suite.core.config.paths import typed
from ablation_suite.core.config.run_config import RunConfig, load_base, with_settings
from ablation_suite.core.config.schema import Document, Fault, SchemaError
from ablation_suite.sweeps.faults import key_faults, space_faults
from ablation_suite.sweeps.menu import EXHAUSTIVE, TPE, HalvingPruner, NoPruner, Pruner, Sampler
from ablation_suite.sweeps.objectives import SCORES, Limits, Objective, References, is_maximised
from ablation_suite.sweeps.space import Space, Values, read_space

SHIPPED_SWEEPS = Path(__file__).parent
FIRST_SEED = 1000
"""Trials train with seeds from here on; comparisons use 0, 1, 2, ..., so that no result is tuned on its own seed."""


def _validation_only(metric: Any) -> Any:
    if isinstance(metric, str) and metric.startswith("test"):
        raise ValueError(f"'{metric}' would choose by the test images; a sweep chooses by val/accuracy or val/loss")
    return metric


Metric = Annotated[Literal["val/accuracy", "val/loss"], BeforeValidator(_validation_only)]


class Until(Frozen):
    """When a search has found enough: no new trial begins, and those under way come to their end."""

    score: float | None = None
    """A trial that ran to its end is as good as this or better."""
    patience: int | None = Field(None, ge=1)
    """So many trials ended, one after another, without a better score; stopped and diverged ones count."""


class SweepSpec(Frozen):
    """The keys of a sweep file."""

    sweep: str
    """Name of the sweep and of its study."""
    question: str = ""
    """What the sweep should find out, in one sentence."""
    base: str
    """RunConfig file that the search goes around, relative to the sweep's file."""
    shared: dict[str, Any] = Field(default_factory=dict)
    """Dotted path -> value, for all trials."""
    space: dict[str, Any]
    """Dotted path -> `log`, `uniform`, `int` [low, high] or `choice` [level, ...], with `step`, `points` and `when`."""
    trials: int | None = Field(None, ge=1)
    """Finished or pruned trials in all, imported ones not counted; a grid needs none."""
    hours: float | None = Field(None, gt=0.0)
    """Wall-clock hours of one invocation after which no new trial begins."""
    until: Until = Until()
    """Ends the search before its number of trials."""
    seeds: int = Field(1, ge=1, le=100)
    """Seeds per trial, whose scores are averaged."""
    metric: Metric = "val/accuracy"
    """What is improved, on validation images only."""
    metrics: tuple[Objective, ...] = ()
    """Several that are improved at once, instead of `metric`: val/accuracy, val/loss, parameters, flops, seconds."""
    reference: References = Field(default_factory=dict)
    """Of `metrics`: the point that the hypervolume is measured from; without it, a tenth beyond the worst trials."""
    constraints: Limits = Field(default_factory=dict)
    """Measure -> {at_most: ..} or {at_least: ..}; a trial that does not keep to it is never the best."""
    sampler: Sampler = TPE()  # type: ignore[valid-type]
    """Who proposes the next values."""
    pruner: Pruner = HalvingPruner()  # type: ignore[valid-type]
    """Who stops a trial early."""
    project: str = "ablation-suite"
    """W&B project."""


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """A search that is ready to run: every value of its space makes a valid RunConfig."""

    name: str
    question: str
    base: Document
    config: RunConfig
    """The base's own RunConfig."""
    space: Space
    spec: SweepSpec
    stream: str
    """Names the stream of the proposals; sweeps that share it propose the same trials for the same history."""
    first: Values
    """The trial that is enqueued first: the base's own values, where the space contains them."""
    source: str
    overrides: tuple[str, ...] = ()

    @property
    def seeds(self) -> tuple[int, ...]:
        return tuple(range(FIRST_SEED, FIRST_SEED + self.spec.seeds))

    @property
    def is_exhaustive(self) -> bool:
        """Whether the sampler visits a fixed set of combinations, each once."""
        return self.spec.sampler.name in EXHAUSTIVE

    @property
    def maximize(self) -> bool:
        return is_maximised(self.spec.metric)

    @property
    def objectives(self) -> tuple[str, ...]:
        """What is improved, each by its own direction."""
        return self.spec.metrics or (self.spec.metric,)

    @property
    def is_multi(self) -> bool:
        """Whether several objectives are improved, so that there is a front and no best trial."""
        return len(self.objectives) > 1

    @property
    def directions(self) -> tuple[Literal["maximize", "minimize"], ...]:
        """Of the objectives, in Optuna's words."""
        return tuple("maximize" if is_maximised(name) else "minimize" for name in self.objectives)

    def run_config(self, values: Mapping[str, Any], seed: int) -> RunConfig:
        """The RunConfig of a trial at one seed."""
        config = schema.validate(RunConfig, self.space.apply(self.base, values))
        return config.model_copy(update={"seed": seed})


def find_sweep(name: str) -> Path:
    """The sweep file of a path or a shipped name; SchemaError names the nearest where there is none."""
    for place in (typed(name), SHIPPED_SWEEPS / f"{name}.yaml"):
        if place.is_file():
            return place
    shipped = sorted(each.stem for each in SHIPPED_SWEEPS.glob("*.yaml"))
    message = f"no such sweep or file{schema.nearest(name, shipped)}; shipped are {', '.join(shipped)}"
    raise SchemaError([Fault(name, "", message)])


def _name(path: Path) -> str:
    """A shipped sweep goes by its short name, which is the same on every machine."""
    return path.stem if path.parent == SHIPPED_SWEEPS else str(path)


def read_sweep(path: Path, overrides: Iterable[str] = ()) -> Sweep:
    """The sweep of a file; SchemaError lists the faults of its keys, of its space, or of the RunConfigs it makes."""
    spec, document, settings = read_sweep_spec(path, overrides)
    base = load_base(document, spec.base)
    base = with_settings(base, [(target, document.part(("shared", target))) for target in spec.shared])
    base = with_settings(base, settings)
    if "seed" in base.data:
        raise SchemaError([Fault(base.where(("seed",)), "seed", "a base has no seed; seeds are set by `seeds:`")])
    return make_sweep(
        spec, base, document.part(("space",)), name=spec.sweep, source=_name(path), overrides=tuple(overrides)
    )


def read_sweep_spec(
    path: Path, overrides: Iterable[str] = ()
) -> tuple[SweepSpec, Document, list[tuple[str, Document]]]:
    """The keys of a sweep file, its document, and those overrides that are settings of its base."""
    document = schema.load(path)
    settings: list[tuple[str, Document]] = []
    for text in overrides:
        target, value = schema.split_override(text)
        first, *rest = target.split(".")
        if first in SweepSpec.model_fields:
            path_in_spec = (first, ".".join(rest)) if first == "space" and rest else (first, *rest)
            document = document.replaced(path_in_spec, schema.read_override(SweepSpec, target, value))
        else:
            settings.append((target, schema.read_override(RunConfig, target, value)))
    faults: list[Fault] = []
    try:
        if isinstance(document.data, Mapping) and "space" in document.data:
            read_space(document.part(("space",)))
    except SchemaError as error:
        faults += error.faults
    try:
        spec = schema.validate(SweepSpec, document)
        faults += key_faults(spec, document)
        if spec.metrics and not faults:
            score = next(name for name in spec.metrics if name in SCORES)
            spec = spec.model_copy(update={"metric": score, "pruner": NoPruner()})
    except SchemaError as error:
        faults += error.faults
    if faults:
        raise SchemaError(faults)
    return spec, document, settings


def make_sweep(
    spec: SweepSpec,
    base: Document,
    space_document: Document,
    *,
    name: str,
    source: str,
    stream: str = "",
    first: Values | None = None,
    overrides: tuple[str, ...] = (),
) -> Sweep:
    """A sweep around any RunConfig document; SchemaError where a value of the space makes no valid RunConfig."""
    space = read_space(space_document)
    config = schema.validate(RunConfig, base)
    faults: list[Fault] = []
    faults += space_faults(spec, space)
    for values in space.probes():
        faults += _probe_faults(space, base, values)
    if faults:
        raise SchemaError(faults)
    if spec.sampler.name in EXHAUSTIVE:
        space.grid()
    return Sweep(
        name=name,
        question=spec.question,
        base=base,
        config=config,
        space=space,
        spec=spec,
        stream=stream or name,
        first=own_values(space, config) if first is None else first,
        source=source,
        overrides=overrides,
    )


def own_values(space: Space, config: RunConfig) -> Values:
    """The values that a RunConfig itself has for the parameters of a space, where the space contains them."""
    data = config.model_dump(mode="json")
    values: Values = {}
    for parameter in space.parameters:
        value = value_at(data, parameter.path)
        if isinstance(value, Mapping):
            names = [label for label, level in parameter.levels.items() if _entry_name(level) == value.get("name")]
            value = names[0] if names else None
        elif isinstance(value, list):
            value = next(iter(parameter.labels_of(value)), None)
        if value is not None and parameter.is_active(values) and parameter.contains(value):
            values[parameter.path] = value
    return values


def _probe_faults(space: Space, base: Document, values: Values) -> list[Fault]:
    try:
        schema.validate(RunConfig, space.apply(base, values))
    except SchemaError as error:
        return error.faults
    return []


def _entry_name(level: Any) -> Any:
    return level.get("name") if isinstance(level, Mapping) else level
