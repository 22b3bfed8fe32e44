"""What do people call a run, and who uses it? Labels for trackers and tables, never hashed, of all uses together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal, TypedDict

Use = dict[str, Any]
"""What a run is in one ablation or study."""


class Labels(TypedDict, total=False):
    """What the rooms above core say of a run. Older runs list the names of their uses alone: see `uses`."""

    project: str
    group: str
    job_type: str
    name: str
    arm: str
    seed: int
    factors: dict[str, Any]
    ablations: dict[str, Use]
    studies: dict[str, Use]
    spec: str
    overrides: list[str]


USES: Final = ("ablations", "studies")
"""The labels that say, by name, in which comparisons and searches a run stands, and as what in each."""


def merged(known: Labels, new: Labels) -> Labels:
    """The labels of a run that is used again: it keeps the name and the group of its first use, and each use is known.

    What a use says itself is refreshed; what others added to it since (how a trial ended) stays.
    """
    is_first_use = known.get("group") in (None, new.get("group"))
    labels: Labels = {**known, **new} if is_first_use else {**new, **known}
    for kind in USES:
        before, now = uses(known, kind), uses(new, kind)
        if before or now:
            labels[kind] = {name: before.get(name, {}) | now.get(name, {}) for name in {**before, **now}}
    return labels


def uses(labels: Labels, kind: Literal["ablations", "studies"]) -> dict[str, Use]:
    """Name of an ablation or a study -> what the run is in it; older runs list the names alone."""
    found = labels.get(kind) or {}
    return dict(found) if isinstance(found, Mapping) else {name: {} for name in found}
