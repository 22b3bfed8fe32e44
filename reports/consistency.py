"""Were all runs made alike? Recipe, data, library versions, devices and arithmetic, and where they differ."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ablation_suite.core.runs.shape import ARITHMETIC, Record
from ablation_suite.reports.results import Results


def provenance(results: Results) -> dict[str, list[str]]:
    """Fact -> its values over the usable runs; more than one value means that the runs were not made alike."""
    found: dict[str, set[str]] = {}
    for run in results.runs:
        for fact, value in _facts(run.record) if run.record else ():
            found.setdefault(fact, set()).add(value)
    return {fact: sorted(values) for fact, values in found.items()}


def unlike(facts: dict[str, list[str]]) -> list[str]:
    """A sentence for each fact that is not the same in all runs."""
    several = {fact: values for fact, values in facts.items() if len(values) > 1}
    return [f"{fact} differs between the runs: {' / '.join(values)}" for fact, values in several.items()]


def _facts(record: Record) -> Iterator[tuple[str, str]]:
    yield "recipe", str(record.get("recipe", "unknown"))
    yield "data", str(record.get("data_fingerprint", "unknown"))
    how: Mapping[str, Any] = record.get("provenance") or {}
    for package, version in (how.get("packages") or {}).items():
        yield package, str(version)
    if source := (how.get("suite") or {}).get("source"):
        yield "source of the suite", str(source)
    yield "device", device_of(record)
    for fact, key in ARITHMETIC.items():  # what was compiled is chosen arm by arm, and told by the audit
        if key in how:  # older records do not say
            yield fact, str(how[key])


def device_of(record: Record) -> str:
    """What a run was trained on, in words."""
    how = record.get("provenance") or {}
    device = how.get("device") or {}
    name = str(device.get("name", "unknown"))
    return " ".join(_words([name, device.get("model") or (how.get("cpu") if name == "cpu" else None)]))


def _words(values: Iterable[Any]) -> Iterator[str]:
    return (str(value) for value in values if value)
