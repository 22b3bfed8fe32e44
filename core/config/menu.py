"""How does a name in YAML become an object? A menu entry carries the import string of what it builds."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Annotated, Any, ClassVar, Union

from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, Tag


class Frozen(BaseModel):
    """A frozen value that refuses unknown keys, wrong types and numbers that are not finite."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )


class Entry(Frozen):
    """One choice of a family, told apart by `name`; `builds` is "module:callable", called with the entry first."""

    builds: ClassVar[str] = ""
    name: Any


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
