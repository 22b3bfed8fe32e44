"""Which keys of a sweep do not go together? Each fault with its place, why, and what to write instead."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from typing import TYPE_CHECKING

from ablation_suite.core.config.names import name_fault, project_fault
from ablation_suite.core.config.schema import Document, Fault
from ablation_suite.sweeps.menu import EXHAUSTIVE
from ablation_suite.sweeps.objectives import SCORES

if TYPE_CHECKING:
    from ablation_suite.sweeps.space import Space
    from ablation_suite.sweeps.spec import SweepSpec


def key_faults(spec: SweepSpec, document: Document) -> Iterator[Fault]:
    """What is wrong with the keys of a sweep beside each other."""
    for key, name, why in (
        ("sweep", spec.sweep, name_fault(spec.sweep)),
        ("project", spec.project, project_fault(spec.project)),
    ):
        if why:
            yield Fault(document.where((key,)), key, f"{name!r} is no usable name: it {why}")
    if not (spec.trials or spec.hours or spec.until.patience or spec.sampler.name in EXHAUSTIVE):
        yield Fault(document.where(()), "", "needs `trials:`, `hours:` or `until: {patience: ..}`")
    yield from _until_faults(spec, document)
    yield from _objective_faults(spec, document)
    yield from _limit_faults(spec, document)
    if spec.pruner.name == "wilcoxon" and spec.seeds < 2:
        yield Fault(document.where(("pruner",)), "pruner", "wilcoxon compares seeds; set `seeds:` to 2 or more")
    if "seed" in spec.shared:
        yield Fault(document.where(("shared", "seed")), "shared.seed", "seeds are set by `seeds:`")


def space_faults(spec: SweepSpec, space: Space) -> Iterator[Fault]:
    """Why a sampler cannot search a space."""
    if spec.sampler.name != "cmaes":
        return
    where = space.source.where(())
    for each in space.parameters:
        if each.kind == "choice":
            message = "cmaes moves a normal distribution, which has no levels; search it with tpe, or fix it"
            yield Fault(space.source.where((each.path,)), f"space.{each.path}", message)
    if len(space.parameters) < 2:
        yield Fault(where, "space", "cmaes learns how settings go together and needs two or more; use tpe")
    if find_spec("cmaes") is None:
        message = "needs the package cmaes: pip install 'ablation-suite[cmaes]'; nsga2 needs none, for one metric too"
        yield Fault(where, "sampler", message)


def _until_faults(spec: SweepSpec, document: Document) -> Iterator[Fault]:
    until = spec.until
    if "until" in spec.model_fields_set and until.score is None and until.patience is None:
        message = "names no rule; write {score: 0.9} or {patience: 20}"
        yield Fault(document.where(("until",)), "until", message)
    if until.score is not None and spec.metric == "val/accuracy" and not 0.0 < until.score <= 1.0:
        message = f"an accuracy lies between 0 and 1, so that {until.score:g} is reached at once or never"
        yield Fault(document.where(("until", "score")), "until.score", message)


def _objective_faults(spec: SweepSpec, document: Document) -> Iterator[Fault]:
    """What several objectives need, and what goes with one alone."""
    names, told = spec.metrics, spec.model_fields_set

    def fault(key: str, message: str) -> Fault:
        return Fault(document.where((key,)), key, message)

    if "metrics" not in told:
        if "reference" in told:
            yield fault("reference", "is the point that `metrics:` are measured from; one metric has none")
        return
    if "metric" in told:
        yield fault("metric", "stands beside `metrics:`; write one of them")
    if len(set(names)) < 2:
        yield fault("metrics", "takes two objectives or more; one is written `metric: val/accuracy`")
    elif len(set(names)) < len(names):
        yield fault("metrics", "names an objective twice")
    elif not set(names) & set(SCORES):
        yield fault("metrics", f"costs alone need no training; add {' or '.join(SCORES)}")
    if "pruner" in told and spec.pruner.name != "none":
        message = (
            "a pruner compares one metric by epoch, so that with `metrics:` no trial is stopped early; leave it out"
        )
        yield fault("pruner", message)
    if "until" in told:
        yield fault("until", "a front of several objectives has no best score to wait for; use `trials:` or `hours:`")
    if spec.sampler.name == "cmaes":
        yield fault("sampler", "cmaes improves one metric; for `metrics:` take nsga2, tpe or gp")
    if spec.reference and set(spec.reference) != set(names):
        yield fault("reference", f"names the objectives, each once: {', '.join(dict.fromkeys(names))}")


def _limit_faults(spec: SweepSpec, document: Document) -> Iterator[Fault]:
    for name, limit in spec.constraints.items():
        where, path = document.where(("constraints", name)), f"constraints.{name}"
        if limit.at_most is None and limit.at_least is None:
            yield Fault(where, path, "names no limit; write {at_most: 1e6} or {at_least: ..}")
        elif limit.at_most is not None and limit.at_least is not None and limit.at_most < limit.at_least:
            message = f"nothing is at least {limit.at_least:g} and at most {limit.at_most:g}"
            yield Fault(where, path, message)
        elif name == "val/accuracy" and not 0.0 <= (limit.at_least or 0.0) <= 1.0:
            yield Fault(where, path, "an accuracy lies between 0 and 1")
