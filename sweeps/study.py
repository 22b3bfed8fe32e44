"""What has been tried, and what comes next? One Optuna study per sweep; the only importer of optuna."""

from __future__ import annotations

import copy
import hashlib
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.exceptions import StorageInternalError
from optuna.storages import BaseStorage, JournalStorage, RDBStorage, RetryHeartbeatStaleTrialCallback
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

from core.fingerprint import canonical
from core.menu import build
from sweeps.identity import StudyMismatch, differences, identity
from sweeps.space import Parameter, Values
from sweeps.storage import JournalLock, Owner, StorageError, repair_journal
from sweeps.trial import DONE, Outcome, Trial

if TYPE_CHECKING:
    from sweeps import menu
    from sweeps.spec import Sweep

__all__ = ["StorageInternalError", "Study", "open_storage"]

HEARTBEAT_SECONDS = 15
GRACE_SECONDS = 90
"""A trial of another machine that was silent for so long is tried again by someone else."""

optuna.logging.set_verbosity(optuna.logging.ERROR)
warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)


def open_storage(url: str | None, journal: Path, *, to_write: bool = True) -> BaseStorage:
    """The storage of a URL, or the journal file, repaired first where it is to be written."""
    if url is not None:
        return RDBStorage(
            url,
            heartbeat_interval=HEARTBEAT_SECONDS,
            grace_period=GRACE_SECONDS,
            heartbeat_stale_trial_callback=RetryHeartbeatStaleTrialCallback(),
        )
    if to_write:
        journal.parent.mkdir(parents=True, exist_ok=True)
        repair_journal(journal)
    elif not journal.exists():
        raise StorageError(f"{journal}: no such study yet; `ablate sweep SPEC` begins it")
    try:
        return JournalStorage(JournalFileBackend(str(journal), lock_obj=JournalLock(journal)))  # type: ignore[arg-type]
    except ValueError as error:
        raise StorageError(f"{journal}: the journal is damaged: {error}") from None


class Study:
    """The trials of a sweep; what it proposes is a function of the stream, the seed, the number and the history."""

    def __init__(self, sweep: Sweep, storage: BaseStorage, owner: Owner | None, data_fingerprint: str):
        """Begin or go on with the study; StudyMismatch where it was begun by another base, data set or space.

        Without an owner the study is only looked at.
        """
        self.sweep, self.storage, self.owner = sweep, storage, owner
        direction: Literal["maximize", "minimize"] = "maximize" if sweep.maximize else "minimize"
        try:
            self.study = optuna.load_study(
                study_name=sweep.name, storage=storage, sampler=optuna.samplers.RandomSampler(), pruner=_NO_PRUNER
            )
        except KeyError:
            if owner is None:
                raise StorageError(f"study '{sweep.name}': no such study yet; `ablate sweep SPEC` begins it") from None
            optuna.create_study(study_name=sweep.name, storage=storage, direction=direction, load_if_exists=True)
            self.study = optuna.load_study(study_name=sweep.name, storage=storage, pruner=_NO_PRUNER)
        self._check(direction, identity(sweep, data_fingerprint))
        self.pruner = build(sweep.spec.pruner, sweep)
        self.last_beat = 0.0
        if owner is not None:
            self._enqueue()

    def next_trial(self, limit: int) -> Trial | None:
        """A trial to work on, its values stored: one that a dead driver left, one that waits, or a new one.

        None where `limit` trials are done or under way, or where a grid has no combination left.
        """
        frozen = self._orphan()
        if frozen is None:
            num_taken = sum(each.outcome in (*DONE, "running") for each in self.trials())
            if num_taken >= limit or self._is_exhausted():
                return None
            asked = self.study.ask()
            frozen = self.storage.get_trial(asked._trial_id)
        assert self.owner is not None
        self.storage.set_trial_user_attr(frozen._trial_id, "driver", self.owner.name)
        self._beat(frozen._trial_id)
        fixed = frozen.system_attrs.get("fixed_params", {})
        values = build(self.sweep.spec.sampler, self, frozen.number, fixed)
        for parameter in self.sweep.space.parameters:
            if parameter.path in values and parameter.path not in frozen.params:
                distribution = _distribution(parameter)
                internal = distribution.to_internal_repr(values[parameter.path])
                self.storage.set_trial_param(frozen._trial_id, parameter.path, internal, distribution)
        return _trial(self.storage.get_trial(frozen._trial_id))

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
        """Note the run ids of a trial, one per seed."""
        self.storage.set_trial_user_attr(self._id(number), "runs", runs)

    def report(self, number: int, step: int, value: float) -> bool:
        """Store what a trial had reached at a step, and say whether it should stop there."""
        trial_id = self._id(number)
        self.storage.set_trial_intermediate_value(trial_id, step, value)
        return self.pruner.prune(self.study, self.storage.get_trial(trial_id))

    def should_stop(self, number: int) -> bool:
        """The pruner's verdict on the last reported step, for a trial that a dead driver left."""
        frozen = self._frozen(number)
        return bool(frozen.intermediate_values) and self.pruner.prune(self.study, frozen)

    def tell(self, number: int, outcome: Outcome, *, score: float | None = None, reason: str = "") -> None:
        """End a trial; a diverged one is pruned in Optuna's eyes, so that samplers learn from it."""
        if reason or outcome == "diverged":
            self.storage.set_trial_user_attr(self._id(number), "reason", reason)
            self.storage.set_trial_user_attr(self._id(number), "outcome", outcome)
        state = {"complete": TrialState.COMPLETE, "failed": TrialState.FAIL}.get(outcome, TrialState.PRUNED)
        self.study.tell(number, score, state=state, skip_if_finished=True)

    def trials(self) -> list[Trial]:
        """Every trial in the order of the numbers."""
        return [_trial(each) for each in self.study.get_trials(deepcopy=False)]

    def trial(self, number: int) -> Trial:
        """One trial as it stands."""
        return _trial(self._frozen(number))

    def beat(self, numbers: Iterator[int]) -> None:
        """Tell other drivers that these trials are alive, and free those of drivers that fell silent."""
        if not isinstance(self.storage, RDBStorage) or time.monotonic() - self.last_beat < HEARTBEAT_SECONDS:
            return
        self.last_beat = time.monotonic()
        for number in numbers:
            self._beat(self._id(number))
        optuna.storages.fail_stale_trials(self.study)

    def importances(self) -> dict[str, float]:
        """Parameter -> share of the score's variation that it explains (PED-ANOVA); empty where trials are too few."""
        complete = [set(each.values) for each in self.trials() if each.score is not None]
        if len(complete) < 2:
            return {}
        always = sorted(set.intersection(*complete))
        return optuna.importance.get_param_importances(self.study, params=always) if always else {}

    def _check(self, direction: str, wanted: dict[str, Any]) -> None:
        ours = self.study.direction.name.lower()
        known = self.study.user_attrs.get("identity")
        if known is None:
            if self.study.get_trials(deepcopy=False):
                raise StudyMismatch(f"study '{self.sweep.name}' exists in this storage, and no sweep of ours made it")
            if ours == direction and self.owner is not None:
                self.study.set_user_attr("identity", wanted)
                self.study.set_user_attr("optuna", optuna.__version__)
            known = wanted
        changes = list(differences(known, wanted))
        if ours != direction:
            changes.append(f"it is to {ours} its metric, and the sweep is to {direction} {self.sweep.spec.metric}")
        if changes:
            hint = "give this one another name (sweep=NAME), or remove the old study"
            lines = [f"study '{self.sweep.name}' belongs to another sweep: {each}" for each in changes]
            raise StudyMismatch("\n".join([*lines, hint]))

    def _enqueue(self) -> None:
        """The base's own values before all else, and failed trials again."""
        trials = self.trials()
        if not trials and self.sweep.first and not self.sweep.is_exhaustive:
            self.study.enqueue_trial(self.sweep.first, skip_if_exists=True)
        retried = {each.retry_of for each in trials}
        for each in trials:
            if each.outcome == "failed" and each.number not in retried:
                self.study.enqueue_trial(each.values, user_attrs={"retry_of": each.number})

    def _orphan(self) -> FrozenTrial | None:
        """A running trial whose driver is gone."""
        assert self.owner is not None
        alone = not isinstance(self.storage, RDBStorage)
        for frozen in self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            driver = frozen.user_attrs.get("driver")
            if driver == self.owner.name:
                continue
            if alone or (self.owner.inherits(driver) if driver else _seconds_since(frozen) > GRACE_SECONDS):
                return frozen
        return None

    def _is_exhausted(self) -> bool:
        if not self.sweep.is_exhaustive:
            return False
        trials = self.trials()
        taken = {canonical(each.values) for each in trials if each.outcome in (*DONE, "running")}
        waits = any(each.outcome == "waiting" for each in trials)
        return not waits and len(taken) >= len(self.sweep.space.grid())

    def _beat(self, trial_id: int) -> None:
        if isinstance(self.storage, RDBStorage):
            self.storage.record_heartbeat(trial_id)

    def _id(self, number: int) -> int:
        return self.storage.get_trial_id_from_study_id_trial_number(self.study._study_id, number)

    def _frozen(self, number: int) -> FrozenTrial:
        return self.storage.get_trial(self._id(number))


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


def _distribution(parameter: Parameter) -> BaseDistribution:
    if parameter.kind == "choice":
        return CategoricalDistribution(parameter.labels)
    if parameter.kind == "int":
        return IntDistribution(int(parameter.low), int(parameter.high))
    return FloatDistribution(parameter.low, parameter.high, log=parameter.kind == "log")


_OUTCOMES: dict[TrialState, Outcome] = {
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
    TrialState.RUNNING: "running",
    TrialState.WAITING: "waiting",
}


def _trial(frozen: FrozenTrial) -> Trial:
    outcome = _OUTCOMES[frozen.state]
    if outcome == "pruned" and frozen.user_attrs.get("outcome") == "diverged":
        outcome = "diverged"
    begin, end = frozen.datetime_start, frozen.datetime_complete
    retries = RetryHeartbeatStaleTrialCallback.retry_history(frozen)
    return Trial(
        number=frozen.number,
        outcome=outcome,
        values=dict(frozen.params or frozen.system_attrs.get("fixed_params", {})),
        score=frozen.value if outcome == "complete" else None,
        curve=dict(sorted(frozen.intermediate_values.items())),
        runs=tuple(frozen.user_attrs.get("runs", ())),
        reason=frozen.user_attrs.get("reason", ""),
        begin=begin.timestamp() if begin else None,
        seconds=(end - begin).total_seconds() if begin and end else None,
        retry_of=retries[-1] if retries else frozen.user_attrs.get("retry_of"),
    )


def _seconds_since(frozen: FrozenTrial) -> float:
    return time.time() - frozen.datetime_start.timestamp() if frozen.datetime_start else 0.0
