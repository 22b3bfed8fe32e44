"""What do the trials of a search come to? The words of its metric, and its tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ablation_suite.reports.tables import Column, Row, Table
from ablation_suite.sweeps.objectives import measure_text
from ablation_suite.sweeps.progress import short, short_score
from ablation_suite.sweeps.spec import Sweep
from ablation_suite.sweeps.trial import Trial


def metric_words(sweep: Sweep) -> str:
    """What the search improves, as a reader calls it."""
    return sweep.spec.metric.replace("val/", "validation ")


def score_text(value: float, is_share: bool, unit: str = " %") -> str:
    """A score in prose, tables and figures alike."""
    return f"{100 * value:.2f}{unit}" if is_share else short_score(value)


def last_value(trial: Trial) -> float | None:
    """What a pruned trial had reached when it was stopped."""
    return trial.curve[max(trial.curve)] if trial.curve and trial.outcome == "pruned" else None


def trials_table(sweep: Sweep, trials: Sequence[Trial]) -> Table:
    """One row per trial, in the order of the numbers."""
    paths = [parameter.path for parameter in sweep.space.parameters]
    costs = [name for name in dict.fromkeys((*sweep.objectives, *sweep.spec.constraints)) if name != sweep.spec.metric]
    columns = (
        Column(key="trial", heading="Trial", sort="trial"),
        Column(key="outcome", heading="Outcome", sort="outcome", number=False),
        Column(key="score", heading=_heading(sweep), sort="score"),
        *(Column(key=name, heading=name, sort=name) for name in costs),
        *(Column(key=path, heading=path, sort=path) for path in paths),
        Column(key="last_step", heading="Last step", sort="last_step"),
        Column(key="run_id", heading="Runs", sort="run_id", number=False),
    )
    rows = []
    for trial in trials:
        last = last_value(trial)
        values: dict[str, Any] = {
            "trial": trial.number,
            "outcome": trial.shown_as,
            "score": trial.score,
            "last_value": last,
            **{name: {**trial.measured, **trial.objectives}.get(name) for name in costs},
            **{path: trial.values.get(path) for path in paths},
            "last_step": max(trial.curve, default=None),
            "seconds": trial.seconds,
            "run_id": " ".join(trial.runs),
            "reason": trial.reason or " and ".join(f"not {each}" for each in trial.violated),
        }
        texts = {key: "" if value is None else short(value) for key, value in values.items()}
        texts |= {name: measure_text(name, values[name]) for name in costs if values[name] is not None}
        texts["score"] = score_text(trial.score, sweep.maximize, "") if trial.score is not None else ""
        if last is not None:
            texts["score"] = f"({score_text(last, sweep.maximize, '')})"
        rows.append(Row(values=values, texts=texts))
    note = "In brackets: the value at which a trial was stopped."
    return Table(name="trials", title="Trials", note=note, columns=columns, rows=tuple(rows))


def _heading(sweep: Sweep) -> str:
    return f"{metric_words(sweep).capitalize()}{' %' if sweep.maximize else ''}"


_BUDGETS = (1, 2, 3, 5, 10, 20, 50, 100, 200, 500, 1000)


def budget_table(sweep: Sweep, expected: Sequence[float], ends: Sequence[tuple[float | None, float | None]]) -> Table:
    """The expected best of 1, 2, ... trials, and where that of another search lies."""
    columns = (
        Column(key="num_trials", heading="Trials", sort="num_trials"),
        Column(key="expected", heading=f"Expected best {_heading(sweep).lower()}", sort="expected"),
        Column(key="ends", heading="Another search", sort="worst"),
    )
    rows = []
    for num, (value, (worst, top)) in enumerate(zip(expected, ends, strict=True), start=1):
        if num in _BUDGETS or num == len(expected):
            values: dict[str, Any] = {"num_trials": num, "expected": value, "worst": worst, "top": top}
            told = [score_text(end, sweep.maximize, "") if end is not None else "open" for end in (worst, top)]
            texts = {
                "num_trials": str(num),
                "expected": score_text(value, sweep.maximize, ""),
                "ends": f"{told[0]} to {told[1]}",
            }
            rows.append(Row(values=values, texts=texts))
    note = (
        "The expected best validation score of so many of the trials seen, drawn without replacement (Tang et al. "
        "2020), pruned ones counted by their last value: compare arms at equal budgets. “Another search”: where the "
        "best of as many new trials would lie in eight searches of ten, open where the trials seen do not bound it. "
        "Both assume independent trials."
    )
    return Table(
        name="budget", title="What a smaller budget would have found", note=note, columns=columns, rows=tuple(rows)
    )
