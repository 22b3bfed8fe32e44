"""Where is a report written? One folder per ablation, and an index over several."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.store import write_atomic
from reports.analysis import Analysis, analyse
from reports.design import design_of
from reports.page import Images, index_html, index_markdown, report_html, report_markdown
from reports.results import Reader
from reports.writers import to_csv, to_latex

if TYPE_CHECKING:
    from ablations.plan import Plan


def build_report(
    plans: Sequence[Plan],
    store: Path,
    out: Path,
    *,
    audits: Mapping[str, Sequence[Any]] | None = None,
    images: Images | None = None,
) -> list[Path]:
    """Write the report of every plan below `out`, and an index of several; returns the pages, the index first.

    store: the folder of the run folders. audits: ablation -> findings with `arm`, `kind`, `text`, `severity`.
    The same inputs give the same bytes.
    """
    reader = Reader(store)
    analyses, pages = [], []
    for plan in plans:
        analysis = analyse(reader.results(design_of(plan)))
        audit = [_finding(each) for each in (audits or {}).get(analysis.design.ablation, ())]
        pages.append(_write_report(analysis, audit, store, out / analysis.design.ablation, images))
        analyses.append(analysis)
    if len(analyses) > 1:
        _write(out / "index.md", index_markdown(analyses))
        pages.insert(0, _write(out / "index.html", index_html(analyses)))
    return pages


def report_json(analysis: Analysis, audit: Sequence[Mapping[str, str]], store: Path, folder: Path) -> dict[str, Any]:
    """The content of `report.json`: the analysis, the audit, and the way from the report to its runs."""
    return {**analysis.to_json(), "audit": list(audit), "store": os.path.relpath(store, folder)}


def _write_report(
    analysis: Analysis, audit: list[dict[str, str]], store: Path, folder: Path, images: Images | None
) -> Path:
    from reports.curves import draw_figures  # here, so that `ablate --help` and the check do without matplotlib

    figures = draw_figures(analysis)
    for name, content in figures.items():
        _write(folder / "figures" / name, content)
    for name, table in analysis.tables.items():
        _write(folder / "tables" / f"{name}.csv", to_csv(table))
        _write(folder / "tables" / f"{name}.tex", to_latex(table))
    _write(folder / "report.md", report_markdown(analysis, audit))
    content = report_json(analysis, audit, store, folder)
    _write(folder / "report.json", json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n")
    return _write(folder / "report.html", report_html(analysis, audit, figures, images))


def _finding(finding: Any) -> dict[str, str]:
    return {name: str(getattr(finding, name)) for name in ("arm", "kind", "text", "severity")}


def _write(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, content.encode() if isinstance(content, str) else content)
    return path
