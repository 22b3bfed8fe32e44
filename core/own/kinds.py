"""Which values does an annotation or a default speak of, as far as YAML can hold them? Read from the syntax tree."""

from __future__ import annotations

import ast
import math
from typing import Any

from ablation_suite.core.config.wording import shown

MISSING = object()
"""The default of a parameter that has none, or none that can be read without running it."""


def kinds_of(annotation: ast.expr | None) -> tuple[Any, ...] | None:
    """Kinds of value that an annotation names, or None where it names any that cannot be told from YAML."""
    if annotation is None:
        return None
    if isinstance(annotation, ast.Constant):
        if annotation.value is None:
            return ("None",)
        try:
            return (
                kinds_of(ast.parse(annotation.value, mode="eval").body) if isinstance(annotation.value, str) else None
            )
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
        values = [literal(each) for each in parts]
        return None if any(each is MISSING for each in values) else tuple((each,) for each in values)
    if name == "Optional":
        inner = kinds_of(inside)
        return None if inner is None else (*inner, "None")
    if name == "Union":
        return _together(parts)
    return (_ALIASES.get(name, name),) if _ALIASES.get(name, name) in _TYPES else None


def _together(parts: list[ast.expr]) -> tuple[Any, ...] | None:
    kinds = [kinds_of(each) for each in parts]
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


def fits(value: Any, kinds: tuple[Any, ...]) -> bool:
    for kind in kinds:
        if isinstance(kind, tuple):
            if value == kind[0] and isinstance(value, bool) == isinstance(kind[0], bool):
                return True
        elif isinstance(value, _TYPES[kind]) and (kind == "bool") >= isinstance(value, bool):
            return True
    return False


def in_words(kinds: tuple[Any, ...]) -> str:
    return " or ".join(
        dict.fromkeys(shown(each[0]) if isinstance(each, tuple) else _KIND_WORDS[each] for each in kinds)
    )


def literal(node: ast.expr) -> Any:
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
