"""Can one figure be drawn again for a paper, in its size and style?"""

from __future__ import annotations

import io
import re
from functools import partial

import matplotlib
import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from ablation_suite.cli import ablate
from ablation_suite.core.config.errors import UserError
from ablation_suite.reports.ablation_figures import differences, drawings
from ablation_suite.reports.analysis import analyse
from ablation_suite.reports.captions import FIGURES, SWEEP_FIGURES
from ablation_suite.reports.design import design_of
from ablation_suite.reports.figures import Figure, FigureError, parse_size, render
from ablation_suite.reports.reader import Reader
from tests.reports.make_runs import TRUTHS, make_store

THREE = {name: TRUTHS[name] for name in ("baseline", "wide", "no-encoding")}


@pytest.fixture(scope="module")
def analysis(tmp_path_factory):
    store = tmp_path_factory.mktemp("runs")
    plan = make_store(store, THREE, seeds=3, epochs=4, num_images=120)
    return analyse(Reader(store).results(design_of(plan)))


def drawn(analysis, **settings):
    """The figure of differences as pixels."""
    content = render({"differences": partial(differences, analysis)}, ("png",), **settings)["differences.png"]
    return Image.open(io.BytesIO(content)).convert("RGB")


def test_a_figure_has_the_size_that_was_asked_for_and_nothing_is_cut_off(analysis):
    """At 160 dots per inch; the outermost pixels are paper, so that no text runs out."""
    for size in ((3.3, 2.0), (6.9, 3.0)):
        image = drawn(analysis, size=size)
        assert image.size == tuple(round(160 * each) for each in size)
        pixels = np.asarray(image)
        for edge in (pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]):
            assert (edge == 255).all()


def test_a_style_has_the_last_word_but_for_inks(analysis, tmp_path):
    """Its size of text and of the figure are taken, and the arms keep their colours."""
    (tmp_path / "paper.mplstyle").write_text(
        "figure.figsize: 3, 2\nfont.size: 12\naxes.prop_cycle: cycler('color', 'r')\n"
    )
    image = drawn(analysis, style=str(tmp_path / "paper.mplstyle"))
    assert image.size == (480, 320)
    assert {(0x1B, 0x6C, 0xA8), (0xD4, 0x65, 0x0A)} <= {colour for _, colour in image.getcolors(1 << 20)}
    assert drawn(analysis, style="dark_background").getpixel((0, 0)) == (0, 0, 0)


def test_a_style_changes_nothing_that_is_drawn_later(analysis, tmp_path):
    """Neither for other figures nor for the program that asked."""
    before, rc = drawn(analysis).tobytes(), dict(matplotlib.rcParams)
    drawn(analysis, style="dark_background", size=(3, 2))
    assert drawn(analysis).tobytes() == before
    assert dict(matplotlib.rcParams) == rc


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("font.sise: 12\n", "font.sise"),
        ("font.size: large-ish\n", "font.size"),
        (None, "is no file and no style of matplotlib"),
    ],
)
def test_a_style_that_is_none_is_one_line(analysis, tmp_path, text, told):
    """With the key that is wrong."""
    path = tmp_path / "odd.mplstyle"
    if text is not None:
        path.write_text(text)
    with pytest.raises(UserError) as error:
        drawn(analysis, style=str(path))
    assert told in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("size", ["3.3", "3.3x2", "0,2", "3,nan", "3,2,1", "-3,2", "100,2"])
def test_a_size_that_is_none_is_one_line(size):
    """Width and height in inches, neither of them absurd."""
    with pytest.raises(UserError, match="such as 3"):
        parse_size(size)


@pytest.mark.parametrize("size", [(1.0, 1.0), (2.0, 2.0), (6.0, 1.0), (1.5, 8.0)])
def test_a_size_that_words_alone_would_fill_is_one_line_and_any_other_is_drawn(analysis, size):
    """Margins of more than the width, panels lower than their gaps: told, or drawn in the size that was asked for."""
    inches = ",".join(f"{each:g}" for each in size)
    for name, draw in drawings(analysis).items():
        told, files = "", {}
        try:
            files = render({name: draw}, ("png",), size=size)
        except FigureError as error:
            told = str(error)
        assert told == ("" if files else f"--size {inches}: too small, the words leave no room for the drawing")
        for content in files.values():
            assert Image.open(io.BytesIO(content)).size == tuple(round(160 * each) for each in size)


def test_the_verb_lists_every_figure_that_the_reports_make(analysis):
    """`list` and the help name all of them, and those of an ablation are the ones that are drawn."""
    shown, helped = (CliRunner().invoke(ablate, ["figure", word]).output for word in ("list", "--help"))
    for name in (*FIGURES, *SWEEP_FIGURES):
        assert re.search(rf"^ +{name} ", shown, re.MULTILINE)
        assert re.search(rf"^ +{name} ", helped, re.MULTILINE)
    assert {*drawings(analysis), "forest"} == set(FIGURES)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["diferences", "quickstart"], "no such figure (did you mean 'differences'?)"),
        (["differences"], "name the SPEC"),
        (["differences", "quickstart", "-o", "x.docx"], "no format by this ending"),
        (["differences", "quickstart", "-o", "x.pdf"], "one file, and there are 4 figures"),
        (["forest", "quickstart/4-encoding"], "has no blocks to draw"),
        (["history", "quickstart/4-encoding"], "is a figure of a sweep"),
        (["differences", "quickstart/4-encoding"], "has nothing finished to draw"),
    ],
)
def test_a_figure_that_cannot_be_drawn_is_one_line(tmp_path, words, told):
    """What is wrong with the words, or that there is nothing to draw yet."""
    done = CliRunner().invoke(ablate, ["figure", *words, "--results", str(tmp_path)])
    assert isinstance(done.exception, UserError)
    assert told in str(done.exception)
    assert not list(tmp_path.rglob("*.pdf"))


def test_a_report_of_nothing_says_so(tmp_path):
    """One line with the command that trains the runs, and exit status 1; the page is there to look at."""
    done = CliRunner().invoke(
        ablate, ["report", "quickstart/4-encoding", "--results", str(tmp_path)], standalone_mode=False
    )
    assert done.return_value == 1
    line = next(line for line in done.output.splitlines() if "is finished" in line)
    assert line.startswith("quickstart-encoding: none of its ")
    assert f"ablate run quickstart/4-encoding --results {tmp_path}" in line
    assert (tmp_path / "report/quickstart-encoding/report.html").is_file()


def titled(text):
    """A figure with a title, as drawings make one."""
    figure = Figure(figsize=(3, 2))
    figure.subplots().set_title(text)
    return figure


def test_letters_that_no_font_has_are_one_remark(capsys):
    """Two figures in three formats, and no line of matplotlib's with a path of ours."""
    files = render({"one": partial(titled, "ab \u7a98"), "two": partial(titled, "\u6708 \u7a98")})
    assert len(files) == 6
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("figures: DejaVu Sans has no \u7a98\u6708, which figures show as boxes; ")
    render({"one": partial(titled, "ab")})
    assert capsys.readouterr().err == ""
