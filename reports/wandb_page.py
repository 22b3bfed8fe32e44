"""What does W&B get to see of a written report? Its Markdown around W&B's own curves, and the runs of each arm."""

from __future__ import annotations

import json
import re
from pathlib import Path

from ablation_suite.core.tracking.wandb_report import Page
from ablation_suite.reports.design import Design

ANSWER = re.compile(r"(score|sd|difference|low|high|detectable)_[^\W\d_]+|arm|changes|p_adjusted|verdict|n|images")
"""The values of the answer's table that W&B shows as a table of its own."""


def read_page(folder: Path) -> Page:
    """The page of a report's folder, as `ablate report` left it.

    W&B draws the curves itself, so that the text goes without figures; as pictures they stand beside it.
    """
    report = json.loads((folder / "report.json").read_text())
    design, rows = Design.from_json(report["design"]), report["tables"].get("answer", [])
    unit = str(report["unit"])
    text = re.sub(r"^!\[.*\n+", "", (folder / "report.md").read_text(), flags=re.MULTILINE)
    title, _, body = text.partition("\n")
    answer, *others = re.split(r"^(?=## )", body, flags=re.MULTILINE)
    arms = {arm.name: [run for name, _, run in design.cells if name == arm.name] for arm in design.arms}
    return Page(
        ablation=design.ablation,
        title=title.removeprefix("# "),
        above=answer + "".join(others[:1]),
        below="".join(others[1:]),
        arms=arms,
        metric=f"{report['split'] or 'val'}/accuracy",
        differences={
            row["arm"]: tuple(row[f"{end}_{unit}"] for end in ("difference", "low", "high"))
            for row in rows
            if row.get(f"difference_{unit}") is not None
        },
        rows=[{name: value for name, value in row.items() if ANSWER.fullmatch(name)} for row in rows],
        figures=sorted((folder / "figures").glob("*.png")),
    )
