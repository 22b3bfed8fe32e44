"""What did a sweep find, and what did it cost? Its trials as tables, as plain numbers, and what pruning saved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from ablation_suite.core.runs.run_folder import RunFolder
from ablation_suite.reports import rounding as digits
from ablation_suite.reports.sweep_importance import (
    Importance,
    importance_at_the_end,
    importance_early,
    importance_table,
)
from ablation_suite.reports.sweep_rivals import Rivals, find_rivals
from ablation_suite.reports.sweep_tables import budget_table, last_value, metric_words, score_text, trials_table
from ablation_suite.reports.tables import Table
from ablation_suite.sweeps.budget import rule_met
from ablation_suite.sweeps.front import front, front_sentence, reference_point, unfounded
from ablation_suite.sweeps.objectives import SCORES, is_maximised, measure_text
from ablation_suite.sweeps.progress import short
from ablation_suite.sweeps.spec import Sweep
from ablation_suite.sweeps.study import Study
from ablation_suite.sweeps.trial import DONE, Trial, best, count
from ablation_suite.sweeps.warm_start import begun_with, told_lines


@dataclass(frozen=True, kw_only=True)
class Effort:
    """Epochs and seconds of training, and what the trials that ended early did not need."""

    trained_epochs: int
    saved_epochs: int
    trained_seconds: float

    @property
    def saved_share(self) -> float:
        """Share of the epochs without pruning that pruning saved."""
        return self.saved_epochs / max(1, self.trained_epochs + self.saved_epochs)

    @property
    def saved_seconds(self) -> float:
        """At the mean time of a trained epoch."""
        return self.trained_seconds / max(1, self.trained_epochs) * self.saved_epochs


@dataclass(frozen=True, kw_only=True)
class SweepAnalysis:
    """Everything that the report of a sweep says."""

    sweep: Sweep
    trials: tuple[Trial, ...]
    best: Trial | None
    rivals: Rivals | None
    """None where the metric is no accuracy, or where nothing can be compared."""
    importance: Importance
    early: Importance | None
    """The same from the step that all trials reached, where some were stopped."""
    expected: tuple[float, ...]
    """The expected best validation score of 1, 2, ... trials."""
    ends_of_best: tuple[tuple[float | None, float | None], ...]
    """Between which of the scores the best of another search of as many trials lies in eight of ten."""
    effort: Effort
    tables: dict[str, Table]
    front: tuple[Trial, ...] = ()
    """Of several objectives: the trials that no other one beats, the best in the first one first."""
    reference: Mapping[str, float] = field(default_factory=dict)
    """Where the hypervolume is measured from."""
    begun_with: tuple[str, ...] = ()
    """What earlier trials the search began with, and what was left out of them."""

    @property
    def answer(self) -> str:
        """The best settings in one sentence, and what they are worth in another."""
        if self.sweep.is_multi and self.front:
            return self.volume_words
        if self.best is None or self.best.score is None:
            return self._why_none
        settings = ", ".join(f"{path} {short(value)}" for path, value in self.best.values.items())
        own = next((trial.score for trial in self.trials if trial.values == self.sweep.first), None)
        metric, is_share = metric_words(self.sweep), self.sweep.maximize
        compared = ""
        if own is not None and self.best.number:
            compared = f"; the base's own values reach {score_text(own, is_share)}"
        score, whose = score_text(self.best.score, is_share), ", which was imported," if self.best.is_imported else ""
        chosen = f" with {settings}" if settings else ""
        first = f"Trial {self.best.number}{whose} reaches a {metric} of {score}{chosen}{compared}."
        return " ".join(filter(None, [first, self.rivals.sentence if self.rivals else "", *self._set_aside]))

    @property
    def volume_words(self) -> str:
        """How large the front is, and how much lies behind it as seen from where."""
        told = front_sentence(self.sweep, self.trials)
        return " ".join([f"{told[0].upper()}{told[1:]}.", *self._set_aside])

    @property
    def _why_none(self) -> str:
        aside = " ".join(self._set_aside)
        return f"No trial is the best yet. {aside}" if aside else "No trial is complete yet."

    @property
    def _set_aside(self) -> list[str]:
        """What would stand in front of the others, and why it does not."""
        found: list[str] = []
        if num := sum(bool(each.violated) for each in self.trials):
            limits = " and ".join(dict.fromkeys(limit for each in self.trials for limit in each.violated))
            untrained = sum(each.outcome == "infeasible" for each in self.trials)
            spared = f"; {untrained} of them {'was' if untrained == 1 else 'were'} never trained" if untrained else ""
            found.append(f"{num} {'trial does' if num == 1 else 'trials do'} not keep to {limits}{spared}.")
        leaders = self.front if self.sweep.is_multi else tuple(filter(None, [self.best]))
        for each in unfounded(self.trials, leaders, self.sweep):
            told = " and ".join(
                score_text(value, is_maximised(name)) if name in SCORES else f"{name} {measure_text(name, value)}"
                for name, value in each.objectives.items()
            )
            found.append(f"The imported trial {each.number} was told {told}, with no run behind it.")
        return found

    @property
    def counts(self) -> str:
        """How the trials ended, and why there are no more where a rule ended the search."""
        met = rule_met(self.sweep, self.trials)
        counts = ", ".join(f"{number} {outcome}" for outcome, number in count(self.trials).items())
        return f"{counts}; {met}" if met else counts


def analyse(study: Study, store: Path) -> SweepAnalysis:
    """The analysis of a study whose runs lie in a store."""
    sweep, trials = study.sweep, [_inside(study.sweep, each) for each in study.trials()]
    importance, early = importance_at_the_end(study, trials), importance_early(study, trials)
    found = scores([each for each in trials if not each.is_imported], sweep.maximize)
    expected, ends_of_best = expected_best(found, sweep.maximize), best_of_another(found, sweep.maximize)
    top = None if sweep.is_multi else best(trials, sweep.maximize)
    return SweepAnalysis(
        sweep=sweep,
        trials=tuple(trials),
        best=top,
        rivals=find_rivals(top, trials, store) if sweep.spec.metric == "val/accuracy" else None,
        importance=importance,
        early=early,
        expected=expected,
        ends_of_best=ends_of_best,
        effort=effort(sweep, trials, store),
        tables={
            table.name: table
            for table in (
                trials_table(sweep, trials),
                importance_table(importance),
                *([importance_table(early)] if early else []),
                *([] if sweep.is_multi else [budget_table(sweep, expected, ends_of_best)]),
            )
            if table.rows
        },
        front=tuple(front(trials, sweep.objectives)) if sweep.is_multi else (),
        reference=reference_point(sweep, trials) if sweep.is_multi else {},
        begun_with=tuple(line for told in begun_with(study).items() for line in told_lines(*told)),
    )


def _inside(sweep: Sweep, trial: Trial) -> Trial:
    """A trial with those of its values that the space has; one that was imported may have others."""
    outside = sweep.space.outside(trial.values)
    return replace(trial, values={path: each for path, each in trial.values.items() if path not in outside})


def scores(trials: Sequence[Trial], maximize: bool) -> list[float]:
    """One score per trial that is done: a pruned one's last value, the worst of all for one diverged or infeasible."""
    known = [each.score if each.may_be_best else last_value(each) for each in trials if each.outcome in DONE]
    there = [score for score in known if score is not None]
    worst = (min if maximize else max)(there, default=0.0)
    return [worst if score is None else score for score in known]


def expected_best(found: Sequence[float], maximize: bool = True) -> tuple[float, ...]:
    """The expected best score of n = 1 .. N of N observed scores, drawn without replacement.

    E[best of n] = sum over the sorted scores v_i of v_i (P(best <= v_i) - P(best <= v_(i-1))), with P(best <= v_i) =
    C(i, n) / C(N, n): unbiased for independent trials, where draws with replacement are pessimistic (Tang et al. 2020,
    Showing Your Work Doesn't Always Work, section 4). Proposals that learn, such as TPE's, describe this history alone.
    """
    values = np.sort(np.asarray(found, dtype=float))
    values = values if maximize else values[::-1]
    at = np.arange(len(values) + 1)
    share, expected = np.ones(len(at)), []  # P(the best of no draw is v_i at most) = 1
    for num in range(len(values)):
        share = share * np.maximum(at - num, 0) / (len(values) - num)
        expected.append(float(values @ np.diff(share)))
    return tuple(expected)


def best_of_another(
    found: Sequence[float], maximize: bool = True, tail: float = 0.1
) -> tuple[tuple[float | None, float | None], ...]:
    """Between which observed scores the best of another search of n = 1 .. N trials lies, 1 - 2 `tail` of them.

    The best of n new trials lies below v_i with probability C(i + n - 1, n) / C(N + n, n), whatever the scores'
    distribution (ranks of independent trials are exchangeable). An end is None where no score that was seen is so low,
    or so high: of searches of as many new trials, half beat the best that was seen. The second end is the better one.
    """
    values = np.sort(np.asarray(found, dtype=float))
    values = values if maximize else values[::-1]
    at = np.arange(1, len(values) + 1)
    below, ends = np.ones(len(values)), []
    for num in range(len(values)):
        below = below * (at + num) / (len(values) + 1 + num)
        worst, top = np.flatnonzero(below <= tail), np.flatnonzero(below >= 1 - tail)
        ends.append((float(values[worst[-1]]) if len(worst) else None, float(values[top[0]]) if len(top) else None))
    return tuple(ends)


def effort(sweep: Sweep, trials: Sequence[Trial], store: Path) -> Effort:
    """Epochs that the runs of the search's own trials took, each run once, and those that pruned ones were spared."""
    trials = [each for each in trials if not each.is_imported]
    epochs: dict[str, int] = {}
    seconds = 0.0
    for name in dict.fromkeys(run for trial in trials for run in trial.runs):
        history = RunFolder(store / name).ledger.history()
        epochs[name] = len(history)
        seconds += sum(row["seconds"] for row in history)
    saved = 0
    for trial in trials:
        if trial.outcome == "pruned":
            planned = sweep.run_config(trial.values, sweep.seeds[0]).epochs
            saved += sum(planned - epochs[run] for run in trial.runs)
    return Effort(trained_epochs=sum(epochs.values()), saved_epochs=saved, trained_seconds=seconds)


def saved_text(found: Effort) -> str:
    """What pruning saved, in one sentence."""
    if not found.saved_epochs:
        return f"Nothing was saved by pruning; {found.trained_epochs} epochs were trained."
    return (
        f"Pruning saved {found.saved_epochs} of {found.trained_epochs + found.saved_epochs} epochs "
        f"({100 * found.saved_share:.0f} %), about {digits.seconds(found.saved_seconds)} of training."
    )
