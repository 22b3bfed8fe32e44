"""Which classes are taken for which, drawn? The baseline's matrix, and what each arm changes in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ablation_suite.reports import rounding as digits

MOST_CLASSES = 20
_SIDE, _GAP = 20, 2
_LETTER = 6.6
"""Pixels of a letter at 12 px, on the safe side."""
_LONGEST = 16
_STEPS = (0.01, 0.1, 0.3, 0.6)
"""The shares of a row at which the ramp changes."""


@dataclass(frozen=True, kw_only=True)
class Square:
    """One square with its text; `look` is its class in the style sheet."""

    x: float
    y: float
    look: str
    text: str

    @property
    def dark(self) -> bool:
        return self.look in ("q3", "q4", "down")


@dataclass(frozen=True, kw_only=True)
class Matrix:
    """A square of classes (rows) by what they were taken for (columns). Labels as (place, text); sizes in pixels."""

    arm: str
    is_change: bool
    width: float
    height: float
    left: float
    top: float
    rows: list[tuple[float, str]]
    columns: list[tuple[float, str]]
    cells: list[Square]
    label: str


def matrices(confusions: Mapping[str, Any] | None, baseline: str, arms: Sequence[str]) -> list[Matrix]:
    """The matrix of the baseline, then the changes of the arms against it; none beyond so many classes."""
    if confusions is None or baseline not in confusions["arms"] or len(confusions["classes"]) > MOST_CLASSES:
        return []
    classes, found = confusions["classes"], confusions["arms"]
    first = found[baseline]
    return [
        _matrix(baseline, classes, _shaded(first), is_change=False),
        *(_matrix(arm, classes, _changed(found[arm], first), is_change=True) for arm in arms if arm in found),
    ]


def _shaded(counts: Sequence[Sequence[float]]) -> dict[tuple[int, int], tuple[str, str]]:
    """(row, column) -> look and text; below half an image a cell is empty."""
    found = {}
    for row, of_class in enumerate(counts):
        total = sum(of_class) or 1.0
        for column, count in enumerate(of_class):
            if count >= 0.5:
                found[row, column] = (f"q{sum(count / total >= step for step in _STEPS)}", digits.fixed(count, 0))
    return found


def _changed(
    counts: Sequence[Sequence[float]], first: Sequence[Sequence[float]]
) -> dict[tuple[int, int], tuple[str, str]]:
    """The same of changes of one image per run or more: better is outlined, worse is filled."""
    found = {}
    for row, of_class in enumerate(counts):
        for column, count in enumerate(of_class):
            change = count - first[row][column]
            if abs(change) >= 1:
                better = (change > 0) == (row == column)
                found[row, column] = ("up" if better else "down", digits.signed(change, 0))
    return found


def _matrix(
    arm: str, classes: Sequence[str], looks: Mapping[tuple[int, int], tuple[str, str]], *, is_change: bool
) -> Matrix:
    names = [name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…" for name in classes]
    side, room = _SIDE + _GAP, 8 + _LETTER * max(map(len, names))
    cells = [
        Square(x=room + column * side, y=room + row * side, look=look, text=text)
        for (row, column), (look, text) in looks.items()
    ]
    places = [room + index * side + _SIDE / 2 for index in range(len(names))]
    what = f"Change of {arm} against the baseline" if is_change else f"Confusions of {arm}"
    return Matrix(
        arm=arm,
        is_change=is_change,
        width=room + side * len(names),
        height=room + side * len(names),
        left=room - 6,
        top=room - 6,
        rows=list(zip(places, names, strict=True)),
        columns=list(zip(places, names, strict=True)),
        cells=cells,
        label=f"{what}, images per run; rows are the true classes: {_largest(classes, looks)}",
    )


def _largest(classes: Sequence[str], looks: Mapping[tuple[int, int], tuple[str, str]]) -> str:
    beside = [(text, row, column) for (row, column), (_, text) in looks.items() if row != column]
    beside.sort(key=lambda each: -abs(float(each[0].replace(digits.MINUS, "-"))))
    told = [f"{classes[row]} as {classes[column]} {text}" for text, row, column in beside[:3]]
    return "most " + ", ".join(told) if told else "nothing beside the diagonal"
