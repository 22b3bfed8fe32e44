"""Which arguments does an own part take? Read from the syntax tree of its source, so that a plan runs none of it."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ablation_suite.core.config.errors import OwnPartError, nearest
from ablation_suite.core.config.wording import shown
from ablation_suite.core.own.imports import absolute
from ablation_suite.core.own.kinds import MISSING, fits, in_words, kinds_of, literal
from ablation_suite.core.own.source import Installed, Module, Source

Definition = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
IMPORTS = (ast.Import, ast.ImportFrom)


@dataclass(frozen=True, kw_only=True)
class Argument:
    """One argument: whether it must be given, its default where that is plain, and the kinds of value it takes."""

    needed: bool
    default: Any = MISSING
    kinds: tuple[Any, ...] | None = None
    """Names of types, and literal values as 1-tuples; None where the annotation says nothing that can be checked."""
    is_place: bool = False
    """Whether it names a file or a folder: it is annotated with Path, or called root."""
    by_place: bool = False
    """Whether it stands before a `/`, and has no name for who calls."""


@dataclass(frozen=True, kw_only=True)
class Signature:
    """What a callable takes by name."""

    parameters: Mapping[str, Argument]
    is_open: bool = False
    """Whether it takes any further name (**kwargs)."""
    is_function: bool = False

    def faults(
        self, settings: Mapping[str, Any], given: Iterable[str], name: str, called: Sequence[str] = ()
    ) -> Iterable[tuple[str, str]]:
        """What is wrong with the settings of a part, as (setting, message); the run itself gives those in `given`.

        called: what a function that is the part itself is called with, by name.
        """
        itself = f"; one that is called in the run itself has to name {', '.join(called)}, or those that it needs"
        hint = itself if self.is_function and called else ""
        named = {key: each for key, each in self.parameters.items() if not each.by_place}
        lost = [
            key
            for key, each in self.parameters.items()
            if each.by_place and (each.needed or key in settings or key in given)
        ]
        if lost:
            yield "", f"{name} takes {', '.join(lost)} by place alone, and is called by names; remove the / behind them"
        free = {key: each for key, each in named.items() if key not in given}
        for key in settings:
            if key in self.parameters and key not in named:
                continue
            if key in given:
                yield key, f"is given to {name} by the run, and cannot be set"
            elif key not in free and not self.is_open:
                takes = f"its arguments are {', '.join(free)}" if free else "it takes none"
                yield key, f"{name} has no argument '{key}'{nearest(key, free)}; {takes}"
        for key, parameter in free.items():
            if key not in settings:
                if parameter.needed:
                    yield "", f"{name} needs the argument '{key}'{hint}"
            elif parameter.kinds is not None and not fits(settings[key], parameter.kinds):
                yield key, f"should be {in_words(parameter.kinds)}, not {shown(settings[key])}"

    def filled(self, settings: Mapping[str, Any], given: Iterable[str]) -> dict[str, Any]:
        """The settings with plain defaults put in, and whole numbers as fractions where these are taken."""
        values = {
            key: each.default
            for key, each in self.parameters.items()
            if key not in given and each.default is not MISSING and not each.by_place
        }
        return {key: self._number(key, value) for key, value in {**values, **settings}.items()}

    def _number(self, key: str, value: Any) -> Any:
        parameter = self.parameters.get(key)
        if parameter is None or not isinstance(value, int) or isinstance(value, bool):
            return value
        kinds = parameter.kinds
        is_float = "float" in kinds and "int" not in kinds if kinds else isinstance(parameter.default, float)
        return float(value) if is_float else value


def read_signature(source: Source | Installed, module: str, attribute: str) -> Signature | None:
    """The signature of a class or function; None where the source does not tell it without being run.

    OwnPartError where the module has no such attribute.
    """
    found = source.module(module)
    if found is None:
        return None
    found_in, definition = _follow(source, found, attribute)
    if definition is None and found_in is found and not _is_dynamic(found.tree):
        own = {name: node for name, node in _names(found.tree.body).items() if not isinstance(node, IMPORTS)}
        names = [name for name in own if not name.startswith("_")]
        raise OwnPartError(f"{found.shown}: has no '{attribute}'{nearest(attribute, names)}; it has {_some(names)}")
    return _signature(source, found_in, definition) if isinstance(definition, Definition) else None


def _signature(source: Source | Installed, module: Module, definition: Definition, depth: int = 0) -> Signature | None:
    if not isinstance(definition, ast.ClassDef):
        inner = _of_arguments(definition.args, skip=0)
        return Signature(parameters=inner.parameters, is_open=inner.is_open, is_function=True)
    methods = {each.name: each for each in definition.body if isinstance(each, ast.FunctionDef)}
    make = methods.get("__init__") or methods.get("__new__")
    if make is not None:
        return _of_arguments(make.args, skip=1)
    base = definition.bases[0] if definition.bases else None
    if any("dataclass" in ast.unparse(each) for each in definition.decorator_list):
        return Signature(parameters=dict(_fields(definition))) if base is None else None
    if base is None or ast.unparse(base).rpartition(".")[2] in ("Module", "object", "ABC"):
        return Signature(parameters={})
    if isinstance(base, ast.Name) and depth < 8:
        base_module, base_definition = _follow(source, module, base.id)
        if isinstance(base_definition, ast.ClassDef):
            return _signature(source, base_module, base_definition, depth + 1)
    return None


def _fields(definition: ast.ClassDef) -> Iterator[tuple[str, Argument]]:
    """The arguments of a dataclass."""
    for node in definition.body:
        if not isinstance(node, ast.AnnAssign) or not isinstance(node.target, ast.Name):
            continue
        if "ClassVar" not in ast.unparse(node.annotation):
            yield node.target.id, _parameter(node.target.id, node.annotation, node.value)


def _of_arguments(arguments: ast.arguments, skip: int) -> Signature:
    by_place = [*arguments.posonlyargs, *arguments.args]
    defaults: list[ast.expr | None] = [None] * (len(by_place) - len(arguments.defaults)) + list(arguments.defaults)
    pairs = [
        *list(zip(by_place, defaults, strict=True))[skip:],
        *zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True),
    ]
    parameters = {each.arg: _parameter(each.arg, each.annotation, default) for each, default in pairs}
    for each in arguments.posonlyargs[skip:]:
        parameters[each.arg] = replace(parameters[each.arg], by_place=True)
    return Signature(parameters=parameters, is_open=arguments.kwarg is not None)


def _parameter(name: str, annotation: ast.expr | None, default: ast.expr | None) -> Argument:
    kinds = kinds_of(annotation)
    value = literal(default) if default is not None else MISSING
    if kinds and "float" in kinds and "int" not in kinds and type(value) is int:
        value = float(value)
    named = name == "root" or (annotation is not None and "Path" in ast.unparse(annotation))
    return Argument(needed=default is None, default=value, kinds=kinds, is_place=named)


def _follow(source: Source | Installed, module: Module, name: str) -> tuple[Module, ast.AST | None]:
    """The module and the node that define a name, through imports and plain aliases; None where there is none."""
    for _ in range(8):
        node = _names(module.tree.body).get(name)
        if isinstance(node, ast.ImportFrom):
            alias = next(each for each in node.names if (each.asname or each.name) == name)
            inner = source.module(absolute(node, module.package))
            if inner is None:
                return module, node
            module, name = inner, alias.name
        elif isinstance(node, ast.Assign) and isinstance(node.value, ast.Name):
            name = node.value.id
        elif node is None and (inner := _star(source, module, name)) is not None:
            module = inner
        else:
            return module, node
    return module, node


def _star(source: Source | Installed, module: Module, name: str) -> Module | None:
    """The module that `from ... import *` takes a name from, if the source tells."""
    for node in module.tree.body:
        if isinstance(node, ast.ImportFrom) and node.names[0].name == "*":
            inner = source.module(absolute(node, module.package))
            if inner is not None and name in _names(inner.tree.body):
                return inner
    return None


def _names(body: list[ast.stmt]) -> dict[str, ast.AST]:
    """What a module defines at its top level, branches included; the last definition of a name counts."""
    found: dict[str, ast.AST] = {}
    for node in body:
        if isinstance(node, Definition):
            found[node.name] = node
        elif isinstance(node, ast.Import | ast.ImportFrom):
            found |= {(alias.asname or alias.name.partition(".")[0]): node for alias in node.names}
        elif isinstance(node, ast.Assign):
            found |= {target.id: node for target in node.targets if isinstance(target, ast.Name)}
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            found[node.target.id] = node
        elif isinstance(node, ast.If | ast.Try | ast.With):
            blocks = [node.body, getattr(node, "orelse", []), getattr(node, "finalbody", [])]
            for inner in [*blocks, *(each.body for each in getattr(node, "handlers", []))]:
                found |= _names(inner)
    return found


def _is_dynamic(tree: ast.Module) -> bool:
    """Whether a module may have names that its text does not show."""
    stars = (node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.names[0].name == "*")
    return next(stars, None) is not None or "__getattr__" in _names(tree.body)


def _some(names: list[str]) -> str:
    return ", ".join(names[:12]) + (" and more" if len(names) > 12 else "") if names else "nothing"
