"""Do people see how far their runs are? Lines that stay everywhere, bars on a terminal, and no time that is a guess."""

from __future__ import annotations

import io
import re
from types import SimpleNamespace

import pytest

from ablation_suite.core.runs.run_folder import RunFolder
from ablation_suite.core.scheduling import console as module
from ablation_suite.core.scheduling import pace as pace_module
from ablation_suite.core.scheduling.console import Bar, Display, Progress, share_done
from ablation_suite.core.scheduling.executors import Event
from ablation_suite.core.scheduling.pace import Pace

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
    monkeypatch.setattr(pace_module, "time", clock)
    for name, value in {"TERM": "xterm", "COLUMNS": "100", "LINES": "30"}.items():
        monkeypatch.setenv(name, value)
    return clock


def news(run_id: str, epoch: int, step: int) -> Event:
    return Event(run_id=run_id, epoch=epoch, step=step, num_steps=4)


def test_the_epoch_under_way_is_not_yet_behind() -> None:
    """Of ten epochs: nothing before the first step, a quarter of one after it, all after the last step of the last."""
    shares = [share_done(news("a", *place), 10) for place in [(1, 0), (1, 1), (2, 0), (10, 4)]]
    assert shares == pytest.approx([0.0, 0.025, 0.1, 1.0])


def test_time_left_is_told_from_epochs_that_ended_and_not_before(clock: SimpleNamespace) -> None:
    """Two runs of ten epochs, each of 22 s: nothing is told before an epoch has ended; eight are left side by side."""
    progress = Progress(out := io.StringIO())
    progress.begin(JOBS, 0, 2)
    for seconds, event in [(0, news("a", 1, 0)), (16, news("a", 1, 2)), (0, news("b", 1, 0)), (16, news("a", 1, 4))]:
        clock.now += seconds
        progress.news(event)
    assert "left" not in out.getvalue()
    for seconds, event in [(12, news("a", 3, 0)), (16, news("b", 3, 0))]:
        clock.now += seconds
        progress.news(event)
    assert out.getvalue().splitlines()[-1] == "0/2 runs done  epoch: a-0 3/10  b-0 3/10  about 3 min left"


def jobs_of(*epochs_and_rates: tuple[int, float]) -> dict:
    """Runs named a, b, c, ..., of so many epochs, at this learning rate, each at another seed."""
    return {
        name: {"config": {"epochs": epochs, "lr": rate, "seed": seed}, "labels": {}}
        for seed, (name, (epochs, rate)) in enumerate(zip("abcdef", epochs_and_rates, strict=False))
    }


def test_runs_of_a_kind_of_which_nothing_is_known_are_counted_beside_the_time(clock: SimpleNamespace) -> None:
    """One worker: 9 of 10 epochs of 3 s are left of a, b is another seed of it, c has another rate and is unknown.

    By hand: 27 + 30 s without c; once the first epoch of c took 100 s, 30 s of b and 900 s of c are left.
    """
    pace = Pace(jobs_of((10, 0.1), (10, 0.1), (10, 0.2)), 1)
    pace.news(news("a", 1, 0))
    clock.now += 3.0
    pace.news(news("a", 2, 0))
    assert pace.words() == "about 57 s left, not counting 1 run of other kinds"
    clock.now += 27.0
    pace.ended("a", trained=True)
    pace.news(news("c", 1, 0))
    assert pace.words() == "about 30 s left, not counting 1 run of other kinds"
    clock.now += 100.0
    pace.news(news("c", 2, 0))
    assert pace.words() == "about 16 min left"  # 930 s
    pace.ended("b", trained=False)
    assert pace.words() == "about 15 min left"
    clock.now += 900.0
    pace.ended("c", trained=True)
    assert pace.words() == ""


def test_a_last_long_run_is_not_divided_among_idle_workers(clock: SimpleNamespace) -> None:
    """Four workers and one run of ten epochs of 10 s: 90 s are left after the first, not 22."""
    pace = Pace(jobs_of((10, 0.1)), 4)
    pace.news(news("a", 1, 0))
    clock.now += 10.0
    pace.news(news("a", 2, 0))
    assert pace.words() == "about 90 s left"


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


def test_the_seed_at_the_end_of_a_long_name_is_told(tmp_path) -> None:
    """It is all that tells two runs of one arm apart."""
    name = "an arm whose name takes up more of a line than most of them do-17"
    progress = Progress(out := io.StringIO())
    progress.begin({"a": {"config": {"epochs": 10}, "labels": {"group": "asked", "name": name}}}, 0, 1)
    progress.ended(RunFolder(tmp_path / "a"), None, here=False)
    assert f"asked/{name} trained by another driver" in out.getvalue()
