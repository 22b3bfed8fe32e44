"""What does Optuna's own record of a trial say? The same in our words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ablation_suite.sweeps.objectives import SCORES
from ablation_suite.sweeps.trial import Outcome, Trial

SILENT = "its driver fell silent"

_OUTCOMES: dict[str, Outcome] = {
    "COMPLETE": "complete",
    "PRUNED": "pruned",
    "FAIL": "failed",
    "RUNNING": "running",
    "WAITING": "waiting",
}


def as_trial(frozen: Any, objectives: Sequence[str] = ()) -> Trial:
    """The trial of an `optuna.trial.FrozenTrial`; a failed one without a reason was freed for its driver's silence.

    objectives: what its values are, in their order; without, the trial has no score.

    What plain Optuna added has no run of ours behind it, whatever its attributes say.
    """
    outcome = _OUTCOMES[frozen.state.name]
    attributes = frozen.user_attrs
    ours = is_ours(frozen)
    if outcome == "pruned" and attributes.get("outcome") in ("diverged", "infeasible"):
        outcome = attributes["outcome"]
    if outcome == "failed" and attributes.get("outcome") == "refused":
        outcome = "refused"
    found = dict(zip(objectives, frozen.values, strict=True)) if objectives and outcome == "complete" else {}
    violated = tuple(name for name, by in frozen.constraints.items() if by > 0.0)
    begin, end = frozen.datetime_start, frozen.datetime_complete
    return Trial(
        number=frozen.number,
        outcome=outcome,
        values={**frozen.system_attrs.get("fixed_params", {}), **frozen.params},
        score=next((value for name, value in found.items() if name in SCORES), None),
        objectives=found,
        violated=violated,
        measured=attributes.get("measured", {}),
        curve=dict(sorted(frozen.intermediate_values.items())),
        runs=tuple(attributes.get("runs", ())) if ours or "imported_from" in attributes else (),
        reason=attributes.get("reason", SILENT if outcome == "failed" and ours else ""),
        begin=begin.timestamp() if begin else None,
        seconds=(end - begin).total_seconds() if begin and end else None,
        retry_of=attributes.get("retry_of"),
        is_imported=outcome not in ("waiting", "refused") and not ours,
    )


def is_ours(frozen: Any) -> bool:
    """Whether a driver of this study began a trial, which it signs with its name and the trial's number before it runs.

    The number tells a trial that `add_trials` has copied here from another study, attributes and all. Older ones have
    the driver alone.
    """
    signed = frozen.user_attrs
    return signed.get("driver") is not None and signed.get("number", frozen.number) == frozen.number


def enqueue_again(study: Any, failed: Trial) -> None:
    """Let a failed trial wait for another try of its values in an `optuna.Study`, where it had any."""
    if failed.values:
        study.enqueue_trial(failed.values, user_attrs={"retry_of": failed.number})
