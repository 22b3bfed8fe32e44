"""What is one dimension of a search? A range or a choice, and what is wrong with its words in YAML."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Literal, get_args

from ablation_suite.core.config import schema
from ablation_suite.core.config.levels import level_names, short_names
from ablation_suite.core.runs.identity import canonical

Kind = Literal["log", "uniform", "int", "choice"]


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """One dimension: numbers from `low` to `high`, both included, or a choice of labelled levels."""

    path: str
    kind: Kind
    low: float = 0.0
    high: float = 0.0
    is_log: bool = False
    step: float | None = None
    """Distance between the values of a range, from `low` on; 1 for whole numbers, None where there are no steps."""
    levels: Mapping[Any, Any] = field(default_factory=dict)
    """Label -> what is put into the RunConfig."""
    points: int | None = None
    """Into how many values a grid cuts a range."""
    when: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    """The parameter exists only where each of these others has one of these labels."""

    @property
    def labels(self) -> tuple[Any, ...]:
        return tuple(self.levels)

    @property
    def short_labels(self) -> tuple[str, ...]:
        """The labels with only what tells them apart, for axes."""
        return short_names(self.levels.values())

    def labels_of(self, level: Any) -> list[Any]:
        """What a level of a choice, or the label of one, is called in the study: one label, or none at all."""
        wanted = canonical(level)
        return [label for label, each in self.levels.items() if wanted in (canonical(each), canonical(label))]

    def is_active(self, values: Mapping[str, Any]) -> bool:
        """Whether the parameter exists beside these values of the parameters above it."""
        return all(path in values and values[path] in accepted for path, accepted in self.when.items())

    def contains(self, value: Any) -> bool:
        """Whether a value lies in the parameter's range, on one of its steps, or is one of its labels."""
        if self.kind == "choice":
            return not isinstance(value, dict | list) and value in self.levels
        return _is_number(value) and self.low <= value <= self.high and abs(self.on_step(value) - value) < 1e-8

    def on_step(self, value: Any) -> Any:
        """The value of the range that is nearest, without the rounding errors of sums of floats: 0.3, no 0.30...04."""
        return value if self.step is None else self._value(round((value - self.low) / self.step))

    def at(self, share: float) -> Any:
        """The value at a share in [0, 1] of the way through the range; equal shares are equally likely a priori.

        Whole numbers of a logarithmic range own what lies between their halves, as with `optuna`.
        """
        if self.kind == "choice":
            return self.labels[min(int(share * len(self.labels)), len(self.labels) - 1)]
        if self.is_log and self.kind == "int":
            return min(max(round(_between(self.low - 0.5, self.high + 0.5, share)), int(self.low)), int(self.high))
        if self.step is not None:
            num = self._num_values(self.step)
            return self._value(min(int(share * num), num - 1))
        value = _between(self.low, self.high, share) if self.is_log else self.low + share * (self.high - self.low)
        return min(max(value, self.low), self.high)

    def grid(self) -> list[Any] | None:
        """The values that a grid visits, or None for a range with neither `points` nor steps."""
        if self.kind == "choice":
            return list(self.labels)
        if self.points is None:
            return None if self.step is None else [self._value(index) for index in range(self._num_values(self.step))]
        shares = [index / (self.points - 1) for index in range(self.points)]
        if self.kind != "int":
            return [self.at(share) for share in shares]
        if self.is_log:
            return sorted({round(_between(self.low, self.high, share)) for share in shares})
        return sorted({round(self.low + share * (self.high - self.low)) for share in shares})

    @property
    def num_points(self) -> int | None:
        """How many values `grid` has at most, counted without making them."""
        if self.kind == "choice":
            return len(self.labels)
        return self.points if self.points is not None or self.step is None else self._num_values(self.step)

    def ends(self) -> list[Any]:
        """The values at which a fault of the range shows."""
        return list(self.labels) if self.kind == "choice" else [self._number(self.low), self._number(self.high)]

    def _number(self, value: float) -> float:
        return int(value) if self.kind == "int" else value

    def _value(self, index: int) -> float:
        """`low` and so many steps, summed as decimals."""
        return self._number(float(Decimal(str(self.low)) + index * Decimal(str(self.step))))

    def _num_values(self, step: float) -> int:
        return int((Decimal(str(self.high)) - Decimal(str(self.low))) // Decimal(str(step))) + 1


class WrongParameter(Exception):
    """What is wrong with one parameter."""


KINDS = get_args(Kind)
_KEYS = (*KINDS, "step", "points", "when")


def read_parameter(path: str, entry: Any, above: Mapping[str, Parameter]) -> Parameter:
    """The parameter that an entry of `space:` describes, below those that stand above it; WrongParameter otherwise."""
    if path == "seed":
        raise WrongParameter("the seed is no setting to choose; seeds are set by `seeds:`")
    if not isinstance(entry, Mapping):
        raise WrongParameter(f"a parameter is written {{log: [1e-5, 1e-2]}}, with one of {', '.join(KINDS)}")
    for key in entry:
        if key not in _KEYS:
            nearest = schema.nearest(key, _KEYS)
            raise WrongParameter(f"unknown key '{key}'{nearest}; the keys here are {', '.join(_KEYS)}")
    kinds = [kind for kind in KINDS if kind in entry and not isinstance(entry[kind], bool)]
    if len(kinds) != 1:
        found = f", not {' and '.join(kinds)}" if kinds else ""
        raise WrongParameter(f"needs one of {', '.join(KINDS)}{found}")
    kind: Kind = kinds[0]
    when = _conditions(entry.get("when", {}), above)
    if kind == "choice":
        _refuse(entry, ("points", "step", "log"), "belongs to a range, not to a choice")
        return Parameter(path=path, kind=kind, levels=_levels(entry[kind]), when=when)
    low, high = _range(kind, entry[kind])
    is_log = kind == "log" or _is_logarithmic(kind, entry, low)
    points, step = _points(entry), _step(kind, entry, low, high, is_log)
    return Parameter(path=path, kind=kind, low=low, high=high, is_log=is_log, step=step, points=points, when=when)


def _refuse(entry: Mapping[str, Any], keys: tuple[str, ...], why: str) -> None:
    for key in keys:
        if key in entry:
            raise WrongParameter(f"`{key}` {why}")


def _range(kind: Kind, value: Any) -> tuple[float, float]:
    if not isinstance(value, list | tuple) or len(value) != 2 or not all(map(_is_number, value)):
        raise WrongParameter(f"`{kind}` takes two numbers, [low, high], not {value!r}")
    low, high = value
    if kind == "int" and not (_is_int(low) and _is_int(high)):
        raise WrongParameter(f"`int` takes whole numbers, not {value!r}")
    if low >= high:
        raise WrongParameter(f"low should be below high, not {low!r} and {high!r}")
    if kind == "log":
        _refuse_zero(low)
    return (low, high) if kind == "int" else (float(low), float(high))


def _refuse_zero(low: float) -> None:
    if low <= 0:
        raise WrongParameter(f"a logarithmic range starts above zero, not at {low!r}")


def _is_logarithmic(kind: Kind, entry: Mapping[str, Any], low: float) -> bool:
    """Whether `log: true` stands beside the range, which whole numbers alone have."""
    if "log" in entry and kind == "uniform":
        raise WrongParameter("`log: true` goes with `int`; floats are written {log: [low, high]}")
    if entry.get("log", False):
        _refuse_zero(low)
    return entry.get("log", False)


def _points(entry: Mapping[str, Any]) -> int | None:
    points = entry.get("points")
    if points is not None and (not _is_int(points) or points < 2):
        raise WrongParameter(f"`points` cuts a range into 2 values or more, not {points!r}")
    return points


def _step(kind: Kind, entry: Mapping[str, Any], low: float, high: float, is_log: bool) -> float | None:
    """The step of a range, at whose end the last one must arrive."""
    step = entry.get("step")
    if step is None:
        return 1 if kind == "int" else None
    if is_log:
        raise WrongParameter("a logarithmic range has no steps of one size; leave `step` or `log` out")
    if "points" in entry:
        raise WrongParameter("`step` and `points` both cut the range; write one of them")
    if not _is_number(step) or step <= 0 or (kind == "int" and not _is_int(step)):
        raise WrongParameter(f"`step` takes a {'whole ' * (kind == 'int')}number above zero, not {step!r}")
    left = (Decimal(str(high)) - Decimal(str(low))) % Decimal(str(step))
    if left:
        last = Decimal(str(high)) - left
        raise WrongParameter(f"steps of {step} from {low} come to {last} and then miss {high}; end the range on a step")
    return step


def _levels(value: Any) -> dict[Any, Any]:
    """Label -> level: a scalar goes by itself, and one that has parts by its name, as in the tables."""
    if not isinstance(value, list | tuple) or len(value) < 2:
        raise WrongParameter(f"`choice` takes two levels or more, not {value!r}")
    if len(set(map(canonical, value))) < len(value):
        raise WrongParameter("a level stands twice")
    names = level_names(value)
    found = {name if has_parts(level) else level: level for name, level in zip(names, value, strict=True)}
    if len(found) < len(value):
        raise WrongParameter("two levels are called the same")
    return found


def has_parts(level: Any) -> bool:
    """Whether a level is more than one number or word."""
    return isinstance(level, Mapping | list | tuple)


def _conditions(when: Any, above: Mapping[str, Parameter]) -> dict[str, tuple[Any, ...]]:
    if not isinstance(when, Mapping):
        raise WrongParameter("`when` is written {parameter: level}, or {parameter: [level, level]}")
    found = {}
    for path, value in when.items():
        if path not in above or above[path].kind != "choice":
            known = [name for name, each in above.items() if each.kind == "choice"]
            raise WrongParameter(
                f"`when` names a choice that stands above it; {path} is none{schema.nearest(path, known)}"
            )
        accepted: list[Any] = []
        for level in value if isinstance(value, list) and not above[path].labels_of(value) else [value]:
            if not above[path].labels_of(level):
                raise WrongParameter(f"`when`: {level!r} is no level of {path}")
            accepted += above[path].labels_of(level)
        found[path] = tuple(accepted)
    return found


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _between(low: float, high: float, share: float) -> float:
    """The value at a share of the way, in equal factors."""
    return math.exp(math.log(low) + share * (math.log(high) - math.log(low)))
