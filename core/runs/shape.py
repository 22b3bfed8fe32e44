"""Does this JSON say what a job, a row of a ledger or a record says? What all readers rely on, in every version.

Sums tell whether a file is what somebody wrote, and nothing of who wrote it: another version, a hand, another machine.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

Kinds = Mapping[str, str]

_PROVENANCE = dict.fromkeys(("packages", "suite", "device", "git"), "mapping")
_LABELS = dict.fromkeys(("project", "group", "job_type", "name", "arm", "spec"), "text")
_LABELS |= {"seed": "number", "factors": "mapping", "tags": "list of texts", "overrides": "list of texts"}
_LABELS |= dict.fromkeys(("ablations", "studies"), "list of uses")
_JOB = {"run_id": "text", "config": "mapping", "data_fingerprint": "text", "labels": "mapping"}
_RECORD = {**_JOB, "metrics": "mapping of numbers", "history": "list of epochs", "cost": "mapping of numbers"}
_RECORD |= {"classes": "list of texts", "weights": "text", "provenance": "mapping"}
_NEEDED = ("config", "metrics", "history", "cost", "classes")
_NUMBERS = {int, float}
"""What JSON's numbers are read as; its true and false are none."""
_COUNTS = ("seconds", "seconds_train", "images_seen", "num_steps")


def job_fault(job: Mapping[str, Any]) -> str:
    """What keeps an object from being read as a job, or nothing; what is not there is no fault."""
    return _fault(job, _JOB) or _fault(job.get("labels") or {}, _LABELS, "labels.")


def record_fault(record: Mapping[str, Any]) -> str:
    """What keeps an object from being read as the record of a finished run, or nothing."""
    if missing := [key for key in _NEEDED if record.get(key) is None]:
        return f"it has no {', '.join(missing)}"
    return (
        _fault(record, _RECORD)
        or _fault(record.get("labels") or {}, _LABELS, "labels.")
        or _fault(record.get("provenance") or {}, _PROVENANCE, "provenance.")
    )


def is_row(value: Any) -> bool:
    """Whether a line of a ledger holds a row."""
    if not isinstance(value, dict) or not isinstance(value.get("kind"), str) or not _is_finite(value.get("time")):
        return False
    return value["kind"] != "epoch" or _is_epoch(value)


def _fault(values: Mapping[str, Any], kinds: Kinds, prefix: str = "") -> str:
    wrong = (f"{prefix}{key} is no {kind}" for key, kind in kinds.items() if not _is_kind(values.get(key), kind))
    return next(wrong, "")


def _is_kind(value: Any, kind: str) -> bool:
    if value is None:
        return True
    match kind:
        case "text":
            return isinstance(value, str)
        case "number":
            return _is_number(value)
        case "mapping":
            return isinstance(value, dict)
        case "mapping of numbers":
            return isinstance(value, dict) and all(map(_is_number, value.values()))
        case "list of texts":
            return isinstance(value, list) and all(isinstance(each, str) for each in value)
        case "list of epochs":
            return isinstance(value, list) and all(map(_is_epoch, value))
        case "list of uses":  # by name, what the run is in each; older jobs list the names alone
            return _is_kind(value, "list of texts") or (
                isinstance(value, dict) and all(isinstance(each, dict) for each in value.values())
            )
    raise AssertionError(kind)


def _is_epoch(value: Any) -> bool:
    if not isinstance(value, dict) or type(value.get("epoch")) is not int:
        return False
    numbers = [number for name, number in value.items() if "/" in name]
    return _NUMBERS.issuperset(map(type, numbers)) and all(_is_finite(value[name]) for name in _COUNTS if name in value)


def _is_number(value: Any) -> bool:
    return type(value) in _NUMBERS


def _is_finite(value: Any) -> bool:
    return _is_number(value) and math.isfinite(value)
