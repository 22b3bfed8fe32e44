"""How is a table for a paper laid out? `arms=rows,metrics=columns` in words, and what stands in each of its cells."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass

from ablation_suite.core.config.errors import UserError, nearest

AXES = ("arms", "metrics", "blocks", "seeds")
PLACES = ("rows", "columns")
CELLS = {
    "changes": ("arms",),
    "mean": AXES,
    "difference": AXES,
    "p": ("arms", "metrics", "blocks"),
    "verdict": ("arms", "metrics"),
    "unseen": ("arms", "metrics"),
    "n": ("arms", "blocks"),
    "parameters": ("arms", "blocks"),
    "flops": ("arms", "blocks"),
    "images": ("arms", "blocks"),
    "time": ("arms", "blocks"),
}
"""What can stand in a cell -> the axes along which it changes."""
_OVER_SEEDS = ("p", "verdict", "unseen", "n", "parameters", "flops", "images", "time")
"""What is said of all seeds of an arm together."""
_IN_ONE_BLOCK = ("verdict", "unseen")
"""What holds among the arms of one ablation: over blocks the family is another one."""


class LayoutError(UserError):
    """A layout that is none, in one line with the choices."""


@dataclass(frozen=True, kw_only=True)
class TableLayout:
    """The axes of the rows and of the columns, the outermost first, and the words of what stands in a cell."""

    rows: tuple[str, ...]
    columns: tuple[str, ...]
    cells: tuple[str, ...]

    @property
    def name(self) -> str:
        """Of its files: `arms-by-metrics`, and what stands in the cells where that was chosen."""
        axes = "-".join(self.rows) + (f"-by-{'-'.join(self.columns)}" if self.columns else "")
        return axes if self.cells == _usual(self) else f"{axes}-{'-'.join(self.cells)}"

    @property
    def axes(self) -> tuple[str, ...]:
        """All axes that have a place."""
        return (*self.rows, *self.columns)

    def to_json(self) -> dict[str, list[str]]:
        """The layout as JSON data; `TableLayout.from_json` gives it back."""
        return {name: list(words) for name, words in asdict(self).items()}

    @staticmethod
    def from_json(data: Mapping[str, Iterable[str]]) -> TableLayout:
        """The layout that `to_json` wrote."""
        return TableLayout(**{name: tuple(words) for name, words in data.items()})

    def words(self) -> str:
        """The layout as `layout_of` reads it."""
        return ",".join([*(f"{axis}=rows" for axis in self.rows), *(f"{axis}=columns" for axis in self.columns)])


def layout_of(text: str, cells: str | None = None) -> TableLayout:
    """The layout of `arms=rows,metrics=columns`, with cells of `mean,difference,p` or of what is usual.

    LayoutError: one line that names the choices.
    """
    places: dict[str, str] = {}
    for pair in _words(text, "--table"):
        axis, equals, place = (part.strip() for part in pair.partition("="))
        if axis not in AXES:
            raise LayoutError(f"--table {text}: no axis {axis!r}{nearest(axis, AXES)}; there are {', '.join(AXES)}")
        if not equals or place not in PLACES:
            given = f"{place!r} is no place{nearest(place, PLACES)}" if equals else f"{axis} has no place"
            raise LayoutError(f"--table {text}: {given}; write {axis}=rows or {axis}=columns")
        if axis in places:
            raise LayoutError(f"--table {text}: {axis} stands twice")
        places[axis] = place
    rows, columns = (tuple(axis for axis, place in places.items() if place == each) for each in PLACES)
    if "arms" not in places:
        raise LayoutError(f"--table {text}: the arms are what is compared; add arms=rows or arms=columns")
    if not rows:
        raise LayoutError(f"--table {text}: no axis stands in rows; write one as {next(iter(places))}=rows")
    layout = TableLayout(rows=rows, columns=columns, cells=())
    chosen = _usual(layout) if cells is None else tuple(_words(cells, "--columns"))
    for word in chosen:
        _check_cell(word, layout, f"--columns {cells}")
    if len(set(chosen)) < len(chosen):
        raise LayoutError(f"--columns {cells}: a word stands twice")
    return TableLayout(rows=rows, columns=columns, cells=chosen)


def refuse_blocks(layouts: Iterable[TableLayout]) -> None:
    """LayoutError where a layout has blocks on an axis, of which there are none."""
    for layout in layouts:
        if "blocks" in layout.axes:
            raise LayoutError(f"--table {layout.words()}: the spec has no blocks; leave blocks out")


def _check_cell(word: str, layout: TableLayout, where: str) -> None:
    if word not in CELLS:
        raise LayoutError(f"{where}: no column {word!r}{nearest(word, CELLS)}; there are {', '.join(CELLS)}")
    if "seeds" in layout.axes and word in _OVER_SEEDS:
        known = ", ".join(each for each in CELLS if each not in _OVER_SEEDS)
        raise LayoutError(f"{where}: {word} is of all seeds together; a table of single seeds has {known}")
    if "blocks" in layout.axes and word in _IN_ONE_BLOCK:
        raise LayoutError(f"{where}: {word} is of one block alone; over blocks p and bold type say what is decided")
    if not set(CELLS[word]) & set(layout.rows):
        axes = " or ".join(f"{axis}=rows" for axis in CELLS[word])
        raise LayoutError(f"{where}: {word} would be the same in every row of {layout.words()}; it needs {axes}")


def _usual(layout: TableLayout) -> tuple[str, ...]:
    return ("mean",) if "seeds" in layout.axes else ("mean", "difference")


def _words(text: str, option: str) -> list[str]:
    words = [word.strip() for word in text.split(",")]
    if not all(words):
        raise LayoutError(f"{option} {text!r}: a word is missing between its commas")
    return words
