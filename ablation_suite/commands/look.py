"""What do the looking verbs print? check, plan, diff, status, show: they read files and leave nothing behind."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import click

from ablation_suite import options
from ablation_suite.ablations.audit import ASSUMED_NUM_CLASSES, as_text, finished_records
from ablation_suite.ablations.audit import audit as make_audit
from ablation_suite.ablations.effect import Effects, place_of, try_effects
from ablation_suite.ablations.find import find_specs
from ablation_suite.ablations.plan import Plan, changed_parts, folder, make_plan, make_plans
from ablation_suite.ablations.resolve import changed_settings, describe, resolve_blocks
from ablation_suite.ablations.spec import Ablation
from ablation_suite.core.config.levels import leaves
from ablation_suite.core.config.run_config import RunConfig
from ablation_suite.core.config.runtime import Runtime
from ablation_suite.core.config.schema import Fault, SchemaError
from ablation_suite.core.data.dataset import DataError
from ablation_suite.core.runs.labels import Labels
from ablation_suite.core.runs.shape import Record
from ablation_suite.core.runs.store import find_run
from ablation_suite.output import say


def check(words: tuple[str, ...], quick: bool, as_json: bool, runtime: Runtime) -> int:
    """Check specs and list all their faults; exit status 2 if there are any."""
    specs, overrides = options.split_words(words)
    faults: list[Fault] = []
    good = []
    for path in find_specs(specs):
        try:
            for ablation, arms in resolve_blocks(path, overrides):
                effects = Effects(untried="--quick") if quick else try_effects(ablation, arms, runtime)
                of_block = f"block {ablation.block}" if ablation.block else ""
                said = [(message, asking) for message, asking in effects.misfits.items()]
                said += [(message, [arm]) for arm, message in effects.broken.items()]
                faults += [Fault(str(path), place_of(asking, ablation.block), message) for message, asking in said]
                for arm in effects.without:
                    message = "the factor has no effect: its first steps are the baseline's"
                    faults.append(Fault(str(path), f"arms.{arm}", message + (f" in {of_block}" if of_block else "")))
                if not effects.misfits:
                    good.append(
                        {"spec": str(path), "ablation": ablation.ablation, "arms": list(arms), **asdict(effects)}
                    )
        except SchemaError as error:
            faults += error.faults
    if as_json:
        say(json.dumps({"good": good, "faults": [fault._asdict() for fault in faults]}, indent=1))
    else:
        for each in good:
            tried = f"not tried: {each['untried']}" if each["untried"] else "two steps of each tried"
            say(f"{each['spec']}: reads well, {len(each['arms'])} arms; {tried}")
            for line in each["groups"]:
                say(f"  groups: {line}")
            for arm, moved in each["moved"].items():
                say(f"  {arm}: moved outside its factor: {', '.join(moved)}")
        for fault in faults:
            say(str(fault), err=True)
    return 2 if faults else 0


def plan(
    words: tuple[str, ...], probe: bool, workers: tuple[int, ...], as_json: bool, tuned: bool, runtime: Runtime
) -> None:
    """Show the runs that specs need: arm x seed, finished, failed or missing, and what each arm changes."""
    if workers and not probe:
        raise click.UsageError("--workers is for a forecast; add --probe")
    specs, overrides = options.split_words(words)
    plans = make_plans(specs, runtime, overrides, tuned=tuned)
    forecast = None
    if probe:
        from ablation_suite.ablations.forecast import forecast as make_forecast

        forecast = make_forecast(plans, runtime, workers, partial(say, err=True))
    if as_json:
        data = [_plan_data(each, runtime.store) for each in plans]
        say(json.dumps({"plans": data, "forecast": forecast}, indent=1))
        return
    for each in plans:
        _print_plan(each, runtime.store)
    cells = {cell.run_id: folder(cell, runtime.store).status() for each in plans for cell in each.cells}
    num_cells = sum(len(each.cells) for each in plans)
    states = list(cells.values())
    counts = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))
    say(f"{num_cells} cells are {len(cells)} runs: {counts}")
    if forecast:
        say(forecast["text"])


def diff(spec: str, arm: str, as_json: bool) -> None:
    """Show every setting in which ARM of SPEC differs from the baseline."""
    for path in find_specs([spec]):
        ablation, arms = resolve_blocks(path)[0]  # an arm differs from the baseline in the same in each block
        ablation.arm(arm)
        rows = list(changed_settings(arms[arm], arms[ablation.baseline]))
        if as_json:
            say(json.dumps([{"path": path, "baseline": old, "arm": new} for path, old, new in rows], indent=1))
        for name, old, new in [] if as_json else rows:
            say(f"{name}: {_value(old)} -> {_value(new)}")


def audit(words: tuple[str, ...], classes: int | None, as_json: bool, runtime: Runtime) -> None:
    """Show what else moved when an arm changed its factor; needs neither data nor runs, and uses runs that exist."""
    specs, overrides = options.split_words(words)
    resolved = [each for path in find_specs(specs) for each in resolve_blocks(path, overrides)]
    for ablation, arms in resolved:
        records = _records(ablation, arms, runtime)
        known = [len(record["classes"]) for group in records.values() for record in group]
        findings = make_audit(ablation, arms, records, known[0] if known else classes or ASSUMED_NUM_CLASSES)
        if as_json:
            data = {"ablation": ablation.ablation, "findings": [asdict(each) for each in findings]}
            say(json.dumps(data, indent=1))
        else:
            say("\n".join(as_text(ablation, findings)))


def status(words: tuple[str, ...], watching: bool, as_json: bool, tuned: bool, runtime: Runtime) -> None:
    """Show the runs of the results folder, or of specs: state, place in the queue, epoch, best, images/s, time left."""
    from ablation_suite.core.scheduling.known_rows import KnownRows, Row
    from ablation_suite.core.scheduling.slurm_queue import Queue
    from ablation_suite.core.scheduling.watch import format_rows, grid_rows, watch

    specs, overrides = options.split_words(words)

    queue = Queue(Path(runtime.results))
    known = KnownRows(Path(runtime.cache), runtime.store)
    known.read()

    def rows() -> list[Row]:
        if not specs:
            return grid_rows(runtime.store, queue=queue, known=known)
        plans = make_plans(specs, runtime, overrides, tuned=tuned)
        names = dict.fromkeys(cell.run_id for each in plans for cell in each.cells)
        return grid_rows(runtime.store, names, queue, known)

    if watching:
        watch(rows)
    else:
        say(json.dumps(rows(), indent=1) if as_json else format_rows(rows()))


def show(run: str, as_json: bool, runtime: Runtime) -> None:
    """Show one run, named by the beginning of its id: settings, numbers, provenance, how to make it again."""
    found = find_run(runtime.store, run)
    data: dict[str, Any] = {"state": found.status(), "damage": found.damage()}
    data |= found.job() if found.has_job() else {}
    record = found.record() if found.is_finished() else None
    data |= {**(record or {}), "failure": found.failure() if not record else None}
    if as_json:
        say(json.dumps(data, indent=1))
        return
    say("\n".join(_as_lines(found.run_id, data)))


def _as_lines(run_id: str, data: dict[str, Any]) -> Iterator[str]:
    yield f"run {run_id}: {data['state']}"
    if data["damage"]:
        yield data["damage"]
    if data["failure"]:
        yield f"failed: {data['failure'].get('message')}"
    for name in ("labels", "config", "metrics", "cost", "provenance"):
        if data.get(name):
            yield f"\n{name}"
            for path, value in leaves(data[name]):
                yield f"  {path}: {_value(value)}"
    if "labels" in data:
        yield f"\nmake it again: {remake_command(run_id, data['labels'])}"


def remake_command(run_id: str, labels: Labels) -> str:
    """The command line that trains a run again: by its spec, or by its id where it belongs to none."""
    if not {"spec", "overrides", "arm", "seed"} <= labels.keys():
        return options.command("reproduce", run_id, carry=options.FOLDER_NAMES)
    words = [labels["spec"], *labels["overrides"], "--arm", labels["arm"], "--seed", str(labels["seed"])]
    return options.command("run", *words, carry=options.FOLDER_NAMES)


def _records(ablation: Ablation, arms: dict[str, RunConfig], runtime: Runtime) -> dict[str, list[Record]]:
    """The finished records of each arm; none where the data, and so the run ids, are not known here."""
    try:
        plan = make_plan(ablation, arms, runtime)
    except DataError:
        return {}
    for run in {cell.run_id: folder(cell, runtime.store) for cell in plan.cells}.values():
        if damage := run.damage():
            say(f"run {run.run_id} is left out: {damage}", err=True)
    return finished_records(plan, runtime.store)


def _plan_data(plan: Plan, store: Path) -> dict[str, Any]:
    cells = [
        {"arm": cell.arm, "seed": cell.seed, "run_id": cell.run_id, "state": folder(cell, store).status()}
        for cell in plan.cells
    ]
    changes = {arm.name: arm.delta for arm in plan.ablation.arms}
    words = {"ablation": plan.ablation.ablation, "question": plan.ablation.question}
    return {**words, "changes": changes, "own_parts_changed": changed_parts(plan, store), "cells": cells}


def _print_plan(plan: Plan, store: Path) -> None:
    ablation, changed = plan.ablation, changed_parts(plan, store)
    say(f"{ablation.ablation}: {ablation.question}")
    if ablation.overrides:
        say(f"  overridden: {' '.join(ablation.overrides)}")
    width = max(len(arm.name) for arm in ablation.arms)
    for arm in ablation.arms:
        marks = "compound: " if arm.compound and not ablation.grid else ""
        role = "the baseline again, on other seeds" if arm.control else "baseline" if arm == ablation.arms[0] else ""
        changes = "" if arm.control else describe(arm)
        say(f"  {arm.name:{width}}  {marks}{': '.join(filter(None, [role, changes]))}")
        for line in filter(None, [arm.note, changed.get(arm.name)]):
            say(f"  {'':{width}}  {line}")
        for cell in plan.of_arm(arm.name):
            say(f"  {'':{width}}    seed {cell.seed}  {cell.run_id}  {folder(cell, store).status()}")
    say()


def _value(value: Any) -> str:
    return "(none)" if value is None else str(value)
