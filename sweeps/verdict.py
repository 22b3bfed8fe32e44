"""Should a trial stop? A pruner's verdict as one decision, which a driver killed in its midst has taken or has not."""

from __future__ import annotations

import copy
from typing import Any

VERDICT = "stopped by"
"""The attribute of a trial that a pruner stops: what the pruner noted about it, under the pruner's own keys."""


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
    """A storage that answers as another one does, and keeps what would be noted of a trial to itself."""

    def __init__(self, storage: Any):
        self.storage = storage
        self.notes: dict[str, Any] = {}

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        self.notes[key] = value

    def __getattr__(self, name: str) -> Any:
        return getattr(self.storage, name)
