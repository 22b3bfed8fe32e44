"""Does this JSON say what a job, a row of a ledger or a record says? What all readers rely on, in every version.

Sums tell whether a file is what somebody wrote, and nothing of who wrote it: another version, a hand, another machine.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cache
from typing import Any, TypedDict, get_type_hints, is_typeddict

from ablation_suite.core.runs.labels import Labels, Use

EpochRow = dict[str, Any]
"""A row of a ledger, of an epoch: its number, its counts, and numbers by names with a stroke (`val/accuracy`)."""


class Job(TypedDict, total=False):
    """The contents of a `run.json`: what to train, and what it is called."""

    run_id: str
    recipe: int
    config: dict[str, Any]
    """As plain data: the schema may have moved on since."""
    data_fingerprint: str
    labels: Labels


class Provenance(TypedDict, total=False):
    """Where a record comes from, as `runs.provenance` found it."""

    command: list[str]
    git: dict[str, Any] | None
    suite: dict[str, Any]
    packages: dict[str, str]
    host: str
    system: str
    cpu: str
    cpus: int | None
    device: dict[str, Any]
    threads: int
    time: str
    compile: str
    compiled: list[str]
    memory_format: str
    deterministic: str
    """on or off: whether kernels that give the same bits at each run were preferred."""
    augmentation: str


ARITHMETIC = {
    "CPU threads": "threads",
    "memory format": "memory_format",
    "preference for deterministic kernels": "deterministic",
}
"""Fact -> its key in a Provenance: what was chosen for a run, is no setting of it, and moves its sums."""


class Record(Job, total=False):
    """The contents of a `record.json`: all that reports read."""

    metrics: dict[str, float]
    history: list[EpochRow]
    cost: dict[str, float]
    classes: list[str]
    weights: str
    files: dict[str, str]
    """The file of each name in the run folder that the record speaks of -> its SHA-256."""
    provenance: Provenance


_KINDS: dict[Any, str] = {
    str: "text",
    int: "number",
    int | None: "number",
    dict[str, Any]: "mapping",
    dict[str, Any] | None: "mapping",
    dict[str, str]: "mapping",
    dict[str, float]: "mapping of numbers",
    list[str]: "list of texts",
    list[EpochRow]: "list of epochs",
    dict[str, Use]: "list of uses",
}
_NEEDED = ("config", "metrics", "history", "cost", "classes")
_NUMBERS = {int, float}
"""What JSON's numbers are read as; its true and false are none."""
_COUNTS = ("seconds", "seconds_train", "images_seen", "num_steps")


def job_fault(job: Mapping[str, Any]) -> str:
    """What keeps an object from being read as a Job, or nothing; all but the config may be missing."""
    return "it has no config" if job.get("config") is None else _fault(job, Job)


def record_fault(record: Mapping[str, Any]) -> str:
    """What keeps an object from being read as the Record of a finished run, or nothing."""
    if missing := [key for key in _NEEDED if record.get(key) is None]:
        return f"it has no {', '.join(missing)}"
    return _fault(record, Record)


def is_row(value: Any) -> bool:
    """Whether a line of a ledger holds a row."""
    if not isinstance(value, dict) or not isinstance(value.get("kind"), str) or not _is_finite(value.get("time")):
        return False
    return value["kind"] != "epoch" or _is_epoch(value)


def _fault(values: Mapping[str, Any], shape: type, prefix: str = "") -> str:
    """The first key whose value is not what a TypedDict says of it, in words."""
    for key, form in _forms(shape).items():
        value, kind = values.get(key), "mapping" if is_typeddict(form) else _KINDS[form]
        if value is None:
            continue
        if not _is_kind(value, kind):
            return f"{prefix}{key} is no {kind}"
        if is_typeddict(form) and (fault := _fault(value, form, f"{key}.")):
            return fault
    return ""


@cache
def _forms(shape: type) -> dict[str, Any]:
    return get_type_hints(shape)


def _is_kind(value: Any, kind: str) -> bool:
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
