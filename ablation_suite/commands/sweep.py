"""What happens on `ablate sweep`? Search, or look at a search: status, best, export, report."""

from __future__ import annotations

import csv
import io
import json
import shlex
from collections import Counter
from pathlib import Path
from typing import Any

import click

from ablation_suite import options
from ablation_suite.core.config import schema
from ablation_suite.core.config.runtime import Runtime
from ablation_suite.core.config.schema import Fault, SchemaError
from ablation_suite.core.runs.run_folder import RunFolder
from ablation_suite.core.tracking.choice import EXTRAS
from ablation_suite.core.tracking.publisher import relabelled, shown_elsewhere, unpublished
from ablation_suite.core.tracking.wandb import check_tracker
from ablation_suite.output import say
from ablation_suite.sweeps.budget import rule_met
from ablation_suite.sweeps.objectives import measure_text
from ablation_suite.sweeps.progress import SweepProgress, as_overrides
from ablation_suite.sweeps.session import existing_study, journal_path, run_sweep, sweep_folder
from ablation_suite.sweeps.spec import Sweep, find_sweep, read_sweep
from ablation_suite.sweeps.storage_errors import hide_password
from ablation_suite.sweeps.trial import Trial, as_row, best, count, reproduce_command

LOOKS = ("status", "best", "export", "report")


def sweep(
    words: tuple[str, ...], storage: str | None, source: str | None, with_report: bool, as_json: bool, runtime: Runtime
) -> int:
    """Search settings around one RunConfig with Optuna, on validation data."""
    names, overrides = options.split_words(words)
    look = names[0] if names[0] in LOOKS else ""
    names = names[1:] if look else names
    if len(names) != 1:
        message = f"takes one sweep, not {len(names)}{schema.nearest(names[0], LOOKS) if names else ''}"
        raise SchemaError([Fault("command line", "", message)])
    search = read_sweep(find_sweep(names[0]), overrides)
    if look:
        if source:
            raise SchemaError([Fault("command line", "--from", f"begins a search, which `{look}` does not")])
        _look(look, search, runtime, storage, as_json)
        return 0
    check_tracker(runtime.tracker)
    try:
        with SweepProgress() as progress:
            ended = run_sweep(search, runtime, progress, url=storage, source=source)
    except (KeyboardInterrupt, SystemExit):
        again = options.command("sweep", *words, **_shown(storage))
        say(f"\nstopped; every trial is kept, and `{again}` goes on from here", err=True)
        raise
    with existing_study(search, runtime, storage) as study:
        trials = study.trials()
    _summarise(search, trials, ended, runtime, storage, as_json)
    runs = [RunFolder(runtime.store / run) for trial in ended for run in trial.runs]
    taken_over = (*options.FOLDER_NAMES, *(["tracker"] if runtime.tracker in EXTRAS else []))
    sync = options.command("sync", carry=taken_over)
    for warning in filter(None, (unpublished(runs, sync), shown_elsewhere(runs), relabelled(runs, sync))):
        say(warning, err=True)
    if with_report:
        _report(search, runtime, storage)
    return 1 if _all_failed(trials, ended) else 0


def _look(look: str, search: Sweep, runtime: Runtime, url: str | None, as_json: bool) -> None:
    with existing_study(search, runtime, url) as study:
        trials = study.trials()
    if look == "report":
        _report(search, runtime, url)
    elif look == "export":
        rows = [as_row(trial) for trial in trials]
        click.echo(json.dumps(rows, indent=1) if as_json else _csv(rows), nl=as_json)  # for programs, as it is
    elif look == "best":
        _print_best(search, trials, as_json)
    else:
        _summarise(search, trials, [], runtime, url, as_json)


def _summarise(
    search: Sweep, trials: list[Trial], ended: list[Trial], runtime: Runtime, url: str | None, as_json: bool
) -> None:
    if as_json:
        found = {"sweep": search.name, "outcomes": count(trials), "until": rule_met(search, trials)}
        say(json.dumps({**found, **_best_as_data(search, trials)}, indent=1))
        return
    counts = ", ".join(f"{number} {outcome}" for outcome, number in count(trials).items())
    say(f"{search.name}: {counts or 'no trial yet'}")
    if met := rule_met(search, trials):
        say(f"no new trial begins: {met}")
    if _all_failed(trials, ended):
        say("every trial failed:", err=True)
    for reason, number in Counter(trial.reason for trial in ended if trial.outcome == "failed").items():
        say(f"  {number} failed: {reason}", err=True)
    if any(each.score is not None for each in trials):
        _print_best(search, trials, as_json=False)
    place = shlex.quote(str(journal_path(search, runtime)) if url is None else hide_password(url))
    say(f"look at it: optuna-dashboard {place}")


def _print_best(search: Sweep, trials: list[Trial], as_json: bool) -> None:
    from ablation_suite.sweeps.front import front, front_sentence, unfounded

    if as_json:
        found = _best_as_data(search, trials)
        say(json.dumps(found if search.is_multi else found["best"], indent=1))
        return
    leaders = (
        front(trials, search.objectives) if search.is_multi else list(filter(None, [best(trials, search.maximize)]))
    )
    if search.is_multi and leaders:
        say(front_sentence(search, trials))
    for top in leaders:
        whose = " (imported)" if top.is_imported else ""
        told = ", ".join(f"{name} {measure_text(name, value)}" for name, value in top.objectives.items())
        say(f"{'on the front' if search.is_multi else 'best'}: trial {top.number}{whose}, {told}")
        say(f"its settings: {shlex.join(as_overrides(search.space.portable(top.values)))}")
        say(f"make it again: {reproduce_command(top, options.given(options.TRAINING_NAMES))}")
    if not leaders:
        infeasible = sum(bool(each.violated) for each in trials)
        why = f"keeps to the constraints yet; {infeasible} do not" if infeasible else "is complete yet"
        say(f"{search.name}: no trial {why}")
    for each in unfounded(trials, leaders, search):
        told = ", ".join(f"{name} {measure_text(name, value)}" for name, value in each.objectives.items())
        say(f"imported trial {each.number} was told {told}; no run stands behind it, so that it is not the best")


def _best_as_data(search: Sweep, trials: list[Trial]) -> dict[str, Any]:
    """The best trial, or the front with its hypervolume and the point that it is measured from."""
    from ablation_suite.sweeps.front import front, hypervolume, reference_point

    if not search.is_multi:
        top = best(trials, search.maximize)
        return {"best": as_row(top) if top else None}
    reference = reference_point(search, trials)
    rows = [as_row(each) for each in front(trials, search.objectives)]
    volume = hypervolume(trials, reference) if reference else None
    return {"front": rows, "hypervolume": volume, "reference": reference}


def _shown(storage: str | None) -> dict[str, str]:
    """What may be printed of a storage."""
    return {"storage": hide_password(storage)} if storage else {}


def _report(search: Sweep, runtime: Runtime, url: str | None) -> None:
    from ablation_suite.reports.sweep_page import write_sweep_report as write

    with existing_study(search, runtime, url) as study:
        folder = Path(sweep_folder(search, runtime)) / "report"
        for path in write(study, runtime, folder, options.given(options.FOLDER_NAMES)):
            say(f"report: {path}")


def _csv(rows: list[dict[str, Any]]) -> str:
    names = list(dict.fromkeys(name for row in rows for name in row))
    file = io.StringIO()
    writer = csv.DictWriter(file, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue()


def _all_failed(trials: list[Trial], ended: list[Trial]) -> bool:
    return bool(ended) and all(trial.outcome == "failed" for trial in trials)
