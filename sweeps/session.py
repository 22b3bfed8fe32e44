"""How is a sweep run, or looked at, from beginning to end? Its folder, its storage, its study, its workers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from ablation_suite.core.config.errors import UserError
from ablation_suite.core.config.own import own_parts
from ablation_suite.core.config.run_config import RunConfig
from ablation_suite.core.config.runtime import Runtime
from ablation_suite.core.config.schema import Fault, SchemaError
from ablation_suite.core.runs.identity import data_fingerprint
from ablation_suite.core.scheduling.aside import try_aside
from ablation_suite.core.scheduling.executors import Executor, open_executor
from ablation_suite.sweeps.database import database_lock
from ablation_suite.sweeps.identity import levels
from ablation_suite.sweeps.spec import Sweep
from ablation_suite.sweeps.storage import Owner
from ablation_suite.sweeps.storage_errors import plain_errors
from ablation_suite.sweeps.strategy import SweepReporter, drive
from ablation_suite.sweeps.trial import Trial

if TYPE_CHECKING:  # Optuna is loaded when a study is opened
    from ablation_suite.sweeps.study import Study


def sweep_folder(sweep: Sweep, runtime: Runtime) -> Path:
    """Where the journal and the report of a sweep lie."""
    return Path(runtime.results) / "sweeps" / sweep.name


def journal_path(sweep: Sweep, runtime: Runtime) -> Path:
    """The journal file, which holds the study where no database is named."""
    return sweep_folder(sweep, runtime) / "journal.log"


def run_sweep(
    sweep: Sweep,
    runtime: Runtime,
    reporter: SweepReporter,
    *,
    url: str | None = None,
    executor: Executor | None = None,
    source: str | None = None,
) -> list[Trial]:
    """Bring a sweep to its number of trials and return those that this call ended.

    source: an earlier study, or "runs" of the store, that it begins with where they fit.
    An executor that is given is left open. Raises StorageError, StudyMismatch and SweepBusy.
    """
    from ablation_suite.sweeps.opening import open_storage
    from ablation_suite.sweeps.study import Study
    from ablation_suite.sweeps.warm_start import begin_with

    if runtime.executor == "slurm" and runtime.jobs == "auto":
        raise UserError("a sweep on slurm needs --jobs N, trials at a time: each learns from those before it")
    _require_steps(sweep, runtime)
    journal = journal_path(sweep, runtime)
    with plain_errors(url, journal), ExitStack() as stack:
        pool = stack.enter_context(open_executor(runtime)) if executor is None else executor
        owner = Owner(sweep_folder(sweep, runtime), alone=url is None)
        stack.callback(owner.leave)
        fingerprint = data_fingerprint(sweep.config, runtime, {})
        with database_lock(url) if url else nullcontext():
            study = Study(sweep, stack.enter_context(open_storage(url, journal)), owner, fingerprint)
        with study.beating():
            begin_with(study, source, runtime, url, reporter.line)
            study.enqueue()
            ended = drive(sweep, study, runtime, pool, reporter)
        owner.forget()
        return ended


@contextmanager
def existing_study(sweep: Sweep, runtime: Runtime, url: str | None = None) -> Iterator[Study]:
    """The study of a sweep, to look at; StorageError where there is none yet."""
    from ablation_suite.sweeps.opening import open_storage
    from ablation_suite.sweeps.study import Study

    journal = journal_path(sweep, runtime)
    with plain_errors(url, journal), open_storage(url, journal, to_write=False) as storage:
        yield Study(sweep, storage, None, data_fingerprint(sweep.config, runtime, {}))


def _require_steps(sweep: Sweep, runtime: Runtime) -> None:
    """SchemaError where own parts of the base or of a choice cannot take a first step, before a study names them."""
    new: dict[str, RunConfig] = {}
    for config in (sweep.config, *levels(sweep)):
        if parts := sorted({f"{part.name} {part.code}" for part in own_parts(config)}):
            new.setdefault(", ".join(parts), config)
    if lines := dict.fromkeys(try_aside(new, runtime).broken.values()):
        raise SchemaError([Fault(sweep.source, "", line) for line in lines])
