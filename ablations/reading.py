"""What does a spec file say, and what is wrong with it? All faults at once, those between its keys too."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from ablation_suite.ablations.spec import CONTROL, OVER, SHIPPED_SPECS, Ablation, Arm, Seeds, Spec
from ablation_suite.core.config import schema
from ablation_suite.core.config.levels import level_names
from ablation_suite.core.config.names import fitted, name_fault, project_fault
from ablation_suite.core.config.paths import typed
from ablation_suite.core.config.run_config import RunConfig, load_base, with_settings
from ablation_suite.core.config.schema import Document, Fault, SchemaError
from ablation_suite.core.metrics import key_of, metric_fault, split_of

MAX_SEEDS = 1000
"""More are a mistake, the number of one for the number of all."""


class Layer(NamedTuple):
    """What one part of a spec makes of the base, and where that part stands."""

    where: str
    path: str
    document: Document


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What a spec file says, as far as it can be read, and all that is wrong with it."""

    document: Document
    arms: tuple[Arm, ...]
    base: Document | None
    """The document of the baseline's RunConfig: base, then shared, then block, then overrides."""
    layers: tuple[Layer, ...]
    """How it came to be, the base file first."""
    ablation: Ablation | None
    faults: tuple[Fault, ...]


def read_spec(path: Path, overrides: Iterable[str] = ()) -> Reading:
    """Read a spec past its faults, so that a misspelt key hides no fault of an arm; `resolve` checks the RunConfigs.

    Raises SchemaError where the file is no mapping at all.
    """
    document = schema.load(path)
    settings: list[tuple[str, Document]] = []
    for text in overrides:
        target, value = schema.split_override(text)
        if target in Spec.model_fields:
            document = document.replaced((target,), schema.read_override(Spec, target, value))
        else:
            settings.append((target, schema.read_override(RunConfig, target, value)))
    spec, wrong, faults = _readable(document)
    arms = list(_factorial(spec)) if spec.grid else [Arm(name=spec.baseline), *_arms(spec, document, faults)]
    faults += [fault for fault in _faults(spec, document, arms) if not wrong & {"arms", "grid"} or fault.path]
    if spec.control:
        arms.append(Arm(name=CONTROL, delta=arms[0].delta, control=True))
    layers: list[Layer] = []
    try:
        if "base" not in wrong:
            layers += _layers(spec, document, settings)
    except SchemaError as error:
        layers, faults = [], [*faults, *error.faults]
    ablation = None if faults else _ablation(spec, arms, path, tuple(overrides))
    base = layers[-1].document if layers else None
    return Reading(
        document=document, arms=tuple(arms), base=base, layers=tuple(layers), ablation=ablation, faults=tuple(faults)
    )


def _layers(spec: Spec, document: Document, overrides: list[tuple[str, Document]]) -> Iterator[Layer]:
    """The base with the shared settings, those of the block, and the overrides, one after the other."""
    base = load_base(document, spec.base)
    yield Layer("", "", base)
    parts = {("shared",): spec.shared, ("blocks", str(spec.block)): spec.blocks.get(str(spec.block), {})}
    for path, settings in parts.items():
        if settings:
            base = with_settings(base, [(each, document.part((*path, each))) for each in settings])
            yield Layer(document.where(path), schema.dotted(path), base)
    for target, value in sorted(overrides, key=lambda override: override[0].count(".")):  # an entry before its settings
        base = with_settings(base, [(target, value)])
        yield Layer(value.source, target, base)


def _readable(document: Document) -> tuple[Spec, set[str], list[Fault]]:
    """A spec of the keys that are right, those that are wrong, and why."""
    try:
        return schema.validate(Spec, document), set(), []
    except SchemaError as error:
        if not isinstance(document.data, Mapping):
            raise
        keys = {*document.data, *Spec.model_fields}
        wrong = {key for key in keys if any(f"{fault.path}.".startswith(f"{key}.") for fault in error.faults)}
        right = {key: value for key, value in document.data.items() if key not in wrong}
        required = {key: "?" for key, field in Spec.model_fields.items() if field.is_required()}
        spec = schema.validate(Spec, Document(data={**required, **right}))
        return spec, wrong, list(error.faults)


def _ablation(spec: Spec, arms: list[Arm], path: Path, overrides: tuple[str, ...]) -> Ablation:
    kept = ("ablation", "question", "baseline", "grid", "margin", "groups", "project")
    metrics = spec.metrics or ((spec.metric,) if spec.metric else ())
    named = {name: getattr(spec, name) for name in kept}
    if spec.block is not None:
        named |= {"ablation": f"{spec.ablation}-{spec.block}", "question": f"{spec.question} ({spec.block})"}
    return Ablation(
        **named,
        metric=key_of(metrics[0]) if metrics else None,
        metrics=metrics,
        family=spec.ablation if spec.block is not None else "",
        block=spec.block,
        blocks=tuple(spec.blocks),
        seeds=_seeds(spec.seeds),
        rule=spec.seeds if isinstance(spec.seeds, Seeds) else None,
        arms=tuple(arms),
        tuned=None if spec.tuned is None else str(Path(path).parent / typed(spec.tuned)),
        overrides=overrides,
        source=_name(path),
    )


def _name(path: Path) -> str:
    return str(path.relative_to(SHIPPED_SPECS).with_suffix("")) if path.is_relative_to(SHIPPED_SPECS) else str(path)


def _arms(spec: Spec, document: Document, faults: list[Fault]) -> Iterator[Arm]:
    """The arms that change something; what is wrong with the others is added to the faults."""
    for name, value in spec.arms.items():
        where = document.where(("arms", name))
        path = f"arms.{name}"
        if not isinstance(value, Mapping):
            faults.append(Fault(where, path, "an arm is written {factor: level}, such as {loss.weight: 15.0}"))
            continue
        note = str(value.get("note", ""))
        delta = {key: level for key, level in value.items() if key != "note"}
        compound = set(delta) == {"compound"}
        if compound:
            delta = delta["compound"]
        if not isinstance(delta, Mapping) or not delta:
            faults.append(Fault(where, path, "an arm changes something: {factor: level}"))
            continue
        if len(delta) > 1 and not compound:
            changes = ", ".join(delta)
            message = f"changes {len(delta)} factors ({changes}); an arm changes one, or wraps several in `compound:`"
            faults.append(Fault(where, path, message))
        yield Arm(name=name, delta=dict(delta), compound=compound, note=note)


def _factorial(spec: Spec) -> Iterator[Arm]:
    """All combinations of a grid, the first of which is the baseline; the names of the others list their levels."""
    names = itertools.product(*map(level_names, spec.grid.values()))
    for index, (levels, words) in enumerate(zip(itertools.product(*spec.grid.values()), names, strict=True)):
        delta = dict(zip(spec.grid, levels, strict=True))
        name = ",".join(f"{factor.rpartition('.')[2]}={word}" for factor, word in zip(spec.grid, words, strict=True))
        yield Arm(name=fitted(name) if index else spec.baseline, delta=delta, compound=index > 0)


def _faults(spec: Spec, document: Document, arms: list[Arm]) -> list[Fault]:
    """What is wrong between the keys of a spec, each of which is right by itself."""
    faults = []

    def fault(path: tuple[str, ...], message: str) -> None:
        faults.append(Fault(document.where(path), schema.dotted(path), message))

    names: list[tuple[tuple[str, ...], str]] = [(("ablation",), spec.ablation), (("baseline",), spec.baseline)]
    names += [(("arms", arm.name) if spec.arms else ("grid",), arm.name) for arm in arms[1:]]
    for path, name in names:
        if why := name_fault(name):
            fault(path, f"{name!r} is no usable name: it {why}")
        if [each for _, each in names[1:]].count(name) > 1 and name != spec.baseline:
            fault(path, f"two arms would have the name {name!r}")
    if why := project_fault(spec.project):
        fault(("project",), f"{spec.project!r} is no usable name: it {why}")
    if not spec.arms and not spec.grid:
        fault((), "needs `arms:` or `grid:`")
    if spec.arms and spec.grid:
        fault(("grid",), "a spec has either `arms:` or `grid:`")
    if spec.baseline in spec.arms:
        fault(("arms", spec.baseline), "has the name of the baseline")
    for factor, levels in spec.grid.items():
        if len(levels) < 2:
            fault(("grid", factor), "a factor of a grid has two levels or more")
        if len(set(level_names(levels))) < len(levels):
            fault(("grid", factor), "a level stands twice")
    faults += [Fault(document.where(path), schema.dotted(path), message) for path, message in _block_faults(spec, arms)]
    for part in ("shared", "grid"):
        if "seed" in getattr(spec, part):
            fault((part, "seed"), "seeds are set by `seeds:`")
    for arm in arms:
        if "seed" in arm.delta:
            fault(("arms", arm.name), "the seed is no factor; seeds are set by `seeds:`")
    faults += [Fault(document.where((key,)), key, message) for key, message in _metric_faults(spec)]
    return faults + [Fault(document.where(("seeds",)), "seeds", message) for message in _seed_faults(spec.seeds)]


def _block_faults(spec: Spec, arms: list[Arm]) -> Iterator[tuple[tuple[str, ...], str]]:
    """(path, what is wrong there)"""
    if spec.block is not None and spec.block not in spec.blocks:
        yield ("block",), f"no block '{spec.block}'{schema.nearest(spec.block, spec.blocks)}"
    if len(spec.blocks) == 1:
        yield ("blocks",), "a comparison is repeated in two blocks or more; settings of all go to `shared:`"
    for block, settings in spec.blocks.items():
        if why := name_fault(f"{spec.ablation}-{block}"):
            yield ("blocks", block), f"{block!r} is no usable name: {spec.ablation}-{block} {why}"
        if block == OVER:
            yield ("blocks", block), "is what tables call the mean of all blocks; give it another name"
        if not settings:
            yield ("blocks", block), "changes nothing; a block has settings of its own"
        for path in settings:
            clash = [arm.name for arm in arms if any(f"{each}.".startswith(f"{path}.") for each in arm.delta)]
            clash += [arm.name for arm in arms if any(f"{path}.".startswith(f"{each}.") for each in arm.delta)]
            if path == "seed":
                yield ("blocks", block, path), "seeds are set by `seeds:`"
            elif clash:
                yield (
                    ("blocks", block, path),
                    f"is what arm '{clash[0]}' changes; blocks set other things",
                )


def _metric_faults(spec: Spec) -> Iterator[tuple[str, str]]:
    """(key, what is wrong with it)"""
    if spec.metric is not None and spec.metrics:
        yield "metrics", "a spec has either `metric:` or `metrics:`"
    if "metrics" in spec.model_fields_set and not spec.metrics:
        yield "metrics", "names none; leave it out for accuracy, or name one, such as test/accuracy"
    key, asked = ("metrics", spec.metrics) if spec.metrics else ("metric", (spec.metric,) if spec.metric else ())
    names = list(map(key_of, asked))
    wrong = [metric_fault(each) for each in asked if isinstance(each, str)]
    yield from ((key, why) for why in wrong if why)
    if any(wrong):
        return
    if len(set(names)) < len(names):
        yield key, "a metric stands twice"
    if len({split_of(name) for name in names}) > 1:
        yield key, "the metrics of one ablation are of one split, val or test"


def _seed_faults(seeds: int | tuple[int, ...] | Seeds) -> Iterator[str]:
    if isinstance(seeds, int) and seeds < 1:
        yield f"should be at least 1, not {seeds}"
    elif isinstance(seeds, int) and seeds > MAX_SEEDS:
        yield f"should be at most {MAX_SEEDS:,}, not {seeds}; a seed of your own is written seeds=[{seeds}]"
    if isinstance(seeds, tuple) and (not seeds or len(set(seeds)) != len(seeds) or min(seeds) < 0):
        yield "should be a list of different seeds, none below 0"
    if isinstance(seeds, Seeds):
        if seeds.min > seeds.max:
            yield "min should not be above max"
        if (seeds.until is None) == (seeds.precision is None):
            yield "needs either `until: decided` or `precision:`"


def _seeds(seeds: int | tuple[int, ...] | Seeds) -> tuple[int, ...]:
    if isinstance(seeds, Seeds):
        return tuple(range(seeds.min))
    return tuple(range(seeds)) if isinstance(seeds, int) else seeds
