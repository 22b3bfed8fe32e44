"""What does W&B get to see of a written report? Its Markdown around W&B's own curves, and the runs of each arm."""

from __future__ import annotations

import json
import re
from pathlib import Path

from ablation_suite.core.tracking.wandb_report import Page
from ablation_suite.reports.design import Design

ANSWER = (
    *("arm", "changes", "accuracy_percent", "sd_percent", "difference_pp", "low_pp", "high_pp", "p_adjusted"),
    *("verdict", "n", "images", "detectable_pp"),
)
"""The columns of the answer's table that W&B shows as a table of its own."""


def read_page(folder: Path) -> Page:
    """The page of a report's folder, as `ablate report` left it.

    W&B draws the curves itself, so that the text goes without figures; as pictures they stand beside it.
    """
    report = json.loads((folder / "report.json").read_text())
    design, rows = Design.from_json(report["design"]), report["tables"].get("answer", [])
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
            row["arm"]: (row["difference_pp"], row["low_pp"], row["high_pp"])
            for row in rows
            if row.get("difference_pp") is not None
        },
        rows=[{name: row.get(name) for name in ANSWER} for row in rows],
        figures=sorted((folder / "figures").glob("*.png")),
    )
