"""Which settings does a sweep search, and over what? A space in YAML, each parameter a dotted path of RunConfig."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ablation_suite.core.config import schema
from ablation_suite.core.config.levels import short_paths
from ablation_suite.core.config.own import absolute
from ablation_suite.core.config.run_config import with_settings
from ablation_suite.core.config.schema import Document, Fault, SchemaError
from ablation_suite.core.runs.identity import canonical
from ablation_suite.sweeps.parameter import Parameter, WrongParameter, read_parameter

MAX_COMBINATIONS = 100_000
Values = dict[str, Any]
"""Parameter -> its value; a choice that has parts goes by its label."""


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
        """Every combination once, the last parameter fastest; SchemaError for a range without `points`, or too many."""
        faults = [
            Fault(self.source.where((each.path,)), f"space.{each.path}", "a range needs `points:` for a grid")
            for each in self.parameters
            if each.num_points is None
        ]
        num = math.prod(each.num_points or 1 for each in self.parameters)
        if num > MAX_COMBINATIONS:
            message = f"a grid of {num:,} combinations; {MAX_COMBINATIONS:,} are the most. Give ranges fewer `points:`"
            faults.append(Fault(self.source.where(()), "space", message))
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
            parameters[path] = read_parameter(path, entry, parameters)
        except WrongParameter as error:
            faults.append(Fault(document.where((path,)), f"space.{path}", str(error)))
    if faults:
        raise SchemaError(faults)
    return Space(parameters=tuple(parameters.values()), source=document)
