"""Which setting matters, and how far do the trials carry that? Shares with their intervals, as a table and in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ablation_suite.reports.tables import Column, Row, Table
from ablation_suite.sweeps.importances import ENOUGH_FOR_IMPORTANCES, importance_ends, importances
from ablation_suite.sweeps.study import Study
from ablation_suite.sweeps.trial import DONE, Trial


@dataclass(frozen=True, kw_only=True)
class Importance:
    """Parameter -> its share and its interval, from the scores of `num_trials` or from what they had at `step`."""

    num_trials: int
    step: int | None
    shares: Mapping[str, float]
    ends: Mapping[str, tuple[float, float]]
    """Empty where the trials are too few for one."""

    @property
    def telling(self) -> list[str]:
        """The parameters whose share is larger than an equal one, and surely so."""
        return [path for path, (low, _) in self.ends.items() if low > 1 / len(self.shares)]

    def says(self, path: str) -> bool:
        """Whether the share of a parameter is known at all: an interval from end to end says nothing."""
        return path in self.ends and (self.ends[path][0] > 0.01 or self.ends[path][1] < 0.99)


def importance_at_the_end(study: Study, trials: Sequence[Trial]) -> Importance:
    """From the scores of the complete trials."""
    return _importance(study, sum(each.score is not None for each in trials), None)


def importance_early(study: Study, trials: Sequence[Trial]) -> Importance | None:
    """From what all trials had reached at the last step that each of them came to; None where none was stopped."""
    step = common_step(trials)
    if step is None or not any(each.outcome == "pruned" for each in trials):
        return None
    return _importance(study, sum(step in each.curve for each in trials if each.outcome in DONE), step)


def common_step(trials: Sequence[Trial]) -> int | None:
    """The last step that every trial which is done reported; diverged ones count where they got so far."""
    ends = [max(each.curve) for each in trials if each.outcome in ("complete", "pruned") and each.curve]
    return min(ends, default=None)


def _importance(study: Study, num_trials: int, step: int | None) -> Importance:
    ends = importance_ends(study, np.random.default_rng(0), step)
    return Importance(num_trials=num_trials, step=step, shares=importances(study, step), ends=ends)


def importance_table(found: Importance) -> Table:
    """One row per parameter."""
    columns = (
        Column(key="parameter", heading="Setting", sort="parameter", number=False),
        Column(key="share", heading="Share (%)", sort="share_percent"),
    )
    rows = []
    for path, share in found.shares.items():
        values: dict[str, Any] = {"parameter": path, "share_percent": 100 * share}
        text = f"{100 * share:.0f}"
        if path in found.ends:
            low, high = (100 * end for end in found.ends[path])
            values |= {"low_percent": low, "high_percent": high}
            text += f" [{low:.0f}, {high:.0f}]"
        rows.append(Row(values=values, texts={"parameter": path, "share": text}))
    note = "How much of what sets the good trials apart each setting explains (PED-ANOVA, Watanabe et al. 2023)."
    name, title = ("importances", "Which setting matters") if found.step is None else (
        "importances-early",
        f"Which setting matters for what {found.num_trials} trials had reached at step {found.step}",
    )  # fmt: skip
    return Table(name=name, title=title, note=f"{note} {words(found)}", columns=columns, rows=tuple(rows))


def words(found: Importance) -> str:
    """How far the shares can be trusted, in one sentence."""
    if found.ends:
        return "In brackets: the middle 95 % of the share when these trials are drawn again with replacement."
    kind = "complete trials" if found.step is None else "trials"
    return (
        f"These are {found.num_trials} {kind}, and below about {ENOUGH_FOR_IMPORTANCES} the order is largely chance: "
        "at 12 a setting without any effect comes first in about three searches of ten."
    )
