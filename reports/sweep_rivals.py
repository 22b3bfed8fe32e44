"""Which trials did about as well as the best one? The best of many is lucky, and its rivals say how much."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ablation_suite.core.runs.damage import OUTPUT_ERRORS, Damaged
from ablation_suite.core.runs.run_folder import RunFolder
from ablation_suite.reports.outputs import Outputs, read_outputs
from ablation_suite.reports.statistics.intervals import difference_interval
from ablation_suite.sweeps.trial import Trial

LEVEL = 0.05


@dataclass(frozen=True, kw_only=True)
class Rivals:
    """How many of the other complete trials the validation images cannot tell apart from the best."""

    numbers: tuple[int, ...]
    """Of the trials that cannot be told apart."""
    num_others: int
    num_images: int
    num_seeds: int

    @property
    def num_rivals(self) -> int:
        return len(self.numbers)

    @property
    def sentence(self) -> str:
        """The finding for readers, with what follows from it."""
        images = f"The {self.num_images} validation images"
        others = "the other complete trial" if self.num_others == 1 else f"the {self.num_others} other complete trials"
        lucky = "as the best of many it is a lucky one, so expect less of it on fresh seeds"
        if self.num_seeds == 1:
            who = "it" if self.num_others == 1 else f"{self.num_rivals} of them"
            bound = f" (by the {self.num_images} images alone, {who} may be as good)" if self.num_rivals else ""
            return (
                "One seed a trial says nothing about the training noise, so that nothing tells it apart from the "
                f"{others.removeprefix('the ')}{bound}; {lucky}."
            )
        if not self.num_rivals:
            return f"{images} tell it apart from {'each of ' * (self.num_others > 1)}{others}."
        which = "any of " if self.num_rivals == self.num_others else f"{self.num_rivals} of "
        return f"{images} cannot tell it apart from {which * (self.num_others > 1)}{others}; {lucky}."


def find_rivals(top: Trial | None, trials: Sequence[Trial], store: Path) -> Rivals | None:
    """Compare every complete trial with the best, paired by seed and image; None where nothing can be compared.

    With one seed per trial only the images speak (exact McNemar): at least so many are rivals, and none is told apart.
    """
    if top is None:
        return None
    best = _outputs(top, store)
    others: dict[int, list[Outputs]] = {}
    for trial in trials:
        if trial.may_be_best and trial.number != top.number:
            found = _outputs(trial, store)
            if best and len(found) == len(best) and all(map(Outputs.same_images, found, best)):
                others[trial.number] = found
    if not others:
        return None
    right = [each.correct for each in best]
    numbers = [
        number
        for number, found in others.items()
        if difference_interval(right, [each.correct for each in found]).p >= LEVEL
    ]
    return Rivals(numbers=tuple(numbers), num_others=len(others), num_images=len(best[0].correct), num_seeds=len(best))


def _outputs(trial: Trial, store: Path) -> list[Outputs]:
    """What the runs of a trial said about the validation images, seed by seed; empty where a file cannot be read."""
    found = []
    for run in trial.runs:
        try:
            record = RunFolder(store / run).record()
            if record is None:
                return []
            found.append(read_outputs(store / run / "outputs.npz", record, "val"))
        except (*OUTPUT_ERRORS, Damaged):
            return []
    return found
