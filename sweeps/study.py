"""What has been tried, and what comes next? One Optuna study per sweep; the only importer of optuna."""

from __future__ import annotations

import copy
import hashlib
import time
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

from ablation_suite.core.config.menu import build
from ablation_suite.core.runs.identity import canonical
from ablation_suite.sweeps.budget import is_full, to_retry
from ablation_suite.sweeps.database import engine_options, turn
from ablation_suite.sweeps.frozen import as_trial
from ablation_suite.sweeps.heartbeat import beating
from ablation_suite.sweeps.identity import StudyMismatch, identity, refuse_another
from ablation_suite.sweeps.space import Parameter, Values
from ablation_suite.sweeps.storage import FileLock, Owner, StorageError, TrialLost, repair_journal
from ablation_suite.sweeps.trial import Outcome, Trial
from ablation_suite.sweeps.verdict import verdict

if TYPE_CHECKING:
    from ablation_suite.sweeps import menu
    from ablation_suite.sweeps.spec import Sweep

__all__ = ["StorageInternalError", "Study", "open_storage"]

HEARTBEAT_SECONDS = 15
GRACE_SECONDS = 90
"""A trial of another machine that was silent for so long is tried again by someone else."""
MAX_REASON_CHARACTERS = 2000
"""MySQL takes 64 KiB of JSON, where a character may need twelve bytes."""

ENOUGH_FOR_IMPORTANCES = 30
"""Complete trials below which a setting without any effect is often ranked first (tests/sweeps/test_importances.py)."""
NUM_RESAMPLES = 100

optuna.logging.set_verbosity(optuna.logging.ERROR)
warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
warnings.filterwarnings("ignore", message="Heartbeat of storage is supposed to be used with Study.optimize")


@contextmanager
def open_storage(url: str | None, journal: Path, *, to_write: bool = True) -> Iterator[BaseStorage]:
    """The storage of a URL, its connections closed in the end, or the journal file, repaired first if to be written."""
    if url is not None:
        database = RDBStorage(
            url.replace("{", "{{").replace("}", "}}"),  # Optuna formats it
            engine_kwargs=engine_options(url),
            heartbeat_interval=HEARTBEAT_SECONDS,
            grace_period=GRACE_SECONDS,
            heartbeat_stale_trial_callback=lambda study, frozen: _enqueue_again(study, as_trial(frozen)),
        )
        try:
            yield database
        finally:
            database.remove_session()
            database.engine.dispose()
        return
    if to_write:
        journal.parent.mkdir(parents=True, exist_ok=True)
        repair_journal(journal)
    elif not journal.exists():
        raise StorageError(f"{journal}: no such study yet; `ablate sweep SPEC` begins it")
    try:
        storage = JournalStorage(JournalFileBackend(str(journal), lock_obj=FileLock(journal)))  # type: ignore[arg-type]
    except ValueError as error:
        raise StorageError(f"{journal}: the journal is damaged: {error}") from None
    yield storage


class Study:
    """The trials of a sweep; what it proposes is a function of the stream, the seed, the number and the history."""

    def __init__(self, sweep: Sweep, storage: BaseStorage, owner: Owner | None, data_fingerprint: str):
        """Begin or go on with the study; StudyMismatch where it was begun by another base, data set or space.

        Without an owner the study is only looked at.
        """
        self.sweep, self.storage, self.owner = sweep, storage, owner
        self.is_shared = isinstance(storage, RDBStorage)
        self.turn = partial(turn, storage.url) if isinstance(storage, RDBStorage) else nullcontext
        try:
            storage.get_study_id_from_name(sweep.name)
        except KeyError:
            if owner is None:
                raise StorageError(f"study '{sweep.name}': no such study yet; `ablate sweep SPEC` begins it") from None
            direction: Literal["maximize", "minimize"] = "maximize" if sweep.maximize else "minimize"
            optuna.create_study(study_name=sweep.name, storage=storage, direction=direction, load_if_exists=True)
        self.study = optuna.load_study(
            study_name=sweep.name, storage=storage, sampler=optuna.samplers.RandomSampler(), pruner=_NO_PRUNER
        )
        self._identify(identity(sweep, data_fingerprint))
        self.pruner = build(sweep.spec.pruner, sweep)
        self.ours: dict[int, int] = {}
        """Number -> Optuna's id of each trial that this driver works on."""
        self.last_watch = 0.0
        if owner is not None:
            self._enqueue()

    def next_trial(self, limit: int) -> Trial | None:
        """A trial to work on, its values stored: one that a dead driver left, one that waits, or a new one.

        None where `limit` trials are done or under way, or where a grid has no combination left. From the count to the
        stored values it is one driver's turn, so that together they neither overshoot nor propose the same.
        """
        if self._has_nothing(limit):
            return None
        with self.turn():
            return None if self._has_nothing(limit) else self._take()

    def sample(self, sampler: optuna.samplers.BaseSampler, number: int, fixed: Values) -> Values:
        """What an Optuna sampler proposes for a trial, whatever an interrupted driver had already stored of it."""
        frozen = copy.deepcopy(self._frozen(number))
        frozen.params, frozen.distributions = {}, {}
        space = sampler.infer_relative_search_space(self.study, frozen)
        relative = sampler.sample_relative(self.study, frozen, space)

        def choose(parameter: Parameter, values: Values) -> Any:
            distribution = _distribution(parameter)
            value = relative.get(parameter.path)
            if parameter.path not in relative:
                value = sampler.sample_independent(self.study, frozen, parameter.path, distribution)
            frozen.params = {**frozen.params, parameter.path: value}
            frozen.distributions = {**frozen.distributions, parameter.path: distribution}
            return value

        return self.sweep.space.fill(choose, fixed)

    def key(self, seed: int, number: int | None = None) -> int:
        """The seed of a generator: a hash of the stream, the sampler's seed and the trial's number."""
        text = canonical([self.sweep.stream, seed, number])
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")

    def begin_runs(self, number: int, runs: list[str]) -> None:
        """Note the run ids of a trial, one per seed; TrialLost as in `tell`."""
        with self._unless_lost(number) as trial_id:
            self.storage.set_trial_user_attr(trial_id, "runs", runs)

    def report(self, number: int, step: int, value: float) -> bool:
        """Store what a trial had reached at a step, and say whether it should stop there; TrialLost as in `tell`."""
        with self._unless_lost(number) as trial_id:
            self.storage.set_trial_intermediate_value(trial_id, step, value)
        return self.should_stop(number)

    def should_stop(self, number: int) -> bool:
        """The pruner's verdict on the last reported step, for a trial that a dead driver left."""
        frozen = self._frozen(number)
        return bool(frozen.intermediate_values) and verdict(self.pruner, self.study, frozen)

    def tell(self, number: int, outcome: Outcome, *, score: float | None = None, reason: str = "") -> None:
        """End a trial; a diverged one is pruned in Optuna's eyes, so that samplers learn from it.

        TrialLost where this driver was silent for so long that another one has ended the trial.
        """
        state = {"complete": TrialState.COMPLETE, "failed": TrialState.FAIL}.get(outcome, TrialState.PRUNED)
        with self._unless_lost(number) as trial_id:
            if reason or outcome == "diverged":
                self.storage.set_trial_user_attr(trial_id, "reason", reason[:MAX_REASON_CHARACTERS])
                self.storage.set_trial_user_attr(trial_id, "outcome", outcome)
            if self.study.tell(number, score, state=state, skip_if_finished=True).state != state:
                raise UpdateFinishedTrialError
        del self.ours[number]

    def trials(self) -> list[Trial]:
        """Every trial in the order of the numbers."""
        return [as_trial(each) for each in self.study.get_trials(deepcopy=False)]

    def trial(self, number: int) -> Trial:
        """One trial as it stands."""
        return as_trial(self._frozen(number))

    def beating(self) -> AbstractContextManager[None]:
        """Keep telling other drivers that our trials are alive, whatever this one waits for."""
        return beating(self._beat, HEARTBEAT_SECONDS) if self.is_shared else nullcontext()

    def watch(self) -> list[int]:
        """Free the trials of drivers that fell silent, now and then, and name those of ours that another one freed."""
        if not self.is_shared or time.monotonic() - self.last_watch < HEARTBEAT_SECONDS:
            return []
        self.last_watch = time.monotonic()
        self._beat()
        with self.turn():
            optuna.storages.fail_stale_trials(self.study)
        gone = [number for number in self.ours if self._frozen(number).state != TrialState.RUNNING]
        for number in gone:
            del self.ours[number]
        return gone

    def has_others(self) -> bool:
        """Whether another driver's trial is under way, which may yet fall to this one."""
        return any(each.outcome == "running" and each.number not in self.ours for each in self.trials())

    def importances(self, step: int | None = None) -> dict[str, float]:
        """Parameter -> share of the score's variation that it explains (PED-ANOVA); empty where trials are too few.

        step: instead of the scores of the complete trials, what all that got so far had reached there.
        """
        scored = self._scored(step)
        return _importances(self._of(scored), scored)

    def importance_ends(self, rng: np.random.Generator, step: int | None = None) -> dict[str, tuple[float, float]]:
        """Parameter -> the middle 95 % of its share over resampled trials (percentile bootstrap); empty for too few.

        Proposals that learn are no independent draws, so that this says how far the trials at hand carry, and no more.
        """
        scored = self._scored(step)
        if len(scored) < ENOUGH_FOR_IMPORTANCES:
            return {}
        found: list[dict[str, float]] = []
        for _ in range(NUM_RESAMPLES):
            again = self._of([scored[index] for index in rng.integers(len(scored), size=len(scored))])
            found += [shares] if (shares := _importances(again, scored)) else []
        ends = {
            path: np.percentile([shares.get(path, 0.0) for shares in found], [2.5, 97.5])
            for path in self.importances(step)
            if found
        }
        return {path: (float(low), float(high)) for path, (low, high) in ends.items()}

    def _scored(self, step: int | None) -> list[FrozenTrial]:
        trials = self.study.get_trials(deepcopy=False)
        if step is None:
            return [each for each in trials if each.state == TrialState.COMPLETE]
        reached = [each for each in trials if each.state.is_finished() and step in each.intermediate_values]
        return [
            optuna.trial.create_trial(
                params=each.params, distributions=each.distributions, value=each.intermediate_values[step]
            )
            for each in reached
            if np.isfinite(each.intermediate_values[step])
        ]

    def _of(self, scored: list[FrozenTrial]) -> optuna.Study:
        """A study in memory of these trials alone."""
        found = optuna.create_study(direction=self.study.direction)
        found.add_trials(scored)
        return found

    def _identify(self, wanted: dict[str, Any]) -> None:
        known = self.study.user_attrs.get("identity")
        if known is None and self.study.get_trials(deepcopy=False):
            raise StudyMismatch(f"study '{self.sweep.name}' exists in this storage, and no sweep of ours made it")
        refuse_another(self.sweep, known or wanted, wanted, self.study.direction.name.lower())
        if known is None and self.owner is not None:
            self.study.set_user_attr("identity", wanted)
            self.study.set_user_attr("optuna", optuna.__version__)

    def _enqueue(self) -> None:
        """The base's own values before all else, and failed trials again."""
        trials = self.trials()
        if not trials and self.sweep.first and not self.sweep.is_exhaustive:
            self.study.enqueue_trial(self.sweep.first, skip_if_exists=True)
        for each in to_retry(trials):
            _enqueue_again(self.study, each)

    def _has_nothing(self, limit: int) -> bool:
        return is_full(self.sweep, self.trials(), limit) and self._orphan() is None

    def _take(self) -> Trial:
        frozen = self._orphan() or self.storage.get_trial(self.study.ask()._trial_id)
        assert self.owner is not None
        # In this order: a trial without a heartbeat would never be found stale, one without a driver is an orphan.
        self.ours[frozen.number] = frozen._trial_id
        self._beat()
        self.storage.set_trial_user_attr(frozen._trial_id, "driver", self.owner.name)
        fixed = frozen.system_attrs.get("fixed_params", {})
        values = build(self.sweep.spec.sampler, self, frozen.number, fixed)
        for parameter in self.sweep.space.parameters:
            if parameter.path in values and parameter.path not in frozen.params:
                distribution = _distribution(parameter)
                internal = distribution.to_internal_repr(values[parameter.path])
                self.storage.set_trial_param(frozen._trial_id, parameter.path, internal, distribution)
        return as_trial(self.storage.get_trial(frozen._trial_id))

    def _orphan(self) -> FrozenTrial | None:
        """A running trial whose driver is gone."""
        assert self.owner is not None
        for frozen in self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            driver = frozen.user_attrs.get("driver")
            if driver != self.owner.name and (not self.is_shared or driver is None or self.owner.inherits(driver)):
                return frozen
        return None

    @contextmanager
    def _unless_lost(self, number: int) -> Iterator[int]:
        """The id of one of our trials, to write to it; TrialLost where another driver has ended it."""
        try:
            yield self.ours[number]
        except UpdateFinishedTrialError:
            del self.ours[number]
            raise TrialLost from None

    def _beat(self) -> None:
        if isinstance(self.storage, RDBStorage):
            for trial_id in list(self.ours.values()):
                self.storage.record_heartbeat(trial_id)

    def _frozen(self, number: int) -> FrozenTrial:
        trial_id = self.storage.get_trial_id_from_study_id_trial_number(self.study._study_id, number)
        return self.storage.get_trial(trial_id)


def tpe(entry: menu.TPE, study: Study, number: int, fixed: Values) -> Values:
    conditional = any(each.when for each in study.sweep.space.parameters)
    sampler = optuna.samplers.TPESampler(
        seed=study.key(entry.seed, number), n_startup_trials=entry.startup_trials, multivariate=True, group=conditional
    )
    return study.sample(sampler, number, fixed)


def gp(entry: menu.GP, study: Study, number: int, fixed: Values) -> Values:
    sampler = optuna.samplers.GPSampler(
        seed=study.key(entry.seed, number), n_startup_trials=entry.startup_trials, warn_independent_sampling=False
    )
    return study.sample(sampler, number, fixed)


def random(entry: menu.Random, study: Study, number: int, fixed: Values) -> Values:
    return study.sample(optuna.samplers.RandomSampler(seed=study.key(entry.seed, number)), number, fixed)


def halving(entry: menu.HalvingPruner, sweep: Sweep) -> optuna.pruners.BasePruner:
    return optuna.pruners.SuccessiveHalvingPruner(min_resource=entry.min_epochs, reduction_factor=entry.reduction)


def median(entry: menu.MedianPruner, sweep: Sweep) -> optuna.pruners.BasePruner:
    return optuna.pruners.MedianPruner(n_startup_trials=entry.startup_trials, n_warmup_steps=entry.warmup_epochs)


def hyperband(entry: menu.HyperbandPruner, sweep: Sweep) -> optuna.pruners.BasePruner:
    return optuna.pruners.HyperbandPruner(
        min_resource=entry.min_epochs, max_resource=sweep.config.epochs, reduction_factor=entry.reduction
    )


def wilcoxon(entry: menu.WilcoxonPruner, sweep: Sweep) -> optuna.pruners.BasePruner:
    return optuna.pruners.WilcoxonPruner(p_threshold=entry.p_threshold, n_startup_steps=entry.startup_seeds)


def never(entry: menu.NoPruner, sweep: Sweep) -> optuna.pruners.BasePruner:
    return _NO_PRUNER


_NO_PRUNER = optuna.pruners.NopPruner()


def _importances(study: optuna.Study, complete: list[FrozenTrial]) -> dict[str, float]:
    """The shares of the parameters that all complete trials have.

    Where the best trials are not fewer than all of them, Optuna warns and gives equal shares, which say nothing.
    """
    if len(complete) < 2:
        return {}
    always = sorted(set.intersection(*(set(each.params) for each in complete)))
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="Target and region quantiles")
        try:
            return optuna.importance.get_param_importances(study, params=always) if always else {}
        except UserWarning:
            return {}


def _distribution(parameter: Parameter) -> BaseDistribution:
    if parameter.kind == "choice":
        return CategoricalDistribution(parameter.labels)
    if parameter.kind == "int":
        return IntDistribution(int(parameter.low), int(parameter.high))
    return FloatDistribution(parameter.low, parameter.high, log=parameter.kind == "log")


def _enqueue_again(study: optuna.Study, failed: Trial) -> None:
    if failed.values:
        study.enqueue_trial(failed.values, user_attrs={"retry_of": failed.number})
