"""What happens on `ablate run`? Plan, train what is missing, say how it went; `ablate cancel` ends it anywhere."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from importlib import import_module
from pathlib import Path

import click

from ablation_suite import options
from ablation_suite.ablations.effect import place_of, require_steps
from ablation_suite.ablations.plan import Cell, Plan, folder, grown, jobs, make_plans
from ablation_suite.core.config.errors import UserError
from ablation_suite.core.config.menu import build
from ablation_suite.core.config.runtime import Runtime
from ablation_suite.core.config.schema import Fault, SchemaError
from ablation_suite.core.runs.run_folder import RunFolder
from ablation_suite.core.scheduling import slurm_queue
from ablation_suite.core.scheduling.console import Progress
from ablation_suite.core.scheduling.executors import Executor, open_executor
from ablation_suite.core.scheduling.grid import Outcome, drive
from ablation_suite.core.tracking.choice import EXTRAS
from ablation_suite.core.tracking.publisher import relabelled, shown_elsewhere, unpublished
from ablation_suite.core.tracking.wandb import check_tracker
from ablation_suite.output import say
from ablation_suite.reports.layout import TableLayout, refuse_blocks

CARRIED = (*options.FOLDER_NAMES, "tuned", "arms", "seeds")
"""Options that `ablate cancel` has as well."""


def run(
    words: tuple[str, ...],
    arms: tuple[str, ...],
    seeds: tuple[int, ...],
    with_report: bool,
    layouts: list[TableLayout],
    join: bool,
    as_json: bool,
    tuned: bool,
    runtime: Runtime,
) -> int:
    """Train every missing run of specs; finished runs are never trained twice."""
    if layouts and not with_report:
        raise click.UsageError("--table and --columns are of a report; add --report")
    specs, overrides = options.split_words(words)
    check_tracker(runtime.tracker)
    try:
        with open_executor(runtime) as executor:
            plans = make_plans(specs, runtime, overrides, tuned=tuned)
            if not any(plan.ablation.family for plan in plans):
                refuse_blocks(layouts)
            outcome, plans = train(plans, runtime, executor, join=join, arms=arms, seeds=seeds)
    except (KeyboardInterrupt, SystemExit):
        again = options.command("run", *words)
        queued = f"what is in the queue stays there (`{options.command('cancel', *words, carry=CARRIED)}` ends it), "
        queued = queued if runtime.executor == "slurm" else ""
        say(f"\nstopped; finished runs are kept, {queued}and `{again}` goes on from here", err=True)
        raise
    _summarise(outcome, as_json)
    trained = [RunFolder(runtime.store / name) for name in outcome.finished]
    planned = [folder(cell, runtime.store) for plan in plans for cell in plan.cells]
    taken_over = (*options.FOLDER_NAMES, *(["tracker"] if runtime.tracker in EXTRAS else []))
    sync = options.command("sync", carry=taken_over)
    warnings = (unpublished(trained, sync), shown_elsewhere(trained), relabelled(dict.fromkeys(planned), sync))
    for warning in filter(None, warnings):
        say(warning, err=True)
    if with_report:
        from ablation_suite.commands.report import say_reports

        say_reports(plans, runtime, Path(runtime.results) / "report", layouts)
    return 1 if outcome.failed else 0


def train(
    plans: list[Plan],
    runtime: Runtime,
    executor: Executor,
    *,
    join: bool = False,
    arms: tuple[str, ...] = (),
    seeds: tuple[int, ...] = (),
) -> tuple[Outcome, list[Plan]]:
    """Train what is missing, and give the plans as they grew; a rule adds seeds to the arms that are not decided."""
    total = Outcome()
    while True:
        chosen = jobs(only(plan, arms, seeds) for plan in plans)
        _prepare(plans, runtime)
        with Progress() as progress:
            outcome = drive(chosen, runtime, executor, progress, join=join)
        total.add(outcome)
        wanted = {} if outcome.failed or arms or seeds else _seeds_wanted(plans, runtime)
        if not wanted:
            return total, plans
        plans = [grown(plan, wanted.get(plan.ablation.ablation, {})) for plan in plans]


def _seeds_wanted(plans: list[Plan], runtime: Runtime) -> dict[str, dict[str, int]]:
    """Ablation -> arm -> number of seeds at the next look, for those whose rule is not satisfied."""
    ruled = [plan for plan in plans if plan.ablation.rule is not None]
    if not ruled:
        return {}
    from ablation_suite.reports.compared import seeds_wanted

    found = {plan.ablation.ablation: seeds_wanted(plan, runtime.store) for plan in ruled}
    for name, counts in found.items():
        if counts:
            text = ", ".join(f"{arm} {count}" for arm, count in counts.items())
            say(f"{name}: not decided yet; seeds at the next look: {text}", err=True)
    return {name: counts for name, counts in found.items() if counts}


def _prepare(plans: list[Plan], runtime: Runtime) -> None:
    """Open the data and look for the weights of all missing runs, so that faults show before anything is trained."""
    from ablation_suite.core.training.fit import misfits

    missing = [c for plan in plans for c in plan.cells if not folder(c, runtime.store).is_finished()]
    _check_networks(plans, missing)
    require_steps(plans, runtime)
    datasets = {}
    for entry in {cell.config.data.model_dump_json(): cell.config.data for cell in missing}.values():
        datasets[entry] = build(entry, data_root=Path(runtime.data_root), cache=Path(runtime.cache)).load()
    faults: list[Fault] = []
    for plan in plans:
        known = [cell for cell in plan.cells if cell.config.data in datasets]
        told = {c.arm: misfits(c.config, datasets[c.config.data], plan.ablation.metrics, runtime) for c in known}
        faults += _of_arms(plan, told)
    if faults:
        raise SchemaError(faults)


def _check_networks(plans: list[Plan], missing: list[Cell]) -> None:
    """SchemaError where a network cannot be built as it is asked for, or its weights are not there or do not fit."""
    told: dict[str, list[str]] = {}
    for cell in missing:
        model = cell.config.model
        if model.is_tried_early and (key := model.model_dump_json()) not in told:
            told[key] = []
            try:
                import_module("ablation_suite.core.models.weights").check_weights(model, cell.config.train_size)
            except UserError as error:
                told[key] = [str(error)]
    of_plans = [(plan, {c.arm: told.get(c.config.model.model_dump_json(), []) for c in plan.cells}) for plan in plans]
    if faults := [fault for plan, of_arms in of_plans for fault in _of_arms(plan, of_arms)]:
        raise SchemaError(faults)


def _of_arms(plan: Plan, told: Mapping[str, Iterable[str]]) -> Iterator[Fault]:
    """What was told of arms as faults of their spec, each once, with the arms where it is not true of all."""
    arms: dict[str, list[str]] = {}
    for arm, messages in told.items():
        for message in messages:
            arms.setdefault(message, []).append(arm)
    for message, having in arms.items():
        having = having if len(having) < len({cell.arm for cell in plan.cells}) else []
        yield Fault(plan.ablation.source, place_of(having, plan.ablation.block), message)


def only(plan: Plan, arms: tuple[str, ...], seeds: tuple[int, ...]) -> Plan:
    """The plan without the cells that were not asked for; SchemaError names an arm or a seed that it does not have."""
    for arm in arms:
        plan.ablation.arm(arm)
    planned = sorted({cell.seed for cell in plan.cells})
    for seed in set(seeds) - set(planned):
        known = ", ".join(map(str, planned))
        message = f"{seed} is none of the spec's seeds ({known}); set seeds="
        raise SchemaError([Fault("command line", "--seed", message)])
    cells = tuple(cell for cell in plan.cells if (not arms or cell.arm in arms) and (not seeds or cell.seed in seeds))
    return Plan(ablation=plan.ablation, cells=cells)


def cancel(
    words: tuple[str, ...], arms: tuple[str, ...], seeds: tuple[int, ...], tuned: bool, runtime: Runtime
) -> None:
    """End the unfinished runs of specs, wherever they are: in a queue, on another machine, under a driver here."""
    specs, overrides = options.split_words(words)
    plans = make_plans(specs, runtime, overrides, tuned=tuned)
    names = jobs(only(plan, arms, seeds) for plan in plans)
    folders = [folder for name in names if not (folder := RunFolder(runtime.store / name)).is_finished()]
    num_running = sum(folder.is_locked() for folder in folders)
    for folder in folders:
        folder.cancel()
    ended = slurm_queue.cancel({folder.run_id for folder in folders}, Path(runtime.results))
    say(
        f"runs cancelled: {len(folders)}; of these under way, saved and ended within seconds: {num_running}; "
        f"jobs taken out of the queue: {len(ended)}; finished runs, which stay: {len(names) - len(folders)}"
    )


def _summarise(outcome: Outcome, as_json: bool) -> None:
    if as_json:
        say(json.dumps(asdict(outcome), indent=1))
        return
    num_runs = len(outcome.finished) + len(outcome.elsewhere) + len(outcome.failed) + outcome.reused
    text = f"{num_runs} runs: {len(outcome.finished)} trained, {outcome.reused} finished before"
    text += f", {len(outcome.elsewhere)} trained by another driver" if outcome.elsewhere else ""
    say(text + (f", {len(outcome.failed)} failed" if outcome.failed else ""))
    for name, reason in outcome.failed.items():
        say(f"  failed {name}: {reason}", err=True)
    sys.stdout.flush()
