"""Does a written report still say what its runs say? Every number is computed again from the run folders."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ablation_suite.core.config.errors import OwnPartError, UserError, words_of
from ablation_suite.core.config.own import own_data
from ablation_suite.core.config.run_config import RunConfig
from ablation_suite.core.config.runtime import Runtime
from ablation_suite.core.config.schema import Document, validate
from ablation_suite.core.own.kept import admit
from ablation_suite.core.runs.files import read_json
from ablation_suite.reports.analysis import FORMAT, Analysis, analyse
from ablation_suite.reports.build import blocks_files, blocks_of, index_files, text_files
from ablation_suite.reports.consistency import unlike
from ablation_suite.reports.design import Design
from ablation_suite.reports.layout import TableLayout
from ablation_suite.reports.page import report_html
from ablation_suite.reports.reader import Reader
from ablation_suite.reports.results import Results
from ablation_suite.reports.thumbnails import thumbnails

MOST_SHOWN = 20


class ReportError(UserError):
    """A report or a run that cannot be read, with its path."""


def check_reports(folder: Path, runtime: Runtime | None = None) -> dict[Path, list[str]]:
    """Each report in a folder, or the one that it is -> what is wrong with it, nothing where all is well.

    An index over several, and the pages over the blocks of a spec, are checked beside their reports.

    Wrong is: a number that has drifted from the run folders, a page or a table file that no longer holds it, a run
    that is missing or damaged, a record that its own outputs contradict, and arms trained by different recipes, data,
    library versions or devices. Where `runtime` says where the data lie, a picture of another image is wrong too; where
    they are not there, pictures are passed over, since they are no numbers.
    """
    paths = sorted(path.parent for path in (*folder.glob("report.json"), *folder.glob("*/report.json")))
    if not paths:
        raise ReportError(f"{folder}: holds no report.json, nor does a folder in it")
    reports = {path: _report(path, runtime) for path in paths}
    found = {
        path: list(_faults(path, *each, runtime)) if isinstance(each, tuple) else [each]
        for path, each in reports.items()
    }
    known = {path: (each[1], each[2]) for path, each in reports.items() if isinstance(each, tuple)}
    if (folder / "index.json").is_file():
        found |= _faults_over(folder, known)
    return {path: _shortened(faults) for path, faults in found.items()}


Report = tuple[dict[str, Any], Results, Analysis]
"""What was written, and what the runs say."""


def _report(folder: Path, runtime: Runtime | None) -> Report | str:
    """One report; where it cannot be read the reason, and the others are checked none the less."""
    try:
        written = _read(folder / "report.json")
        _admit_metrics(folder, written, runtime)
        results, audit, layouts = _results(folder, written)
        return written, results, analyse(results, audit, layouts)
    except (ReportError, OwnPartError) as error:
        return str(error)


def _admit_metrics(folder: Path, written: Mapping[str, Any], runtime: Runtime | None) -> None:
    """Take up the kept code of a report's own metrics; OwnPartError where it lies outside the user's own results."""
    parts = list(own_data((written.get("design") or {}).get("own_metrics", ())))
    if not parts:
        return
    if runtime is None or not folder.resolve().is_relative_to(Path(runtime.results).resolve()):
        where = "the results of this command" if runtime is None else runtime.results
        raise OwnPartError(
            f"{folder}: has a metric of somebody's own ({parts[0]['name']}), whose code would be run, and does not lie "
            f"in {where}; if you trust whoever made it, name its results folder with --results"
        )
    admit(folder, parts)


def _results(folder: Path, written: dict[str, Any]) -> tuple[Results, list[dict[str, str]], list[TableLayout]]:
    try:
        design, store = Design.from_json(written["design"]), folder / written["store"]
        layouts = [TableLayout.from_json(each) for each in written["layouts"]]
        audit = [
            {key: str(finding[key]) for key in ("arm", "kind", "text", "severity")} for finding in written["audit"]
        ]
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ReportError(f"{folder / 'report.json'}: is no report of this suite ({words_of(error)})") from error
    return Reader(store).results(design), audit, layouts


def _faults(
    folder: Path, written: dict[str, Any], results: Results, analysis: Analysis, runtime: Runtime | None
) -> Iterator[str]:
    yield from (f"run {run.describe()}" for run in results.problems())
    yield from unlike(analysis.provenance)
    yield from _contradictions(results)
    now = json.loads(json.dumps(analysis.to_json()))
    yield from _drift({key: value for key, value in written.items() if key != "store"}, now, "")
    yield from _stale_files(folder, analysis)
    if runtime is not None:
        yield from _other_pictures(folder, results, analysis, runtime)


def _read(path: Path) -> dict[str, Any]:
    try:
        written = read_json(path)
    except (OSError, ValueError) as error:
        raise ReportError(f"{path}: cannot be read ({words_of(error)})") from error
    if not isinstance(written, dict) or written.get("format") != FORMAT:
        raise ReportError(f"{path}: is no report of format {FORMAT}, which this version checks")
    return written


def _contradictions(results: Results) -> Iterator[str]:
    """Records whose accuracy is not that of the outputs beside them, or that are another run's."""
    for run in results.runs:
        if run.record is None or run.outputs is None:
            continue
        kept = run.kept or run.outputs  # a record's accuracy is that of the kept epoch, whichever answers
        said, found = run.record["metrics"].get(f"{results.split}/accuracy"), float(kept.correct.mean())
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
    yield from _other_than(folder, text_files(analysis))
    path = folder / "report.html"
    if not path.is_file():
        yield "report.html: is missing"
        return
    page = _without_images(path.read_text(encoding="utf-8"))
    if all(page != _without_images(report_html(analysis, has_index=each)) for each in (False, True)):
        yield "report.html: does not hold what the runs say"


def _other_than(folder: Path, files: Mapping[str, str]) -> Iterator[str]:
    """Which of these files are missing, or hold something else."""
    for name, text in files.items():
        path = folder / name
        if not path.is_file():
            yield f"{name}: is missing"
        elif path.read_bytes() != text.encode():
            yield f"{name}: does not hold what the runs say"


def _faults_over(folder: Path, known: Mapping[Path, tuple[Results, Analysis]]) -> dict[Path, list[str]]:
    """What is wrong with an index, and with the pages over blocks."""
    try:
        of_index = read_json(folder / "index.json")
        names = [str(name) for name in of_index["ablations"]]
        layouts = [TableLayout.from_json(each) for each in of_index["layouts"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        return {folder: [f"index.json: cannot be read ({words_of(error)})"]}
    unread = [name for name in names if folder / name not in known]
    if unread:
        return {folder: [f"index.html: cannot be checked without the report of {name}" for name in unread]}
    ordered = [known[folder / name] for name in names]
    found = {folder: list(_other_than(folder, index_files([analysis for _, analysis in ordered])))}
    families: dict[str, list[Results]] = {}
    for results, _ in ordered:
        families.setdefault(results.design.family, []).append(results)
    for name, family in families.items():
        if name and len(family) > 1:
            files = blocks_files(blocks_of(family, layouts))
            found[folder / name] = list(_other_than(folder / name, files))
    return found


def _other_pictures(folder: Path, results: Results, analysis: Analysis, runtime: Runtime) -> Iterator[str]:
    """The images whose picture on the page is not the one in the data; none where page or data cannot be read."""
    record = next((run.record for run in results.runs if run.usable and run.record), None)
    named = analysis.tables.get("disagreements")
    page = folder / "report.html"
    if record is None or named is None or not page.is_file():
        return
    try:
        config = validate(RunConfig, Document(data=record["config"], source="record"))
    except UserError:  # of another version
        return
    shown = _SHOWN.findall(page.read_text(encoding="utf-8"))
    there = _SHOWN.findall(report_html(analysis, thumbnails(config.data, runtime)))
    if not any(there):  # no data here
        return
    for row, ours, theirs in zip(named.rows, shown, there, strict=False):
        if ours and ours != theirs:
            yield f"report.html: shows a picture of {row.values['image']} that is not the one in the data"


_PICTURE = r'<img src="(data:image/[^"]*)" alt="[^"]*">'
_SHOWN = re.compile(rf"<li>(?:{_PICTURE})?<b>")
"""An image that the page names, with its picture or without."""


def _without_images(page: str) -> str:
    """A page without the thumbnails, which are no numbers and need the data."""
    return re.sub(_PICTURE, "", page)


def _brief(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _shortened(faults: list[str]) -> list[str]:
    more = len(faults) - MOST_SHOWN
    return [*faults[:MOST_SHOWN], f"and {more} more"] if more > 1 else faults
