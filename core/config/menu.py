"""How does a name in YAML become an object? A menu entry carries the import string of what it builds."""

from __future__ import annotations

from importlib import import_module
from typing import Annotated, Any, ClassVar, Union

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field


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


def tagged(*entries: type[Entry]) -> Any:
    """The type of a field that takes any of these entries; `{name: x}` may be shortened to the bare name `x`."""
    union: Any = Union[entries]  # noqa: UP007 (a union of a runtime tuple has no other spelling)
    return Annotated[union, Field(discriminator="name"), BeforeValidator(_expand_bare_name)]


def _expand_bare_name(value: Any) -> Any:
    return {"name": value} if isinstance(value, str) else value
