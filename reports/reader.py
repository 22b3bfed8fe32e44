"""What does a store hold for a design? Each run folder is read once; missing, failed, damaged runs raise nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from ablation_suite.core.runs.damage import OUTPUT_ERRORS
from ablation_suite.core.runs.run_folder import RunFolder
from ablation_suite.core.runs.shape import Record
from ablation_suite.reports.design import Design
from ablation_suite.reports.outputs import (
    Asked,
    Epoch,
    NoMetric,
    Outputs,
    Split,
    is_last,
    last_epoch_speaks,
    read_outputs,
)
from ablation_suite.reports.results import CellRun, Results


class Reader:
    """Reads the run folders of one store, each once however many ablations share it."""

    def __init__(self, store: Path):
        self.store = store
        self._records: dict[str, tuple[str, str, Record | None]] = {}
        self._outputs: dict[tuple[str, Split, Asked, Epoch], Outputs] = {}

    def results(self, design: Design, split: Split | None = None) -> Results:
        """What the store holds for a design on a split, by default the one that answers.

        Nothing is raised for runs that are missing, failed or damaged.
        """
        found = {run_id: self._record(run_id) for _, _, run_id in design.cells}
        records = {run_id: record for run_id, (_, _, record) in found.items() if record}
        split = split or answer_split(records.values(), design.metric)
        epoch = answer_epoch(split, ((self.store / run_id / "outputs.npz", each) for run_id, each in records.items()))
        runs = (self._run(design, arm, seed, run_id, split, epoch) for arm, seed, run_id in design.cells)
        return Results(design=design, split=split, epoch=epoch, runs=tuple(runs))

    def records(self, design: Design) -> dict[str, list[Record]]:
        """Arm -> the records of its runs that can be read."""
        found: dict[str, list[Record]] = {arm.name: [] for arm in design.arms}
        for arm, _, run_id in design.cells:
            record = self._record(run_id)[2]
            if record is not None:
                found[arm].append(record)
        return found

    def _run(self, design: Design, arm: str, seed: int, run_id: str, split: Split, epoch: Epoch) -> CellRun:
        status, problem, record = self._record(run_id)
        outputs = kept = None
        if record is not None and design.factors and not design.arm(arm).has_levels(record["config"]):
            status, problem, record = "damaged", "record.json: its config has other levels than its cell", None
        if record is not None and f"{split}/accuracy" not in record["metrics"]:
            wanted = f"{split}/{design.measures[0]}"
            problem, record = f"it has no labelled {split} images, and {wanted} was asked for", None
        if record is not None:
            try:
                asked: Asked = tuple(design.own.get(name, name) for name in design.measures)
                outputs = self._read_outputs(record, run_id, split, asked, epoch)
                if epoch == "last" and not is_last(record):
                    kept = self._read_outputs(record, run_id, split, asked, "kept")
            except NoMetric as error:
                problem, record, outputs = str(error), None, None
            except OUTPUT_ERRORS as error:
                status, problem, record, outputs = "damaged", f"outputs.npz: {_one_line(error)}", None, None
        return CellRun(
            arm=arm,
            seed=seed,
            run_id=run_id,
            status=status,
            problem=problem,
            record=record,
            outputs=outputs,
            kept=kept,
        )

    def _record(self, run_id: str) -> tuple[str, str, Record | None]:
        """Status, problem and record of a run."""
        if run_id not in self._records:
            self._records[run_id] = read_record(RunFolder(self.store / run_id))
        return self._records[run_id]

    def _read_outputs(self, record: Record, run_id: str, split: Split, measures: Asked, epoch: Epoch) -> Outputs:
        key = (run_id, split, measures, epoch)
        if key not in self._outputs:
            path = self.store / run_id / "outputs.npz"
            self._outputs[key] = read_outputs(path, record, split, measures, epoch=epoch)
        return self._outputs[key]


def answer_split(records: Iterable[Record], metric: str | None = None) -> Split:
    """The split that answers: that of the metric that was asked for; without one, test where every finished run has a
    labelled one, else validation.
    """
    if metric is not None:
        return "test" if metric.startswith("test/") else "val"
    has_test = ["test/accuracy" in record["metrics"] for record in records]
    return "test" if has_test and all(has_test) else "val"


def answer_epoch(split: Split, runs: Iterable[tuple[Path, Record]]) -> Epoch:
    """The epoch that answers on a split, given the outputs and records of the runs: one rule for all of them.

    Runs whose outputs cannot be read have no say.
    """
    if split == "test":
        return "kept"
    for path, record in runs:
        try:
            if not last_epoch_speaks(path, record):
                return "kept"
        except OUTPUT_ERRORS:
            continue
    return "last"


def read_record(folder: RunFolder) -> tuple[str, str, Record | None]:
    """Status, problem and record of a run; there is a record exactly where there is no problem."""
    try:
        record = folder.record()
        if record is not None:
            return "finished", "", record
        status = folder.status()
        failure = (folder.failure() or {}) if status == "failed" else {}
    except (OSError, ValueError) as error:  # Damaged, and a folder that cannot be read at all
        return "damaged", _one_line(error).replace(f"{folder.path}/", ""), None
    return status, str(failure.get("message", "")) or _WHY[status], None


_WHY = {
    "running": "being trained now",
    "failed": "failed without a message",
    "interrupted": "interrupted before its end",
    "missing": "never begun",
    "finished": "finished while this report was made",
    "damaged": "run.json is damaged",
}


def _one_line(error: Exception) -> str:
    return next(_lines(str(error)), type(error).__name__)


def _lines(text: str) -> Iterator[str]:
    return (line.strip() for line in text.splitlines() if line.strip())
