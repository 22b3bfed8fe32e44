"""What does W&B get to see of a written report? Its Markdown around W&B's own curves, and the runs of each arm."""

from __future__ import annotations

import json
import re
from pathlib import Path

from ablation_suite.core.tracking.wandb_report import Page
from ablation_suite.reports.design import Design


def read_page(folder: Path) -> Page:
    """The page of a report's folder, as `ablate report` left it.

    The figures stay behind, because W&B draws the curves itself; they are in the artifact beside.
    """
    design = Design.from_json(json.loads((folder / "report.json").read_text())["design"])
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
    )
