"""Which RunConfig does each arm stand for? The base, the shared settings, the arm's delta, the seed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

from ablation_suite.ablations.reading import Reading, read_spec
from ablation_suite.ablations.spec import Ablation, Arm
from ablation_suite.core.config import schema
from ablation_suite.core.config.levels import differences, level_text
from ablation_suite.core.config.menu import Entry, Frozen
from ablation_suite.core.config.run_config import RunConfig, with_settings
from ablation_suite.core.config.schema import Document, Fault, SchemaError
from ablation_suite.core.data import groups

Arms = dict[str, RunConfig]


def resolve(path: Path, overrides: tuple[str, ...] = ()) -> tuple[Ablation, Arms]:
    """The ablation of a spec file and the RunConfig of each arm, at seed 0; SchemaError lists all their faults."""
    read = read_spec(path, overrides)
    base, spec, faults = read.base, read.document, list(read.faults)
    if base is not None and isinstance(base.data, Mapping) and "seed" in base.data:
        faults.append(Fault(base.where(("seed",)), "seed", "a base has no seed; seeds are set by `seeds:` of the spec"))
    arms: Arms = {}
    for arm in read.arms:
        try:
            faults += _factor_faults(arm, spec)
            if base is not None:
                arms[arm.name] = schema.validate(RunConfig, _with_delta(base, arm, spec))
        except SchemaError as error:
            faults += _at_their_cause(error.faults, arm, read)
    if read.ablation is None or faults:
        raise SchemaError(faults)
    if twins := _twin_faults(read.ablation, arms, spec):
        raise SchemaError(twins)
    return _judged_as_divided(read.ablation, arms), arms


def _judged_as_divided(ablation: Ablation, arms: Arms) -> Ablation:
    """The ablation with the rule that its data are divided by, unless it has another; runs keep told groups."""
    rules = {getattr(config.data, "groups", None) for config in arms.values()}
    [rule] = rules if len(rules) == 1 else [None]
    return ablation if ablation.groups or groups.is_told(rule) else ablation.model_copy(update={"groups": rule})


def resolve_blocks(path: Path, overrides: tuple[str, ...] = ()) -> list[tuple[Ablation, Arms]]:
    """The same of each block of a spec, or of the spec where it has none; SchemaError lists the faults of all."""
    read = read_spec(path, overrides)
    asked = read.ablation
    if asked is None or not asked.blocks or asked.block is not None:
        return [resolve(path, overrides)]
    found, faults, first = [], dict[Fault, None](), dict[str, str]()
    for block in asked.blocks:
        try:
            ablation, arms = resolve(path, (*overrides, f"block={block}"))
        except SchemaError as error:
            faults |= dict.fromkeys(error.faults)
            continue
        found.append((ablation, arms))
        twin = first.setdefault(arms[ablation.baseline].model_dump_json(), block)
        if twin != block:
            where = read.document.where(("blocks", block))
            faults[Fault(where, f"blocks.{block}", f"is the same comparison as block '{twin}'")] = None
    if faults:
        raise SchemaError(faults)
    return found


def changed_settings(config: RunConfig, baseline: RunConfig) -> Iterator[tuple[str, Any, Any]]:
    """Every setting that differs, as (dotted path, the baseline's value, the config's value)."""
    return differences(baseline.model_dump(mode="json"), config.model_dump(mode="json"))


def describe(arm: Arm) -> str:
    """What an arm changes, in the words of its spec: `loss.weight = 15.0`."""
    return ", ".join(f"{factor} = {level_text(level)}" for factor, level in arm.delta.items())


def _with_delta(base: Document, arm: Arm, spec: Document) -> Document:
    """The base's document with the arm's levels, each marked with the line of the spec that it stands in."""
    levels = [(factor, Document(data=level, source=_where(spec, arm, factor))) for factor, level in arm.delta.items()]
    return with_settings(base, levels)


def _where_arm(spec: Document, arm: Arm) -> str:
    return spec.where(("arms", arm.name) if spec.has(("arms", arm.name)) else ("grid",))


def _where(spec: Document, arm: Arm, factor: str) -> str:
    for path in (("arms", arm.name, factor), ("arms", arm.name, "compound", factor), ("grid", factor)):
        if path in spec.marks:
            return spec.marks[path]
    return spec.source


def _at_their_cause(faults: Iterable[Fault], arm: Arm, read: Reading) -> Iterator[Fault]:
    """The faults of an arm's RunConfig, those between several settings at the part of the spec that brought them up."""
    in_base = {read.layers[0].document.source, *read.layers[0].document.marks.values()} if read.layers else set()
    for fault in faults:
        if fault.where not in in_base:
            yield fault
            continue
        layer = next((each for each in read.layers if fault in _config_faults(each.document)), None)
        path = f"arms.{arm.name}" if layer is None else layer.path
        where = _where_arm(read.document, arm) if layer is None else layer.where
        yield Fault(where, path, ": ".join(filter(None, fault[1:]))) if path else fault


def _config_faults(document: Document) -> list[Fault]:
    try:
        schema.validate(RunConfig, document)
    except SchemaError as error:
        return error.faults
    return []


def _factor_faults(arm: Arm, spec: Document) -> Iterator[Fault]:
    """A factor is a leaf or a menu entry; a group of settings would smuggle in several."""
    for factor in arm.delta:
        model: type[Frozen] | None = RunConfig
        for step in factor.split("."):
            model = _group(model, step)
        if model is not None:
            inner = ", ".join(f"{factor}.{name}" for name in model.model_fields)
            yield Fault(_where(spec, arm, factor), factor, f"holds several factors; name one of {inner}")


def _group(model: type[Frozen] | None, step: str) -> type[Frozen] | None:
    """The class of a plain group of settings below `model`, or None for a leaf or a menu entry."""
    if model is None or step not in model.model_fields:
        return None
    annotation = model.model_fields[step].annotation
    if isinstance(annotation, type) and issubclass(annotation, Frozen) and not issubclass(annotation, Entry):
        return annotation if not get_args(annotation) else None
    return None


def _twin_faults(ablation: Ablation, arms: Arms, spec: Document) -> list[Fault]:
    """Two arms that come to the same RunConfig compare nothing; a control is the baseline on purpose."""
    first: dict[str, str] = {}
    faults = []
    for arm in ablation.arms:
        if arm.control:
            continue
        text = arms[arm.name].model_dump_json()
        if text in first:
            where = spec.where(("arms", arm.name))
            message = f"is the same run as '{first[text]}'; an arm changes something"
            faults.append(Fault(where, f"arms.{arm.name}", message))
        first.setdefault(text, arm.name)
    return faults
