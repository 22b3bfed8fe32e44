"""What is a table of a report, and what do its first and its last one say? The answer, arm by arm, and the runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from ablation_suite.core.metrics.measures import Metric
from ablation_suite.reports import quantities as texts
from ablation_suite.reports import rounding as digits
from ablation_suite.reports.quantities import MISSING, SPLITS
from ablation_suite.reports.results import CellRun, Results
from ablation_suite.reports.rule_wording import seeds_added
from ablation_suite.reports.statistics.comparison import Comparison
from ablation_suite.reports.wording import epoch_told

Value = str | float | int | bool | None


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column for people: which text it shows, its heading, which value sorts it, and whether LaTeX has it too.

    `group` stands above the headings of neighbouring columns that share it, or before each where there is one line.
    """

    key: str
    heading: str
    sort: str
    number: bool = True
    paper: bool = True
    group: str = ""

    @property
    def title(self) -> str:
        """Group and heading in one line."""
        if not self.group:
            return self.heading
        return f"{self.group} {self.heading}" if self.heading in ("%", "nats") else f"{self.group}: {self.heading}"


@dataclass(frozen=True, kw_only=True)
class Row:
    """Raw values (percent, pp, counts, seconds) under names that say their unit, and texts for the columns."""

    values: dict[str, Value]
    texts: dict[str, str]
    strong: frozenset[str] = frozenset()
    """Keys of the texts that are set in bold."""


@dataclass(frozen=True, kw_only=True)
class Table:
    """Rows with a title and a note; CSV and JSON carry the values, LaTeX, Markdown and HTML the texts."""

    name: str
    title: str
    note: str = ""
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    num_heads: int = 1
    """So many columns say what a row is; where a table is set in parts, each part has them."""


ARM = Column(key="arm", heading="Arm", sort="arm", number=False)


def answer_table(results: Results, compared: Mapping[str, Comparison]) -> Table:
    """The table that answers the question, one row per arm."""
    last = f"last/{results.split}/accuracy"
    columns = (
        ARM,
        Column(key="changes", heading="Changes", sort="changes", number=False),
        Column(key="accuracy", heading=heading_of(results), sort=f"score_{results.metric.word}"),
        Column(
            key="difference", heading=f"Difference ({results.metric.unit})", sort=f"difference_{results.metric.unit}"
        ),
        Column(key="p", heading="Adjusted p", sort="p_adjusted"),
        Column(key="verdict", heading="Verdict", sort="verdict", number=False),
        Column(key="n", heading="Seeds", sort="n", paper=False),
        Column(key="detectable", heading="Unseen below", sort=f"detectable_{results.metric.unit}", paper=False),
    )
    return Table(
        name="answer",
        title="The arms",
        note=_answer_note(results, compared.values()),
        columns=columns,
        rows=_answer_rows(results, compared, last),
    )


def _answer_rows(results: Results, compared: Mapping[str, Comparison], last: str) -> tuple[Row, ...]:
    rows = [compared[arm.name] for arm in results.design.arms]
    cells, scale = ((row.sd, row.num_images, row.n) for row in rows if row.mean is not None), results.metric.scale
    places = {"accuracy": texts.accuracy_places(cells, scale), "difference": texts.answer_places(rows, scale)}
    return tuple(_answer_row(results, row, last, places) for row in rows)


def _answer_row(results: Results, row: Comparison, last: str, places: Mapping[str, int]) -> Row:
    name, metric = row.arm, results.metric
    unit, scale = metric.unit, metric.scale
    design, runs, interval = results.design, results.of_arm(name), row.interval
    arm = next(each for each in design.arms if each.name == name)
    planned = sum(each == name for each, _, _ in design.cells)
    cost, baseline_cost = mean_cost(runs), mean_cost(results.of_arm(design.baseline))
    costs = ("parameters", "flops_per_image", "images_seen", "train_seconds")
    ratios = {f"{key}_ratio": _ratio(cost.get(key), baseline_cost.get(key)) for key in costs}
    val, last_epoch = (texts.mean_and_sd(texts.metric(runs, key)) for key in ("val/accuracy", last))
    verdict = verdict_of(results, row)
    values: dict[str, Value] = {
        "arm": name,
        "changes": arm.changes,
        "compound": arm.compound,
        "metric": f"{results.split}/{metric.name}",
        f"score_{metric.word}": texts.scaled(row.mean, scale),
        f"sd_{metric.word}": texts.scaled(row.sd, scale),
        f"difference_{unit}": texts.scaled(row.difference, scale),
        f"low_{unit}": texts.scaled(interval.low if interval else None, scale),
        f"high_{unit}": texts.scaled(interval.high if interval else None, scale),
        f"freed_difference_{unit}": texts.scaled(row.freed, scale),
        "p": texts.significant(row.p),
        "p_adjusted": texts.significant(row.p_adjusted),
        "verdict": verdict,
        "n": row.n,
        "planned": planned,
        "pairs": None if name == design.baseline else row.num_pairs,
        "images": row.num_images,
        f"detectable_{unit}": texts.scaled(row.smallest_detectable, scale) if texts.is_known(row, metric) else None,
        **_detectable_range(row, metric),
        "detectable_images": texts.detectable_images(row, metric),
        "val_accuracy_percent": texts.percent(val[0]),
        "last_epoch_accuracy_percent": texts.percent(last_epoch[0]),
        "parameters": texts.significant(cost.get("parameters")),
        **{key: texts.significant(value) for key, value in ratios.items()},
    }
    shown = {
        "arm": name,
        "changes": ("compound: " if arm.compound else "") + (arm.changes or MISSING),
        "accuracy": texts.accuracy(row.mean, row.sd, places["accuracy"], scale),
        "difference": texts.row_difference(row, places["difference"], scale),
        "p": digits.p_value(row.p_adjusted) if row.p_adjusted is not None else MISSING,
        "verdict": verdict,
        "n": f"{row.n}" if row.n == planned else f"{row.n} of {planned}",
        "detectable": texts.detectable(row, metric),
    }
    return Row(values=values, texts=shown)


def mean_cost(runs: Iterable[CellRun]) -> dict[str, float]:
    """The mean of each number in the `cost` of the runs."""
    costs = [run.record["cost"] for run in runs if run.record]
    keys = {key: None for cost in costs for key, value in cost.items() if isinstance(value, int | float)}
    return {key: float(np.mean([cost[key] for cost in costs if key in cost])) for key in keys}


def runs_table(results: Results) -> Table:
    """Every run of the plan, with its state and the command that makes it again."""
    columns = [
        ARM,
        Column(key="seed", heading="Seed", sort="seed"),
        Column(key="run_id", heading="Run", sort="run_id", number=False),
        Column(key="status", heading="State", sort="status", number=False),
        Column(key="accuracy", heading=f"{SPLITS[results.split].capitalize()} %", sort="accuracy_percent"),
        Column(key="val", heading="Validation %", sort="val_accuracy_percent"),
        Column(key="best_epoch", heading="Kept epoch", sort="best_epoch"),
        Column(key="seconds", heading="Took", sort="seconds"),
        Column(key="command", heading="Make it again", sort="command", number=False, paper=False),
    ]
    return Table(
        name="runs",
        title="The runs",
        columns=tuple(column for column in columns if results.prefix != "val" or column.key != "val"),
        rows=tuple(_run_row(results, run) for run in results.runs),
    )


def _run_row(results: Results, run: CellRun) -> Row:
    metrics = run.record["metrics"] if run.record else {}
    accuracy, val = metrics.get(f"{results.prefix}/accuracy"), metrics.get("val/accuracy")
    seconds = run.record["cost"].get("seconds") if run.record else None
    places = digits.column([(None, texts.step(len(run.outputs.labels)))]) if run.outputs else 0
    command = results.design.command(run.arm, run.seed)
    values: dict[str, Value] = {
        "arm": run.arm,
        "seed": run.seed,
        "run_id": run.run_id,
        "status": run.status,
        "problem": run.problem,
        "accuracy_percent": texts.percent(accuracy),
        "val_accuracy_percent": texts.percent(val),
        "best_epoch": metrics.get("best_epoch"),
        "seconds": texts.significant(seconds),
        "command": command,
    }
    shown = {
        "arm": run.arm,
        "seed": str(run.seed),
        "run_id": run.run_id,
        "status": f"{run.status}: {run.problem}" if run.problem else run.status,
        "accuracy": texts.accuracy(accuracy, None, places),
        "val": texts.accuracy(val, None, places),
        "best_epoch": str(metrics.get("best_epoch", MISSING)),
        "seconds": digits.seconds(seconds) if seconds is not None else MISSING,
        "command": command,
    }
    return Row(values=values, texts=shown)


def _answer_note(results: Results, compared: Iterable[Comparison]) -> str:
    rows = list(compared)
    if not results.most_seeds:
        return "No run is finished yet."
    num_images = max(row.num_images for row in rows)
    parts = [
        f"{SPLITS[results.split].capitalize()} {results.metric.text} over {num_images} images, "
        f"{texts.over_seeds(results.most_seeds)}."
    ]
    if not results.metric.higher_is_better:
        parts.append(f"A lower {results.metric.text} is better.")
    parts += epoch_told(results)
    if any(row.interval for row in rows):
        parts.append("Differences are paired by seed and image, with 95 % intervals; p by Holm over the arms.")
        if results.design.margin is not None:
            parts.append(
                "So is equivalence: an arm inside the margin also needs the adjusted p of two one-sided tests."
            )
        parts.append(_independence(results))
    if any(row.difference is not None and row.interval is None for row in rows):
        parts.append("With one seed a side the training noise is unknown: there is no interval, and no verdict.")
    if results.design.rule:
        parts.append(seeds_added(results, rows))
    if any(row.smallest_detectable is not None for row in rows):
        parts.append(
            "“Unseen below”, the grey ground of a plot: the true difference that these seeds and images find four "
            "times in five, at the level that Holm asks of the first of so many arms; a range where the seeds do not "
            "say it closer."
        )
    control = next((row for row in rows if row.arm == results.design.control), None)
    if control is not None and control.interval:
        parts.append(
            f"“{control.arm}” is the baseline on other seeds, outside the family of the adjusted p: nothing was "
            "changed, so its interval should hold zero. Where it does not, that is a false alarm; chance gives one to "
            "1 control in 20; several of them mean that the intervals are too narrow for this task."
        )
    apart = [arm.name for arm in results.design.arms if results.of_arm(arm.name) and not results.comparable(arm.name)]
    if apart:
        parts.append(f"Not compared, because their images or labels are not the baseline's: {', '.join(apart)}.")
    return " ".join(parts)


def _independence(results: Results) -> str:
    """What counts as one sample of images."""
    if results.groups is None:
        return "Each image counts as a sample of its own; where several show one thing, the spec can say so (groups)."
    return f"Images that agree in {results.grouped_by} are one sample: {len(set(results.groups.tolist()))} groups."


def heading_of(results: Results) -> str:
    """Test %, where the answer is an accuracy; else the metric with its split."""
    split, metric = SPLITS[results.split].capitalize(), results.metric
    return f"{split} %" if metric.name == "accuracy" else f"{split} {metric.text} {metric.sign}"


def _detectable_range(row: Comparison, metric: Metric) -> dict[str, Value]:
    found = row.detectable_range if row.detectable_range and texts.is_known(row, metric) else (None, None)
    ends = zip(("low", "high"), found, strict=True)
    return {f"detectable_{end}_{metric.unit}": texts.scaled(value, metric.scale) for end, value in ends}


def verdict_of(results: Results, row: Comparison) -> str:
    """The word of a row: its verdict, or why it has none."""
    if row.arm == results.design.baseline:
        return "baseline"
    if row.n and not results.comparable(row.arm):
        return "not comparable"
    if row.difference is not None and row.interval is None:
        return "one seed"
    if row.interval and row.arm == results.design.control:
        return "false alarm" if row.interval.excludes_zero else "no alarm"
    return row.verdict if row.interval and row.verdict else "no pairs"


def _ratio(value: float | None, baseline: float | None) -> float | None:
    return value / baseline if value is not None and baseline else None
