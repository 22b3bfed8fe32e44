"""How is the report of a sweep written? One folder with page, text, tables and figures."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from ablation_suite.core.config.runtime import Runtime
from ablation_suite.core.runs.files import write_atomic
from ablation_suite.reports.captions import SWEEP_FIGURES
from ablation_suite.reports.page import rendered
from ablation_suite.reports.sweep_analysis import SweepAnalysis, analyse, saved_text
from ablation_suite.reports.sweep_figures import draw_sweep
from ablation_suite.reports.sweep_front import front_table
from ablation_suite.reports.sweep_page import sweep_context
from ablation_suite.reports.writers import to_csv
from ablation_suite.sweeps.study import Study


def write_sweep_report(study: Study, runtime: Runtime, out: Path, given: Sequence[str] = ()) -> list[Path]:
    """Write the report of a study and return the paths of its pages; printed commands get the options `given`."""
    analysis = analyse(study, runtime.store)
    figures = draw_sweep(analysis)
    files = {f"figures/{name}": content for name, content in figures.items()}
    tables = {**analysis.tables, **({"front": front_table(analysis)} if analysis.front else {})}
    files |= {f"tables/{name}.csv": to_csv(table).encode() for name, table in tables.items()}
    files |= {name: text.encode() for name, text in sweep_pages(analysis, figures, given).items()}
    for name, content in files.items():
        path = out / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, content)
    return [out / "report.html", out / "report.md"]


def sweep_pages(analysis: SweepAnalysis, figures: Collection[str], given: Sequence[str] = ()) -> dict[str, str]:
    """`report.html`, which needs no other file, and `report.md`, which shows the figures of these names."""
    context = sweep_context(analysis, given)
    shown = {name: caption for name, caption in SWEEP_FIGURES.items() if f"{name}.svg" in figures}
    return {
        "report.html": rendered("sweep.html", **context),
        "report.md": rendered("sweep.md", **context, captions=shown, saved=saved_text(analysis.effort)),
    }
