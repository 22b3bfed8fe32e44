"""What does `import ablation_suite as abl` offer? The verbs as functions, and finished runs as objects and frames."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from ablation_suite.ablations.plan import Plan, make_plans
from ablation_suite.ablations.spec import SHIPPED_SPECS
from ablation_suite.ablations.spec import Spec as SpecFile
from ablation_suite.core.config import schema
from ablation_suite.core.config.errors import UserError
from ablation_suite.core.config.levels import leaves
from ablation_suite.core.config.names import fitted
from ablation_suite.core.config.own import absolute, placed
from ablation_suite.core.config.paths import typed
from ablation_suite.core.config.runtime import Runtime
from ablation_suite.core.config.schema import Document
from ablation_suite.core.runs.files import write_atomic
from ablation_suite.core.runs.identity import digest
from ablation_suite.core.runs.labels import Labels
from ablation_suite.core.runs.shape import EpochRow, Record
from ablation_suite.core.runs.store import RunFolder, find_run, run_folders

if TYPE_CHECKING:
    import pandas

    from ablation_suite.reports.analysis import Analysis
    from ablation_suite.reports.blocks import Blocks
    from ablation_suite.reports.compare import RunComparison
    from ablation_suite.reports.tables import Table

SPLITS = ("val", "test")
Spec = str | Path | Mapping[str, Any]
"""A spec as the verbs take it (a file, a folder, a shipped name), or the dictionary that a YAML would hold."""


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
            raise UserError(f"no split {split!r}{schema.nearest(split, SPLITS)}; there are {', '.join(SPLITS)}")
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
            raise UserError(f"no block {block!r}{schema.nearest(block, self.answers)}; there are {', '.join(self)}")
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


def open(results: str | Path | None = None, **settings: Any) -> Store:
    """The runs of a results folder (by default the one that the verbs take); `settings` are those of Runtime.

    UserError where there is no such folder.
    """
    runtime = _runtime(results, settings)
    if not Path(runtime.results).is_dir():
        raise UserError(f"{runtime.results}: no such results folder; it is made by the first run")
    return Store(runtime)


def plan(spec: Spec, *overrides: str, results: str | Path | None = None, **settings: Any) -> Plan:
    """Every cell of one ablation, or of one block of it (`block=NAME`), without training.

    SchemaError lists what is wrong with the spec.
    """
    plans = _plans(spec, overrides, _runtime(results, settings))
    if len(plans) > 1:
        blocks = ", ".join(f"block={each.ablation.block}" for each in plans)
        raise UserError(f"{plans[0].ablation.family}: is repeated in blocks; plan one of them with {blocks}")
    return plans[0]


def run(spec: Spec, *overrides: str, results: str | Path | None = None, **settings: Any) -> Answer | BlocksAnswer:
    """Train what is missing of one ablation, in all of its blocks, and give its answer.

    UserError names the runs that failed.
    """
    from ablation_suite.commands.run import train
    from ablation_suite.core.scheduling.executors import open_executor

    runtime = _runtime(results, settings)
    with open_executor(runtime) as executor:
        outcome, grown = train(_plans(spec, overrides, runtime), runtime, executor)
    if outcome.failed:
        raise UserError("\n".join(f"run {name} failed: {why}" for name, why in outcome.failed.items()))
    return _answer(grown, runtime)


def report(
    spec: Spec, *overrides: str, out: str | Path | None = None, results: str | Path | None = None, **settings: Any
) -> Answer | BlocksAnswer:
    """Write the report of one ablation from its finished runs, by default into RESULTS/report; nothing is trained."""
    from ablation_suite.commands.report import write_reports

    runtime = _runtime(results, settings)
    planned = _plans(spec, overrides, runtime)
    folder = typed(out) if out is not None else Path(runtime.results) / "report"
    return _answer(planned, runtime, write_reports(planned, runtime, folder))


def compare(*runs: str, results: str | Path | None = None, **settings: Any) -> Sequence[RunComparison]:
    """Finished runs, named by the beginnings of their ids, each against the first on the same images."""
    from ablation_suite.reports.compare import compare_runs

    if len(runs) < 2:
        raise UserError("name two runs or more, by the beginnings of their ids")
    store = _runtime(results, settings).store
    return compare_runs([find_run(store, each) for each in runs])[1]


def _runtime(results: str | Path | None, settings: Mapping[str, Any]) -> Runtime:
    given = {**settings, **({} if results is None else {"results": str(results)})}
    return schema.validate(Runtime, Document(data=given, source="arguments"))


def _plans(spec: Spec, overrides: Sequence[str], runtime: Runtime) -> list[Plan]:
    """The plan of one ablation, or those of all blocks of it."""
    if not isinstance(spec, str | Path | Mapping):
        raise UserError(f"a spec is a path, the name of a shipped one or a dictionary, not {spec!r}")
    name = str(_as_file(spec, Path(runtime.results)) if isinstance(spec, Mapping) else spec)
    plans = make_plans([name], runtime, tuple(overrides))
    if len(plans) > 1 and len({plan.ablation.family or plan.ablation.ablation for plan in plans}) > 1:
        raise UserError(f"{name}: holds {len(plans)} ablations, and one is asked for at a time")
    return plans


def _as_file(spec: Mapping[str, Any], results: Path) -> Path:
    """Keep a dictionary as a YAML below the results, so that every command that names the spec works later too.

    Its `base` is a dictionary, a file seen from the current folder, or the name of a shipped base. Files of own parts
    are seen from the current folder too.
    """
    metrics = {key: spec[key] for key in ("metric", "metrics") if key in spec}
    words = {key: spec[key] for key in ("ablation", "question") if key in spec}
    data = {**_from_here(spec), **words, **placed(SpecFile, metrics, lambda path: "")}
    folder = results.absolute() / "specs"
    base = data.get("base")
    if isinstance(base, Mapping):
        data["base"] = str(_written(folder / f"base-{digest(dict(base), 8)}.yaml", base))
    elif isinstance(base, str):
        shipped = SHIPPED_SPECS.parent / "bases" / f"{base}.yaml"
        data["base"] = str(shipped if shipped.is_file() and not typed(base).is_file() else typed(base).absolute())
    return _written(folder / f"{fitted(str(data.get('ablation', 'ablation')))}-{digest(data, 8)}.yaml", data)


def _from_here(value: Any) -> Any:
    """A value with the files of the own parts in it made absolute."""
    if isinstance(value, Mapping):
        return {key: _from_here(each) for key, each in value.items()}
    return [*map(_from_here, value)] if isinstance(value, list | tuple) else absolute(value, "")


def _written(path: Path, data: Mapping[str, Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, schema.dump(json.loads(json.dumps(data))).encode())  # a tuple is a list there
    return path


def _answer(plans: Sequence[Plan], runtime: Runtime, pages: Sequence[Path] = ()) -> Answer | BlocksAnswer:
    """What the finished runs of these plans say; pages: where it was written, the page over blocks second."""
    from ablation_suite.reports.analysis import analyse
    from ablation_suite.reports.blocks import over_all_blocks
    from ablation_suite.reports.design import design_of
    from ablation_suite.reports.results import Reader

    reader = Reader(runtime.store)
    results = [reader.results(design_of(plan)) for plan in plans]
    own: Sequence[Path | None] = pages[-len(plans) :] or [None] * len(plans)
    answers = [Answer(analyse(each), path) for each, path in zip(results, own, strict=True)]
    if len(answers) == 1:
        return answers[0]
    by_block = {each.design.block: answer for each, answer in zip(results, answers, strict=True)}
    return BlocksAnswer(over_all_blocks(results), by_block, pages[1] if pages else None)


def _table(tables: Mapping[str, Table], name: str) -> pandas.DataFrame:
    if name not in tables:
        raise UserError(f"no table {name!r}{schema.nearest(name, tables)}; there are {', '.join(tables)}")
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
