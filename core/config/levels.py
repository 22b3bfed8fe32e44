"""What are settings and their levels called in few words? The same words in tables, figures, searches and trackers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any


def short_paths(paths: Iterable[str]) -> dict[str, str]:
    """Dotted path -> its last steps, as many as tell it apart from the others: `lr`, `backbone.name`."""
    paths = list(paths)
    return {path: _shortest(path, [each for each in paths if each != path]) for path in paths}


def level_names(levels: Iterable[Any]) -> tuple[str, ...]:
    """Texts that tell the levels of a factor apart: menu entries go by their names, with settings where they must."""
    levels = tuple(levels)
    names = tuple(
        str(level["name"]) if isinstance(level, Mapping) and "name" in level else str(level) for level in levels
    )
    return names if len(set(names)) == len(names) else tuple(map(level_text, levels))


def level_text(level: Any) -> str:
    """A level in full: `sinusoidal (levels 3)`."""
    if not isinstance(level, Mapping):
        return str(level)
    inner = ", ".join(f"{key} {value}" for key, value in level.items() if key != "name")
    name = str(level.get("name", ""))
    return f"{name} ({inner})" if name and inner else name or inner


def _shortest(path: str, others: list[str]) -> str:
    steps = path.split(".")
    for length in range(1, len(steps)):
        end = ".".join(steps[-length:])
        if not any(f".{other}".endswith(f".{end}") for other in others):
            return end
    return path
