"""Which settings are there, which differ, and what are they and their levels called in few words, wherever shown?"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any


def leaves(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every (dotted path, value) of a nested mapping, in its order; an empty mapping has none."""
    for key, value in config.items():
        if isinstance(value, Mapping):
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def value_at(config: Any, path: str) -> Any:
    """The value of a dotted path of a nested mapping; None where there is none."""
    for step in path.split("."):
        config = config.get(step) if isinstance(config, Mapping) else None
    return config


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    """Every leaf that differs, as (dotted path, its old value, its new one); None where there is none."""
    theirs, ours = dict(leaves(old)), dict(leaves(new))
    for path in dict.fromkeys([*theirs, *ours]):
        if theirs.get(path) != ours.get(path):
            yield path, theirs.get(path), ours.get(path)


def short_paths(paths: Iterable[str]) -> dict[str, str]:
    """Dotted path -> its last steps, as many as tell it apart from the others: `lr`, `backbone.name`."""
    paths = list(paths)
    return {path: _shortest(path, [each for each in paths if each != path]) for path in paths}


def level_names(levels: Iterable[Any]) -> tuple[str, ...]:
    """Texts that tell the levels of a factor apart: menu entries go by their names, with settings where they must."""
    levels = tuple(levels)
    names = tuple(
        str(level["name"]) if isinstance(level, Mapping) and "name" in level else level_text(level) for level in levels
    )
    return names if len(set(names)) == len(names) else tuple(map(level_text, levels))


def short_names(levels: Iterable[Any]) -> tuple[str, ...]:
    """As `level_names`, without the settings that all entries of one name share: for axes, which have little room."""
    levels = tuple(levels)
    alike: dict[Any, list[Mapping[str, Any]]] = {}
    for level in levels:
        if isinstance(level, Mapping):
            alike.setdefault(level.get("name"), []).append(level)
    shared = {
        name: [key for key in found[0] if all(key in each and each[key] == found[0][key] for each in found)]
        for name, found in alike.items()
        if len(found) > 1
    }
    names = level_names(
        {key: value for key, value in level.items() if key == "name" or key not in shared.get(level.get("name"), ())}
        if isinstance(level, Mapping)
        else level
        for level in levels
    )
    return names if len(set(names)) == len(names) else level_names(levels)


def level_text(level: Any) -> str:
    """A level in full, its values as YAML has them: `sinusoidal (levels 3)`, `multi_step (milestones [30, 60])`."""
    if isinstance(level, Mapping):
        inner = ", ".join(_setting_text(key, value) for key, value in level.items() if key != "name")
        name = str(level.get("name", ""))
        return f"{name} ({inner})" if name and inner else name or inner
    if isinstance(level, list | tuple):
        return f"[{', '.join(map(level_text, level))}]"
    return {True: "true", False: "false"}[level] if isinstance(level, bool) else "null" if level is None else str(level)


def _setting_text(key: str, value: Any) -> str:
    is_nameless = isinstance(value, Mapping) and "name" not in value
    return f"{key} ({level_text(value)})" if is_nameless else f"{key} {level_text(value)}"


def _shortest(path: str, others: list[str]) -> str:
    steps = path.split(".")
    for length in range(1, len(steps)):
        end = ".".join(steps[-length:])
        if not any(f".{other}".endswith(f".{end}") for other in others):
            return end
    return path
