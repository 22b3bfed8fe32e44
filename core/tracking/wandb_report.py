"""What is a W&B Report of an ablation? Its words, curves with bands over the seeds, and a run set for each arm."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any
from urllib.parse import quote

from ablation_suite.core.tracking.projection import config_key

CURVES = ("val/accuracy", "val/loss", "train/loss")
LONGEST_TITLE = 128
_CURVE_WIDTH, _CURVE_HEIGHT = 8, 8
"""Of a grid that is 24 columns wide."""


@dataclass(frozen=True, kw_only=True)
class Page:
    """A report in words, Markdown above and below its curves, and the run ids of each arm, the baseline first."""

    ablation: str
    title: str
    above: str
    below: str
    arms: Mapping[str, Sequence[str]]


def can_save_reports() -> bool:
    """Whether the package that makes W&B Reports is installed."""
    return find_spec("wandb_workspaces") is not None


def save_report(page: Page, entity: str, project: str, known_url: str | None) -> str:
    """Save a page as a W&B Report, in place of the one at `known_url` where that is still there; gives its URL.

    Runs are told by their ids, because an arm may share runs with other ablations, whose group they are in.
    """
    from wandb_workspaces.reports import v2

    title = page.title[:LONGEST_TITLE]
    report = _known(v2, known_url) or v2.Report(project=project, entity=entity, title=title)
    report.title = title
    report.width = "fluid"
    report.blocks = [
        v2.MarkdownBlock(page.above),
        v2.PanelGrid(
            runsets=[_run_set(v2, entity, project, page.ablation, arm, runs) for arm, runs in page.arms.items()],
            panels=[_curve(v2, metric, place) for place, metric in enumerate(CURVES)],
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


def _run_set(v2: Any, entity: str, project: str, ablation: str, arm: str, runs: Sequence[str]) -> Any:
    """The finished and future runs of an arm, drawn as one line, whatever they are called in other ablations."""
    from wandb_workspaces import expr

    only_these = expr.And(expr.Metric("ID").isin(list(runs)))
    group = [f"config.ablations.{config_key(ablation)}.arm"]
    return v2.Runset(entity=entity, project=project, name=arm, filters=only_these, groupby=group)


def _curve(v2: Any, metric: str, place: int) -> Any:
    """The mean over the seeds of each arm by epoch, with a band of one standard deviation."""
    layout = v2.Layout(x=place * _CURVE_WIDTH, y=0, w=_CURVE_WIDTH, h=_CURVE_HEIGHT)
    return v2.LinePlot(
        title=metric, x="epoch", y=[metric], groupby_aggfunc="mean", groupby_rangefunc="stddev", layout=layout
    )
