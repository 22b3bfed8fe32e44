"""What does a report hold? Everything that is computed from the run folders of one ablation, before it is written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from reports import classes, sentences, tables
from reports.design import Design
from reports.results import Results, Split
from reports.series import Series, training_series
from reports.tables import Table

FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class Analysis:
    """One ablation's answer, tables, training curves and confusions, as plain data."""

    design: Design
    split: Split
    answer: str
    tables: dict[str, Table]
    series: dict[str, list[Series]]
    confusions: dict[str, Any] | None
    problems: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """What `report.json` holds: the design, and every number with its unit in its name."""
        return {
            "format": FORMAT,
            "design": self.design.to_json(),
            "split": self.split,
            "answer": self.answer,
            "problems": list(self.problems),
            "tables": {name: [row.values for row in table.rows] for name, table in self.tables.items()},
            "series": self.series,
            "confusions": self.confusions,
        }


def analyse(results: Results) -> Analysis:
    """Compute everything that a report of these results says; the same results give the same analysis."""
    compared = tables.comparisons(results)
    found = [
        tables.answer_table(results, compared),
        tables.effects_table(results),
        tables.metrics_table(results),
        tables.cost_table(results),
        classes.classes_table(results),
        classes.confusions_table(results),
        classes.disagreements_table(results),
        tables.runs_table(results),
    ]
    return Analysis(
        design=results.design,
        split=results.split,
        answer=sentences.answer(results, compared),
        tables={table.name: table for table in found if table is not None and table.rows},
        series=training_series(results),
        confusions=classes.confusions(results),
        problems=tuple(f"{run.arm}, seed {run.seed} ({run.run_id}): {run.status}, {run.problem}" for run in results.problems()),
    )
