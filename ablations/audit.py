"""What else moved when an arm changed its factor? Facts with their size, from configs and from finished runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any, Literal

from ablation_suite.ablations.plan import Plan, folder
from ablation_suite.ablations.resolve import changed_settings, describe
from ablation_suite.ablations.spec import Ablation, Arm
from ablation_suite.core.config.own import own_parts
from ablation_suite.core.config.run_config import RunConfig
from ablation_suite.core.runs.shape import ARITHMETIC, Record

Records = Mapping[str, list[Record]]
"""Arm -> the records of its finished runs."""

ASSUMED_NUM_CLASSES = 100


@dataclass(frozen=True, kw_only=True)
class AuditFinding:
    """One fact about an arm against the baseline."""

    arm: str
    kind: str
    """factor, parameters, flops, images, steps, seconds, weights, code, data, software, hardware or note."""
    text: str
    severity: Literal["factor", "moved", "confound", "note"]
    """What was asked for; what came along with it; what makes the comparison ambiguous; what the spec says of it."""


def audit(ablation: Ablation, arms: Mapping[str, RunConfig], records: Records, num_classes: int) -> list[AuditFinding]:
    """All findings, arm by arm; costs come from finished runs, else from the configs, so that no run needs to exist.

    Those of a network with own parts come from runs alone, so that no code of anybody's is run here.
    """
    costs = {arm: _cost(config, records.get(arm, []), num_classes) for arm, config in arms.items()}
    findings: list[AuditFinding] = []
    for arm in _changed(ablation):
        config, baseline = arms[arm.name], arms[ablation.baseline]
        several = arm.compound and not ablation.grid
        found: list[Found] = [
            *_factors(arm.delta, describe(arm), config, baseline, several),
            *_moved(costs[arm.name], costs[ablation.baseline]),
            *_unknown(config, baseline, costs[arm.name], costs[ablation.baseline]),
            *_weights(config, baseline),
            *_own_code(config, baseline),
            *_between_runs(records.get(arm.name, []), records.get(ablation.baseline, [])),
        ]
        found += [("note", arm.note, "note")] if arm.note else []
        findings += [
            AuditFinding(arm=arm.name, kind=kind, text=text, severity=severity) for kind, text, severity in found
        ]
    return findings


def finished_records(plan: Plan, store: Path) -> dict[str, list[Record]]:
    """The records of a plan's finished runs, by arm; a damaged one counts as not finished."""
    found: dict[str, list[Record]] = {arm.name: [] for arm in plan.ablation.arms}
    for cell in plan.cells:
        run = folder(cell, store)
        if run.is_finished() and (record := run.record()) is not None:
            found[cell.arm].append(record)
    return found


def as_text(ablation: Ablation, findings: list[AuditFinding]) -> Iterator[str]:
    """The findings as lines for a terminal."""
    yield f"{ablation.ablation}: {ablation.question}"
    for arm in _changed(ablation):
        yield f"  {arm.name} against {ablation.baseline}"
        for each in findings:
            if each.arm == arm.name:
                yield f"    {each.severity:8}  {each.text}"


def _changed(ablation: Ablation) -> list[Arm]:
    """The arms that change something: neither the baseline nor a control."""
    return [arm for arm in ablation.arms[1:] if not arm.control]


Found = tuple[str, str, Literal["factor", "moved", "confound", "note"]]


def _factors(
    delta: Mapping[str, Any], description: str, config: RunConfig, baseline: RunConfig, several: bool
) -> Iterator[Found]:
    """The leaves that differ, under the factor that they belong to."""
    leaves = list(changed_settings(config, baseline))
    for factor in delta:
        changed = [f"{path} {old} -> {new}" for path, old, new in leaves if _below(path, factor)]
        if changed:
            yield "factor", "changes " + ", ".join(changed), "confound" if several else "factor"
    others = [f"{p} {old} -> {new}" for p, old, new in leaves if not any(_below(p, factor) for factor in delta)]
    if others:
        yield "factor", "was tuned by itself: " + ", ".join(others), "moved"
    if several:
        num = sum(any(_below(path, factor) for path, _, _ in leaves) for factor in delta)
        if num > 1:
            yield "factor", f"{num} factors changed at once: no difference can be given to one of them", "confound"


def _below(path: str, factor: str) -> bool:
    return f"{path}.".startswith(f"{factor}.")


SIZES = ("parameters", "head_parameters", "flops_per_image")


def _cost(config: RunConfig, records: list[Record], num_classes: int) -> dict[str, float]:
    """Parameters and FLOPs, and images and steps for each training image."""
    cost = next((record["cost"] for record in records if record["cost"].keys() >= set(SIZES)), {})
    if not cost and not any(own_parts(config.model)):
        from ablation_suite.core.training.cost import network_cost

        cost = {**network_cost(config, num_classes)}
    sizes = {name: cost[name] for name in SIZES if cost}
    return {**sizes, "images": config.loss.num_views * config.epochs, "steps": config.epochs / config.batch_size}


def _moved(cost: Mapping[str, float], baseline: Mapping[str, float]) -> Iterator[Found]:
    """Sizes that changed with the factor."""
    wording: dict[str, tuple[str, Callable[[float, float], str]]] = {
        "parameters": ("parameters", lambda new, old: f"{_count(new - old, sign=True)} -> {_count(new)} parameters"),
        "head_parameters": (
            "parameters",
            lambda new, old: f"{_count(new - old, sign=True)} -> {_count(new)} head parameters",
        ),
        "flops_per_image": ("flops", lambda new, old: f"{new / old:.2f}x FLOPs per image -> {_count(new)}"),
        "images": ("images", lambda new, old: f"sees {new / old:.1f}x images"),
        "steps": ("steps", lambda new, old: f"takes {new / old:.1f}x optimizer steps"),
    }
    for name, (kind, word) in wording.items():
        if name in cost and name in baseline and cost[name] != baseline[name]:
            yield kind, word(cost[name], baseline[name]), "confound" if kind in ("images", "steps") else "moved"


def _unknown(
    config: RunConfig, baseline: RunConfig, cost: Mapping[str, float], base_cost: Mapping[str, float]
) -> Iterator[Found]:
    """That the sizes of another network cannot be compared yet, since nobody has run its code."""
    if config.model != baseline.model and not (cost.keys() & base_cost.keys() & set(SIZES)):
        text = "parameters and FLOPs of own parts are known once a run of each is finished; ask again then"
        yield "parameters", text, "moved"


def _weights(config: RunConfig, baseline: RunConfig) -> Iterator[Found]:
    """Where pretrained values come from, which may change although no setting of that name does."""

    def origin(each: RunConfig) -> str:
        name = each.model.weights
        return name if name == "none" or "/" in name else f"{each.model.backbone.name} {name}"

    ours, theirs = origin(config), origin(baseline)
    if ours != theirs and "none" not in (ours, theirs):
        yield "weights", f"starts from other pretrained weights: {theirs} -> {ours}", "confound"


def _own_code(config: RunConfig, baseline: RunConfig) -> Iterator[Found]:
    """Two versions of one file: what lies beside the part that was changed may have changed with it."""
    ours, theirs = _versions(config), _versions(baseline)
    for file in sorted(ours.keys() & theirs.keys()):
        if ours[file] != theirs[file]:
            before, now = (" and ".join(sorted(each[file])) for each in (theirs, ours))
            yield "code", f"uses another version of {file}: {before} -> {now}", "confound"


def _versions(config: RunConfig) -> dict[str, set[str]]:
    """File -> its digests, since parts of one file may come from several of its versions."""
    found: dict[str, set[str]] = {}
    for part in own_parts(config):
        found.setdefault(part.name.rpartition(":")[0], set()).add(part.code)
    return found


def _between_runs(records: list[Record], baseline: list[Record]) -> Iterator[Found]:
    """What finished runs say: seconds, data, software, hardware, arithmetic."""
    if not records or not baseline:
        return
    seconds, base_seconds = (fmean(each["cost"]["seconds"] for each in group) for group in (records, baseline))
    yield "seconds", f"{seconds / base_seconds:.2f}x wall time -> {seconds:.0f} s per run", "moved"
    facts = [
        ("data", "data fingerprint", "data_fingerprint"),
        ("software", "library versions", "provenance.packages"),
        ("software", "commit of the suite", "provenance.suite.commit"),
        ("software", "source of the suite", "provenance.suite.source"),
        ("hardware", "device", "provenance.device.name"),
        ("arithmetic", "what is compiled", "provenance.compiled"),
        *(("arithmetic", name, f"provenance.{key}") for name, key in ARITHMETIC.items()),
    ]
    for kind, name, path in facts:
        ours, theirs = ({_fact(each, path) for each in group} for group in (records, baseline))
        if ours != theirs:
            yield kind, f"{name} differs between the runs: {_some(theirs)} -> {_some(ours)}", "confound"


def _fact(record: Mapping[str, Any], path: str) -> str:
    """The value at a dotted path of a record as text; records of other versions may not have it."""
    value: Any = record
    for step in path.split("."):
        value = value.get(step, "unknown") if isinstance(value, Mapping) else "unknown"
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {version}" for name, version in sorted(value.items()))
    return (", ".join(value) or "nothing") if isinstance(value, list) else str(value)


def _some(values: set[str]) -> str:
    return " / ".join(sorted(values))


def _count(value: float, sign: bool = False) -> str:
    """A number with three digits and k, M or G."""
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if abs(value) >= size:
            return f"{value / size:{'+' if sign else ''}.3g}{unit}"
    return f"{value:{'+' if sign else ''}.0f}"
