"""Should a trial stop? The pruners of the menu, and a verdict that a killed driver has taken whole or not at all."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import optuna

if TYPE_CHECKING:
    from ablation_suite.sweeps import menu
    from ablation_suite.sweeps.spec import Sweep

NO_PRUNER = optuna.pruners.NopPruner()
VERDICT = "stopped by"
"""The attribute of a trial that a pruner stops: what the pruner noted about it, under the pruner's own keys."""


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
    return NO_PRUNER


def verdict(pruner: Any, study: Any, frozen: Any) -> bool:
    """Whether an `optuna` pruner stops a trial at its last reported step; the same for one that a dead driver left.

    Successive halving notes each trial that reaches a rung before it says which of them go on, and takes a rung that is
    noted for a rung that was passed. What it notes is therefore kept back until it has spoken. A trial that goes on has
    the note as the verdict; for one that stops the verdict is written first, note included, and the note then follows.
    """
    storage, trial_id = study._storage, frozen._trial_id
    notes = frozen.user_attrs.get(VERDICT)
    stops = notes is not None
    if notes is None:
        judged = copy.copy(study)
        judged._storage = kept_back = _KeptBack(storage)
        stops, notes = pruner.prune(judged, frozen), kept_back.notes
        if stops and notes:
            storage.set_trial_user_attr(trial_id, VERDICT, notes)
    for key, value in notes.items():
        storage.set_trial_system_attr(trial_id, key, value)
    return stops


class _KeptBack:
    """A storage that answers of feasible trials as another one does, and keeps notes of a trial to itself."""

    def __init__(self, storage: Any):
        self.storage = storage
        self.notes: dict[str, Any] = {}

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        self.notes[key] = value

    def get_all_trials(self, *args: Any, **options: Any) -> list[Any]:
        """Those that keep to the constraints, so far as it is known: what may not be best sets no standard."""
        trials = self.storage.get_all_trials(*args, **options)
        return [each for each in trials if all(by <= 0.0 for by in each.constraints.values())]

    def __getattr__(self, name: str) -> Any:
        return getattr(self.storage, name)
