"""What does a report hold? Everything that is computed from the run folders of one ablation, before it is written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ablation_suite.reports import classes, side_tables, tables
from ablation_suite.reports.ahead import told_by_epoch
from ablation_suite.reports.budgets import budgets_table
from ablation_suite.reports.cited import Text
from ablation_suite.reports.compared import comparisons
from ablation_suite.reports.consistency import provenance, unlike
from ablation_suite.reports.design import Design
from ablation_suite.reports.doubts import Doubt, doubts
from ablation_suite.reports.layout import TableLayout
from ablation_suite.reports.method import method
from ablation_suite.reports.outputs import Split
from ablation_suite.reports.paper_table import paper_table
from ablation_suite.reports.results import Results
from ablation_suite.reports.series import Series, left_out, paired_series, training_series
from ablation_suite.reports.statistics.contributions import contributions_table
from ablation_suite.reports.statistics.pairing import pairing_table
from ablation_suite.reports.strokes import Strokes, strokes
from ablation_suite.reports.tables import Table
from ablation_suite.reports.wording import answer, claim

FORMAT = 7
Audit = Sequence[Mapping[str, str]]
"""Findings as `arm`, `kind`, `text` and `severity`."""


@dataclass(frozen=True, kw_only=True)
class Analysis:
    """One ablation's answer, tables, training curves and confusions, as plain data."""

    design: Design
    split: Split
    metric: str
    """The metric that decides, as a sentence says it."""
    unit: str
    """Of its differences: pp, nats, or that of an own metric."""
    higher_is_better: bool
    data: str
    """The name of the data set, where a record has it."""
    claim: str
    """What to read first: a sentence beside the answer, or the first one of it."""
    answer: str
    audit: Audit
    problems: tuple[str, ...]
    doubts: tuple[Doubt, ...]
    provenance: dict[str, list[str]]
    tables: dict[str, Table]
    strokes: Strokes
    series: dict[str, list[Series]]
    paired: list[Series]
    by_epoch: tuple[str, ...]
    """Where along the epochs the arms are told apart."""
    left_out: tuple[str, ...]
    """Why a measure of training is not drawn."""
    confusions: dict[str, Any] | None
    method: Text
    """The paragraph for a method section."""
    layouts: tuple[TableLayout, ...] = ()
    """Of the tables for papers that were asked for."""
    papers: tuple[Table, ...] = ()
    """These tables."""

    @property
    def word(self) -> str:
        """The unit of its values, as their names in a file have it."""
        return "percent" if self.unit == "pp" else self.unit

    def differences(self) -> dict[str, float | None]:
        """Arm -> its difference to the baseline in the unit, None where there is none."""
        found: dict[str, float | None] = {}
        for row in self.tables["answer"].rows:
            value = row.values[f"difference_{self.unit}"]
            found[str(row.values["arm"])] = float(value) if value is not None else None
        return found

    def to_json(self) -> dict[str, Any]:
        """What `report.json` holds: the design, and every number with its unit in its name."""
        return {
            "format": FORMAT,
            "design": self.design.to_json(),
            "split": self.split,
            "metric": self.metric,
            "unit": self.unit,
            "higher_is_better": self.higher_is_better,
            "data": self.data,
            "claim": self.claim,
            "answer": self.answer,
            "audit": [dict(finding) for finding in self.audit],
            "problems": list(self.problems),
            "doubts": [asdict(doubt) for doubt in self.doubts],
            "provenance": self.provenance,
            "tables": {name: [row.values for row in table.rows] for name, table in self.tables.items()},
            "strokes": self.strokes,
            "series": self.series,
            "paired": self.paired,
            "by_epoch": list(self.by_epoch),
            "left_out": list(self.left_out),
            "confusions": self.confusions,
            "layouts": [layout.to_json() for layout in self.layouts],
        }


def analyse(results: Results, audit: Audit = (), layouts: Sequence[TableLayout] = ()) -> Analysis:
    """Compute everything that a report of these results says; the same results give the same analysis.

    layouts: of tables for papers; those over blocks are left to the page over the blocks.
    """
    own = tuple(layout for layout in layouts if "blocks" not in layout.axes)
    compared, pairing, budgets = comparisons(results), pairing_table(results), budgets_table(results)
    found = [
        tables.answer_table(results, compared),
        contributions_table(results, compared),
        side_tables.effects_table(results),
        pairing,
        side_tables.further_table(results),
        side_tables.metrics_table(results),
        side_tables.cost_table(results),
        budgets,
        classes.classes_table(results),
        classes.confusions_table(results),
        classes.disagreements_table(results),
        tables.runs_table(results),
    ]
    facts, paired = provenance(results), paired_series(results)
    problems = (*(run.describe() for run in results.problems()), *unlike(facts))
    return Analysis(
        design=results.design,
        split=results.split,
        metric=results.metric.text,
        unit=results.metric.unit,
        higher_is_better=results.metric.higher_is_better,
        data=_data(results),
        claim=claim(results, compared),
        answer=answer(results, compared, audit),
        audit=audit,
        problems=problems,
        doubts=doubts(results, compared, audit, problems, pairing, budgets),
        provenance=facts,
        tables={table.name: table for table in found if table is not None and table.rows},
        strokes=strokes(results),
        series=training_series(results),
        paired=paired,
        by_epoch=told_by_epoch(paired, results.design.baseline),
        left_out=tuple(left_out(results)),
        confusions=classes.confusions(results),
        method=method(results, compared),
        layouts=own,
        papers=tuple(paper_table([results], layout) for layout in own),
    )


def _data(results: Results) -> str:
    configs = [run.record["config"] for run in results.runs if run.record]
    data = configs[0].get("data") if configs else None
    return str(data.get("name", "")) if isinstance(data, Mapping) else ""
