"""Which limits does a trial break before anything is trained? Those on what a network has from its settings alone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ablation_suite.core.config.menu import build
from ablation_suite.core.config.run_config import RunConfig
from ablation_suite.core.config.runtime import Runtime
from ablation_suite.sweeps.menu import FROM_COMPLETE_ALONE
from ablation_suite.sweeps.objectives import NETWORK, RECORDED_AS, violations
from ablation_suite.sweeps.spec import Sweep


def known_before(
    sweep: Sweep, config: RunConfig, runtime: Runtime, num_classes: dict[str, int]
) -> Mapping[str, float] | None:
    """Measure -> value, where the network of a trial breaks a limit that its settings alone decide; None where not.

    num_classes: the classes of each data set, counted once. None too where a sampler learns limits from complete trials
    alone, or where the network cannot be built, which its run then says.
    """
    limited = sweep.spec.constraints.keys() & set(NETWORK)
    if not limited or sweep.spec.sampler.name in FROM_COMPLETE_ALONE:
        return None
    data = config.data.model_dump_json()
    if data not in num_classes:
        source = build(config.data, data_root=Path(runtime.data_root), cache=Path(runtime.cache))
        num_classes[data] = len(source.load().classes)
    try:
        counted = _count(config, num_classes[data])
    except Exception:  # whatever a network or an own part raises, its run raises again, and tells it
        return None
    found = {name: float(counted[RECORDED_AS[name]]) for name in NETWORK}
    return found if any(by > 0.0 for by in violations(sweep.spec.constraints, found).values()) else None


def _count(config: RunConfig, num_classes: int) -> Mapping[str, float]:
    from ablation_suite.core.training.cost import network_cost  # which loads torch

    return network_cost(config, num_classes)
