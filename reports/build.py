"""Where is a report written? One folder per ablation, and an index over several."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ablation_suite.core.own.kept import keep
from ablation_suite.reports.analysis import Analysis, analyse
from ablation_suite.reports.beside import Figures
from ablation_suite.reports.blocks import Blocks, over_all_blocks
from ablation_suite.reports.cited import cited_files
from ablation_suite.reports.design import design_of
from ablation_suite.reports.glance import glance
from ablation_suite.reports.latex import NARROW_WIDTH, to_latex
from ablation_suite.reports.layout import TableLayout, refuse_blocks
from ablation_suite.reports.page import (
    Images,
    blocks_html,
    index_html,
    index_markdown,
    rendered,
    report_html,
    report_markdown,
)
from ablation_suite.reports.paper_table import paper_table
from ablation_suite.reports.reader import Reader
from ablation_suite.reports.results import Results
from ablation_suite.reports.tables import Table
from ablation_suite.reports.writers import markdown, to_csv, to_markdown

if TYPE_CHECKING:
    from ablation_suite.ablations.plan import Plan


def build_report(
    plans: Sequence[Plan],
    store: Path,
    out: Path,
    *,
    audits: Mapping[str, Sequence[Any]] | None = None,
    images: Mapping[str, Images] | None = None,
    layouts: Sequence[TableLayout] = (),
    reader: Reader | None = None,
) -> list[Path]:
    """Write the report of every plan below `out`, and an index of several; returns the pages, the index first.

    store: the folder of the run folders. audits: ablation -> findings with `arm`, `kind`, `text`, `severity`.
    images: ablation -> what gives the images of its data as files. layouts: of tables for papers, which are written
    beside the others; LayoutError where one has blocks on an axis and no spec has any.
    reader: one that has read of the store already. The same inputs give the same bytes.
    """
    if not any(plan.ablation.family for plan in plans):
        refuse_blocks(layouts)
    reader = reader or Reader(store)
    analyses, pages = [], []
    families: dict[str, list[Results]] = {}
    with Figures(sum(len(plan.cells) for plan in plans), len(plans)) as figures:
        for plan in plans:
            findings = (audits or {}).get(plan.ablation.ablation, ())
            results = reader.results(design_of(plan))
            if results.design.family:
                families.setdefault(results.design.family, []).append(results)
            analysis = analyse(results, [_plain(finding) for finding in findings], layouts)
            name = plan.ablation.ablation
            figures.add(out / name / "figures", analysis)
            analyses.append(analysis)
            shown = (images or {}).get(name)
            pages.append(_write_report(analysis, store, out / name, shown, has_index=len(plans) > 1))
        over = []
        for name, family in families.items():
            if len(family) > 1:
                blocks = blocks_of(family, layouts)
                figures.add(out / name / "figures", blocks)
                _write_all(out / name, blocks_files(blocks))
                over.append(out / name / "blocks.html")
        pages[:0] = over
        if len(analyses) > 1:
            of_index = {
                "ablations": [analysis.design.ablation for analysis in analyses],
                "layouts": [layout.to_json() for layout in layouts],
            }
            _write(out / "index.json", json.dumps(of_index, indent=1, ensure_ascii=False) + "\n")
            _write_all(out, index_files(analyses))
            pages.insert(0, out / "index.html")
    return pages


def blocks_of(family: Sequence[Results], layouts: Sequence[TableLayout]) -> Blocks:
    """What is said over the blocks of one spec, with the tables for papers that have them on an axis."""
    papers = tuple(paper_table(family, layout) for layout in layouts if "blocks" in layout.axes)
    return replace(over_all_blocks(family), papers=papers)


def index_files(analyses: Sequence[Analysis]) -> dict[str, str]:
    """Name -> content of the index over several ablations."""
    seen = glance(analyses)
    return {
        "index.html": index_html(analyses, seen),
        "index.md": index_markdown(analyses, seen),
        "index.csv": to_csv(seen.table),
        "index.tex": to_latex(seen.table),
        "index.narrow.tex": to_latex(seen.table, NARROW_WIDTH),
    }


def blocks_files(blocks: Blocks) -> dict[str, str]:
    """Path below the folder of the spec -> content, of all that is said over its blocks."""
    files = {"blocks.html": blocks_html(blocks), "blocks.md": rendered("blocks.md", blocks=blocks)}
    for table in blocks.tables:
        files |= table_files(table)
    return files | paper_files(blocks.papers) | (cited_files(blocks.method) if blocks.method else {})


def table_files(table: Table) -> dict[str, str]:
    """Path -> content of a table as CSV and as LaTeX for one column of text; `narrow` is for articles of two."""
    return {
        f"tables/{table.name}.csv": to_csv(table),
        f"tables/{table.name}.tex": to_latex(table),
        f"tables/{table.name}.narrow.tex": to_latex(table, NARROW_WIDTH),
    }


def text_files(analysis: Analysis) -> dict[str, str]:
    """Path below the report's folder -> content, of all that is written from the analysis as text but for the page."""
    files = {"report.md": report_markdown(analysis)}
    for table in analysis.tables.values():
        files |= table_files(table)
    return files | paper_files(analysis.papers) | cited_files(analysis.method)


def paper_files(tables: Sequence[Table]) -> dict[str, str]:
    """Path -> content of tables that were asked for by their layout; as Markdown too, where others have a page."""
    files: dict[str, str] = {}
    for table in tables:
        files |= table_files(table)
        files[f"tables/{table.name}.md"] = f"{to_markdown(table)}\n{markdown(table.note)}\n"
    return files


def _write_report(analysis: Analysis, store: Path, folder: Path, images: Images | None, *, has_index: bool) -> Path:
    _write_all(folder, text_files(analysis))
    data = {**analysis.to_json(), "store": os.path.relpath(store, folder)}
    keep(folder, data["design"]["own_metrics"])
    _write(folder / "report.json", json.dumps(data, indent=1, ensure_ascii=False, allow_nan=False) + "\n")
    return _write(folder / "report.html", report_html(analysis, images, has_index=has_index))


def _write_all(folder: Path, files: Mapping[str, str]) -> None:
    for name, text in files.items():
        _write(folder / name, text)


def _plain(finding: Any) -> dict[str, str]:
    return {name: str(getattr(finding, name)) for name in ("arm", "kind", "text", "severity")}


def _write(path: Path, content: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode())
    return path
