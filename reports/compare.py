"""How do runs of no common spec differ, in their settings and in what they get right?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ablation_suite.core.runs.store import RunFolder
from ablation_suite.reports import quantities as texts
from ablation_suite.reports import rounding as digits
from ablation_suite.reports.check import ReportError
from ablation_suite.reports.results import OUTPUT_ERRORS, Outputs, answer_split, read_outputs


@dataclass(frozen=True, kw_only=True)
class RunComparison:
    """One run against the first: the leaves that differ, and the difference in accuracy or why there is none.

    There is no interval: one run a side leaves the training noise unknown.
    """

    run_id: str
    settings: dict[str, tuple[Any, Any]]
    accuracy: float
    difference: float | None
    num_images: int
    refusal: str


def compare_runs(folders: Sequence[RunFolder]) -> tuple[str, list[RunComparison]]:
    """The split that was compared, and every run against the first (which differs from itself in nothing).

    Errors: ReportError for a run that is not finished or whose outputs cannot be read.
    """
    records = [_finished(folder) for folder in folders]
    split = answer_split(records)
    outputs = [_outputs(folder.path, split) for folder in folders]
    first = dict(_leaves(records[0]["config"]))
    found = []
    for folder, record, output in zip(folders, records, outputs, strict=True):
        ours = dict(_leaves(record["config"]))
        changed = [path for path in dict.fromkeys([*first, *ours]) if first.get(path) != ours.get(path)]
        refusal = "" if output is outputs[0] else _refusal(output, outputs[0])
        paired = output is not outputs[0] and not refusal
        found.append(
            RunComparison(
                run_id=folder.run_id,
                settings={path: (first.get(path), ours.get(path)) for path in changed},
                accuracy=float(output.correct.mean()),
                difference=float(output.correct.mean() - outputs[0].correct.mean()) if paired else None,
                num_images=len(output.correct),
                refusal=refusal,
            )
        )
    return split, found


def comparison_text(split: str, runs: Sequence[RunComparison]) -> Iterator[str]:
    """The comparison as lines for a terminal."""
    first = runs[0]
    for run in runs:
        yield f"{run.run_id}: {texts.SPLITS[split]} accuracy {digits.fixed(100 * run.accuracy, 2)} %"
        for path, (old, new) in run.settings.items():
            yield f"  {path}: {old} -> {new}"
        if run.difference is not None:
            yield f"  against {first.run_id}: {texts.two_runs(run.difference, run.num_images)}"
        elif run.refusal:
            yield f"  not compared with {first.run_id}: {run.refusal}"


def comparison_json(split: str, runs: Sequence[RunComparison]) -> dict[str, Any]:
    """The comparison as JSON data, accuracies in percent and differences in pp."""
    rows = []
    for run in runs:
        rows.append(
            {
                "run_id": run.run_id,
                "settings": {path: {"first": old, "this": new} for path, (old, new) in run.settings.items()},
                "accuracy_percent": texts.percent(run.accuracy),
                "difference_pp": texts.percent(run.difference),
                "refusal": run.refusal,
            }
        )
    return {"split": split, "runs": rows}


def _finished(folder: RunFolder) -> dict[str, Any]:
    record = folder.record()
    if record is None:
        raise ReportError(f"run {folder.run_id}: is {folder.status()}, and only finished runs can be compared")
    return record


def _outputs(folder: Path, split: Any) -> Outputs:
    try:
        return read_outputs(folder / "outputs.npz", split)
    except OUTPUT_ERRORS as error:
        raise ReportError(f"{folder / 'outputs.npz'}: cannot be read ({error})") from error


def _refusal(output: Outputs, first: Outputs) -> str:
    """Why two runs cannot be paired, or nothing."""
    if len(output.names) != len(first.names):
        return f"{len(output.names)} images against {len(first.names)}"
    if set(output.names) != set(first.names):
        return "the same number of images, but other ones"
    return "" if output.same_images(first) else "the same images, but in another order or with other labels"


def _leaves(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    # As core.config.leaves, which is not used here: reports read records as plain data.
    for key, value in config.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
