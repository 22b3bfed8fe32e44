"""Which arguments does an own part take? Read from the syntax tree of its source, so that a plan runs none of it."""

from __future__ import annotations

import ast
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ablation_suite.core.config.wording import nearest, shown
from ablation_suite.core.own.source import Installed, Module, OwnPartError, Source, absolute

MISSING = object()
"""The default of a parameter that has none, or none that can be read without running it."""

Definition = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
IMPORTS = (ast.Import, ast.ImportFrom)


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """One argument: whether it must be given, its default where that is plain, and the kinds of value it takes."""

    needed: bool
    default: Any = MISSING
    kinds: tuple[Any, ...] | None = None
    """Names of types, and literal values as 1-tuples; None where the annotation says nothing that can be checked."""
    is_place: bool = False
    """Whether it names a file or a folder: it is annotated with Path, or called root."""


@dataclass(frozen=True, kw_only=True)
class Signature:
    """What a callable takes by name."""

    parameters: Mapping[str, Parameter]
    is_open: bool = False
    """Whether it takes any further name (**kwargs)."""
    attributes: Mapping[str, Any] = field(default_factory=dict)
    """Plain values that its class sets, such as `num_views = 2`."""
    is_function: bool = False

    def faults(self, settings: Mapping[str, Any], given: Iterable[str], name: str) -> Iterable[tuple[str, str]]:
        """What is wrong with the settings of a part, as (setting, message); the run itself gives those in `given`."""
        free = {key: each for key, each in self.parameters.items() if key not in given}
        for key in settings:
            if key in given:
                yield key, f"is given to {name} by the run, and cannot be set"
            elif key not in free and not self.is_open:
                takes = f"its arguments are {', '.join(free)}" if free else "it takes none"
                yield key, f"{name} has no argument '{key}'{nearest(key, free)}; {takes}"
        for key, parameter in free.items():
            if key not in settings:
                if parameter.needed:
                    yield "", f"{name} needs the argument '{key}'"
            elif parameter.kinds is not None and not _fits(settings[key], parameter.kinds):
                yield key, f"should be {_words(parameter.kinds)}, not {shown(settings[key])}"

    def filled(self, settings: Mapping[str, Any], given: Iterable[str]) -> dict[str, Any]:
        """The settings with plain defaults put in, and whole numbers as fractions where these are taken."""
        values = {
            key: each.default
            for key, each in self.parameters.items()
            if key not in given and each.default is not MISSING
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
    attributes = _class_values(definition)
    methods = {each.name: each for each in definition.body if isinstance(each, ast.FunctionDef)}
    make = methods.get("__init__") or methods.get("__new__")
    if make is not None:
        inner = _of_arguments(make.args, skip=1)
        return Signature(parameters=inner.parameters, is_open=inner.is_open, attributes=attributes)
    if any("dataclass" in ast.unparse(each) for each in definition.decorator_list):
        fields = [
            each for each in definition.body if isinstance(each, ast.AnnAssign) and isinstance(each.target, ast.Name)
        ]
        parameters = {each.target.id: _parameter(each.target.id, each.annotation, each.value) for each in fields}  # type: ignore[union-attr]
        return Signature(parameters=parameters, attributes=attributes)
    if not definition.bases or ast.unparse(definition.bases[0]).rpartition(".")[2] in ("Module", "object", "ABC"):
        return Signature(parameters={}, attributes=attributes)
    base = definition.bases[0]
    if isinstance(base, ast.Name) and depth < 8:
        base_module, base_definition = _follow(source, module, base.id)
        if isinstance(base_definition, ast.ClassDef):
            inherited = _signature(source, base_module, base_definition, depth + 1)
            if inherited is not None:
                return Signature(
                    parameters=inherited.parameters,
                    is_open=inherited.is_open,
                    attributes={**inherited.attributes, **attributes},
                )
    return None


def _of_arguments(arguments: ast.arguments, skip: int) -> Signature:
    by_place = [*arguments.posonlyargs, *arguments.args]
    defaults: list[ast.expr | None] = [None] * (len(by_place) - len(arguments.defaults)) + list(arguments.defaults)
    pairs = [
        *list(zip(by_place, defaults, strict=True))[skip:],
        *zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True),
    ]
    parameters = {each.arg: _parameter(each.arg, each.annotation, default) for each, default in pairs}
    return Signature(parameters=parameters, is_open=arguments.kwarg is not None)


def _parameter(name: str, annotation: ast.expr | None, default: ast.expr | None) -> Parameter:
    kinds = _kinds(annotation)
    value = _plain(default) if default is not None else MISSING
    if kinds and "float" in kinds and "int" not in kinds and type(value) is int:
        value = float(value)
    named = name == "root" or (annotation is not None and "Path" in ast.unparse(annotation))
    return Parameter(needed=default is None, default=value, kinds=kinds, is_place=named)


def _kinds(annotation: ast.expr | None) -> tuple[Any, ...] | None:
    """Kinds of value that an annotation names, or None where it names any that cannot be told from YAML."""
    if annotation is None:
        return None
    if isinstance(annotation, ast.Constant):
        if annotation.value is None:
            return ("None",)
        try:
            return _kinds(ast.parse(annotation.value, mode="eval").body) if isinstance(annotation.value, str) else None
        except SyntaxError:
            return None
    if isinstance(annotation, ast.Name | ast.Attribute):
        name = ast.unparse(annotation).rpartition(".")[2]
        return (_ALIASES.get(name, name),) if _ALIASES.get(name, name) in _TYPES else None
    if isinstance(annotation, ast.BinOp) and isinstance(annotation.op, ast.BitOr):
        return _together([annotation.left, annotation.right])
    if isinstance(annotation, ast.Subscript):
        return _subscript(ast.unparse(annotation.value).rpartition(".")[2], annotation.slice)
    return None


def _subscript(name: str, inside: ast.expr) -> tuple[Any, ...] | None:
    parts = inside.elts if isinstance(inside, ast.Tuple) else [inside]
    if name == "Literal":
        values = [_plain(each) for each in parts]
        return None if any(each is MISSING for each in values) else tuple((each,) for each in values)
    if name == "Optional":
        inner = _kinds(inside)
        return None if inner is None else (*inner, "None")
    if name == "Union":
        return _together(parts)
    return (_ALIASES.get(name, name),) if _ALIASES.get(name, name) in _TYPES else None


def _together(parts: list[ast.expr]) -> tuple[Any, ...] | None:
    kinds = [_kinds(each) for each in parts]
    return None if any(each is None for each in kinds) else tuple(one for each in kinds for one in each or ())


_TYPES: dict[str, tuple[type, ...]] = {
    "float": (int, float),
    "int": (int,),
    "bool": (bool,),
    "str": (str,),
    "None": (type(None),),
    "list": (list, tuple),
    "dict": (dict,),
}
_ALIASES = {"tuple": "list", "Tuple": "list", "List": "list", "Sequence": "list", "Dict": "dict", "Mapping": "dict"}
_ALIASES |= {"Path": "str"}
_KIND_WORDS = {"float": "a number", "int": "a whole number", "bool": "true or false", "str": "text", "None": "null"}
_KIND_WORDS |= {"list": "a list", "dict": "a mapping"}


def _fits(value: Any, kinds: tuple[Any, ...]) -> bool:
    for kind in kinds:
        if isinstance(kind, tuple):
            if value == kind[0] and isinstance(value, bool) == isinstance(kind[0], bool):
                return True
        elif isinstance(value, _TYPES[kind]) and (kind == "bool") >= isinstance(value, bool):
            return True
    return False


def _words(kinds: tuple[Any, ...]) -> str:
    return " or ".join(
        dict.fromkeys(shown(each[0]) if isinstance(each, tuple) else _KIND_WORDS[each] for each in kinds)
    )


def _plain(node: ast.expr) -> Any:
    """The value of a literal that YAML could hold too, or MISSING."""
    try:
        value = ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return MISSING
    return value if _is_plain(value) else MISSING


def _is_plain(value: Any) -> bool:
    if isinstance(value, tuple | list):
        return all(map(_is_plain, value))
    if isinstance(value, dict):
        return all(isinstance(key, str) and _is_plain(each) for key, each in value.items())
    return value is None or isinstance(value, str | bool | int) or (isinstance(value, float) and math.isfinite(value))


def _class_values(definition: ast.ClassDef) -> dict[str, Any]:
    values = {}
    for node in definition.body:
        if isinstance(node, ast.Assign) and len(node.targets) == 1:
            target, value = node.targets[0], node.value
        elif isinstance(node, ast.AnnAssign) and node.value is not None:
            target, value = node.target, node.value
        else:
            continue
        if isinstance(target, ast.Name) and (plain := _plain(value)) is not MISSING:
            values[target.id] = plain
    return values


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
