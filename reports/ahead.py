"""Along which epochs is an arm ahead? Sentences that say no more than the bands of the differences allow."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

from ablation_suite.reports.quantities import listed
from ablation_suite.reports.series import Series, told_apart
from ablation_suite.reports.statistics.bands import FEWEST_SEEDS

_BANDS = (
    "The bands of the difference hold with 95 %, at all epochs and for all arms together, over seeds and on these "
    "validation images; what other images would change is not in them, for no run keeps what it said of each image in "
    "each epoch."
)
_MOST_STRETCHES, _MOST_NAMED = 3, 6
_WORDS = {1: "ahead of", -1: "behind"}


def told_by_epoch(paired: Sequence[Series], baseline: str) -> tuple[str, ...]:
    """A sentence for each arm of `series.paired_series` that is told apart anywhere, and one for all others.

    Arms without a band have no verdict, and the sentence says why.
    """
    return tuple(_sentences(paired, baseline))


def _sentences(paired: Sequence[Series], baseline: str) -> Iterator[str]:
    banded = [line for line in paired if "low" in line]
    apart = [line for line in banded if any(told_apart(line))]
    for line in apart:
        yield f"“{line['arm']}” is {_of_arm(line, baseline)}."
    silent = [f"“{line['arm']}”" for line in banded if line not in apart]
    if len(silent) > _MOST_NAMED:
        yield f"{len(silent)} of {len(banded)} arms are told apart from “{baseline}” at no epoch."
    elif silent:
        yield f"{listed(silent)} {'is' if len(silent) == 1 else 'are'} told apart from “{baseline}” at no epoch."
    if len(banded) < len(paired):
        some = f"{len(paired) - len(banded)} of {len(paired)} arms have" if banded else "The arms have"
        yield f"{some} fewer than {FEWEST_SEEDS} seeds beside the baseline’s: no band, and no word on any epoch."
    if banded:
        yield _BANDS


def _of_arm(line: Series, baseline: str) -> str:
    signs, epochs = told_apart(line), line["epochs"]
    if len(set(signs)) == 1:
        return f"{_WORDS[signs[0]]} “{baseline}” at every epoch"
    stretches, last = _stretches(signs), len(signs) - 1
    if len(stretches) > _MOST_STRETCHES:
        told = [f"{word} “{baseline}” at {signs.count(sign)}" for sign, word in _WORDS.items() if sign in signs]
        return f"{' and '.join(told)} of {len(signs)} epochs, here and there; {_AT_LAST[signs[-1]]} at the last one"
    told, before = [], 0
    for sign, first, final in stretches:
        told.append(f"{f'{_WORDS[sign]} “{baseline}” ' if sign != before else ''}{_where(first, final, epochs)}")
        before = sign
    if stretches[-1][2] < last:
        return f"{listed(told)}, and not told apart at the last one"
    return listed(told) + (", and told apart at none before" if len(told) == 1 else "")


def _stretches(signs: Sequence[int]) -> list[tuple[int, int, int]]:
    """Sign, first and last place of the neighbours that share a sign other than zero."""
    groups = [[*group] for _, group in groupby(enumerate(signs), key=lambda each: each[1])]
    return [(group[0][1], group[0][0], group[-1][0]) for group in groups if group[0][1]]


def _where(first: int, last: int, epochs: Sequence[int]) -> str:
    if first == last:
        return f"at epoch {epochs[first]}"
    if last == len(epochs) - 1:
        return f"at every epoch from {epochs[first]} on"
    return f"at epochs {epochs[first]} to {epochs[last]}"


_AT_LAST = {1: "ahead", -1: "behind", 0: "not told apart"}
