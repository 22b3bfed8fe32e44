"""What do people call a run, and who uses it? Labels for trackers and tables, never hashed, of all uses together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Labels = dict[str, Any]
USES = ("ablations", "studies")
"""The labels that say, by name, in which comparisons and searches a run stands, and as what in each."""


def merged(known: Mapping[str, Any], new: Mapping[str, Any]) -> Labels:
    """The labels of a run that is used again: it keeps the name and the group of its first use, and each use is known.

    What a use says itself is refreshed; what others added to it since (how a trial ended) stays.
    """
    is_first_use = known.get("group") in (None, new.get("group"))
    labels = {**known, **new} if is_first_use else {**new, **known}
    for kind in USES:
        before, now = uses(known, kind), uses(new, kind)
        if before or now:
            labels[kind] = {name: before.get(name, {}) | now.get(name, {}) for name in {**before, **now}}
    return labels


def uses(labels: Mapping[str, Any], kind: str) -> dict[str, Labels]:
    """Name of an ablation or a study -> what the run is in it; older runs list the names alone."""
    found = labels.get(kind) or {}
    return dict(found) if isinstance(found, Mapping) else {name: {} for name in found}
