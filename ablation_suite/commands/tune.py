"""Did every arm get the same chance? `ablate tune` searches the same space with the same trials around each arm."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

from ablation_suite import options
from ablation_suite.ablations.find import find_specs
from ablation_suite.ablations.resolve import Arms, resolve
from ablation_suite.ablations.spec import CONTROL, Ablation
from ablation_suite.ablations.tuned import Tuned, TunedArm, as_document, config_digest, tuned_path
from ablation_suite.core.config import schema
from ablation_suite.core.config.runtime import Runtime
from ablation_suite.core.config.schema import Document, Fault, SchemaError
from ablation_suite.core.runs.files import write_atomic
from ablation_suite.core.scheduling.executors import open_executor
from ablation_suite.core.tracking.wandb import check_tracker
from ablation_suite.output import say
from ablation_suite.sweeps.objectives import measure_text
from ablation_suite.sweeps.progress import SweepProgress, as_overrides
from ablation_suite.sweeps.session import existing_study, run_sweep
from ablation_suite.sweeps.spec import Sweep, SweepSpec, Until, find_sweep, make_sweep, own_values, read_sweep_spec
from ablation_suite.sweeps.storage_errors import hide_password
from ablation_suite.sweeps.trial import best


def tune(words: tuple[str, ...], space: str, front: str | None, storage: str | None, runtime: Runtime) -> int:
    """Give every arm of a spec the same search, and write what it found below the results, for --tuned."""
    specs, overrides = options.split_words(words)
    check_tracker(runtime.tracker)
    searches = [(path, *make_searches(path, find_sweep(space), overrides, front)) for path in find_specs(specs)]
    status = 0
    for path, ablation, arms, sweeps in searches:
        try:
            with open_executor(runtime) as executor:
                for sweep in sweeps.values():
                    with SweepProgress() as progress:
                        run_sweep(sweep, runtime, progress, url=storage, executor=executor)
        except (KeyboardInterrupt, SystemExit):
            shown = {"storage": hide_password(storage)} if storage else {}
            again = options.command("tune", *words, **shown)
            say(f"\nstopped; every trial is kept, and `{again}` goes on from here", err=True)
            raise
        tuned = _harvest(ablation, arms, sweeps, runtime, storage, front)
        if len(tuned.arms) < len(arms):
            missing = ", ".join(arm for arm in arms if arm not in tuned.arms)
            say(f"{path}: no complete trial for {missing}; no values are written", err=True)
            status = 1
            continue
        place = tuned_path(Path(runtime.results), ablation.ablation)
        place.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(place, schema.dump(tuned.model_dump(mode="json")).encode())
        _print(tuned, place)
    return status


def make_searches(
    path: Path, sweep_path: Path, overrides: Iterable[str] = (), front: str | None = None
) -> tuple[Ablation, Arms, dict[str, Sweep]]:
    """One sweep per arm, alike in all but the arm's RunConfig; SchemaError where they cannot be alike.

    front: of several objectives, the one in which an arm's point of the front is the best.
    """
    ablation, arms = resolve(path, tuple(overrides))
    if ablation.blocks and ablation.block is None:
        message = f"tune one block at a time: block={ablation.blocks[0]}"
        raise SchemaError([Fault(str(path), "blocks", message)])
    arms = {arm: config for arm, config in arms.items() if arm != CONTROL}  # it takes the baseline's values
    spec, document, _ = read_sweep_spec(sweep_path)
    space_document = document.part(("space",))
    faults = [*_unfair(ablation, spec, space_document, str(path)), *_pointless(spec, str(sweep_path), front)]
    sweeps: dict[str, Sweep] = {}
    first = None
    for arm, config in arms.items():
        try:
            sweeps[arm] = make_sweep(
                spec,
                as_document(config),
                space_document,
                name=f"{ablation.ablation}--{arm}",
                source=str(sweep_path),
                stream=ablation.ablation,
                first=first,
                overrides=tuple(overrides),
            )
            first = own_values(sweeps[arm].space, config) if first is None else first
        except SchemaError as error:
            faults += [Fault(each.where, each.path, f"{each.message} (in arm '{arm}')") for each in error.faults]
    for sweep in sweeps.values():
        for seed in sorted(set(sweep.seeds) & set(ablation.seeds)):
            faults.append(Fault(str(path), "seeds", f"{seed} is a seed of tuning; compare with seeds below 1000"))
    if faults:
        raise SchemaError(faults)
    return ablation, arms, sweeps


def _unfair(ablation: Ablation, spec: SweepSpec, space: Document, source: str) -> Iterator[Fault]:
    if spec.until != Until():
        yield Fault(
            space.source, "until", "arms get equal trials; a rule would end their searches after different ones"
        )
    if spec.trials is None:
        yield Fault(space.source, "trials", "arms get equal trials; set `trials:` rather than `hours:`")
    for arm in ablation.arms:
        for factor in arm.delta:
            for searched in space.data if isinstance(space.data, Mapping) else ():
                if factor == searched or factor.startswith(f"{searched}."):
                    message = f"changes {factor}, which the space of the search would change again"
                    yield Fault(source, f"arms.{arm.name}", message)


def _pointless(spec: SweepSpec, source: str, front: str | None) -> Iterator[Fault]:
    """Why a search gives no one set of values, or has no front to take one from."""
    if spec.metrics and front is None:
        message = f"an arm needs one set of values; name the point of the front: --front {spec.metrics[0]}"
        yield Fault(source, "metrics", message)
    elif front is not None and front not in (known := spec.metrics):
        why = f"is no objective of {source}{schema.nearest(front, known)}; they are {', '.join(known)}"
        yield Fault("command line", "--front", f"'{front}' {why}" if known else f"{source} improves one metric alone")


def _harvest(
    ablation: Ablation, arms: Arms, sweeps: Mapping[str, Sweep], runtime: Runtime, url: str | None, front: str | None
) -> Tuned:
    from ablation_suite.sweeps.front import best_in

    found = {}
    for arm, sweep in sweeps.items():
        with existing_study(sweep, runtime, url) as study:
            trials = [each for each in study.trials() if not each.is_imported]
        top = best_in(front, trials, sweep.objectives) if front else best(trials, sweep.maximize)
        if top is not None:
            settings = sweep.space.portable(top.values)
            found[arm] = TunedArm(
                study=sweep.name,
                config=config_digest(arms[arm]),
                trial=top.number,
                score=top.objectives[front or sweep.spec.metric],
                values=settings,
            )
    spec = next(iter(sweeps.values())).spec
    return Tuned(
        ablation=ablation.ablation,
        date=datetime.now(UTC).date().isoformat(),
        sweep=spec.sweep,
        trials=spec.trials or 0,
        metric=front or spec.metric,
        objectives=spec.metrics,
        seeds=next(iter(sweeps.values())).seeds,
        overrides=ablation.overrides,
        arms=found,
    )


def _print(tuned: Tuned, path: Path) -> None:
    of_front = f"; of each front of {' and '.join(tuned.objectives)} the best in {tuned.metric}"
    told = of_front if tuned.objectives else ""
    say(f"{tuned.ablation}: {tuned.trials} trials for each of {len(tuned.arms)} arms{told}")
    width = max(map(len, tuned.arms))
    for name, arm in tuned.arms.items():
        words = "  ".join(as_overrides(arm.values))
        say(f"  {name:{width}}  {tuned.metric} {measure_text(tuned.metric, arm.score)}  {words}")
    say(f"written: {path}; taken up by --tuned, or by `tuned: PATH` in the spec")
