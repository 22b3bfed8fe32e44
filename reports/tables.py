"""What does the report say in numbers? Every table as data: raw values for machines, texts for people."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from reports import digits
from reports.factorial import Effect, factorial_effects
from reports.intervals import Interval
from reports.results import Results, Run
from reports.sequential import SeedRule, repeated_interval
from reports.statistics import Comparison, compare, difference_interval

MISSING = "–"
Value = str | float | int | bool | None


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column for people: which text it shows, its heading, and which value sorts it."""

    key: str
    heading: str
    sort: str = ""
    number: bool = True


@dataclass(frozen=True, kw_only=True)
class Row:
    """Raw values (percent, pp, counts, seconds) under names that say their unit, and texts for the columns."""

    values: dict[str, Value]
    texts: dict[str, str]


@dataclass(frozen=True, kw_only=True)
class Table:
    """Rows with a title and a note; CSV and JSON carry the values, LaTeX, Markdown and HTML the texts."""

    name: str
    title: str
    note: str = ""
    columns: tuple[Column, ...]
    rows: tuple[Row, ...] = field(default=())


def comparisons(results: Results) -> dict[str, Comparison]:
    """Arm -> its comparison with the baseline on the answering split, in the order of the plan.

    Arms whose runs saw other images than the baseline are compared with nothing; their mean and spread stand.
    """
    design = results.design
    scores = {arm.name: _correct(results, arm.name) for arm in design.arms}
    apart = {arm: rows for arm, rows in scores.items() if not results.comparable(arm)}
    margin = design.margin / 100 if design.margin is not None else None
    interval: Callable[..., Interval] = difference_interval
    if design.rule:
        precision = design.rule["precision"]
        rule = {**design.rule, "precision": precision / 100 if precision is not None else None}
        interval = partial(repeated_interval, rule=SeedRule(**rule, margin=margin))
    together = {arm: rows for arm, rows in scores.items() if arm not in apart}
    found = {row.arm: row for row in compare(together, design.baseline, margin=margin, interval=interval)}
    for arm, rows in apart.items():
        (found[arm],) = compare({arm: rows}, arm)
    return {arm.name: found[arm.name] for arm in design.arms}


def answer_table(results: Results, compared: Mapping[str, Comparison]) -> Table:
    """The table that answers the question, one row per arm."""
    design = results.design
    baseline_cost = mean_cost(results.of_arm(design.baseline))
    rows = []
    for arm in design.arms:
        runs, row = results.of_arm(arm.name), compared[arm.name]
        planned = sum(name == arm.name for name, _, _ in design.cells)
        cost = mean_cost(runs)
        ratios = {key: _ratio(cost.get(key), baseline_cost.get(key)) for key in COSTS}
        is_baseline = arm.name == design.baseline
        interval = row.interval
        values: dict[str, Value] = {
            "arm": arm.name,
            "changes": arm.changes,
            "compound": arm.compound,
            "parameters": cost.get("parameters"),
            "accuracy_percent": _percent(row.mean),
            "sd_percent": _percent(row.sd),
            "val_accuracy_percent": _percent(_mean(runs, "val/accuracy")),
            "last_epoch_accuracy_percent": _percent(_mean(runs, f"last/{results.split}/accuracy")),
            "difference_pp": _percent(row.difference),
            "low_pp": _percent(interval.low if interval else None),
            "high_pp": _percent(interval.high if interval else None),
            "p": _significant(row.p),
            "p_adjusted": _significant(row.p_adjusted),
            "n": row.n,
            "planned": planned,
            "pairs": None if is_baseline else row.num_pairs,
            "images": row.num_images,
            "detectable_pp": _percent(row.smallest_detectable),
            "detectable_images": _images(row),
            **{f"{key}_ratio": _significant(value) for key, value in ratios.items()},
            "verdict": "baseline" if is_baseline else _verdict(results, row),
        }
        texts = {
            "arm": arm.name,
            "changes": ("compound: " if arm.compound else "") + (arm.changes or MISSING),
            "parameters": digits.count(cost["parameters"]) if "parameters" in cost else MISSING,
            "accuracy": _accuracy(row.mean, row.sd, row.num_images),
            "val_accuracy": _spread(runs, "val/accuracy", row.num_images),
            "last_accuracy": _spread(runs, f"last/{results.split}/accuracy", row.num_images),
            "difference": _difference(interval),
            "p": digits.p_value(row.p_adjusted) if row.p_adjusted is not None else MISSING,
            "n": f"{row.n}" if row.n == planned else f"{row.n} of {planned}",
            "detectable": _detectable(row),
            **{f"{key}_ratio": digits.ratio(value) if value is not None else MISSING for key, value in ratios.items()},
            "verdict": str(values["verdict"]),
        }
        rows.append(Row(values=values, texts=texts))
    return Table(
        name="answer",
        title="The answer",
        note=_answer_note(results, compared.values()),
        columns=_answer_columns(results.split),
        rows=tuple(rows),
    )


COSTS = {"parameters": "parameters", "flops_per_image": "FLOPs", "images_seen": "images seen", "train_seconds": "time"}


def mean_cost(runs: Iterable[Run]) -> dict[str, float]:
    """The mean of each number in the `cost` of the runs."""
    costs = [run.record["cost"] for run in runs if run.record]
    keys = {key: None for cost in costs for key, value in cost.items() if isinstance(value, int | float)}
    return {key: float(np.mean([cost[key] for cost in costs if key in cost])) for key in keys}


def metrics_table(results: Results) -> Table:
    """Secondary metrics of the answering split, and what the kept epoch and the last one reached."""
    rows = []
    for arm in results.design.arms:
        runs = results.of_arm(arm.name)
        outputs = [run.outputs for run in runs if run.outputs]
        num_images = len(outputs[0].labels) if outputs else 0
        values: dict[str, Value] = {"arm": arm.name, "n": len(runs)}
        texts = {"arm": arm.name}
        for key in ("top_5", "macro_f1", "calibration_error"):
            mean, sd = _mean_and_sd([getattr(each, key) for each in outputs])
            values |= {f"{key}_percent": _percent(mean), f"{key}_sd_percent": _percent(sd)}
            texts[key] = _accuracy(mean, sd, num_images)
        for key in ("best_epoch", f"{results.split}/loss"):
            mean, sd = _mean_and_sd(_metric(runs, key))
            name = key.replace("/", "_")
            values |= {name: _significant(mean), f"{name}_sd": _significant(sd)}
            places = digits.decimals(sd) if sd else 0 if key == "best_epoch" else 3
            texts[name] = MISSING if mean is None else digits.fixed(mean, places) + _plus_minus(sd, places)
        rows.append(Row(values=values, texts=texts))
    loss = f"{results.split}_loss"
    return Table(
        name="metrics",
        title="Other metrics",
        note=f"{_SPLITS[results.split]} images, mean ± standard deviation over seeds; percent but for loss and epoch.",
        columns=(
            _ARM,
            Column(key="top_5", heading="Top-5", sort="top_5_percent"),
            Column(key="macro_f1", heading="Macro F1", sort="macro_f1_percent"),
            Column(key="calibration_error", heading="Calibration error", sort="calibration_error_percent"),
            Column(key=loss, heading="Loss", sort=loss),
            Column(key="best_epoch", heading="Best epoch", sort="best_epoch"),
        ),
        rows=tuple(rows),
    )


def cost_table(results: Results) -> Table:
    """What each arm cost, as the mean over its runs."""
    shown: dict[str, tuple[str, Callable[[float], str]]] = {
        "parameters": ("Parameters", digits.count),
        "head_parameters": ("of them in the head", digits.count),
        "flops_per_image": ("FLOPs per image", digits.count),
        "images_seen": ("Images seen", digits.count),
        "optimizer_steps": ("Steps", digits.count),
        "train_seconds": ("Training", digits.seconds),
        "images_per_second": ("Images/s", digits.count),
        "peak_memory_bytes": ("Peak memory (bytes)", digits.count),
    }
    rows = []
    for arm in results.design.arms:
        cost = mean_cost(results.of_arm(arm.name))
        values: dict[str, Value] = {"arm": arm.name} | {key: _significant(cost.get(key)) for key in shown}
        texts = {key: write(cost[key]) if key in cost else MISSING for key, (_, write) in shown.items()}
        rows.append(Row(values=values, texts={"arm": arm.name, **texts}))
    columns = (Column(key=key, heading=heading, sort=key) for key, (heading, _) in shown.items())
    return Table(
        name="cost",
        title="What it cost",
        note="Means over seeds. FLOPs are those of one forward pass, two per multiply-add.",
        columns=(_ARM, *columns),
        rows=tuple(rows),
    )


def runs_table(results: Results) -> Table:
    """Every run of the plan, with its state and the command that makes it again."""
    rows = []
    for run in results.runs:
        metrics = run.record["metrics"] if run.record else {}
        accuracy, val = metrics.get(f"{results.split}/accuracy"), metrics.get("val/accuracy")
        seconds = run.record["cost"].get("seconds") if run.record else None
        num_images = len(run.outputs.labels) if run.outputs else 0
        command = results.design.command(run.arm, run.seed)
        values: dict[str, Value] = {
            "arm": run.arm,
            "seed": run.seed,
            "run_id": run.run_id,
            "status": run.status,
            "problem": run.problem,
            "accuracy_percent": _percent(accuracy),
            "val_accuracy_percent": _percent(val),
            "best_epoch": metrics.get("best_epoch"),
            "seconds": _significant(seconds),
            "command": command,
        }
        texts = {
            "arm": run.arm,
            "seed": str(run.seed),
            "run_id": run.run_id,
            "status": f"{run.status}: {run.problem}" if run.problem else run.status,
            "accuracy": _accuracy(accuracy, None, num_images),
            "val_accuracy": _accuracy(val, None, num_images),
            "best_epoch": str(metrics.get("best_epoch", MISSING)),
            "seconds": digits.seconds(seconds) if seconds is not None else MISSING,
            "command": command,
        }
        rows.append(Row(values=values, texts=texts))
    columns = [
        _ARM,
        Column(key="seed", heading="Seed", sort="seed"),
        Column(key="run_id", heading="Run", sort="run_id", number=False),
        Column(key="status", heading="State", sort="status", number=False),
        Column(key="accuracy", heading=f"{_SPLITS[results.split]} %", sort="accuracy_percent"),
        Column(key="val_accuracy", heading="Validation %", sort="val_accuracy_percent"),
        Column(key="best_epoch", heading="Best epoch", sort="best_epoch"),
        Column(key="seconds", heading="Took", sort="seconds"),
        Column(key="command", heading="Make it again", sort="command", number=False),
    ]
    columns = [column for column in columns if results.split == "test" or column.key != "val_accuracy"]
    return Table(name="runs", title="The runs", columns=tuple(columns), rows=tuple(rows))


def effects_table(results: Results) -> Table | None:
    """Main effects and two-way interactions of a grid; None without a grid or where a cell of it has no run."""
    design = results.design
    if not design.factors or not all(results.comparable(arm.name) for arm in design.arms):
        return None
    scores = {arm.levels: _correct(results, arm.name) for arm in design.arms}
    try:
        effects = factorial_effects(scores, design.factors)
    except ValueError:  # the grid is not full yet; the runs table names what is missing
        return None
    return Table(
        name="effects",
        title="Main effects and interactions",
        note="Averaged over the levels of all other factors; p by Holm over all rows.",
        columns=(
            Column(key="effect", heading="Effect", sort="effect", number=False),
            Column(key="difference", heading="Difference (pp)", sort="difference_pp"),
            Column(key="p", heading="p adjusted", sort="p_adjusted"),
            Column(key="n", heading="Seeds", sort="n"),
        ),
        rows=tuple(map(_effect_row, effects)),
    )


def _effect_row(effect: Effect) -> Row:
    parts = zip(effect.factors, effect.levels, effect.references, strict=True)
    name = " × ".join(f"{factor}: {level} for {reference}" for factor, level, reference in parts)
    found = effect.interval
    values: dict[str, Value] = {
        "effect": name,
        "interaction": len(effect.factors) > 1,
        "difference_pp": _percent(found.estimate),
        "low_pp": _percent(found.low),
        "high_pp": _percent(found.high),
        "p_adjusted": _significant(effect.p_adjusted),
        "n": effect.num_pairs,
    }
    texts = {
        "effect": name,
        "difference": _difference(found),
        "p": digits.p_value(effect.p_adjusted),
        "n": str(effect.num_pairs),
    }
    return Row(values=values, texts=texts)


_ARM = Column(key="arm", heading="Arm", sort="arm", number=False)
_SPLITS = {"val": "Validation", "test": "Test"}


def _answer_columns(split: str) -> tuple[Column, ...]:
    columns = [
        _ARM,
        Column(key="changes", heading="Changes", sort="changes", number=False),
        Column(key="accuracy", heading=f"{_SPLITS[split]} %", sort="accuracy_percent"),
        Column(key="val_accuracy", heading="Validation %", sort="val_accuracy_percent"),
        Column(key="last_accuracy", heading="Last epoch %", sort="last_epoch_accuracy_percent"),
        Column(key="difference", heading="Difference (pp)", sort="difference_pp"),
        Column(key="p", heading="p adjusted", sort="p_adjusted"),
        Column(key="n", heading="Seeds", sort="n"),
        Column(key="detectable", heading="Could have shown", sort="detectable_pp"),
        Column(key="parameters", heading="Parameters", sort="parameters"),
        *(Column(key=f"{key}_ratio", heading=name.capitalize() if name.islower() else name, sort=f"{key}_ratio")
          for key, name in COSTS.items() if key != "parameters"),
        Column(key="verdict", heading="Verdict", sort="verdict", number=False),
    ]  # fmt: skip
    return tuple(column for column in columns if split == "test" or column.key != "val_accuracy")


def _answer_note(results: Results, compared: Iterable[Comparison]) -> str:
    rows = list(compared)
    num_images = max((row.num_images for row in rows), default=0)
    parts = [f"{_SPLITS[results.split]} accuracy over {num_images} images, mean ± standard deviation over seeds."]
    if results.split == "val":
        parts.append("The kept epoch was chosen on these same images, so the accuracies are optimistic.")
    parts.append("Differences to the baseline are paired by seed and image, with 95 % intervals; p by Holm over the arms.")
    if any(row.interval and row.interval.method == "images only" for row in rows):
        parts.append("With one seed the training noise is unknown: these intervals count the images alone.")
    parts.append("“Could have shown” is the smallest true difference that these seeds and images find with 80 % power.")
    apart = [arm.name for arm in results.design.arms if not results.comparable(arm.name) and results.of_arm(arm.name)]
    if apart:
        parts.append(f"Not compared, because their images or labels are not the baseline's: {', '.join(apart)}.")
    return " ".join(parts)


def _verdict(results: Results, row: Comparison) -> str:
    if row.n and not results.comparable(row.arm):
        return "not comparable"
    return row.verdict if row.interval and row.verdict else "no pairs"


def _correct(results: Results, arm: str) -> dict[int, np.ndarray]:
    return {seed: outputs.correct for seed, outputs in results.outputs(arm).items()}


def _difference(interval: Interval | None) -> str:
    if interval is None:
        return MISSING
    return digits.with_interval(100 * interval.estimate, 100 * interval.low, 100 * interval.high)


def _images(row: Comparison) -> int | None:
    return max(1, round(row.smallest_detectable * row.num_images)) if row.smallest_detectable is not None else None


def _detectable(row: Comparison) -> str:
    if row.smallest_detectable is None:
        return MISSING
    pp = 100 * row.smallest_detectable
    return f"{digits.fixed(pp, digits.decimals(pp))} pp = {_images(row)} of {row.num_images} images"


def _accuracy(mean: float | None, sd: float | None, num_images: int) -> str:
    return MISSING if mean is None else digits.percent(mean, sd, num_images)


def _spread(runs: Sequence[Run], key: str, num_images: int) -> str:
    return _accuracy(*_mean_and_sd(_metric(runs, key)), num_images)


def _plus_minus(sd: float | None, places: int) -> str:
    return f" ± {digits.fixed(sd, places)}" if sd is not None else ""


def _metric(runs: Iterable[Run], key: str) -> list[float]:
    return [run.record["metrics"][key] for run in runs if run.record and key in run.record["metrics"]]


def _mean(runs: Iterable[Run], key: str) -> float | None:
    return _mean_and_sd(_metric(runs, key))[0]


def _mean_and_sd(values: Sequence[float]) -> tuple[float | None, float | None]:
    return (float(np.mean(values)) if values else None), (float(np.std(values, ddof=1)) if len(values) > 1 else None)


def _ratio(value: float | None, baseline: float | None) -> float | None:
    return value / baseline if value is not None and baseline else None


def _percent(value: float | None) -> float | None:
    return None if value is None else _significant(100 * value)


def _significant(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else digits.significant(value)
