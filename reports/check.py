"""Does a written report still say what its runs say? Every number is computed again from the run folders."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ablation_suite.core.config.errors import UserError
from ablation_suite.core.runs.files import read_json
from ablation_suite.reports.analysis import FORMAT, Analysis, analyse
from ablation_suite.reports.build import text_files
from ablation_suite.reports.consistency import unlike
from ablation_suite.reports.design import Design
from ablation_suite.reports.page import report_html
from ablation_suite.reports.results import Reader, Results

MOST_SHOWN = 20


class ReportError(UserError):
    """A report or a run that cannot be read, with its path."""


def check_reports(folder: Path) -> dict[Path, list[str]]:
    """Each report in a folder, or the one that it is -> what is wrong with it, nothing where all is well.

    Wrong is: a number that has drifted from the run folders, a page or a table file that no longer holds it, a run
    that is missing or damaged, a record that its own outputs contradict, and arms trained by different recipes, data,
    library versions or devices.
    """
    paths = sorted(path.parent for path in (*folder.glob("report.json"), *folder.glob("*/report.json")))
    if not paths:
        raise ReportError(f"{folder}: holds no report.json, nor does a folder in it")
    return {path: _shortened(_told(path)) for path in paths}


def _told(folder: Path) -> list[str]:
    """The faults of one report; one that cannot be read has that fault, and the others are checked none the less."""
    try:
        return list(_faults(folder))
    except ReportError as error:
        return [str(error)]


def _faults(folder: Path) -> Iterator[str]:
    written = _read(folder / "report.json")
    try:
        design, store = Design.from_json(written["design"]), folder / written["store"]
        audit = [
            {key: str(finding[key]) for key in ("arm", "kind", "text", "severity")} for finding in written["audit"]
        ]
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ReportError(f"{folder / 'report.json'}: is no report of this suite ({error})") from error
    results = Reader(store).results(design)
    analysis = analyse(results, audit)
    yield from (f"run {run.describe()}" for run in results.problems())
    yield from unlike(analysis.making)
    yield from _contradictions(results)
    now = json.loads(json.dumps(analysis.to_json()))
    yield from _drift({key: value for key, value in written.items() if key != "store"}, now, "")
    yield from _stale_files(folder, analysis)


def _read(path: Path) -> dict[str, Any]:
    try:
        written = read_json(path)
    except (OSError, ValueError) as error:
        raise ReportError(f"{path}: cannot be read ({error})") from error
    if not isinstance(written, dict) or written.get("format") != FORMAT:
        raise ReportError(f"{path}: is no report of format {FORMAT}, which this version checks")
    return written


def _contradictions(results: Results) -> Iterator[str]:
    """Records whose accuracy is not that of the outputs beside them, or that are another run's."""
    for run in results.runs:
        if run.record is None or run.outputs is None:
            continue
        said, found = run.record["metrics"].get(f"{results.split}/accuracy"), float(run.outputs.correct.mean())
        if said is None or not math.isclose(said, found, abs_tol=1e-6):
            yield f"run {run.run_id}: its record says accuracy {said}, its outputs say {found:.6f}"
        if run.record.get("run_id", run.run_id) != run.run_id:
            yield f"run {run.run_id}: holds the record of run {run.record['run_id']}"


def _drift(written: Any, now: Any, path: str) -> Iterator[str]:
    """Every place at which two JSON values differ; numbers may differ in the last of the six digits they have."""
    if isinstance(written, dict) and isinstance(now, dict):
        for key in dict.fromkeys([*written, *now]):
            if key not in written or key not in now:
                yield f"{path}{key}: " + ("the runs say nothing of it" if key in written else "the report lacks it")
            else:
                yield from _drift(written[key], now[key], f"{path}{key}.")
    elif isinstance(written, list) and isinstance(now, list) and len(written) == len(now):
        for index, (old, new) in enumerate(zip(written, now, strict=True)):
            yield from _drift(old, new, f"{path}{index}.")
    elif not _same(written, now):
        yield f"{path.rstrip('.')}: the report says {_brief(written)}, the runs say {_brief(now)}"


def _same(written: Any, now: Any) -> bool:
    numbers = all(isinstance(each, int | float) and not isinstance(each, bool) for each in (written, now))
    return math.isclose(written, now, rel_tol=2e-5, abs_tol=1e-12) if numbers else bool(written == now)


def _stale_files(folder: Path, analysis: Analysis) -> Iterator[str]:
    for name, text in text_files(analysis).items():
        path = folder / name
        if not path.is_file():
            yield f"{name}: is missing"
        elif path.read_bytes() != text.encode():
            yield f"{name}: does not hold what the runs say"
    path = folder / "report.html"
    if not path.is_file():
        yield "report.html: is missing"
        return
    page = _without_images(path.read_text(encoding="utf-8"))
    if all(page != _without_images(report_html(analysis, has_index=each)) for each in (False, True)):
        yield "report.html: does not hold what the runs say"


def _without_images(page: str) -> str:
    """A page without the thumbnails, which are no numbers and need the data."""
    return re.sub(r'<img src="data:image/[^"]*" alt="[^"]*">', "", page)


def _brief(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _shortened(faults: list[str]) -> list[str]:
    more = len(faults) - MOST_SHOWN
    return [*faults[:MOST_SHOWN], f"and {more} more"] if more > 1 else faults
