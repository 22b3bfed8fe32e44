"""Does an own part leave global randomness alone? Python's, NumPy's and torch's states are compared around it."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ablation_suite.core.config.errors import OwnPartError


@contextmanager
def undisturbed(name: str) -> Iterator[None]:
    """OwnPartError where a global random state is another one afterwards: no seed of the run governs such draws.

    The states are given back, so that one part cannot move another's draws either.
    """
    before = _states()
    yield
    moved = [kind for kind, state in _states().items() if kind in before and not _same(state, before[kind])]
    if moved:
        random.setstate(before["Python's"])
        if "NumPy's" in moved:
            sys.modules["numpy"].random.set_state(before["NumPy's"])
        if "torch's" in moved:
            sys.modules["torch"].set_rng_state(before["torch's"])
        raise OwnPartError(
            f"{name}: changes the global random state of {' and '.join(moved)}, which no seed of the run governs; draw "
            "from torch's generators, where `ablate menu own` says that they are seeded, or from one with a fixed seed"
        )


def _states() -> dict[str, Any]:
    states: dict[str, Any] = {"Python's": random.getstate()}
    if "numpy" in sys.modules:
        states["NumPy's"] = sys.modules["numpy"].random.get_state(legacy=True)
    if "torch" in sys.modules:
        states["torch's"] = sys.modules["torch"].get_rng_state()
    return states


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, tuple):
        return all(_same(*pair) for pair in zip(one, other, strict=True))
    return bool((one == other).all()) if hasattr(one, "all") else bool(one == other)
