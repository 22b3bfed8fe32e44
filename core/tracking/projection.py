"""What does a tracker show of a run? Pure functions from `run.json` and the ledger to names, settings and numbers."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ablation_suite.core.runs.identity import digest
from ablation_suite.core.runs.labels import USES, uses
from ablation_suite.core.runs.ledger import Row
from ablation_suite.core.runs.run_folder import RunFolder
from ablation_suite.core.tracking.same_training import mark

LONGEST_TAG = 64
"""W&B refuses a run with a longer tag."""
LONGEST_NAME = 128


@dataclass(frozen=True)
class Shown:
    """How a run is named and described to people."""

    run_id: str
    project: str
    group: str | None
    job_type: str | None
    name: str
    notes: str = ""
    tags: list[str] = field(default_factory=list)
    config: dict[str, Any] = field(default_factory=dict)
    begin: float | None = None
    """Seconds since 1970 when the first attempt began, and when the last news came."""
    end: float | None = None
    beside: str = ""
    """Comes behind the id where another training has taken that."""

    @property
    def outcome(self) -> str:
        """How the run, or the trial that it is of, has ended so far."""
        return self.config.get("outcome", "finished")

    @property
    def has_failed(self) -> bool:
        """Whether it ended otherwise than somebody wanted; a pruned trial did what it should."""
        return self.outcome not in ("finished", "complete", "infeasible", "pruned", "running")


def shown(folder: RunFolder, outcome: str | None = None) -> Shown:
    """Names, tags, notes and nested config of a run, and what it is in every ablation and study that uses it.

    `ablations.<name>.arm` groups and filters the whole of an ablation, however many others its runs are in.
    `outcome`: how the run ends, where its folder does not tell yet; what is said of its trial comes first.
    """
    job = folder.job()
    labels = job.get("labels") or {}
    ablations, studies = (uses(labels, kind) for kind in USES)
    arm, trial = (next(iter(found.values()), {}) for found in (ablations, studies))
    status = outcome or folder.status()
    rows = folder.ledger.rows()
    starts = [row for row in rows if row["kind"] == "start"]
    ledger = mark(rows, folder.ledger.history())
    extra: dict[str, Any] = {
        "run_id": folder.run_id,
        "recipe": job.get("recipe"),
        "data_fingerprint": job.get("data_fingerprint"),
        "ablation": next(iter(ablations), None),
        "ablations": {config_key(name): _facts(use) for name, use in ablations.items()},
        "study": next(iter(studies), None),
        "studies": {config_key(name): _facts(use) for name, use in studies.items()},
        "arm": labels.get("arm"),
        "seed": labels.get("seed"),
        **{name: arm.get(name) for name in ("factor", "level")},
        **{name: _facts(trial).get(name) for name in ("trial", "params", "score")},
        "outcome": status if ablations else _outcome(trial, status),
        "provenance": starts[-1].get("provenance") if starts else None,
        "ledger": ledger,
    }
    return Shown(
        run_id=folder.run_id,
        project=labels.get("project") or "ablations",
        group=labels.get("group"),
        job_type=labels.get("job_type"),
        name=(labels.get("name") or folder.run_id)[:LONGEST_NAME],
        notes=_notes({**ablations, **studies}),
        tags=_tags([*ablations.values(), *studies.values()]),
        config={**job["config"], **{key: value for key, value in extra.items() if value not in (None, {}, "")}},
        begin=rows[0]["time"] if rows else None,
        end=rows[-1]["time"] if rows else None,
        beside=ledger["origin"],
    )


def _outcome(trial: Mapping[str, Any], status: str) -> str:
    """A trial's own where it has ended, which for a pruned one is before its run has."""
    told = trial.get("outcome", "running")
    return status if told == "running" else told


def _facts(use: Mapping[str, Any]) -> dict[str, Any]:
    """What a run is in one use, without what is shown elsewhere."""
    if "params" in use:
        use = {**use, "params": {config_key(name): value for name, value in use["params"].items()}}
    return {key: value for key, value in use.items() if key not in ("tags", "question") and value not in (None, "")}


def _notes(used: Mapping[str, Any]) -> str:
    """What the run was trained to find out."""
    questions = {name: use["question"] for name, use in used.items() if use.get("question")}
    if len(set(questions.values())) == 1:
        return next(iter(questions.values()))
    return "\n".join(f"{name}: {question}" for name, question in questions.items())


def _tags(used: Iterable[Mapping[str, Any]]) -> list[str]:
    """Few and short: the ablations and studies, the factors, and the baseline's and control's roles."""
    return [_fitted(tag) for tag in dict.fromkeys(tag for use in used for tag in use.get("tags", ()))]


def _fitted(tag: str) -> str:
    """A long tag ends in its digest, without which two of them could be cut to the same."""
    return tag if len(tag) <= LONGEST_TAG else f"{tag[: LONGEST_TAG - 9]}~{digest(tag, 8)}"


def config_key(name: str) -> str:
    """A name as a key of a W&B config, in which a dot means a level."""
    return name.replace(".", "_")


def scalars(row: Row) -> dict[str, float]:
    """The numbers of an epoch row, its epoch among them."""
    return {key: value for key, value in row.items() if key != "time" and isinstance(value, int | float)}


def summary(rows: list[Row], history: list[Row]) -> dict[str, float]:
    """Numbers of the whole run: `best/*` and `last/*` of its epochs, and the final metrics under their own names."""
    numbers: dict[str, float] = {"attempts": sum(row["kind"] == "start" for row in rows)}
    numbers["total_seconds"] = sum(row.get("seconds", 0.0) for row in history)
    end = next((row for row in reversed(rows) if row["kind"] == "end"), None)
    if history:
        best = max(history, key=lambda row: (row.get("val/accuracy", 0.0), -row["epoch"]))
        if end and end.get("best_epoch") is not None:
            best = next((row for row in history if row["epoch"] == end["best_epoch"]), best)
        for label, row in (("best", best), ("last", history[-1])):
            kept = [key for key in scalars(row) if key == "epoch" or key.startswith(("train/", "val/"))]
            numbers |= {f"{label}/{key}": row[key] for key in kept}
    if end:
        numbers |= {key: value for key, value in end["metrics"].items() if isinstance(value, int | float)}
    return numbers


def extremes(history: list[Row]) -> dict[str, tuple[str, float]]:
    """Metric -> which end of it is the good one (`max` or `min`), and the best value of all epochs."""
    found = {}
    for key in dict.fromkeys(key for row in history for key in scalars(row) if direction_of(key)):
        values = [row[key] for row in history if key in row and not math.isnan(row[key])]
        if values:
            found[key] = (direction_of(key), max(values) if direction_of(key) == "max" else min(values))
    return found


def direction_of(metric: str) -> str:
    """`max` for accuracies, `min` for losses, and nothing for what has no good end."""
    ends = {"accuracy": "max", "loss": "min"}
    return ends.get(metric.rpartition("/")[2], "") if metric.startswith(("train/", "val/")) else ""
