"""What is wrong with this value, in the words of the YAML that it stands in? Explains the errors of pydantic."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from types import NoneType
from typing import Any, get_args, get_origin

from pydantic import BaseModel, ValidationError

from ablation_suite.core.config.errors import LONGEST_SHOWN, nearest
from ablation_suite.core.config.menu import OURS, OWN, Frozen

Path = tuple[str | int, ...]

_WORDS = {
    "int_type": "should be a whole number",
    "int_from_float": "should be a whole number",
    "float_type": "should be a number",
    "bool_type": "should be true or false",
    "string_type": "should be text",
    "string_unicode": "should be text in UTF-8",
    "string_too_short": "should not be empty",
    "tuple_type": "should be a list",
    "dict_type": "should be a mapping",
    "model_type": "should be a mapping of settings",
    "model_attributes_type": "should be a mapping of settings",
}


def explain(cls: type[BaseModel], data: Any, error: ValidationError) -> Iterator[tuple[Path, str]]:
    """Every fault of the data as (path, message): what is wanted, what stands there, the choices, the nearest name."""
    for item in error.errors(include_url=False):
        if item["type"] == "too_short" and len(item["input"]) >= item["ctx"]["min_length"]:
            continue  # too short only without its wrong items, which are told by themselves
        located = _locate(cls, data, item["loc"])
        if located is not None:
            path, holder = located
            yield path, _message(item, holder)


def shown(value: Any) -> str:
    """A value as YAML would write it in one line, shortened."""
    text = _flow(value)
    return text if len(text) <= LONGEST_SHOWN else f"{text[: LONGEST_SHOWN - 3]}..."


def models_in(annotation: Any) -> list[type[Frozen]]:
    """Every class of settings that an annotation mentions."""
    if isinstance(annotation, type) and issubclass(annotation, Frozen):
        return [annotation]
    return [model for part in get_args(annotation) for model in models_in(part)]


def _message(item: Any, holder: type[BaseModel] | None) -> str:
    kind, context, value = item["type"], item.get("ctx", {}), item["input"]
    if kind == "extra_forbidden":
        known = sorted(holder.model_fields) if holder else []
        return f"unknown key{nearest(str(item['loc'][-1]), known)}; the keys here are {', '.join(known)}"
    if kind == "missing":
        return "is missing"
    if kind == "union_tag_invalid":
        known = [tag.strip("' ") for tag in re.split(r", ", context["expected_tags"])]
        own = ", or FILE.py:NAME of your own" if item["loc"][-1:] == (OURS,) else ""
        return f"unknown name '{context['tag']}'{nearest(str(context['tag']), known)}; one of {', '.join(known)}{own}"
    if kind == "union_tag_not_found":
        return "needs a `name:`"
    if kind == "literal_error":
        known = re.findall(r"'([^']*)'", context["expected"])
        return f"{shown(value)} is none of {context['expected']}{nearest(str(value), known)}"
    if kind == "value_error":
        return str(context["error"])
    if kind in ("too_short", "too_long"):
        bound = f"at least {context['min_length']}" if kind == "too_short" else f"at most {context['max_length']}"
        return f"should have {bound} items, not {context['actual_length']}"
    words = _WORDS.get(kind) or item["msg"].replace("Input should be", "should be")
    hint = f"; write '{value}'" if kind == "string_type" and isinstance(value, int | float) else ""
    return f"{words}, not {shown(value)}{hint}"


def _locate(cls: type[BaseModel], data: Any, location: Path) -> tuple[Path, type[BaseModel] | None] | None:
    """The path in the data and the class that holds its last key; None for a member of a union that is not meant.

    pydantic's locations name the members of unions between the keys: the tag of an entry, or a type.
    """
    path: Path = ()
    annotation: Any = cls
    entry: Any = cls
    """The entry that a tag has just told."""
    holder: type[BaseModel] | None = None
    for step in location:
        members = _members(annotation)
        if step == OURS:
            continue
        if step == OWN:
            annotation = entry = next(each for each in members if not _tags(each))
            continue
        tags = {tag: each for each in members for tag in _tags(each)}
        if step in tags and annotation is not entry:
            annotation = entry = tags[step]
            continue
        if len(members) > 1 and not tags:
            kind = _kind(data) if _kind(data) in map(_kind_of_type, members) else "scalar"
            if _kind_of_label(str(step), members) != kind:
                return None
            annotation = next(each for each in members if _kind_of_type(each) == kind)
            continue
        holder = annotation if _is_model(annotation) else None
        annotation = _below(members[0] if members else None, step)
        if isinstance(data, Mapping):
            data = data.get(step)
        elif isinstance(data, list | tuple) and isinstance(step, int) and step < len(data):
            data = data[step]
        path = (*path, step)
    return path, holder


def _members(annotation: Any) -> list[Any]:
    """The alternatives of a union, or the one type itself; null is none of them."""
    if get_origin(annotation) in (tuple, list, dict) or isinstance(annotation, type):
        return [annotation]
    parts = [part for part in get_args(annotation) if part is not NoneType]
    if hasattr(annotation, "__metadata__"):
        return _members(parts[0])
    return [each for part in parts for each in _members(part)] if parts and _is_union(annotation) else [annotation]


def _is_union(annotation: Any) -> bool:
    return "Union" in str(get_origin(annotation))


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _tags(member: Any) -> tuple[Any, ...]:
    """The names by which an entry is told apart."""
    return (
        get_args(member.model_fields["name"].annotation) if _is_model(member) and "name" in member.model_fields else ()
    )


def _below(annotation: Any, step: str | int) -> Any:
    """The type of what stands at a key or an index."""
    if _is_model(annotation):
        return annotation.model_fields[step].annotation if step in annotation.model_fields else None
    parts = get_args(annotation)
    if get_origin(annotation) is dict:
        return parts[1]
    if get_origin(annotation) is tuple and isinstance(step, int):
        return parts[0] if parts[-1] is Ellipsis else parts[min(step, len(parts) - 1)]
    return None


def _kind(value: Any) -> str:
    return "mapping" if isinstance(value, Mapping) else "list" if isinstance(value, list | tuple) else "scalar"


def _kind_of_type(annotation: Any) -> str:
    if get_origin(annotation) in (tuple, list):
        return "list"
    return "mapping" if _is_model(annotation) or get_origin(annotation) is dict else "scalar"


def _kind_of_label(label: str, members: list[Any]) -> str:
    if label.startswith(("tuple[", "list[")):
        return "list"
    names = [each.__name__ for each in members if _is_model(each)]
    return "mapping" if label in names or label.startswith("dict[") else "scalar"


def _flow(value: Any) -> str:
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{key}: {_flow(each)}' for key, each in value.items())}}}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_flow, value))}]"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return repr(value)
