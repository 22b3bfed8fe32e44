"""Which earlier trials may a search begin with? Those of a study, or of the store, that it could have made itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from ablation_suite.core.config.errors import UserError
from ablation_suite.core.config.levels import leaves
from ablation_suite.core.config.menu import identity_data
from ablation_suite.core.config.run_config import RunConfig
from ablation_suite.core.config.runtime import Runtime
from ablation_suite.core.config.schema import Document, validate
from ablation_suite.core.runs.identity import RECIPE, canonical, data_fingerprint, run_id
from ablation_suite.core.runs.run_folder import RunFolder
from ablation_suite.core.runs.store import run_folders
from ablation_suite.core.runs.teachers import pinned
from ablation_suite.sweeps.earlier import RUNS, open_earlier
from ablation_suite.sweeps.from_optuna import as_trial
from ablation_suite.sweeps.menu import FEWEST_SOURCES
from ablation_suite.sweeps.objectives import mean, measured, violations
from ablation_suite.sweeps.parameter import Parameter
from ablation_suite.sweeps.space import Values, read_space
from ablation_suite.sweeps.spec import Sweep
from ablation_suite.sweeps.storage import StorageError
from ablation_suite.sweeps.storage_errors import hide_password
from ablation_suite.sweeps.study import Study, distribution
from ablation_suite.sweeps.trial import Outcome, Trial

BEGUN_WITH = "begun with"
"""The attribute of a study: source -> what was taken over and left out, or None where that was interrupted."""


@dataclass(frozen=True, kw_only=True)
class _Offer:
    """An earlier trial: what it trained, and what its study says of it, which may be nothing."""

    config: RunConfig
    trial: Trial | None = None
    otherwise: str = ""
    """Why its study's word does not count here; its runs may still be in the store."""


@dataclass(kw_only=True)
class _Taken:
    """An offer in the words of this search."""

    values: Values
    outcome: Outcome = "complete"
    objectives: Mapping[str, float] = field(default_factory=dict)
    found: Mapping[str, float] = field(default_factory=dict)
    """What was measured of it."""
    curve: Mapping[int, float] = field(default_factory=dict)
    attributes: dict[str, Any] = field(default_factory=dict)


class _LeftOut(Exception):
    """Why an earlier trial says nothing about this search."""


def begin_with(
    study: Study, source: str | None, runtime: Runtime, url: str | None, tell: Callable[[str], None]
) -> None:
    """Add what fits of the source to the study, as imported trials, and tell what was left out and why.

    A trial fits where this search, given its values, would train the very same: the same RunConfigs on the same data by
    the same recipe. What an interrupted call had not taken over yet is taken over first. Raises StorageError.
    """
    begun = dict(study.study.user_attrs.get(BEGUN_WITH, {}))
    interrupted = [name for name, told in begun.items() if told is None]
    wanted = {name: name for name in interrupted} | ({hide_password(source): source} if source else {})
    for name, each in wanted.items():
        try:
            offers = list(_offers(study, each, runtime, url))
        except StorageError as error:
            if each == source:
                raise
            tell(f"{error}; what an earlier call has not taken over of it is left out")
            offers = []
        study.study.set_user_attr(BEGUN_WITH, {**begun, name: None})
        begun[name] = _take_over(study, name, offers, runtime)
        study.study.set_user_attr(BEGUN_WITH, begun)
        for line in told_lines(name, begun[name]):
            tell(line)
    num_sources = len(study.in_space(study.imported()))
    if wanted and study.sweep.spec.sampler.name == "cmaes" and 0 < num_sources < FEWEST_SOURCES:
        tell(
            f"  CMA-ES begins with {FEWEST_SOURCES} complete trials or more, so that these {num_sources} do not move it"
        )


def begun_with(study: Study) -> dict[str, dict[str, Any]]:
    """Source -> what was taken over of it and what was left out."""
    return {name: told for name, told in study.study.user_attrs.get(BEGUN_WITH, {}).items() if told is not None}


def told_lines(source: str, told: Mapping[str, Any]) -> list[str]:
    """What a source came to, for people: one line, and one for each reason to leave a trial out."""
    known = f", {told['known']} are in the study already" if told["known"] else ""
    lines = [f"--from {source}: {told['taken']} of {told['offered']} trials inform this search{known}"]
    return [*lines, *(f"  {number} left out: {why}" for why, number in told["left_out"].items())]


def _take_over(study: Study, source: str, offers: Sequence[_Offer | _LeftOut], runtime: Runtime) -> dict[str, Any]:
    num_taken, num_known, left_out = 0, 0, Counter[str]()
    fingerprints: dict[str, str] = {}
    with study.lock():
        there = {canonical(each.values) for each in study.trials() if each.outcome not in ("failed", "waiting")}
        for offer in offers:
            try:
                if isinstance(offer, _LeftOut):
                    raise offer
                values = fitting_values(study.sweep, offer.config)
                if canonical(values) in there:
                    num_known += 1
                    continue
                taken = _taken(study.sweep, offer, values, runtime, fingerprints)
            except _LeftOut as reason:
                left_out[str(reason)] += 1
                continue
            taken.attributes["imported_from"] = source
            study.study.add_trial(_frozen(study.sweep, taken))
            there.add(canonical(values))
            num_taken += 1
    left = dict(left_out.most_common())
    return {"taken": num_taken, "offered": len(offers), "known": num_known, "left_out": left}


def fitting_values(sweep: Sweep, config: RunConfig) -> Values:
    """The values with which a search would make a RunConfig of another seed; says which difference there is if none."""
    data = config.model_dump(mode="json")
    values: Values = {}
    for parameter in sweep.space.parameters:
        if parameter.is_active(values):
            values[parameter.path] = _value(parameter, data)
    theirs, ours = (
        dict(leaves({key: value for key, value in identity_data(each).items() if key != "seed"}))
        for each in (config, sweep.run_config(values, config.seed))
    )
    for path in dict.fromkeys([*ours, *theirs]):
        if ours.get(path) != theirs.get(path):
            raise _LeftOut(f"trained otherwise: {path} is not {ours.get(path)} there")
    return values


def _value(parameter: Parameter, data: Any) -> Any:
    value = data
    for step in parameter.path.split("."):
        value = value.get(step) if isinstance(value, Mapping) else None
    if parameter.kind == "choice":
        alike = {label: _num_alike(level, value) for label, level in parameter.levels.items()}
        found = max(alike, key=lambda label: alike[label])
        if not alike[found]:
            raise _LeftOut(f"{parameter.path} has another level there")
        return found
    if value is None or not parameter.contains(value):
        raise _LeftOut(f"{parameter.path} lies outside its range, or between its steps")
    return parameter.on_step(value)


def _num_alike(level: Any, value: Any) -> int:
    """How many words of a level a setting has, all of them; none where one differs."""
    if isinstance(level, Mapping):
        parts = [
            _num_alike(each, value.get(key) if isinstance(value, Mapping) else None) for key, each in level.items()
        ]
        return sum(parts) if all(parts) else 0
    if isinstance(level, list | tuple):
        return int(isinstance(value, list) and list(level) == value)
    found = value.get("name") if isinstance(value, Mapping) else value
    return int(found == level and isinstance(found, bool) == isinstance(level, bool))


def _taken(sweep: Sweep, offer: _Offer, values: Values, runtime: Runtime, fingerprints: dict[str, str]) -> _Taken:
    """From the records of its runs where the store has them for each seed, else from what its study says."""
    folders = []
    for seed in sweep.seeds:
        config = pinned(sweep.run_config(values, seed), runtime)
        folders.append(RunFolder(runtime.store / run_id(config, data_fingerprint(config, runtime, fingerprints))))
    records = [each.record() for each in folders if each.has_job()]
    runs = [measured(record) for record in records if record is not None]
    needed = (*sweep.objectives, *sweep.spec.constraints)
    if len(runs) == len(folders) and all(name in each for name in needed for each in runs):
        scores = {str(seed): each[sweep.spec.metric] for seed, each in zip(sweep.seeds, runs, strict=True)}
        names, found = [each.run_id for each in folders], mean(runs)
        return _Taken(values=values, objectives=found, found=found, attributes={"runs": names, "scores": scores})
    trial = offer.trial
    if offer.otherwise or trial is None:
        raise _LeftOut(offer.otherwise)
    told = {**trial.measured, **trial.objectives}
    attributes = {"outcome": trial.outcome, "reason": trial.reason} if trial.outcome == "diverged" else {}
    if trial.outcome == "complete":
        for name in needed:
            if name not in told:
                raise _LeftOut(f"its study says nothing of {name}, and its runs are not in this store")
        return _Taken(values=values, objectives=told, found=told)
    if sweep.is_multi and trial.outcome == "pruned":
        raise _LeftOut("stopped early, which says nothing of several objectives")
    return _Taken(values=values, outcome=trial.outcome, curve=trial.curve, attributes=attributes)


def _frozen(sweep: Sweep, taken: _Taken) -> FrozenTrial:
    """The trial for the study; a complete one is of the first generation of a genetic algorithm."""
    is_complete = taken.outcome == "complete"
    generation = optuna.samplers.NSGAIISampler._get_generation_key()
    last = list(taken.curve.values())[-1:] or None
    return optuna.trial.create_trial(
        state=TrialState.COMPLETE if is_complete else TrialState.PRUNED,
        values=[taken.objectives[name] for name in sweep.objectives] if is_complete else last,
        params=taken.values,
        distributions={each.path: distribution(each) for each in sweep.space.parameters if each.path in taken.values},
        intermediate_values=dict(taken.curve),
        user_attrs={**taken.attributes, **({"measured": dict(taken.found)} if taken.found else {})},
        system_attrs={generation: 0} if is_complete and sweep.spec.sampler.name == "nsga2" else {},
        constraints=violations(sweep.spec.constraints, taken.found) if is_complete else {},
    )


def _offers(study: Study, source: str, runtime: Runtime, url: str | None) -> Iterator[_Offer | _LeftOut]:
    if source == RUNS:
        yield from _offers_of_runs(study.sweep, runtime)
        return
    with open_earlier(source, study.sweep, runtime, url) as earlier:
        known = earlier.user_attrs["identity"]
        ours = study.study.user_attrs["identity"]
        otherwise = ", ".join(_other(known, ours, study.sweep))
        base, space = (Document(data=known[key], source=source) for key in ("base", "space"))
        names = known.get("metrics", [known["metric"]])
        for frozen in earlier.get_trials(deepcopy=False):
            trial = as_trial(frozen, names)
            if trial.outcome not in ("complete", "pruned", "diverged"):
                yield _LeftOut(f"{trial.outcome} there")
                continue
            try:
                config = validate(RunConfig, read_space(space).apply(base, trial.values))
            except UserError as error:
                yield _LeftOut(f"its settings cannot be read here: {str(error).splitlines()[0]}")
                continue
            foreign = trial.is_imported and "imported_from" not in frozen.user_attrs
            word = "imported there, so that nothing tells what it trained" if foreign else otherwise
            yield _Offer(config=config, trial=trial, otherwise=word)


def _other(known: Mapping[str, Any], ours: Mapping[str, Any], sweep: Sweep) -> Iterator[str]:
    """What else than single settings makes the scores of another study no scores of this one."""
    for key, words in (("data", "other data"), ("recipe", "another version of the training arithmetic")):
        if known[key] != ours[key]:
            yield words
    theirs = known.get("metrics", [known["metric"]])
    if not set(sweep.objectives) <= {*theirs, *sweep.spec.constraints} and known["metric"] != ours["metric"]:
        yield f"another metric, {' and '.join(theirs)}"
    if known["seeds"] != ours["seeds"]:
        yield f"other seeds, {len(known['seeds'])} per trial"
    if (known["pruner"]["name"] == "wilcoxon") != (ours["pruner"]["name"] == "wilcoxon"):
        yield "a pruner that compares other steps"


def _offers_of_runs(sweep: Sweep, runtime: Runtime) -> Iterator[_Offer | _LeftOut]:
    """Every finished run of the store, those that differ in the seed alone as one."""
    found: dict[str, RunConfig] = {}
    for folder in run_folders(runtime.store):
        try:
            if not folder.is_finished():
                yield _LeftOut("not finished")
                continue
        except PermissionError:
            yield _LeftOut("somebody else's, which may not be read")
            continue
        job = folder.job()
        if job["config"].get("seed") not in sweep.seeds:
            yield _LeftOut("a run of another seed than a search's")
        elif job.get("recipe") != RECIPE:
            yield _LeftOut("another version of the training arithmetic")
        else:
            try:
                config = validate(RunConfig, Document(data=job["config"], source=str(folder.path / "run.json")))
            except UserError as error:
                yield _LeftOut(f"its settings cannot be read here: {str(error).splitlines()[0]}")
                continue
            found.setdefault(canonical(identity_data(config.model_copy(update={"seed": 0}))), config)
    for config in found.values():
        yield _Offer(config=config, otherwise="other data, or not finished for each seed")
