"""What does each factor of a full grid do, and does its effect depend on another factor?

Effects are contrasts with the first level of each factor, averaged over the levels of all other factors.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, product

import numpy as np

from ablation_suite.reports.statistics.comparison import SeedScores, holm
from ablation_suite.reports.statistics.intervals import Array, Interval, difference_interval

Cell = tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Effect:
    """A main effect (one factor) or a two-way interaction (two factors), in units of the score.

    A main effect is mean(level) - mean(reference). An interaction is how much the effect of the first factor changes
    when the second goes from its reference to its level: a difference of differences, zero where the effects add up.
    `p_adjusted` is Holm's over all effects of the grid.
    """

    factors: tuple[str, ...]
    levels: tuple[str, ...]
    references: tuple[str, ...]
    num_pairs: int
    interval: Interval
    p_adjusted: float


def factorial_effects(
    scores: Mapping[Cell, SeedScores], factors: Mapping[str, Sequence[str]], level: float = 0.95
) -> tuple[Effect, ...]:
    """Estimate all main effects and two-way interactions of a full factorial, with crossed seeds x images intervals.

    scores: (level of each factor, in the order of `factors`) -> seed -> per-image scores (N,).
    factors: name -> its levels, the reference first.
    Only seeds that every cell finished are used: an effect is a contrast within one seed.
    Errors: ValueError, naming the cells, where cells are missing or no seed is common to all.
    """
    cells = list(product(*factors.values()))
    missing = [cell for cell in cells if not scores.get(cell)]
    if missing:
        raise ValueError(f"the grid is not full; cells without a finished run: {', '.join(map(str, missing))}")
    seeds = sorted(set.intersection(*(set(scores[cell]) for cell in cells)))
    if not seeds:
        raise ValueError("no seed is finished in every cell of the grid")
    grid = np.array([[scores[cell][seed] for seed in seeds] for cell in cells], dtype=np.float64)  # cells S N
    grid = grid.reshape(*(len(levels) for levels in factors.values()), *grid.shape[1:])  # levels... S N
    contrasts = _contrasts(factors)
    binary = bool(np.isin(grid, (0, 1)).all())  # then one image can show a main effect of 1, an interaction of 2
    intervals = [
        difference_interval(
            *_sides(grid, factors, contrast), level=level, largest=float(len(contrast)) if binary else None
        )
        for contrast in contrasts
    ]
    adjusted = holm([interval.p for interval in intervals])
    return tuple(
        Effect(
            factors=tuple(contrast),
            levels=tuple(factors[name][index] for name, index in contrast.items()),
            references=tuple(factors[name][0] for name in contrast),
            num_pairs=len(seeds),
            interval=interval,
            p_adjusted=p_adjusted,
        )
        for contrast, interval, p_adjusted in zip(contrasts, intervals, adjusted, strict=True)
    )


def _contrasts(factors: Mapping[str, Sequence[str]]) -> list[dict[str, int]]:
    """Every choice of one or two factors and a level beside the reference of each: factor -> index of the level."""
    chosen = [names for size in (1, 2) for names in combinations(factors, size)]
    return [
        dict(zip(names, indices, strict=True))
        for names in chosen
        for indices in product(*(range(1, len(factors[name])) for name in names))
    ]


def _sides(grid: Array, factors: Mapping[str, Sequence[str]], contrast: Mapping[str, int]) -> tuple[Array, Array]:
    """The scores (S, N) that count for the effect and those that count against it."""
    if len(contrast) == 1:
        ((name, index),) = contrast.items()
        return _marginal(grid, factors, {name: index}), _marginal(grid, factors, {name: 0})
    (first, i), (second, j) = contrast.items()
    both = _marginal(grid, factors, {first: i, second: j})
    neither = _marginal(grid, factors, {first: 0, second: 0})
    only_first = _marginal(grid, factors, {first: i, second: 0})
    only_second = _marginal(grid, factors, {first: 0, second: j})
    return both + neither, only_first + only_second


def _marginal(grid: Array, factors: Mapping[str, Sequence[str]], fixed: Mapping[str, int]) -> Array:
    """The mean over all factors but the fixed ones: (levels..., S, N) -> (S, N)."""
    for axis, name in reversed(list(enumerate(factors))):  # from the last, so that the axes before it keep their places
        grid = np.take(grid, fixed[name], axis=axis) if name in fixed else np.mean(grid, axis=axis)
    return grid
