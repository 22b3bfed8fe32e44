"""What is a W&B Report of an ablation? Its words, the differences as bars, curves by arm, tables and pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ablation_suite.core.tracking.projection import config_key

TABLE, FIGURES = "answer", "figures"
"""Under which keys the report's own run has the table of the answer and the pictures."""
CURVES = ("val/accuracy", "val/loss", "train/loss")
LONGEST_TITLE = 128
_CURVE_WIDTH, _CURVE_HEIGHT = 8, 8
"""Of a grid that is 24 columns wide."""


@dataclass(frozen=True, kw_only=True)
class Page:
    """A report in words, Markdown above and below its curves, and the run ids of each arm, the baseline first.

    `differences` are those to the baseline, arm -> (estimate, low, high) in pp, without ends where there is one seed;
    `rows` is the table of the answer, `figures` are PNG files, `metric` is what the answer is about.
    """

    ablation: str
    title: str
    above: str
    below: str
    arms: Mapping[str, Sequence[str]]
    metric: str = "test/accuracy"
    differences: Mapping[str, tuple[float, float | None, float | None]] = field(default_factory=dict)
    rows: Sequence[Mapping[str, Any]] = ()
    figures: Sequence[Path] = ()

    @property
    def numbers(self) -> dict[str, float]:
        """Name -> value of every difference and of the ends of its interval, for the summary of the report's run."""
        found: dict[str, float] = {}
        for arm, ends in self.differences.items():
            names = (_difference(arm), f"{_difference(arm)} (low)", f"{_difference(arm)} (high)")
            found |= {name: end for name, end in zip(names, ends, strict=True) if end is not None}
        return found


def can_save_reports() -> bool:
    """Whether the package that makes W&B Reports is installed."""
    return find_spec("wandb_workspaces") is not None


def save_report(page: Page, entity: str, project: str, run_id: str, known_url: str | None) -> str:
    """Save a page as a W&B Report, in place of the one at `known_url` where that is still there; gives its URL.

    `run_id`: the run that holds the differences, the table and the pictures of the report.

    Runs are told by their ids, because an arm may share runs with other ablations, whose group they are in.
    """
    from wandb_workspaces.reports import v2

    title, findings = page.title[:LONGEST_TITLE], _findings(v2, page)
    this = _only(v2, entity, project, "this report", [run_id])
    report = _known(v2, known_url) or v2.Report(project=project, entity=entity, title=title)
    report.title = title
    report.width = "fluid"
    report.blocks = [
        v2.MarkdownBlock(page.above),
        *([v2.PanelGrid(runsets=[this], panels=findings)] if findings else []),
        v2.PanelGrid(
            runsets=[_run_set(v2, entity, project, page.ablation, arm, runs) for arm, runs in page.arms.items()],
            panels=[*(_curve(v2, metric, place) for place, metric in enumerate(CURVES)), _by_arm(v2, page.metric)],
        ),
        v2.MarkdownBlock(page.below),
    ]
    return quote(report.save().url, safe=":/=")  # a question's mark would end the path


def _known(v2: Any, url: str | None) -> Any:
    """The report at a URL; None where somebody has removed it."""
    if url is None:
        return None
    try:
        return v2.Report.from_url(url)
    except Exception:  # what W&B raises for a report that is gone is no error of ours and differs by version
        return None


def _findings(v2: Any, page: Page) -> list[Any]:
    """The differences as bars, the table that they stand in, and the pictures, each where the page has it."""
    half, height = 12, 10
    found = []
    if page.differences:
        bars = [_difference(arm) for arm in page.differences]
        place = v2.Layout(x=0, y=0, w=half, h=height)
        title = "Difference to the baseline, in percentage points"
        found.append(v2.BarPlot(title=title, metrics=bars, orientation="h", layout=place))
    if page.rows:
        found.append(v2.WeavePanelSummaryTable(table_name=TABLE, layout=v2.Layout(x=half, y=0, w=half, h=height)))
    if page.figures:
        keys = [figure_key(path) for path in page.figures]
        place = v2.Layout(x=0, y=height, w=2 * half, h=height)
        found.append(v2.MediaBrowser(title="Figures", media_keys=keys, layout=place))
    return found


def figure_key(path: Path) -> str:
    """Under which key the report's run has a picture."""
    return f"{FIGURES}/{path.stem}"


def _difference(arm: str) -> str:
    return f"difference/{config_key(arm)}"


def _by_arm(v2: Any, metric: str) -> Any:
    """The mean over the seeds of each arm as a bar, with its standard error."""
    layout = v2.Layout(x=0, y=_CURVE_HEIGHT, w=3 * _CURVE_WIDTH, h=_CURVE_HEIGHT)
    return v2.BarPlot(
        title=metric, metrics=[metric], groupby_aggfunc="mean", groupby_rangefunc="stderr", layout=layout
    )  # fmt: skip


def _run_set(v2: Any, entity: str, project: str, ablation: str, arm: str, runs: Sequence[str]) -> Any:
    """The finished and future runs of an arm, drawn as one line, whatever they are called in other ablations."""
    group = [f"config.ablations.{config_key(ablation)}.arm"]
    return _only(v2, entity, project, arm, runs, groupby=group)


def _only(v2: Any, entity: str, project: str, name: str, runs: Sequence[str], **more: Any) -> Any:
    from wandb_workspaces import expr

    only_these = expr.And(expr.Metric("ID").isin(list(runs)))
    return v2.Runset(entity=entity, project=project, name=name, filters=only_these, **more)


def _curve(v2: Any, metric: str, place: int) -> Any:
    """The mean over the seeds of each arm by epoch, with a band of one standard deviation."""
    layout = v2.Layout(x=place * _CURVE_WIDTH, y=0, w=_CURVE_WIDTH, h=_CURVE_HEIGHT)
    return v2.LinePlot(
        title=metric, x="epoch", y=[metric], groupby_aggfunc="mean", groupby_rangefunc="stddev", layout=layout
    )
