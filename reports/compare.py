"""How do runs of no common spec differ, in their settings and in what they get right?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ablation_suite.core.config.errors import printable, words_of
from ablation_suite.core.config.levels import differences
from ablation_suite.core.runs.damage import OUTPUT_ERRORS
from ablation_suite.core.runs.run_folder import RunFolder
from ablation_suite.core.runs.shape import Record
from ablation_suite.reports import quantities as texts
from ablation_suite.reports import rounding as digits
from ablation_suite.reports.check import ReportError
from ablation_suite.reports.outputs import Epoch, Outputs, Split, read_outputs
from ablation_suite.reports.reader import answer_epoch, answer_split, read_record


@dataclass(frozen=True, kw_only=True)
class RunComparison:
    """One run against the first: the leaves that differ, and the difference in accuracy or why there is none.

    There is no interval: one run a side leaves the training noise unknown.
    """

    run_id: str
    settings: dict[str, tuple[Any, Any]]
    accuracy: float | None
    difference: float | None
    num_images: int
    refusal: str
    epoch: Epoch
    """Which epoch of the runs was compared; on validation images the kept one was chosen on them."""


def compare_runs(folders: Sequence[RunFolder]) -> tuple[str, list[RunComparison]]:
    """The split that was compared, and every run against the first (which differs from itself in nothing).

    A damaged run has its damage as `refusal`. Errors: ReportError for a run that is not finished, and for a first run
    that is damaged.
    """
    read = [read_record(folder) for folder in folders]
    for folder, (status, _, _) in zip(folders, read, strict=True):
        if status not in ("finished", "damaged"):
            raise ReportError(f"run {folder.run_id}: is {status}, and only finished runs can be compared")
    split = answer_split(record for _, _, record in read if record)
    known = ((folder.path / "outputs.npz", each[2]) for folder, each in zip(folders, read, strict=True) if each[2])
    epoch = answer_epoch(split, known)
    _, problem, first_record = read[0]
    first, problem = _outputs(folders[0], split, epoch, problem, first_record)
    if first is None or first_record is None:
        raise ReportError(f"run {folders[0].run_id}: {problem}; put another run first")
    found = []
    for index, (folder, (_, problem, record)) in enumerate(zip(folders, read, strict=True)):
        output, refusal = _outputs(folder, split, epoch, problem, record) if index else (first, "")
        if output is not None:
            refusal = _refusal(output, first)
        changed = differences(first_record["config"], record["config"]) if record else ()
        found.append(
            RunComparison(
                run_id=folder.run_id,
                settings={path: (old, new) for path, old, new in changed},
                accuracy=float(output.correct.mean()) if output else None,
                difference=float(output.correct.mean() - first.correct.mean())
                if output and index and not refusal
                else None,
                num_images=len(first.correct),
                refusal=refusal,
                epoch=epoch,
            )
        )
    return split, found


def comparison_text(split: str, runs: Sequence[RunComparison]) -> Iterator[str]:
    """The comparison as lines for a terminal, which no record can give orders to."""
    yield from map(printable, _lines(split, runs))


def _lines(split: str, runs: Sequence[RunComparison]) -> Iterator[str]:
    first = runs[0]
    what = f"{texts.SPLITS[split]} accuracy{_OF_EPOCH[first.epoch] if split == 'val' else ''}"
    for run in runs:
        accuracy = "" if run.accuracy is None else f": {what} {digits.fixed(100 * run.accuracy, 2)} %"
        yield f"{run.run_id}{accuracy}"
        for path, (old, new) in run.settings.items():
            yield f"  {path}: {old} -> {new}"
        if run.difference is not None:
            places = digits.column([(None, texts.step(run.num_images))])
            yield f"  against {first.run_id}: {texts.two_runs(run.difference, places)}"
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
    return {"split": split, "epoch": runs[0].epoch, "runs": rows}


_OF_EPOCH = {"last": " of the last epoch", "kept": " of the kept epoch, which was chosen on these images,"}


def _outputs(
    folder: RunFolder, split: Split, epoch: Epoch, problem: str, record: Record | None
) -> tuple[Outputs | None, str]:
    """What a run said about the images, or what is damaged."""
    if record is None:
        return None, f"damaged, {problem}"
    try:
        return read_outputs(folder.path / "outputs.npz", record, split, epoch=epoch), ""
    except OUTPUT_ERRORS as error:
        return None, f"damaged, outputs.npz: {words_of(error)}"


def _refusal(output: Outputs, first: Outputs) -> str:
    """Why two runs cannot be paired, or nothing."""
    if len(output.names) != len(first.names):
        return f"{len(output.names)} images against {len(first.names)}"
    if set(output.names) != set(first.names):
        return "the same number of images, but other ones"
    return "" if output.same_images(first) else "the same images, but in another order or with other labels"
