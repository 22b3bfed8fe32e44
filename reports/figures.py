"""How does a figure for a paper look? One style and one way of saving; what is drawn stands in the modules that draw.

Text has 8 points and ticks 7, so that a figure is made at the width at which it is printed.
"""

from __future__ import annotations

import io
import logging
import re
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.style import library
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from ablation_suite.core.config.errors import UserError, nearest, printable
from ablation_suite.reports.latex_text import latex
from ablation_suite.reports.palette import Ink

__all__ = ["Axes", "Axis", "Figure", "Line2D", "MaxNLocator"]
FORMATS = ("svg", "png", "pdf")
SAVED_AS = (*FORMATS, "eps", "jpg", "tif")
WIDTH = 6.9
"""Inches: the text of an article of two columns; one of its columns has 3.3."""
_NARROW = 5.0
"""Below so many inches panels stand below each other."""
_STYLE: Any = {
    "figure.figsize": (WIDTH, 0.0),  # as high as a figure needs
    "font.family": "DejaVu Sans",
    "font.size": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#999999",
    "axes.linewidth": 0.6,
    "axes.titlesize": 8,
    "axes.titlelocation": "left",
    "axes.titlecolor": "#333333",
    "axes.labelsize": 8,
    "axes.labelcolor": "#333333",
    "axes.unicode_minus": True,
    "grid.color": "#eeeeee",
    "grid.linewidth": 0.6,
    "xtick.color": "#666666",
    "ytick.color": "#666666",
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "lines.linewidth": 1.3,
    "lines.markersize": 4.5,
    "legend.frameon": False,
    "pdf.fonttype": 42,
    "ps.fonttype": 42,
    "svg.hashsalt": "ablation-suite",  # without it every writing of the same figure differs
    "text.parse_math": False,  # a dollar sign in a name is a dollar sign, and a malformed formula would raise
}
SHADES = "viridis"
"""The colours of a quantity that has no middle."""
GROUND, RULE, SOFT, LABEL, INK = "#ece8dd", "#8f8b82", "#b5b2aa", "#333333", "#1f1e1b"


class FigureError(UserError):
    """A style or a size that is none, or a figure for which there is nothing to draw; one line."""


def render(
    drawings: Mapping[str, Callable[[], Figure | None]],
    formats: Sequence[str] = FORMATS,
    *,
    style: str | None = None,
    size: tuple[float, float] | None = None,
) -> dict[str, bytes]:
    """File name -> content of the figures that there is something to draw for; the same input gives the same bytes.

    style: a style sheet of matplotlib, as a file or by its name, which has the last word over that of the house but for
    inks, marks and digits. size: inches; without it that of the style, else what a figure needs.
    Errors: FigureError for a style that cannot be read, and for a size that words alone fill.
    """
    with _styled(style) as given, _lost_letters_told():
        wanted = size or given
        matplotlib.rcParams["figure.figsize"] = wanted or _STYLE["figure.figsize"]
        figures = {name: figure for name, draw in drawings.items() if (figure := draw()) is not None}
        for figure in figures.values() if wanted else ():
            figure.set_size_inches(*wanted)  # type: ignore[misc]
            figure.set_layout_engine("constrained")
        with _no_collapse(wanted):
            return {f"{name}.{kind}": _save(figure, kind) for name, figure in figures.items() for kind in formats}


_LOST_LETTER = re.compile(r"Glyph (\d+) .* missing from font")


@contextmanager
def _lost_letters_told() -> Iterator[None]:
    """One remark for people on all letters that the fonts lack, instead of matplotlib's warning for each."""
    lost: dict[str, None] = {}
    with warnings.catch_warnings():
        warnings.filterwarnings("always", _LOST_LETTER.pattern, UserWarning)
        usual = warnings.showwarning

        def show(message: Warning | str, *others: Any) -> None:
            if found := _LOST_LETTER.match(str(message)):
                lost[chr(int(found[1]))] = None
            else:
                usual(message, *others)

        warnings.showwarning = show  # type: ignore[assignment]
        yield
    if lost:
        some, fonts = "".join([*lost][:20]), ", ".join(matplotlib.rcParams["font.family"])
        why = f"{fonts} has no {some}, which figures show as boxes; draw them by `ablate figure --style` with a font"
        print(printable(f"figures: {why} that has them (font.family)"), file=sys.stderr)


@contextmanager
def _no_collapse(size: tuple[float, float] | None) -> Iterator[None]:
    """FigureError where matplotlib would warn that no room is left for a drawing, and save one without any layout."""
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "constrained_layout not applied", UserWarning)
        try:
            yield
        except UserWarning:
            inches = ",".join(f"{each:g}" for each in size or ())
            raise FigureError(f"--size {inches}: too small, the words leave no room for the drawing") from None


def parse_size(text: str) -> tuple[float, float]:
    """Inches as `3.3,2`; FigureError otherwise."""
    try:
        width, height = (float(part) for part in text.split(","))
    except ValueError:
        raise FigureError(f"--size {text}: write width and height in inches, such as 3.3,2") from None
    if not (1 <= width <= 40 and 1 <= height <= 40):
        raise FigureError(f"--size {text}: a figure has 1 to 40 inches either way, such as 3.3,2")
    return width, height


@contextmanager
def _styled(style: str | None) -> Iterator[tuple[float, float] | None]:
    """The style of the house below that of the user, whose size of figures is given where it names one."""
    with matplotlib.rc_context(_STYLE):
        given = _read_style(style) if style is not None else {}
        matplotlib.rcParams.update(given)  # type: ignore[arg-type]
        size = given.get("figure.figsize")
        yield (float(size[0]), float(size[1])) if size else None


def _read_style(style: str) -> dict[str, Any]:
    """The settings of a style sheet; matplotlib logs what it does not know in one, which is an error here."""
    if style in library:
        return dict(library[style])  # type: ignore[arg-type]
    if not Path(style).is_file():
        raise FigureError(f"--style {style}: is no file and no style of matplotlib{nearest(style, library)}")
    faults: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: faults.append(record.getMessage())  # type: ignore[method-assign]
    log = logging.getLogger("matplotlib")
    log.addHandler(handler)
    propagates, log.propagate = log.propagate, False
    try:
        found: dict[str, Any] = dict(
            matplotlib.rc_params_from_file(style, use_default_template=False)  # type: ignore[arg-type]
        )
    except (OSError, ValueError) as error:
        raise FigureError(f"--style {style}: cannot be read ({error})") from None
    finally:
        log.removeHandler(handler)
        log.propagate = propagates
    if faults:
        raise FigureError(f"--style {style}: {' '.join(faults[0].split())}")
    return found


def _save(figure: Figure, format: str) -> bytes:
    # The time of writing would make the same report differ from itself.
    undated = {"svg": {"Date": None}, "pdf": {"CreationDate": None}, "png": {"Software": None}}
    file = io.BytesIO()
    figure.savefig(file, format=format, dpi=160, metadata=undated.get(format))
    return file.getvalue()


def width() -> float:
    """Inches that a figure being drawn has."""
    return float(matplotlib.rcParams["figure.figsize"][0])


def height(usual: float) -> float:
    """Inches that a figure being drawn has, where that was asked for, else what is usual for it."""
    return float(matplotlib.rcParams["figure.figsize"][1]) or usual


def is_narrow() -> bool:
    """Whether a figure being drawn has room for one panel across."""
    return width() < _NARROW


def small() -> Any:
    """The size of text inside a figure, which is that of ticks."""
    return matplotlib.rcParams["xtick.labelsize"]


def empty_figure(
    usual: float, *, left: float = 0.55, right: float = 0.12, bottom: float = 0.5, top: float = 0.28, **spaces: float
) -> Figure:
    """A figure without axes; sizes and margins in inches, since measuring text for a layout would draw all twice.

    One whose size was asked for, which the margins need not fit, is measured all the same.
    """
    figure = Figure(figsize=(width(), usual))
    FigureCanvasAgg(figure)
    if not height(0.0):
        margins = (left / width(), bottom / usual, 1 - right / width(), 1 - top / usual)
        figure.subplots_adjust(*margins, **{"wspace": 0.18, "hspace": 0.2, **spaces})
    return figure


def log_ticks(axis: Axis, write: Callable[[float], str]) -> None:
    """Ticks at 1, 2 and 5 times powers of ten."""
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: write(value)))


def number_ticks(axis: Axis, write: Callable[[float], str], most: int = 4) -> None:
    """At most so many round ticks, written so."""
    axis.set_major_locator(MaxNLocator(most, steps=[1, 2, 5, 10]))
    axis.set_major_formatter(FuncFormatter(lambda value, _: write(value)))


def named(name: str, most: int = 34) -> str:
    """A name as the figure shows it, at most so long; where the style hands text to LaTeX, as LaTeX has it."""
    short = name if len(name) <= most else f"{name[: most - 1]}…"
    return latex(short) if matplotlib.rcParams["text.usetex"] else short


def dash(ink: Ink) -> Any:
    """The dashes of an ink for matplotlib."""
    return (0, ink.dash) if ink.dash else "solid"


def shades(shares: Any) -> list[Any]:
    """The colours at shares in [0, 1] of a quantity."""
    return list(matplotlib.colormaps[SHADES](shares))
