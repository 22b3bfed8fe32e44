"""What do the verbs of the reports do? `report` writes and checks reports, `compare` sets runs side by side."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import click

from ablation_suite import options
from ablation_suite.ablations.audit import audit
from ablation_suite.ablations.plan import Plan, make_plans
from ablation_suite.core.config.paths import typed
from ablation_suite.core.config.runtime import Runtime
from ablation_suite.core.config.schema import Fault, SchemaError
from ablation_suite.core.runs.run_folder import RunFolder
from ablation_suite.core.runs.store import find_run
from ablation_suite.core.tracking.publisher import notes
from ablation_suite.core.tracking.wandb_report import can_save_reports
from ablation_suite.output import say
from ablation_suite.reports.design import design_of
from ablation_suite.reports.layout import TableLayout
from ablation_suite.reports.readings import record_read, sentence, write_summary
from ablation_suite.reports.thumbnails import thumbnails
from ablation_suite.reports.wandb_page import read_page


def report(
    words: tuple[str, ...],
    out: str | None,
    layouts: list[TableLayout],
    publish: bool,
    checked: str | None,
    tuned: bool,
    runtime: Runtime,
) -> int:
    """Write tables, curves and pages from finished runs; nothing is trained."""
    if checked:
        return _check(typed(checked), runtime)
    if not words:
        raise click.UsageError("name a SPEC, or a folder of reports with --check")
    specs, overrides = options.split_words(words)
    plans = make_plans(specs, runtime, overrides, tuned=tuned)
    folder = typed(out) if out else Path(runtime.results) / "report"
    say_reports(plans, runtime, folder, layouts)
    empty = [plan for plan in plans if not _has_record(plan, runtime)]
    for plan in empty:
        again = options.command("run", plan.ablation.source, *plan.ablation.overrides, carry=options.FOLDER_NAMES)
        say(f"{plan.ablation.ablation}: none of its {len(plan.cells)} runs is finished; train them: {again}", err=True)
    for plan in plans if publish else []:
        publish_report(plan, folder / plan.ablation.ablation, runtime)
    return 1 if len(empty) == len(plans) else 0


def compare(runs: tuple[str, ...], as_json: bool, runtime: Runtime) -> None:
    """Compare finished runs with the first: settings that differ, and the paired difference on the same images."""
    from ablation_suite.reports.compare import compare_runs, comparison_json, comparison_text

    if len(runs) < 2:
        raise click.UsageError("name two runs or more, by the beginnings of their ids")
    split, found = compare_runs([find_run(runtime.store, run) for run in runs])
    if split == "test":
        tell_read(runtime, "compare", "", len(found))
    if as_json:
        say(json.dumps(comparison_json(split, found), indent=1))
    else:
        say("\n".join(comparison_text(split, found)))


def say_reports(plans: Sequence[Plan], runtime: Runtime, folder: Path, layouts: Sequence[TableLayout]) -> None:
    """Write the reports, and say where they and the tables for papers are."""
    for path in write_reports(plans, runtime, folder, layouts):
        say(f"report: {path}")
    for layout in layouts:
        over_blocks = "blocks" in layout.axes
        names = dict.fromkeys(plan.ablation.family if over_blocks else plan.ablation.ablation for plan in plans)
        for name in filter(None, names):
            say(f"table: {folder / name / 'tables' / layout.name}.md, .csv, .tex, .narrow.tex")


def write_reports(
    plans: Sequence[Plan], runtime: Runtime, out: Path, layouts: Sequence[TableLayout] = ()
) -> list[Path]:
    """The pages of all plans with their audits, the index first; layouts of tables for papers beside them.

    SchemaError names the specs whose metric no finished run of theirs has.
    """
    from ablation_suite.reports.build import build_report
    from ablation_suite.reports.reader import Reader, answer_split

    reader, audits, images, looks = Reader(runtime.store), {}, {}, []
    refused = [(plan.ablation.source, reader.results(design_of(plan)).refusal) for plan in plans]
    if faults := [Fault(source, "metric", why) for source, why in refused if why]:
        raise SchemaError(faults)
    for plan in plans:
        arms = {arm.name: plan.of_arm(arm.name)[0].config for arm in plan.ablation.arms}
        records = reader.records(design_of(plan))
        num_classes = next((len(each["classes"]) for group in records.values() for each in group), 0)
        name = plan.ablation.ablation
        audits[name] = audit(plan.ablation, arms, records, num_classes or 100)
        images[name] = thumbnails(arms[plan.ablation.baseline].data, runtime)
        finished = [record for group in records.values() for record in group]
        if answer_split(finished, plan.ablation.metric) == "test":
            looks.append((name, len(finished)))
    pages = build_report(plans, runtime.store, out, audits=audits, images=images, layouts=layouts, reader=reader)
    for name, num_runs in looks:
        tell_read(runtime, "report", name, num_runs)
    if looks:
        write_summary(Path(runtime.results), out)
    return pages


def _has_record(plan: Plan, runtime: Runtime) -> bool:
    return any(RunFolder(runtime.store / cell.run_id).record_path.exists() for cell in plan.cells)


def publish_report(plan: Plan, folder: Path, runtime: Runtime) -> None:
    """Give W&B a report that was written to a folder, and say where it is and what it lacks; TrackerError as there."""
    from ablation_suite.core.tracking.wandb_artifacts import log_report

    page, ablation = read_page(folder), plan.ablation
    urls, told = log_report(runtime, ablation.project, ablation.ablation, folder, page)
    for url in urls:
        say(f"published: {url}")
    if told:
        say(told, err=True)
    if not can_save_reports():
        say("no W&B Report was made; for one: pip install wandb-workspaces", err=True)
    runs = [RunFolder(runtime.store / cell.run_id) for cell in plan.cells]
    num_missing = sum("where" not in notes(run).get("online", {}) for run in runs)
    if num_missing:
        sync = options.command("sync", carry=options.FOLDER_NAMES)
        say(f"{num_missing} of {len(runs)} runs are not at W&B yet; send them with: {sync}", err=True)


def tell_read(runtime: Runtime, command: str, ablation: str, num_runs: int) -> None:
    """Record that test images were looked at, and say how often that has been."""
    what = ablation or "comparisons of runs"
    try:
        say(sentence(what, record_read(Path(runtime.results), command, ablation, num_runs)), err=True)
    except OSError as error:  # somebody else's results
        say(f"{what}: this reading of the test split could not be recorded ({error})", err=True)


def _check(folder: Path, runtime: Runtime) -> int:
    from ablation_suite.reports.check import check_reports

    faults = check_reports(folder, runtime)
    for path, found in faults.items():
        told = f"{len(found)} fault{'s' * (len(found) > 1)}" if found else "every number is what the runs say"
        say(f"{path}: {told}")
        for fault in found:
            say(f"  {fault}")
    return 1 if any(faults.values()) else 0
