"""Which runs does an ablation need, and which of them exist? Pure: a plan leaves nothing behind."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ablation_suite.ablations.find import find_specs
from ablation_suite.ablations.resolve import Arms, resolve, resolve_blocks
from ablation_suite.ablations.spec import CONTROL, Ablation, Seeds
from ablation_suite.core.config.levels import level_text
from ablation_suite.core.config.own import own_data, own_parts
from ablation_suite.core.config.run_config import RunConfig
from ablation_suite.core.config.runtime import Runtime
from ablation_suite.core.config.schema import SchemaError
from ablation_suite.core.own.kept import changed_files
from ablation_suite.core.runs.identity import data_fingerprint, job_of, run_id
from ablation_suite.core.runs.labels import Labels, Use
from ablation_suite.core.runs.run_folder import RunFolder
from ablation_suite.core.runs.shape import Job
from ablation_suite.core.runs.store import run_folders
from ablation_suite.core.runs.teachers import pinned

CONTROL_SEED_OFFSET = 500_000
"""A control's run that is paired with the baseline's seed s has seed s + this, which no spec is likely to list."""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One arm at one seed, and the run that it is; cells of several ablations may share one run."""

    arm: str
    seed: int
    """The seed that pairs it with the baseline; a control's run has its own, `config.seed`."""
    run_id: str
    config: RunConfig
    data_fingerprint: str


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Every cell of an ablation, arm by arm, the baseline first."""

    ablation: Ablation
    cells: tuple[Cell, ...]

    def of_arm(self, name: str) -> list[Cell]:
        """The cells of one arm, in the order of the seeds."""
        return [cell for cell in self.cells if cell.arm == name]


def make_plans(
    names: Iterable[str], runtime: Runtime, overrides: tuple[str, ...] = (), *, tuned: bool = False
) -> list[Plan]:
    """The plans of specs, given as paths or shipped names; SchemaError lists the faults of all of them.

    `tuned`: take up what `ablate tune` found for them, in these results.
    """
    fingerprints: dict[str, str] = {}
    resolved, faults = [], []
    for path in find_specs(names):
        try:
            resolved += _variants(path, overrides, Path(runtime.results) if tuned else None)
        except SchemaError as error:
            faults += error.faults
    if faults:
        raise SchemaError(faults)
    plans = [make_plan(ablation, arms, runtime, fingerprints) for ablation, arms in resolved]
    return [_with_added_seeds(plan, runtime.store) for plan in plans]


def make_plan(
    ablation: Ablation, arms: dict[str, RunConfig], runtime: Runtime, fingerprints: dict[str, str] | None = None
) -> Plan:
    """All cells of one resolved ablation; each data set is fingerprinted once (`fingerprints` by its config)."""
    fingerprints = {} if fingerprints is None else fingerprints
    cells = []
    for arm, config in ((arm, pinned(config, runtime)) for arm, config in arms.items()):
        fingerprint = data_fingerprint(config, runtime, fingerprints)
        cells += [_cell(arm, seed, config, fingerprint) for seed in ablation.seeds]
    return Plan(ablation=ablation, cells=tuple(cells))


def grown(plan: Plan, num_seeds: Mapping[str, int]) -> Plan:
    """The plan with seeds 0 .. n - 1 for the arms that are named, and as it was for the others."""
    cells: list[Cell] = []
    for arm in plan.ablation.arms:
        known = plan.of_arm(arm.name)
        added = range(len(known), num_seeds.get(arm.name, 0))
        cells += [*known, *(_at_seed(known[0], seed) for seed in added)]
    return Plan(ablation=plan.ablation, cells=tuple(cells))


def jobs(plans: Iterable[Plan]) -> dict[str, Job]:
    """Run id -> contents of `run.json`, each run once however many cells share it."""
    found: dict[str, Job] = {}
    for plan in plans:
        for cell in plan.cells:
            if cell.run_id in found:
                found[cell.run_id]["labels"]["ablations"].setdefault(plan.ablation.ablation, _use(plan.ablation, cell))
            else:
                found[cell.run_id] = job_of(cell.config, cell.data_fingerprint, _labels(plan.ablation, cell))
    return found


def changed_parts(plan: Plan, store: Path) -> dict[str, str]:
    """Arm -> which own part was another version in the newest earlier run of that arm, which files, and since when.

    Asked only of arms that have a cell without a run, which would be trained because of it.
    """
    missing = {cell.arm: cell for cell in reversed(plan.cells) if not folder(cell, store).has_job()}
    wanted = {
        arm: parts
        for arm, cell in missing.items()
        if (parts := {each.name: each.code for each in own_parts(cell.config)})
    }
    found: dict[str, tuple[float, str]] = {}
    for run in run_folders(store) if wanted else ():
        try:
            job: Job = run.job() if run.has_job() else {}
            labels, since = job.get("labels", {}), (run.path / "run.json").stat().st_mtime
        except OSError:  # somebody else's
            continue
        arm = labels.get("arm")
        if arm not in wanted or plan.ablation.ablation not in labels.get("ablations", ()):
            continue
        parts = {part["name"]: part["code"] for part in own_data(job["config"])}
        changed = [name for name, code in wanted[arm].items() if parts.get(name, code) != code]
        if changed and since > found.get(arm, (0.0, ""))[0]:
            files = dict.fromkeys(
                file for name in changed for file in changed_files(run.path, parts[name], wanted[arm][name])
            )
            when = time.strftime("%Y-%m-%d %H:%M", time.localtime(since))
            text = f"own part changed since {when} (run {run.run_id}): {', '.join(changed)} ({', '.join(files)})"
            found[arm] = since, text
    return {arm: text for arm, (_, text) in found.items()}


def folder(cell: Cell, store: Path) -> RunFolder:
    """The run folder of a cell."""
    return RunFolder(store / cell.run_id)


def distinct(cells: Iterable[Cell]) -> list[list[Cell]]:
    """The cells of each config, whatever their seed."""
    groups: dict[str, list[Cell]] = {}
    for cell in cells:
        groups.setdefault(cell.config.model_copy(update={"seed": 0}).model_dump_json(), []).append(cell)
    return list(groups.values())


def _variants(path: Path, overrides: tuple[str, ...], results: Path | None) -> list[tuple[Ablation, Arms]]:
    """The ablations of a spec file: one for each block; two where it takes values that tuning has found for its arms.

    What was found in results is put down as an override, so that each run's own command takes it up again.
    """
    from ablation_suite.ablations.tuned import tuned_path, tuned_variants

    variants = []
    for ablation, arms in resolve_blocks(path, overrides):
        if results is not None:
            found = tuned_path(results, ablation.ablation).absolute()
            ablation, arms = resolve(path, (*ablation.overrides, f"tuned={found}"))
        variants += (
            [(ablation, arms)] if ablation.tuned is None else tuned_variants(Path(ablation.tuned), ablation, arms)
        )
    return variants


def _cell(arm: str, seed: int, config: RunConfig, data_fingerprint: str) -> Cell:
    seeded = config.model_copy(update={"seed": seed + CONTROL_SEED_OFFSET if arm == CONTROL else seed})
    identity = run_id(seeded, data_fingerprint)
    return Cell(arm=arm, seed=seed, run_id=identity, config=seeded, data_fingerprint=data_fingerprint)


def _at_seed(cell: Cell, seed: int) -> Cell:
    return _cell(cell.arm, seed, cell.config, cell.data_fingerprint)


def _with_added_seeds(plan: Plan, store: Path) -> Plan:
    """Where a rule adds seeds, the plan with those that were added and finished before."""
    rule = plan.ablation.rule
    if rule is None:
        return plan
    counts = {arm.name: _num_finished(plan.of_arm(arm.name)[0], rule, store) for arm in plan.ablation.arms}
    return grown(plan, counts)


def _num_finished(cell: Cell, rule: Seeds, store: Path) -> int:
    """The seeds of an arm: the least that the rule asks for, and those finished beyond them without a gap."""
    for seed in range(rule.min, rule.max):
        if not folder(_at_seed(cell, seed), store).is_finished():
            return seed
    return rule.max


def _labels(ablation: Ablation, cell: Cell) -> Labels:
    """What people call a run; core passes it on to the tracker unread."""
    return {
        "project": ablation.project,
        "group": ablation.ablation,
        "job_type": cell.arm,
        "name": f"{cell.arm}-{cell.seed}",
        "arm": cell.arm,
        "seed": cell.seed,
        "factors": ablation.arm(cell.arm).delta,
        "ablations": {ablation.ablation: _use(ablation, cell)},
        "spec": ablation.source,
        "overrides": list(ablation.overrides),
    }


def _use(ablation: Ablation, cell: Cell) -> Use:
    """What the run of a cell is in one ablation, of which each run may be in several."""
    factors = ablation.arm(cell.arm).delta
    role = {CONTROL: "control", ablation.baseline: "baseline"}.get(cell.arm, "arm")
    return {
        "arm": cell.arm,
        "role": role,
        "factor": " + ".join(factors),
        "level": _level(list(factors.values())),
        "seed": cell.seed,
        "question": ablation.question,
        "tags": [ablation.ablation, *factors, *([role] if role != "arm" else [])],
    }


def _level(levels: list[Any]) -> Any:
    """One number or word as it is, so that trackers can sort by it, and anything else as a text."""
    scalar = len(levels) == 1 and isinstance(levels[0], str | int | float | bool)
    return levels[0] if scalar else " + ".join(map(level_text, levels))
