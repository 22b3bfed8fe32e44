"""What does Optuna's own record of a trial say? The same in our words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ablation_suite.sweeps.trial import Outcome, Trial

SILENT = "its driver fell silent"
SEED, IMPORTED = "score at seed", "imported from"
"""How the attributes are called that people read in Optuna's own views."""

_OUTCOMES: dict[str, Outcome] = {
    "COMPLETE": "complete",
    "PRUNED": "pruned",
    "FAIL": "failed",
    "RUNNING": "running",
    "WAITING": "waiting",
}


def as_trial(frozen: Any) -> Trial:
    """The trial of an `optuna.trial.FrozenTrial`; a failed one without a reason was freed for its driver's silence."""
    outcome = _OUTCOMES[frozen.state.name]
    attributes = frozen.user_attrs
    if outcome == "pruned" and attributes.get("outcome") == "diverged":
        outcome = "diverged"
    runs = tuple(attributes.get("runs", ()))
    has_score = outcome == "complete"
    if has_score and (not runs or IMPORTED in attributes):
        outcome = "imported"
    begin, end = frozen.datetime_start, frozen.datetime_complete
    return Trial(
        number=frozen.number,
        outcome=outcome,
        values={**frozen.system_attrs.get("fixed_params", {}), **frozen.params},
        score=frozen.value if has_score else None,
        scores={int(name.rpartition(" ")[2]): value for name, value in attributes.items() if name.startswith(SEED)},
        curve=dict(sorted(frozen.intermediate_values.items())),
        runs=runs,
        reason=attributes.get("reason", _reason(outcome, attributes)),
        begin=begin.timestamp() if begin else None,
        seconds=(end - begin).total_seconds() if begin and end else None,
        retry_of=attributes.get("retry_of"),
    )


def _reason(outcome: Outcome, attributes: Mapping[str, Any]) -> str:
    if outcome == "imported":
        return f"from {attributes[IMPORTED]}" if IMPORTED in attributes else "added by hand, without runs"
    return SILENT if outcome == "failed" else ""
