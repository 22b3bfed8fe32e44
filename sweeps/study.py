"""What has been tried, and what comes next? One Optuna study per sweep."""

from __future__ import annotations

import copy
import time
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import BaseStorage, RDBStorage
from optuna.trial import FrozenTrial, TrialState

from ablation_suite.core.config.menu import build
from ablation_suite.core.runs.files import sha256
from ablation_suite.core.runs.identity import canonical
from ablation_suite.sweeps.budget import is_full, to_retry
from ablation_suite.sweeps.database import database_lock
from ablation_suite.sweeps.from_optuna import as_trial, enqueue_again, is_ours
from ablation_suite.sweeps.heartbeat import HEARTBEAT_SECONDS, beating
from ablation_suite.sweeps.identity import StudyMismatch, identity, refuse_another
from ablation_suite.sweeps.objectives import violations
from ablation_suite.sweeps.parameter import Parameter
from ablation_suite.sweeps.pruners import NO_PRUNER, verdict
from ablation_suite.sweeps.space import Values
from ablation_suite.sweeps.storage import Owner, StorageError, TrialLost
from ablation_suite.sweeps.trial import Outcome, Trial

if TYPE_CHECKING:
    from ablation_suite.sweeps.spec import Sweep

CONSTRAINTS = "constraints"
"""Where `optuna.trial.Trial.set_constraint` notes by how much a constraint is violated."""
MAX_REASON_CHARACTERS = 2000
"""MySQL takes 64 KiB of JSON, where a character may need twelve bytes."""

optuna.logging.set_verbosity(optuna.logging.ERROR)
warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
warnings.filterwarnings("ignore", message="Heartbeat of storage is supposed to be used with Study.optimize")


class Study:
    """The trials of a sweep; what it proposes is a function of the stream, the seed, the number and the history."""

    def __init__(self, sweep: Sweep, storage: BaseStorage, owner: Owner | None, data_fingerprint: str):
        """Begin or go on with the study; StudyMismatch where it was begun by another base, data set or space.

        Without an owner the study is only looked at.
        """
        self.sweep, self.storage, self.owner = sweep, storage, owner
        self.is_shared = isinstance(storage, RDBStorage)
        self.lock = partial(database_lock, storage.url) if isinstance(storage, RDBStorage) else nullcontext
        try:
            storage.get_study_id_from_name(sweep.name)
        except KeyError:
            if owner is None:
                raise StorageError(f"study '{sweep.name}': no such study yet; `ablate sweep SPEC` begins it") from None
            optuna.create_study(
                study_name=sweep.name, storage=storage, directions=sweep.directions, load_if_exists=True
            )
        self.study = optuna.load_study(
            study_name=sweep.name, storage=storage, sampler=optuna.samplers.RandomSampler(), pruner=NO_PRUNER
        )
        self._identify(identity(sweep, data_fingerprint))
        self.pruner = build(sweep.spec.pruner, sweep)
        self.ours: dict[int, int] = {}
        """Number -> Optuna's id of each trial that this driver works on."""
        self.last_watch = 0.0

    def enqueue(self) -> None:
        """Let the base's own values come before all else of ours, unless they are known, and failed trials again."""
        with self.lock():
            trials = self.trials()
            is_new = all(each.is_imported and each.values != self.sweep.first for each in trials)
            if is_new and self.sweep.first and not self.sweep.is_exhaustive:
                self.study.enqueue_trial(self.sweep.first, skip_if_exists=True)
            for each in to_retry(trials):
                enqueue_again(self.study, each)

    def next_trial(self, limit: int) -> Trial | None:
        """A trial to work on, its values stored: one that a dead driver left, one that waits, or a new one.

        None where `limit` trials are done or under way, or where a grid has no combination left. From the count to the
        stored values a driver holds the storage's lock, so that together they neither overshoot nor propose the same.
        """
        if self._has_nothing(limit):
            return None
        with self.lock():
            return None if self._has_nothing(limit) else self._take()

    def refuse_outside(self) -> list[Trial]:
        """End the waiting trials that somebody enqueued with values outside the space, and name them."""
        refused = []
        for frozen in self.study.get_trials(deepcopy=False, states=(TrialState.WAITING,)):
            wrong = self.sweep.space.outside(frozen.system_attrs.get("fixed_params", {}))
            if wrong:
                reason = f"enqueued with {', '.join(f'{path}: {why}' for path, why in wrong.items())}"
                self.storage.set_trial_user_attr(frozen._trial_id, "reason", reason[:MAX_REASON_CHARACTERS])
                self.storage.set_trial_user_attr(frozen._trial_id, "outcome", "refused")
                self.storage.set_trial_state_values(frozen._trial_id, TrialState.FAIL)
                refused.append(self.trial(frozen.number))
        return refused

    def sample(self, sampler: optuna.samplers.BaseSampler, number: int, fixed: Values) -> Values:
        """What an Optuna sampler proposes for a trial, whatever an interrupted driver had already stored of it."""
        frozen = copy.deepcopy(self._frozen(number))
        frozen.params, frozen.distributions = {}, {}
        space = sampler.infer_relative_search_space(self.study, frozen)
        relative = sampler.sample_relative(self.study, frozen, space)

        def choose(parameter: Parameter, values: Values) -> Any:
            kind = distribution(parameter)
            value = relative.get(parameter.path)
            if parameter.path not in relative:
                value = sampler.sample_independent(self.study, frozen, parameter.path, kind)
            value = parameter.on_step(value)
            frozen.params = {**frozen.params, parameter.path: value}
            frozen.distributions = {**frozen.distributions, parameter.path: kind}
            return value

        return self.sweep.space.fill(choose, fixed)

    def key(self, seed: int, number: int | None = None) -> int:
        """The seed of a generator: a hash of the stream, the sampler's seed and the trial's number."""
        return int(sha256(canonical([self.sweep.stream, seed, number]))[:8], 16)

    def begin_runs(self, number: int, runs: list[str]) -> None:
        """Note the run ids of a trial, one per seed; TrialLost as in `tell`."""
        with self._unless_lost(number) as trial_id:
            self.storage.set_trial_user_attr(trial_id, "runs", runs)

    def note_scores(self, number: int, scores: Mapping[int, float]) -> None:
        """Note seed -> score of the seeds that are done; TrialLost as in `tell`."""
        with self._unless_lost(number) as trial_id:
            self.storage.set_trial_user_attr(trial_id, "scores", {str(seed): each for seed, each in scores.items()})

    def report(self, number: int, step: int, value: float) -> bool:
        """Store what a trial had reached at a step, and say whether it should stop there; TrialLost as in `tell`."""
        if self.sweep.is_multi:  # as in `optuna`, where a trial of several objectives reports nothing
            return False
        with self._unless_lost(number) as trial_id:
            self.storage.set_trial_intermediate_value(trial_id, step, value)
        return self.should_stop(number)

    def should_stop(self, number: int) -> bool:
        """The pruner's verdict on the last reported step, for a trial that a dead driver left."""
        frozen = self._frozen(number)
        return bool(frozen.intermediate_values) and verdict(self.pruner, self.study, frozen)

    def tell(
        self, number: int, outcome: Outcome, *, measured: Mapping[str, float] | None = None, reason: str = ""
    ) -> None:
        """End a trial; a diverged or infeasible one is pruned in Optuna's eyes, so that samplers learn from it.

        measured: measure -> its mean over the seeds, of a complete one, or what is known of one that is not trained;
        its constraints are Optuna's.
        TrialLost where this driver was silent for so long that another one has ended the trial.
        """
        state = {"complete": TrialState.COMPLETE, "failed": TrialState.FAIL}.get(outcome, TrialState.PRUNED)
        with self._unless_lost(number) as trial_id:
            if reason or outcome in ("diverged", "infeasible"):
                self.storage.set_trial_user_attr(trial_id, "reason", reason[:MAX_REASON_CHARACTERS])
                self.storage.set_trial_user_attr(trial_id, "outcome", outcome)
            values = None
            if measured is not None:
                values = [measured[name] for name in self.sweep.objectives] if outcome == "complete" else None
                self.storage.set_trial_user_attr(trial_id, "measured", dict(measured))
                for name, by in violations(self.sweep.spec.constraints, measured).items():
                    self.storage.set_trial_system_attr(trial_id, f"{CONSTRAINTS}:{name}", by)
            if self.study.tell(number, values, state=state, skip_if_finished=True).state != state:
                raise UpdateFinishedTrialError
        del self.ours[number]

    def trials(self) -> list[Trial]:
        """Every trial in the order of the numbers."""
        return [as_trial(each, self.sweep.objectives) for each in self.study.get_trials(deepcopy=False)]

    def imported(self) -> list[FrozenTrial]:
        """The complete trials of others, for samplers that begin with them."""
        complete = self.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        return [each for each in complete if not is_ours(each)]

    def in_space(self, trials: Iterable[FrozenTrial]) -> list[FrozenTrial]:
        """Those with a value in its range for each parameter of the space."""
        space = self.sweep.space
        paths = {each.path for each in space.parameters}
        return [each for each in trials if each.params.keys() == paths and not space.outside(each.params)]

    def trial(self, number: int) -> Trial:
        """One trial as it stands."""
        return as_trial(self._frozen(number), self.sweep.objectives)

    def beating(self) -> AbstractContextManager[None]:
        """Keep telling other drivers that our trials are alive, whatever this one waits for."""
        return beating(self._beat, HEARTBEAT_SECONDS) if self.is_shared else nullcontext()

    def watch(self) -> list[int]:
        """Free the trials of drivers that fell silent, now and then, and name those of ours that another one freed."""
        if not self.is_shared or time.monotonic() - self.last_watch < HEARTBEAT_SECONDS:
            return []
        self.last_watch = time.monotonic()
        self._beat()
        with self.lock():
            optuna.storages.fail_stale_trials(self.study)
        gone = [number for number in self.ours if self._frozen(number).state != TrialState.RUNNING]
        for number in gone:
            del self.ours[number]
        return gone

    def has_others(self) -> bool:
        """Whether another driver's trial is under way, which may yet fall to this one."""
        running = [each for each in self.trials() if each.outcome == "running" and not each.is_imported]
        return any(each.number not in self.ours for each in running)

    def _identify(self, wanted: dict[str, Any]) -> None:
        known = self.study.user_attrs.get("identity")
        if known is None and self.study.get_trials(deepcopy=False):
            raise StudyMismatch(f"study '{self.sweep.name}' exists in this storage, and no sweep of ours made it")
        directions = [each.name.lower() for each in self.study.directions]
        refuse_another(self.sweep, known or wanted, wanted, directions)
        if known is None and self.owner is not None:
            self.study.set_user_attr("identity", wanted)
            self.study.set_user_attr("optuna", optuna.__version__)
            self.study.set_metric_names(list(self.sweep.objectives))

    def _has_nothing(self, limit: int) -> bool:
        return is_full(self.sweep, self.trials(), limit) and self._orphan() is None

    def _take(self) -> Trial:
        assert self.owner is not None
        frozen = self._orphan() or self._ask()
        # In this order: a trial without a heartbeat would never be found stale.
        self.ours[frozen.number] = frozen._trial_id
        self._beat()
        self._sign(frozen)
        fixed = frozen.system_attrs.get("fixed_params", {})
        values = build(self.sweep.spec.sampler, self, frozen.number, fixed)
        for parameter in self.sweep.space.parameters:
            if parameter.path in values and parameter.path not in frozen.params:
                kind = distribution(parameter)
                internal = kind.to_internal_repr(values[parameter.path])
                self.storage.set_trial_param(frozen._trial_id, parameter.path, internal, kind)
        return as_trial(self.storage.get_trial(frozen._trial_id))

    def _ask(self) -> FrozenTrial:
        """A waiting trial or a new one; it has our name and a heartbeat before it runs, so that a kill loses none."""
        assert self.owner is not None
        if not self.study.get_trials(deepcopy=False, states=(TrialState.WAITING,)):
            self.study.enqueue_trial({})
        first = self.study.get_trials(deepcopy=False, states=(TrialState.WAITING,))[0]
        self._sign(first)
        if isinstance(self.storage, RDBStorage):
            self.storage.record_heartbeat(first._trial_id)
        return self.storage.get_trial(self.study.ask()._trial_id)

    def _sign(self, frozen: FrozenTrial) -> None:
        """Say that the trial is this driver's; the number first, without which a copied name would be believed."""
        assert self.owner is not None
        self.storage.set_trial_user_attr(frozen._trial_id, "number", frozen.number)
        self.storage.set_trial_user_attr(frozen._trial_id, "driver", self.owner.name)

    def _orphan(self) -> FrozenTrial | None:
        """A running trial of ours whose driver is gone; one that never had any is run by something else."""
        assert self.owner is not None
        for frozen in self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            driver = str(frozen.user_attrs.get("driver"))
            if is_ours(frozen) and driver != self.owner.name and (not self.is_shared or self.owner.inherits(driver)):
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


def distribution(parameter: Parameter) -> BaseDistribution:
    """Optuna's name for a dimension."""
    if parameter.kind == "choice":
        return CategoricalDistribution(parameter.labels)
    if parameter.kind == "int":
        return IntDistribution(
            int(parameter.low), int(parameter.high), log=parameter.is_log, step=int(parameter.step or 1)
        )
    return FloatDistribution(parameter.low, parameter.high, log=parameter.is_log, step=parameter.step)
