"""Do people see how far their runs are? Lines that stay everywhere, bars on a terminal, and no time that is a guess."""

from __future__ import annotations

import io
import re
from types import SimpleNamespace

import pytest

from ablation_suite.core.runs.store import RunFolder
from ablation_suite.core.scheduling import console as module
from ablation_suite.core.scheduling.console import Bar, Display, Progress, share_done
from ablation_suite.core.scheduling.executors import Event

ERASED = re.compile(r"\r?\x1b\[2K")
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
JOBS = {name: {"config": {"epochs": 10}, "labels": {"group": "asked", "name": f"{name}-0"}} for name in "ab"}


class Terminal(io.StringIO):
    """An output that calls itself a terminal."""

    def isatty(self) -> bool:
        return True


def lines_of(out: Terminal) -> list[str]:
    """What was written to a terminal, also what was drawn over since, without colours."""
    return [line for line in ESCAPES.sub("", ERASED.sub("\n", out.getvalue())).splitlines() if line]


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A clock that the test turns, and a terminal of 100 columns that can move its cursor."""
    clock = SimpleNamespace(now=1000.0, monotonic=lambda: clock.now)
    monkeypatch.setattr(module, "time", clock)
    for name, value in {"TERM": "xterm", "COLUMNS": "100", "LINES": "30"}.items():
        monkeypatch.setenv(name, value)
    return clock


def news(run_id: str, epoch: int, step: int) -> Event:
    return Event(run_id=run_id, epoch=epoch, step=step, num_steps=4)


def test_the_epoch_under_way_is_not_yet_behind() -> None:
    """Of ten epochs: nothing before the first step, a quarter of one after it, all after the last step of the last."""
    shares = [share_done(news("a", *place), 10) for place in [(1, 0), (1, 1), (2, 0), (10, 4)]]
    assert shares == pytest.approx([0.0, 0.025, 0.1, 1.0])


def test_time_left_is_told_from_what_was_trained_and_not_before(clock: SimpleNamespace) -> None:
    """Two runs of ten epochs: half a step in ten seconds tells nothing; 4 of 20 epochs in 60 s leave four minutes."""
    progress = Progress(out := io.StringIO())
    progress.begin(JOBS, 0, 2)
    for seconds, event in [(0, news("a", 1, 0)), (16, news("a", 1, 1)), (0, news("b", 1, 0))]:
        clock.now += seconds
        progress.news(event)
    assert "left" not in out.getvalue()
    for seconds, event in [(28, news("a", 3, 0)), (16, news("b", 3, 0))]:
        clock.now += seconds
        progress.news(event)
    assert out.getvalue().splitlines()[-1] == "0/2 runs done  epoch: a-0 3/10  b-0 3/10  about 4 min left"


def test_what_an_earlier_call_trained_took_this_one_no_time(clock: SimpleNamespace) -> None:
    """A run that goes on at epoch 6 and needs 20 s for it is at the end of 10 in 80 s, though six tenths are done."""
    progress = Progress(out := io.StringIO())
    progress.begin({"a": JOBS["a"]}, 0, 1)
    progress.news(news("a", 6, 0))
    clock.now += 20.0
    progress.news(news("a", 7, 0))
    assert out.getvalue().splitlines()[-1].endswith("about 80 s left")


def test_a_grid_on_a_terminal_has_bars_below_its_lines(tmp_path, clock: SimpleNamespace) -> None:
    """A failed run's line stays as it is, brackets and all; at the end the bars are gone and the cursor is back."""
    with Progress(out := Terminal()) as progress:
        progress.begin(JOBS, 3, 2)
        for run_id in "ab":
            clock.now += 1.0
            progress.news(news(run_id, 4, 2))
        drawn = lines_of(out)
        clock.now += 1.0
        progress.ended(RunFolder(tmp_path / "a"), "no [bold] file :smile: at /tmp/x")
    assert drawn[0] == "2 runs to train on 2 workers; 3 are finished already"
    assert [line.split()[0] for line in drawn[-3:]] == ["runs", "a-0", "b-0"]
    assert all("━" in line for line in drawn[-3:])
    assert drawn[-1].endswith("epoch 4/10")
    assert "failed    asked/a-0 (a): no [bold] file :smile: at /tmp/x" in lines_of(out)
    assert out.getvalue().rindex("\x1b[?25h") > out.getvalue().rindex("\x1b[?25l")
    assert out.getvalue().endswith("\x1b[2K")


@pytest.mark.parametrize("out", [io.StringIO, Terminal])
def test_where_nothing_can_be_redrawn_lines_are_all(monkeypatch: pytest.MonkeyPatch, out: type[io.StringIO]) -> None:
    """A file, and a terminal that says it is dumb, get no escape sequence and no bar."""
    monkeypatch.setenv("TERM", "dumb")
    with Display(written := out(), keep=True) as display:
        display.draw([Bar("runs", 0.5, "half")])
        display.line("a line")
    assert written.getvalue() == "a line\n"


def test_what_another_driver_trained_is_told_so(tmp_path) -> None:
    """It counts as done, and is not said to be this driver's."""
    progress = Progress(out := io.StringIO())
    progress.begin(JOBS, 0, 1)
    progress.ended(RunFolder(tmp_path / "a"), None, here=False)
    assert re.fullmatch(r"  1/2 asked/a-0 +trained by another driver", out.getvalue().splitlines()[-1])
