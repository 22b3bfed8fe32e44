"""What does the API give back? Finished runs as objects and frames, and what they say to a question as an answer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from ablation_suite.core.config.errors import UserError, nearest
from ablation_suite.core.config.levels import leaves
from ablation_suite.core.config.runtime import Runtime
from ablation_suite.core.runs.labels import Labels
from ablation_suite.core.runs.run_folder import RunFolder
from ablation_suite.core.runs.shape import EpochRow, Record
from ablation_suite.core.runs.store import find_run, run_folders

if TYPE_CHECKING:
    import pandas

    from ablation_suite.reports.analysis import Analysis
    from ablation_suite.reports.blocks import Blocks
    from ablation_suite.reports.tables import Table

SPLITS = ("val", "test")


@dataclass(frozen=True)
class Run:
    """One run of a store, read from its folder when it is asked."""

    folder: RunFolder

    @property
    def run_id(self) -> str:
        """The name of the run's folder."""
        return self.folder.run_id

    @property
    def status(self) -> str:
        """Finished, running, failed, interrupted or damaged."""
        return self.folder.status()

    @property
    def config(self) -> dict[str, Any]:
        """The RunConfig as plain data."""
        return dict(self.folder.job()["config"])

    @property
    def labels(self) -> Labels:
        """The ablation, arm and seed for which the run was made."""
        return self.folder.job().get("labels") or {}

    @property
    def record(self) -> Record | None:
        """Config, metrics, history, cost and provenance of a finished run; Damaged where it does not verify."""
        return self.folder.record()

    @property
    def history(self) -> list[EpochRow]:
        """One row per epoch, of an unfinished run too."""
        return self.folder.ledger.history()

    def outcomes(self, split: str = "val") -> dict[str, NDArray[Any]]:
        """`names` (N,), `labels` (N,), `probabilities` (N, K) of the `val` or `test` images; UserError without them."""
        arrays = self.folder.outputs(split) if (self.folder.path / "outputs.npz").exists() else {}
        try:
            return {key: arrays[f"{split}_{key}"] for key in ("names", "labels", "probabilities")}
        except KeyError:
            raise UserError(f"run {self.run_id}: has no labelled images of the split {split!r}") from None


@dataclass(frozen=True)
class Store:
    """The runs of a results folder, one by one or as frames (which need pandas)."""

    runtime: Runtime

    def __iter__(self) -> Iterator[Run]:
        return map(Run, run_folders(self.runtime.store))

    def __getitem__(self, prefix: str) -> Run:
        """The run whose id begins so; NoSuchRun where there is none or several."""
        return Run(find_run(self.runtime.store, prefix))

    def runs(self) -> pandas.DataFrame:
        """One row per run: id, status, labels, each setting by its dotted path, metrics and cost."""
        return _frame([_run_row(run) for run in self], "run_id")

    def epochs(self) -> pandas.DataFrame:
        """One row per run and epoch: what the ledger says of it."""
        rows = [
            {"run_id": run.run_id, **{key: value for key, value in row.items() if key not in ("kind", "time")}}
            for run in self
            for row in run.history
        ]
        return _frame(rows, "run_id", "epoch")

    def images(self, split: str = "val") -> pandas.DataFrame:
        """One row per finished run and image: its name, label, prediction and whether that is right.

        split: val or test; UserError for another one.
        """
        if split not in SPLITS:
            raise UserError(f"no split {split!r}{nearest(split, SPLITS)}; there are {', '.join(SPLITS)}")
        rows: list[dict[str, Any]] = []
        for run in self:
            record = run.record if run.status == "finished" else None
            if record is None or f"{split}/accuracy" not in record["metrics"]:
                continue
            found, classes = run.outcomes(split), list(map(str, record["classes"]))
            predicted = found["probabilities"].argmax(axis=1)  # N
            for name, label, guess in zip(found["names"], found["labels"], predicted, strict=True):
                row = {"run_id": run.run_id, "image": str(name), "label": classes[label], "predicted": classes[guess]}
                rows.append({**row, "correct": bool(label == guess)})
        return _frame(rows, "run_id", "image")


@dataclass(frozen=True)
class Answer:
    """What finished runs say to a question: the report's sentence and tables; shows its table in a notebook."""

    analysis: Analysis
    path: Path | None = None
    """The page, where one was written."""

    def __str__(self) -> str:
        return self.analysis.answer

    def __repr__(self) -> str:
        return f"Answer({self.analysis.design.ablation!r}: {self.analysis.answer})"

    def table(self, name: str = "answer") -> pandas.DataFrame:
        """A table of the report by its name, with the values under names that say their unit."""
        return _table(self.analysis.tables, name)

    def _repr_html_(self) -> str:
        return _shown(self.analysis.design.question, self.analysis.answer, self.analysis.tables["answer"])


@dataclass(frozen=True)
class BlocksAnswer(Mapping[str, Answer]):
    """What finished runs say to a question that was repeated in blocks: block -> its answer, and the one over all."""

    over: Blocks
    answers: Mapping[str, Answer]
    path: Path | None = None
    """The page over the blocks, where one was written."""

    def __getitem__(self, block: str) -> Answer:
        if block not in self.answers:
            raise UserError(f"no block {block!r}{nearest(block, self.answers)}; there are {', '.join(self)}")
        return self.answers[block]

    def __iter__(self) -> Iterator[str]:
        return iter(self.answers)

    def __len__(self) -> int:
        return len(self.answers)

    def __str__(self) -> str:
        return self.over.answer

    def __repr__(self) -> str:
        return f"BlocksAnswer({self.over.family!r}: {self.over.answer})"

    def table(self, name: str = "blocks") -> pandas.DataFrame:
        """A table of the page over the blocks by its name: `blocks`, or `heterogeneity`."""
        return _table({table.name: table for table in self.over.tables}, name)

    def _repr_html_(self) -> str:
        return _shown(self.over.question, self.over.answer, self.over.tables[0])


def _table(tables: Mapping[str, Table], name: str) -> pandas.DataFrame:
    if name not in tables:
        raise UserError(f"no table {name!r}{nearest(name, tables)}; there are {', '.join(tables)}")
    return _frame([row.values for row in tables[name].rows])


def _shown(question: str, answer: str, table: Table) -> str:
    from ablation_suite.reports.page import rendered

    return rendered("notebook.html", question=question, answer=answer, table=table)


def _run_row(run: Run) -> dict[str, Any]:
    """What is known of a run, a damaged one included."""
    row: dict[str, Any] = {"run_id": run.run_id, "status": run.status}
    if row["status"] == "damaged":
        return row
    labels, names = run.labels, {"ablation": "group", "arm": "arm", "seed": "seed"}
    row |= {name: labels.get(key) for name, key in names.items()} | dict(leaves(run.config))
    record = run.record or {}
    return row | record.get("metrics", {}) | record.get("cost", {})


def _frame(rows: Sequence[Mapping[str, Any]], *index: str) -> pandas.DataFrame:
    try:
        import pandas
    except ImportError:
        raise UserError("frames need pandas; install it with: pip install 'ablation-suite[pandas]'") from None
    frame = pandas.DataFrame(rows)
    return frame.set_index(list(index)) if index and len(frame) else frame
