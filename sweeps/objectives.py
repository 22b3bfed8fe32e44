"""What can a search improve or limit? Scores on validation images and what a network costs, read from its record."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from ablation_suite.core.config import schema
from ablation_suite.core.config.menu import Frozen

SCORES = ("val/accuracy", "val/loss")
COSTS = ("parameters", "flops", "seconds")
"""Of the network: its parameters and the FLOPs of one image; of its training: seconds, which depend on the machine."""
NETWORK = ("parameters", "flops")
"""Costs that a network has before it is trained."""
MEASURES = (*SCORES, *COSTS)
UNITS = {"parameters": "", "flops": " FLOPs", "seconds": " s"}
RECORDED_AS = {"parameters": "parameters", "flops": "flops_per_image", "seconds": "seconds"}
"""Cost -> its name in a record."""
_DIRECTIONS = {"maximise": True, "maximize": True, "minimise": False, "minimize": False}


def is_maximised(name: str) -> bool:
    """Whether more of it is better."""
    return name == "val/accuracy"


def measure_text(name: str, value: float) -> str:
    """A measure in few characters, with its unit."""
    return f"{value:.4f}" if name in SCORES else f"{value:,.{1 if name == 'seconds' else 0}f}{UNITS[name]}"


def measured(record: Mapping[str, Any]) -> dict[str, float]:
    """Measure -> its value in the record of a run; what the record lacks is left out."""
    found = {name: record["metrics"].get(name) for name in SCORES}
    found |= {name: record["cost"].get(field) for name, field in RECORDED_AS.items()}
    return {name: float(value) for name, value in found.items() if value is not None}


def mean(runs: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Measure -> its mean over the runs of a trial, one per seed; only what all of them have."""
    names = [name for name in runs[0] if all(name in each for each in runs)] if runs else []
    return {name: sum(each[name] for each in runs) / len(runs) for name in names}


class Limit(Frozen):
    """What a trial has to keep to."""

    at_most: float | None = None
    """No more than this."""
    at_least: float | None = None
    """No less than this."""

    def violations(self, value: float) -> Iterator[tuple[str, float]]:
        """(words, by how much the value lies beyond) of each end; zero or less where it keeps to it."""
        if self.at_most is not None:
            yield f"at_most {self.at_most:g}", value - self.at_most
        if self.at_least is not None:
            yield f"at_least {self.at_least:g}", self.at_least - value


def violations(limits: Mapping[str, Limit], found: Mapping[str, float]) -> dict[str, float]:
    """Limit -> by how much it is violated, above zero where it is, as in `optuna.trial.Trial.set_constraint`.

    Limits on what was not found yet are left out.
    """
    known = {name: limit for name, limit in limits.items() if name in found}
    return {f"{name} {words}": by for name, limit in known.items() for words, by in limit.violations(found[name])}


def _objective(value: Any) -> Any:
    """`val/accuracy`, or `val/accuracy maximise`: the direction may be said, and is the measure's own."""
    if not isinstance(value, str) or not value.split():
        raise ValueError(f"an objective is one of {', '.join(MEASURES)}, not {value!r}")
    name, *direction = value.split()
    _known(name)
    if direction and (len(direction) > 1 or _DIRECTIONS.get(direction[0]) != is_maximised(name)):
        word = "maximise" if is_maximised(name) else "minimise"
        raise ValueError(f"'{value}': {name} is there to {word}; write '{name}' or '{name} {word}'")
    return name


def _known(name: str) -> None:
    if name.startswith("test"):
        raise ValueError(f"'{name}' would choose by the test images; there are {', '.join(MEASURES)}")
    if name not in MEASURES:
        raise ValueError(f"'{name}' is no measure{schema.nearest(name, MEASURES)}; there are {', '.join(MEASURES)}")


def _limited(name: Any) -> Any:
    _known(str(name))
    return name


Objective = Annotated[str, BeforeValidator(_objective)]
Limits = dict[Annotated[str, BeforeValidator(_limited)], Limit]
References = dict[Annotated[str, BeforeValidator(_limited)], Annotated[float, Field(allow_inf_nan=False)]]
