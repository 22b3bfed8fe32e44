"""Does this study belong to this sweep? It does where all that its scores and proposals depend on is the same."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ablation_suite.core.config.errors import UserError
from ablation_suite.core.config.levels import differences
from ablation_suite.core.config.menu import identity_data
from ablation_suite.core.config.own import own_parts
from ablation_suite.core.config.run_config import RunConfig
from ablation_suite.core.runs.identity import RECIPE
from ablation_suite.sweeps.parameter import has_parts
from ablation_suite.sweeps.spec import Sweep

_ADVICE = "give this one another name (sweep=NAME), where --from {} begins it with what fits, or remove the old study"


class StudyMismatch(UserError):
    """The study of this name belongs to another sweep."""


def identity(sweep: Sweep, data_fingerprint: str) -> dict[str, Any]:
    """What a study belongs to: whatever moves a score or a proposal, so not the number of trials."""
    codes = {f"{part.name} {part.code}" for each in levels(sweep) for part in own_parts(each)}
    labels = {
        each.path: list(each.labels) for each in sweep.space.parameters if any(map(has_parts, each.levels.values()))
    }
    return {
        **({"own": sorted(codes)} if codes else {}),
        "base": {path: value for path, value in identity_data(sweep.config).items() if path != "seed"},
        "data": data_fingerprint,
        "recipe": RECIPE,
        "space": sweep.space.source.data,
        "metric": sweep.spec.metric,
        "seeds": list(sweep.seeds),
        "sampler": sweep.spec.sampler.model_dump(mode="json"),
        "pruner": sweep.spec.pruner.model_dump(mode="json"),
        "stream": sweep.stream,
        **({"labels": labels} if labels else {}),
        **({"metrics": list(sweep.objectives)} if sweep.is_multi else {}),
        **({"constraints": _limits(sweep)} if sweep.spec.constraints else {}),
    }


def levels(sweep: Sweep) -> Iterator[RunConfig]:
    """A config for each level of the space that may bring an own part with it."""
    if any(isinstance(level, str | dict) for each in sweep.space.parameters for level in each.levels.values()):
        yield from (sweep.run_config(values, seed=0) for values in sweep.space.probes())


def _limits(sweep: Sweep) -> dict[str, Any]:
    return {name: limit.model_dump(exclude_none=True) for name, limit in sweep.spec.constraints.items()}


def refuse_another(
    sweep: Sweep, known: Mapping[str, Any], wanted: Mapping[str, Any], directions: Sequence[str]
) -> None:
    """StudyMismatch that names every difference between a study and the sweep that wants to go on with it."""
    changes = [f"{path} was {old} and is now {new}" for path, old, new in differences(known, wanted)]
    if tuple(directions) != sweep.directions:
        theirs, ours = " and ".join(directions), " and ".join(sweep.directions)
        changes.append(f"it is to {theirs} its metric, and the sweep is to {ours} {' and '.join(sweep.objectives)}")
    if changes:
        lines = [f"study '{sweep.name}' belongs to another sweep: {each}" for each in changes]
        raise StudyMismatch("\n".join([*lines, _ADVICE.format(sweep.name)]))
