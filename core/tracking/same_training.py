"""Is what a tracker holds under a run's name this training, or another one of the same config? Pure functions.

A run id is a hash of the config, so that a teammate, or a laptop and a cluster, give the same name to trainings whose
arithmetic may differ: shown as one line, the history would be of one and the summary of the other.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from ablation_suite.core.runs.identity import digest
from ablation_suite.core.runs.ledger import Row

TIMINGS = ("seconds", "seconds_train", "time", "total_seconds")
"""Numbers of an epoch that no second training repeats, beside those that begin with `sys/`."""
_UNBEGUN = digest([])
"""The origin of a ledger without rows, which tells nothing: the run was announced, and its server then lost."""
_ROUNDING = 1e-12
"""A number comes back from a server as it was sent, but for the digits of its text."""


def mark(rows: list[Row], history: list[Row]) -> dict[str, Any]:
    """What tells a ledger from all others: a digest of its first row, which never changes, and one of its numbers."""
    numbers = [results(row) for row in history]
    return {"origin": digest(rows[:1]), "epochs": len(history), "numbers": digest(numbers, allow_nan=True)}


def results(row: Mapping[str, Any]) -> dict[str, Any]:
    """The numbers of an epoch that the same arithmetic gives again."""
    return {key: value for key, value in row.items() if key not in TIMINGS and not key.startswith(("sys/", "_"))}


def difference(
    ours: list[Row], own: Mapping[str, Any], rows: Iterable[Mapping[str, Any]], known: Mapping[str, Any] | None
) -> str:
    """Why what is held is another training, in a few words, or nothing where it is this one.

    `ours` is our history with its mark `own`; `rows` and their mark `known` (none in older versions) are what is held.
    """
    by_epoch = {row["epoch"]: row for row in ours}
    for row in rows:
        mine = by_epoch.get(row.get("epoch", -1), {})
        for key, value in results(mine).items():
            if key in row and not _same(value, row[key]):
                return f"epoch {row['epoch']} has {key} {row[key]} there and {value} here"
    if known is None or known.get("origin") in (own["origin"], _UNBEGUN):
        return ""
    equal = ", with the same numbers" if known.get("numbers") == own["numbers"] else ""
    return f"its ledger is {known.get('origin')}, and ours {own['origin']}{equal}"


def _same(ours: Any, theirs: Any) -> bool:
    if not isinstance(ours, int | float) or ours == theirs:
        return True
    if not math.isfinite(ours):  # which W&B writes as text
        return str(theirs).lower().strip("-") in ("nan", "infinity")
    return isinstance(theirs, int | float) and math.isclose(ours, theirs, rel_tol=_ROUNDING)
