"""How does a name in YAML become an object? A menu entry carries the import string of what it builds."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Annotated, Any, ClassVar, Union

from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, Tag


class Frozen(BaseModel):
    """A frozen value that refuses unknown keys, wrong types and numbers that are not finite."""

    # Validators are built when first used: a verb's help needs none of them.
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False, defer_build=True)


class Entry(Frozen):
    """One choice of a family, told apart by `name`; `builds` is "module:callable", called with the entry first."""

    builds: ClassVar[str] = ""
    name: Any


def optional(group: type[Frozen]) -> Any:
    """The type of a group of settings that may be absent: null or false for no, true for its defaults."""
    return Annotated[group | None, BeforeValidator(_expand_truth)]


_LATER: dict[str, Any] = {"later": True}


def later(default: Any = None, **constraints: Any) -> Any:
    """A setting that came when runs had been made: at this default, which changes nothing, it is no part of their ids.

    The default of such a setting may never be changed.
    """
    return Field(default, json_schema_extra=_LATER, **constraints)


def identity_data(value: Frozen) -> dict[str, Any]:
    """The plain data that a value is known by: all its settings, but for later ones at their default."""
    data = value.model_dump(mode="json")
    _leave_out(value, data)
    return data


def _leave_out(value: Frozen, data: dict[str, Any]) -> None:
    for name, field in type(value).model_fields.items():
        part = getattr(value, name)
        if field.json_schema_extra == _LATER and part == field.default:
            del data[name]
        elif isinstance(part, Frozen):
            _leave_out(part, data[name])


def build(entry: Entry, *args: Any, **kwargs: Any) -> Any:
    """Import what the entry names and call it with the entry and the given arguments."""
    module, _, attribute = entry.builds.partition(":")
    return getattr(import_module(module), attribute)(entry, *args, **kwargs)


OURS, OWN = "ours:", "own:"
"""Whose an entry is, in the locations of errors; no key of YAML that is a setting looks like that."""


def tagged(*entries: type[Entry], own: type[Entry] | None = None) -> Any:
    """The type of a field that takes any of these entries; `{name: x}` may be shortened to the bare name `x`.

    A name with a colon is a part of the user's own, read by the entry `own`.
    """
    union: Any = Union[entries]  # noqa: UP007 (a union of a runtime tuple has no other spelling)
    ours = Annotated[union, Field(discriminator="name")]
    if own is None:
        return Annotated[ours, BeforeValidator(_expand_bare_name)]
    either: Any = Union[Annotated[ours, Tag(OURS)], Annotated[own, Tag(OWN)]]  # noqa: UP007
    return Annotated[either, Discriminator(_whose), BeforeValidator(_expand_bare_name)]


def _whose(value: Any) -> str:
    name = value.get("name") if isinstance(value, Mapping) else getattr(value, "name", None)
    return OWN if isinstance(name, str) and ":" in name else OURS


def _expand_bare_name(value: Any) -> Any:
    return {"name": value} if isinstance(value, str) else value


def _expand_truth(value: Any) -> Any:
    if isinstance(value, bool):
        return {} if value else None
    return value
