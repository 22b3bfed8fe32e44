"""What does `import ablation_suite as abl` offer? The verbs as functions, and what they give back (`answers.py`)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ablation_suite.ablations.plan import Plan, make_plans
from ablation_suite.ablations.spec import SHIPPED_SPECS
from ablation_suite.ablations.spec import Spec as SpecFile
from ablation_suite.answers import Answer, BlocksAnswer, Store
from ablation_suite.core.config import schema
from ablation_suite.core.config.errors import UserError
from ablation_suite.core.config.names import fitted
from ablation_suite.core.config.own import absolute, placed
from ablation_suite.core.config.paths import typed
from ablation_suite.core.config.runtime import Runtime
from ablation_suite.core.config.schema import Document
from ablation_suite.core.runs.files import write_atomic
from ablation_suite.core.runs.identity import digest
from ablation_suite.core.runs.store import find_run

if TYPE_CHECKING:
    from ablation_suite.reports.compare import RunComparison

Spec = str | Path | Mapping[str, Any]
"""A spec as the verbs take it (a file, a folder, a shipped name), or the dictionary that a YAML would hold."""


def open(results: str | Path | None = None, **settings: Any) -> Store:
    """The runs of a results folder (by default the one that the verbs take); `settings` are those of Runtime.

    UserError where there is no such folder.
    """
    runtime = _runtime(results, settings)
    if not Path(runtime.results).is_dir():
        raise UserError(f"{runtime.results}: no such results folder; it is made by the first run")
    return Store(runtime)


def plan(spec: Spec, *overrides: str, results: str | Path | None = None, **settings: Any) -> Plan:
    """Every cell of one ablation, or of one block of it (`block=NAME`), without training.

    SchemaError lists what is wrong with the spec.
    """
    plans = _plans(spec, overrides, _runtime(results, settings))
    if len(plans) > 1:
        blocks = ", ".join(f"block={each.ablation.block}" for each in plans)
        raise UserError(f"{plans[0].ablation.family}: is repeated in blocks; plan one of them with {blocks}")
    return plans[0]


def run(spec: Spec, *overrides: str, results: str | Path | None = None, **settings: Any) -> Answer | BlocksAnswer:
    """Train what is missing of one ablation, in all of its blocks, and give its answer.

    UserError names the runs that failed.
    """
    from ablation_suite.commands.run import train
    from ablation_suite.core.scheduling.executors import open_executor

    runtime = _runtime(results, settings)
    with open_executor(runtime) as executor:
        outcome, grown = train(_plans(spec, overrides, runtime), runtime, executor)
    if outcome.failed:
        raise UserError("\n".join(f"run {name} failed: {why}" for name, why in outcome.failed.items()))
    return _answer(grown, runtime)


def report(
    spec: Spec, *overrides: str, out: str | Path | None = None, results: str | Path | None = None, **settings: Any
) -> Answer | BlocksAnswer:
    """Write the report of one ablation from its finished runs, by default into RESULTS/report; nothing is trained."""
    from ablation_suite.commands.report import write_reports

    runtime = _runtime(results, settings)
    planned = _plans(spec, overrides, runtime)
    folder = typed(out) if out is not None else Path(runtime.results) / "report"
    return _answer(planned, runtime, write_reports(planned, runtime, folder))


def compare(*runs: str, results: str | Path | None = None, **settings: Any) -> Sequence[RunComparison]:
    """Finished runs, named by the beginnings of their ids, each against the first on the same images."""
    from ablation_suite.reports.compare import compare_runs

    if len(runs) < 2:
        raise UserError("name two runs or more, by the beginnings of their ids")
    store = _runtime(results, settings).store
    return compare_runs([find_run(store, each) for each in runs])[1]


def _runtime(results: str | Path | None, settings: Mapping[str, Any]) -> Runtime:
    given = {**settings, **({} if results is None else {"results": str(results)})}
    return schema.validate(Runtime, Document(data=given, source="arguments"))


def _plans(spec: Spec, overrides: Sequence[str], runtime: Runtime) -> list[Plan]:
    """The plan of one ablation, or those of all blocks of it."""
    if not isinstance(spec, str | Path | Mapping):
        raise UserError(f"a spec is a path, the name of a shipped one or a dictionary, not {spec!r}")
    name = str(_as_file(spec, Path(runtime.results)) if isinstance(spec, Mapping) else spec)
    plans = make_plans([name], runtime, tuple(overrides))
    if len(plans) > 1 and len({plan.ablation.family or plan.ablation.ablation for plan in plans}) > 1:
        raise UserError(f"{name}: holds {len(plans)} ablations, and one is asked for at a time")
    return plans


def _as_file(spec: Mapping[str, Any], results: Path) -> Path:
    """Keep a dictionary as a YAML below the results, so that every command that names the spec works later too.

    Its `base` is a dictionary, a file seen from the current folder, or the name of a shipped base. Files of own parts
    are seen from the current folder too.
    """
    metrics = {key: spec[key] for key in ("metric", "metrics") if key in spec}
    words = {key: spec[key] for key in ("ablation", "question") if key in spec}
    data = {**_from_here(spec), **words, **placed(SpecFile, metrics, lambda path: "")}
    folder = results.absolute() / "specs"
    base = data.get("base")
    if isinstance(base, Mapping):
        data["base"] = str(_written(folder / f"base-{digest(dict(base), 8)}.yaml", base))
    elif isinstance(base, str):
        shipped = SHIPPED_SPECS.parent / "bases" / f"{base}.yaml"
        data["base"] = str(shipped if shipped.is_file() and not typed(base).is_file() else typed(base).absolute())
    return _written(folder / f"{fitted(str(data.get('ablation', 'ablation')))}-{digest(data, 8)}.yaml", data)


def _from_here(value: Any) -> Any:
    """A value with the files of the own parts in it made absolute."""
    if isinstance(value, Mapping):
        return {key: _from_here(each) for key, each in value.items()}
    return [*map(_from_here, value)] if isinstance(value, list | tuple) else absolute(value, "")


def _written(path: Path, data: Mapping[str, Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, schema.dump(json.loads(json.dumps(data))).encode())  # a tuple is a list there
    return path


def _answer(plans: Sequence[Plan], runtime: Runtime, pages: Sequence[Path] = ()) -> Answer | BlocksAnswer:
    """What the finished runs of these plans say; pages: where it was written, the page over blocks second."""
    from ablation_suite.reports.analysis import analyse
    from ablation_suite.reports.blocks import over_all_blocks
    from ablation_suite.reports.design import design_of
    from ablation_suite.reports.reader import Reader

    reader = Reader(runtime.store)
    results = [reader.results(design_of(plan)) for plan in plans]
    own: Sequence[Path | None] = pages[-len(plans) :] or [None] * len(plans)
    answers = [Answer(analyse(each), path) for each, path in zip(results, own, strict=True)]
    if len(answers) == 1:
        return answers[0]
    by_block = {each.design.block: answer for each, answer in zip(results, answers, strict=True)}
    return BlocksAnswer(over_all_blocks(results), by_block, pages[1] if pages else None)
