"""Which settings does a sweep search, and over what? A space in YAML, each parameter a dotted path of RunConfig."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from ablation_suite.core.config import schema
from ablation_suite.core.config.levels import level_names, short_paths
from ablation_suite.core.config.own import absolute
from ablation_suite.core.config.run_config import with_settings
from ablation_suite.core.config.schema import Document, Fault, SchemaError
from ablation_suite.core.runs.identity import canonical

Kind = Literal["log", "uniform", "int", "choice"]
Values = dict[str, Any]
"""Parameter -> its value; a choice that has parts goes by its label."""


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """One dimension: numbers from `low` to `high`, both included, or a choice of labelled levels."""

    path: str
    kind: Kind
    low: float = 0.0
    high: float = 0.0
    levels: Mapping[Any, Any] = field(default_factory=dict)
    """Label -> what is put into the RunConfig."""
    points: int | None = None
    """Into how many values a grid cuts a range."""
    when: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    """The parameter exists only where each of these others has one of these labels."""

    @property
    def labels(self) -> tuple[Any, ...]:
        return tuple(self.levels)

    def labels_of(self, level: Any) -> list[Any]:
        """What a level of a choice, or the label of one, is called in the study: one label, or none at all."""
        wanted = canonical(level)
        return [label for label, each in self.levels.items() if wanted in (canonical(each), canonical(label))]

    def is_active(self, values: Mapping[str, Any]) -> bool:
        """Whether the parameter exists beside these values of the parameters above it."""
        return all(path in values and values[path] in accepted for path, accepted in self.when.items())

    def contains(self, value: Any) -> bool:
        """Whether a value lies in the parameter's range or is one of its labels."""
        if self.kind == "choice":
            return not isinstance(value, dict | list) and value in self.levels
        return isinstance(value, int | float) and self.low <= value <= self.high

    def at(self, share: float) -> Any:
        """The value at a share in [0, 1] of the way through the range; equal shares are equally likely a priori."""
        if self.kind == "choice":
            return self.labels[min(int(share * len(self.labels)), len(self.labels) - 1)]
        if self.kind == "int":
            return min(int(self.low) + int(share * (self.high - self.low + 1)), int(self.high))
        if self.kind == "log":
            value = math.exp(math.log(self.low) + share * (math.log(self.high) - math.log(self.low)))
        else:
            value = self.low + share * (self.high - self.low)
        return min(max(value, self.low), self.high)

    def grid(self) -> list[Any] | None:
        """The values that a grid visits, or None for a range without `points`."""
        if self.kind == "choice":
            return list(self.labels)
        if self.kind == "int" and self.points is None:
            return list(range(int(self.low), int(self.high) + 1))
        if self.points is None:
            return None
        shares = [index / (self.points - 1) for index in range(self.points)]
        if self.kind == "int":
            return sorted({round(self.low + share * (self.high - self.low)) for share in shares})
        return [self.at(share) for share in shares]

    def ends(self) -> list[Any]:
        """The values at which a fault of the range shows."""
        return list(self.labels) if self.kind == "choice" else [self._number(self.low), self._number(self.high)]

    def _number(self, value: float) -> float:
        return int(value) if self.kind == "int" else value


@dataclass(frozen=True, kw_only=True)
class Space:
    """The parameters of a sweep in the order of its file; a conditional one stands below those it depends on."""

    parameters: tuple[Parameter, ...]
    source: Document
    """The `space:` of the file, for places in messages and for the study's identity."""

    @property
    def names(self) -> dict[str, str]:
        """Dotted path -> its short name."""
        return short_paths(each.path for each in self.parameters)

    def settings(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Dotted path -> what is put into the RunConfig."""
        levels = {each.path: each.levels for each in self.parameters}
        return {path: levels.get(path, {}).get(value, value) for path, value in values.items()}

    def outside(self, values: Mapping[str, Any]) -> dict[str, str]:
        """Path -> what is wrong with a value that the space does not have."""
        known = {each.path: each for each in self.parameters}
        return {
            path: f"{value!r} lies outside its range"
            if path in known
            else f"no setting of the space{schema.nearest(path, known)}"
            for path, value in values.items()
            if path not in known or not known[path].contains(value)
        }

    def portable(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The settings as they can be said anywhere: files of own parts by their absolute paths."""
        return {path: absolute(each, self.source.where((path,))) for path, each in self.settings(values).items()}

    def apply(self, base: Document, values: Mapping[str, Any]) -> Document:
        """The document of a RunConfig with these values put in, each marked with the line of its parameter."""
        settings = self.settings(values).items()
        return with_settings(
            base, [(path, Document(data=value, source=self.source.where((path,)))) for path, value in settings]
        )

    def fill(self, choose: Callable[[Parameter, Values], Any], fixed: Mapping[str, Any]) -> Values:
        """Values for every parameter that exists: the fixed ones, and what `choose` says for the others."""
        values: Values = {}
        for parameter in self.parameters:
            if parameter.is_active(values):
                known = parameter.path in fixed
                values[parameter.path] = fixed[parameter.path] if known else choose(parameter, values)
        return values

    def grid(self) -> list[Values]:
        """Every combination once, the last parameter fastest; SchemaError names a range that has no `points`."""
        faults = [
            Fault(self.source.where((each.path,)), f"space.{each.path}", "a range needs `points:` for a grid")
            for each in self.parameters
            if each.grid() is None
        ]
        if faults:
            raise SchemaError(faults)
        found: dict[str, Values] = {}
        for combination in itertools.product(*(each.grid() or [] for each in self.parameters)):
            values: Values = {}
            for parameter, value in zip(self.parameters, combination, strict=True):
                if parameter.is_active(values):
                    values[parameter.path] = value
            found[canonical(values)] = values
        return list(found.values())

    def probes(self) -> Iterator[Values]:
        """Assignments that show every fault of every range: each end of each parameter, with what it depends on."""
        known = {each.path: each for each in self.parameters}
        for parameter in self.parameters:
            needed: Values = {}
            waiting = [parameter]
            while waiting:
                for path, accepted in waiting.pop().when.items():
                    needed[path] = accepted[0]
                    waiting.append(known[path])
            for value in parameter.ends():
                yield {**needed, parameter.path: value}


def read_space(document: Document) -> Space:
    """The space that a `space:` mapping describes; SchemaError lists all its faults."""
    if not isinstance(document.data, Mapping) or not document.data:
        message = "names nothing to search; write {optimizer.lr: {log: [1e-5, 1e-2]}}"
        raise SchemaError([Fault(document.where(()), "space", message)])
    parameters: dict[str, Parameter] = {}
    faults: list[Fault] = []
    for path, entry in document.data.items():
        try:
            parameters[path] = _parameter(path, entry, parameters)
        except _Wrong as error:
            faults.append(Fault(document.where((path,)), f"space.{path}", str(error)))
    if faults:
        raise SchemaError(faults)
    return Space(parameters=tuple(parameters.values()), source=document)


class _Wrong(Exception):
    """What is wrong with one parameter."""


_KEYS = (*get_args(Kind), "points", "when")


def _parameter(path: str, entry: Any, above: Mapping[str, Parameter]) -> Parameter:
    if path == "seed":
        raise _Wrong("the seed is no setting to choose; seeds are set by `seeds:`")
    if not isinstance(entry, Mapping):
        raise _Wrong(f"a parameter is written {{log: [1e-5, 1e-2]}}, with one of {', '.join(get_args(Kind))}")
    for key in entry:
        if key not in _KEYS:
            raise _Wrong(f"unknown key '{key}'{schema.nearest(key, _KEYS)}; the keys here are {', '.join(_KEYS)}")
    kinds = [kind for kind in get_args(Kind) if kind in entry]
    if len(kinds) != 1:
        raise _Wrong(f"needs one of {', '.join(get_args(Kind))}" + (f", not {' and '.join(kinds)}" if kinds else ""))
    kind: Kind = kinds[0]
    points, when = entry.get("points"), _conditions(entry.get("when", {}), above)
    if points is not None and (not _is_int(points) or points < 2 or kind == "choice"):
        raise _Wrong(f"`points` cuts a range into 2 values or more, not {points!r}")
    if kind == "choice":
        return Parameter(path=path, kind=kind, levels=_levels(entry[kind]), when=when)
    low, high = _range(kind, entry[kind])
    return Parameter(path=path, kind=kind, low=low, high=high, points=points, when=when)


def _range(kind: Kind, value: Any) -> tuple[float, float]:
    if not isinstance(value, list | tuple) or len(value) != 2 or not all(map(_is_number, value)):
        raise _Wrong(f"`{kind}` takes two numbers, [low, high], not {value!r}")
    low, high = value
    if kind == "int" and not (_is_int(low) and _is_int(high)):
        raise _Wrong(f"`int` takes whole numbers, not {value!r}")
    if low >= high:
        raise _Wrong(f"low should be below high, not {low!r} and {high!r}")
    if kind == "log" and low <= 0:
        raise _Wrong(f"a logarithmic range starts above zero, not at {low!r}")
    return (low, high) if kind == "int" else (float(low), float(high))


def _levels(value: Any) -> dict[Any, Any]:
    """Label -> level: a scalar goes by itself, and one that has parts by its name, as in the tables."""
    if not isinstance(value, list | tuple) or len(value) < 2:
        raise _Wrong(f"`choice` takes two levels or more, not {value!r}")
    if len(set(map(canonical, value))) < len(value):
        raise _Wrong("a level stands twice")
    names = level_names(value)
    found = {name if has_parts(level) else level: level for name, level in zip(names, value, strict=True)}
    if len(found) < len(value):
        raise _Wrong("two levels are called the same")
    return found


def has_parts(level: Any) -> bool:
    """Whether a level is more than one number or word."""
    return isinstance(level, Mapping | list | tuple)


def _conditions(when: Any, above: Mapping[str, Parameter]) -> dict[str, tuple[Any, ...]]:
    if not isinstance(when, Mapping):
        raise _Wrong("`when` is written {parameter: level}, or {parameter: [level, level]}")
    found = {}
    for path, value in when.items():
        if path not in above or above[path].kind != "choice":
            known = [name for name, each in above.items() if each.kind == "choice"]
            raise _Wrong(f"`when` names a choice that stands above it; {path} is none{schema.nearest(path, known)}")
        accepted: list[Any] = []
        for level in value if isinstance(value, list) and not above[path].labels_of(value) else [value]:
            if not above[path].labels_of(level):
                raise _Wrong(f"`when`: {level!r} is no level of {path}")
            accepted += above[path].labels_of(level)
        found[path] = tuple(accepted)
    return found


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
