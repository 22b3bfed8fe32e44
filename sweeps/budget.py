"""Is there another trial to do? The number asked for, a rule to stop, the combinations of a grid, failures again."""

from __future__ import annotations

from collections.abc import Sequence

from ablation_suite.core.runs.identity import canonical
from ablation_suite.sweeps.spec import Sweep
from ablation_suite.sweeps.trial import DONE, Trial, best


def is_full(sweep: Sweep, trials: Sequence[Trial], limit: int) -> bool:
    """Whether `limit` trials are done or under way, or every combination of a grid was tried and none waits again.

    As with `study.optimize(n_trials=N)` the N trials are ours: imported ones inform the sampler, and fill a grid.
    """
    taken = [each for each in trials if each.outcome in (*DONE, "running") and not each.is_imported]
    if len(taken) >= limit or rule_met(sweep, trials):
        return True
    if not sweep.is_exhaustive or any(each.outcome == "waiting" for each in trials):
        return False
    return set(map(canonical, sweep.space.grid())) <= visited(trials)


def rule_met(sweep: Sweep, trials: Sequence[Trial]) -> str:
    """How the rule of `until:` is met, in words; nothing where there is no rule or it is still open.

    Trials count in the order of their numbers, so that it does not depend on which of several workers was faster.
    """
    score, patience = sweep.spec.until.score, sweep.spec.until.patience
    done = [each for each in trials if each.outcome in DONE and not each.is_imported]
    top = best(done, sweep.maximize)
    reached = top.score if top else None
    if top and score is not None and reached is not None and (reached >= score if sweep.maximize else reached <= score):
        return f"trial {top.number} reached {reached:.4f}, and {score:g} was asked for"
    since = len([each for each in done if top is None or each.number > top.number])
    if patience is not None and since >= patience:
        return (
            f"{since} trials brought nothing better than trial {top.number}" if top else f"{since} trials had no score"
        )
    return ""


def visited(trials: Sequence[Trial]) -> set[str]:
    """The combinations that a grid need not visit any more, in canonical form; what failed elsewhere it may."""
    return {canonical(each.values) for each in trials if not (each.is_imported and each.outcome == "failed")}


def to_retry(trials: Sequence[Trial]) -> list[Trial]:
    """Failed trials of ours that no other one tries again; one that had no values yet left nothing to try."""
    retried = {each.retry_of for each in trials}
    failed = [each for each in trials if each.outcome == "failed" and not each.is_imported]
    return [each for each in failed if each.values and each.number not in retried]
