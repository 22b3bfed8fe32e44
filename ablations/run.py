"""What happens on `ablate run`? Plan, train what is missing, say how it went, and write the report when asked."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path

import click

from ablations.drive import Outcome, drive
from ablations.plan import Plan, folder, jobs, make_plans
from ablations.progress import Progress
from core import options
from core.menu import build
from core.runtime import Runtime
from core.schema import Fault, SchemaError
from core.tracking import check_tracker


@click.command()
@click.argument("words", nargs=-1, required=True, metavar="SPEC... [path=value ...]")
@click.option("--arm", "arms", multiple=True, help="Only this arm (again for more).")
@click.option("--seed", "seeds", multiple=True, type=int, help="Only this seed (again for more).")
@click.option("--report", "with_report", is_flag=True, help="Write the report when the runs are done.")
@click.option("--join", is_flag=True, help="Help another driver that works in the same results folder.")
@options.as_json
@options.training
def run(
    words: tuple[str, ...],
    arms: tuple[str, ...],
    seeds: tuple[int, ...],
    with_report: bool,
    join: bool,
    as_json: bool,
    runtime: Runtime,
) -> int:
    """Train every missing run of specs; finished runs are never trained twice.

    Exit status 0: all done; 1: some runs failed, and the next call tries them again; 2: the input was wrong.
    """
    specs, overrides = options.split_words(words)
    check_tracker(runtime.tracker)
    plans = make_plans(specs, runtime, overrides)
    chosen = jobs(_only(plan, arms, seeds) for plan in plans)
    try:
        _prepare_data(plans, runtime)
        outcome = drive(chosen, runtime, Progress(), join=join)
    except (KeyboardInterrupt, SystemExit):
        words_again = shlex.join(["ablate", "run", *words])
        click.echo(f"\nstopped; finished runs are kept, and `{words_again}` goes on from here", err=True)
        raise
    _summarise(outcome, len(chosen), as_json)
    if with_report:
        from importlib import import_module

        write_reports = import_module("reports.cli").write_reports
        for path in write_reports(plans, runtime, Path(runtime.results) / "report"):
            click.echo(f"report: {path}")
    return 1 if outcome.failed else 0


def _prepare_data(plans: list[Plan], runtime: Runtime) -> None:
    """Open every data set that a missing run needs, so that faults show and images are decoded before training."""
    missing = [c for plan in plans for c in plan.cells if not folder(c, runtime.store).record_path.exists()]
    for entry in {cell.config.data.model_dump_json(): cell.config.data for cell in missing}.values():
        build(entry, data_root=Path(runtime.data_root), cache=Path(runtime.cache)).load()


def _only(plan: Plan, arms: tuple[str, ...], seeds: tuple[int, ...]) -> Plan:
    """The plan without the cells that were not asked for; SchemaError names an arm or a seed that it does not have."""
    for arm in arms:
        plan.ablation.arm(arm)
    for seed in set(seeds) - set(plan.ablation.seeds):
        known = ", ".join(map(str, plan.ablation.seeds))
        message = f"{seed} is none of the spec's seeds ({known}); set seeds="
        raise SchemaError([Fault("command line", "--seed", message)])
    cells = tuple(cell for cell in plan.cells if (not arms or cell.arm in arms) and (not seeds or cell.seed in seeds))
    return Plan(ablation=plan.ablation, cells=cells)


def _summarise(outcome: Outcome, num_runs: int, as_json: bool) -> None:
    if as_json:
        data = {"finished": outcome.finished, "failed": outcome.failed, "reused": outcome.reused}
        click.echo(json.dumps(data, indent=1))
        return
    text = f"{num_runs} runs: {len(outcome.finished)} trained, {outcome.reused} finished before"
    click.echo(text + (f", {len(outcome.failed)} failed" if outcome.failed else ""))
    for name, reason in outcome.failed.items():
        click.echo(f"  failed {name}: {reason}", err=True)
    sys.stdout.flush()
