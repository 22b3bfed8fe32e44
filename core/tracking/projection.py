"""What does a tracker show of a run? Pure functions from `run.json` and the ledger to names, settings and numbers."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass, field
from typing import Any

from ablation_suite.core.runs.files import read_bytes
from ablation_suite.core.runs.ledger import Row
from ablation_suite.core.runs.store import RunFolder

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
    tags: list[str] = field(default_factory=list)
    config: dict[str, Any] = field(default_factory=dict)


def shown(folder: RunFolder) -> Shown:
    """Names, tags and nested config of a run; the arm, its factor and its level are keys of their own."""
    job = folder.job()
    labels = job.get("labels") or {}
    factors = labels.get("factors") or {}
    starts = [row for row in folder.ledger.rows() if row["kind"] == "start"]
    extra = {
        "run_id": folder.run_id,
        "recipe": job.get("recipe"),
        "data_fingerprint": job.get("data_fingerprint"),
        "ablation": labels.get("group"),
        "ablations": labels.get("ablations"),
        "arm": labels.get("arm"),
        "seed": labels.get("seed"),
        "factor": " + ".join(factors) or None,
        "level": _level(list(factors.values())),
        "provenance": starts[-1].get("provenance") if starts else None,
    }
    return Shown(
        run_id=folder.run_id,
        project=labels.get("project") or "ablations",
        group=labels.get("group"),
        job_type=labels.get("job_type"),
        name=(labels.get("name") or folder.run_id)[:LONGEST_NAME],
        tags=[tag[:LONGEST_TAG] for tag in labels.get("tags") or [] if tag],
        config={**job["config"], **{key: value for key, value in extra.items() if value is not None}},
    )


def scalars(row: Row) -> dict[str, float]:
    """The numbers of an epoch row, its epoch among them."""
    return {key: value for key, value in row.items() if key != "time" and isinstance(value, int | float)}


def summary(rows: list[Row], history: list[Row]) -> dict[str, float]:
    """Numbers of the whole run: `best/*` and `last/*` of its epochs, and the final metrics under their own names."""
    numbers: dict[str, float] = {"attempts": sum(row["kind"] == "start" for row in rows)}
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


def _level(levels: list[Any]) -> Any:
    if len(levels) == 1 and isinstance(levels[0], str | int | float | bool):
        return levels[0]
    texts = [level if isinstance(level, str) else json.dumps(level, sort_keys=True) for level in levels]
    return " + ".join(texts) or None


def predictions(folder: RunFolder) -> dict[str, tuple[list[str], list[list[Any]]]]:
    """Per split, the columns and rows of a table of what the run says about each image."""
    import numpy as np

    classes = (folder.record() or {})["classes"]
    outputs = np.load(io.BytesIO(read_bytes(folder.path / "outputs.npz")))
    tables: dict[str, tuple[list[str], list[list[Any]]]] = {}
    for split in [name.removesuffix("_names") for name in outputs.files if name.endswith("_names")]:
        probabilities = outputs[f"{split}_probabilities"]  # N K
        names, guesses = outputs[f"{split}_names"], probabilities.argmax(1)
        columns = ["image", "predicted", "probability"]
        rows = [
            [str(name), str(classes[k]), float(p[k])] for name, k, p in zip(names, guesses, probabilities, strict=True)
        ]
        if f"{split}_labels" in outputs.files:
            labels = outputs[f"{split}_labels"]
            columns += ["label", "correct"]
            rows = [[*row, str(classes[t]), bool(t == k)] for row, t, k in zip(rows, labels, guesses, strict=True)]
        tables[split] = (columns, rows)
    return tables
