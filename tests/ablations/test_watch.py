"""Does the live view say how far each run is, from files alone, for runs of other processes and machines too?"""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ablation_suite.core.runs.files import read_json, write_json
from ablation_suite.core.runs.run_folder import RunFolder
from ablation_suite.core.runs.store import run_names
from ablation_suite.core.scheduling import console
from ablation_suite.core.scheduling.watch import INTERVAL, format_rows, grid_rows, watch
from tests.core.tracked_run import BARE_RECORD

TRAINER = """
import sys, time
from pathlib import Path
from ablation_suite.core.runs.run_folder import RunFolder
folder = RunFolder(Path(sys.argv[1]))
with folder.claim():
    for epoch in (1, 2):
        numbers = {"val/accuracy": 0.4 + 0.1 * epoch, "seconds": 10.0, "sys/images_per_second": 500.0}
        folder.ledger.append("epoch", epoch=epoch, **numbers)
    print("trained", flush=True)
    time.sleep(60)
"""


def make(store: Path, arm: str, seed: int, epochs: int = 6) -> RunFolder:
    """A run folder in which nothing has happened."""
    folder = RunFolder(store / f"{arm}{seed}")
    labels = {"group": "ablation", "arm": arm, "seed": seed}
    folder.create({"run_id": folder.run_id, "recipe": 1, "config": {"epochs": epochs}, "labels": labels})
    return folder


def test_a_run_of_another_process_shows_its_epoch_speed_and_time_left(tmp_path: Path) -> None:
    """Another process trains two epochs of six at 10 s: epoch 2, best 60 %, 40 s left; killed, it is interrupted."""
    folder = make(tmp_path, "wide", 0)
    command = [sys.executable, "-c", TRAINER, str(folder.path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as trainer:
        assert trainer.stdout is not None
        assert trainer.stdout.readline() == "trained\n"
        (row,) = grid_rows(tmp_path, [folder.run_id])
        trainer.kill()
    assert (row["arm"], row["seed"], row["state"], row["epoch"], row["epochs"]) == ("wide", 0, "running", 2, 6)
    assert row["best"] == pytest.approx(0.6)
    assert row["images_per_second"] == 500.0
    assert row["seconds_left"] == pytest.approx(40.0, abs=5.0)
    assert grid_rows(tmp_path, [folder.run_id])[0]["state"] == "interrupted"


def test_a_run_of_another_machine_counts_by_its_ledger(tmp_path: Path) -> None:
    """Claimed on another host, whose lock is not seen here: fresh rows mean running, an hour of silence interrupted."""
    folder = make(tmp_path, "wide", 1)
    with folder.claim() as attempt:
        folder.ledger.append("epoch", epoch=1, seconds=10.0)
    write_json(attempt / "claim.json", read_json(attempt / "claim.json") | {"host": "elsewhere"})
    (row,) = grid_rows(tmp_path, [folder.run_id])
    assert (row["state"], row["host"]) == ("running", "elsewhere")
    assert "running on elsewhere" in format_rows([row])
    (row,) = grid_rows_at(time.time() + 3600.0, folder)
    assert row["state"] == "interrupted"


@pytest.mark.parametrize(("seconds", "silence"), [(1.0, 60.0), (100.0, 300.0)])
def test_a_run_of_another_machine_may_be_silent_for_three_epochs(
    tmp_path: Path, seconds: float, silence: float
) -> None:
    """Long epochs write a row seldom: it still runs just before three of them, and a minute at the least."""
    folder = make(tmp_path, "wide", 1)
    with folder.claim() as attempt:
        row = folder.ledger.append("epoch", epoch=1, seconds=seconds)
    write_json(attempt / "claim.json", read_json(attempt / "claim.json") | {"host": "elsewhere"})
    assert grid_rows_at(row["time"] + 0.99 * silence, folder)[0]["state"] == "running"
    assert grid_rows_at(row["time"] + 1.01 * silence, folder)[0]["state"] == "interrupted"


def test_every_state_has_its_row_and_its_count(tmp_path: Path) -> None:
    """Finished, failed and missing runs, also one without any file, stand in the table, with what is known of them."""
    finished, failed, missing = (make(tmp_path, "wide", seed) for seed in range(3))
    with finished.claim():
        finished.ledger.append("epoch", epoch=6, seconds=1.0, **{"val/accuracy": 0.75})
    finished.commit(BARE_RECORD)
    with failed.claim() as attempt:
        write_json(attempt / "failure.json", {"message": "out of memory"})
    rows = grid_rows(tmp_path, [*run_names(tmp_path), "never"])
    assert [row["state"] for row in rows] == ["finished", "failed", "missing", "missing"]
    text = format_rows(rows)
    assert text.splitlines()[-1] == "4 runs: 1 failed, 2 missing, 1 finished"
    assert "75.00 %" in text
    assert missing.run_id in text
    assert "never" in text


LOOK_AS_ANOTHER = """
import os, sys
from pathlib import Path
from ablation_suite.core.scheduling.watch import grid_rows
os.setgroups([]), os.setgid(65534), os.setuid(65534)
print(*[row["state"] for row in grid_rows(Path("runs"))])
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
@pytest.mark.fault(
    "a run of somebody else, a pipe in the place of a ledger",
    injected="a folder of mode 000 that another user looks at; mkfifo",
    promised="`status` says that they cannot be read, and shows the others",
)
def test_what_cannot_be_read_has_a_row(tmp_path: Path) -> None:
    """Nothing that lies there is left out."""
    for seed in range(4):
        make(tmp_path / "runs", "wide", seed)
    (tmp_path / "runs/wide1").chmod(0)
    (tmp_path / "runs/wide2/run.json").chmod(0)
    os.mkfifo(tmp_path / "runs/wide3/ledger.jsonl")
    tmp_path.chmod(0o755)
    command = [sys.executable, "-c", LOOK_AS_ANOTHER]
    looked = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert looked.stdout == "missing unreadable unreadable unreadable\n", looked.stderr
    rows = grid_rows(tmp_path / "runs")
    assert format_rows(rows).splitlines()[-1] == "4 runs: 1 unreadable, 3 missing"


def test_the_view_is_drawn_again_until_it_is_interrupted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Three draws, a run added before the second; Ctrl-C leaves; what did not change is not printed again."""
    make(tmp_path, "wide", 0)
    naps: list[float] = []

    def sleep(seconds: float) -> None:
        naps.append(seconds)
        make(tmp_path, "grouped", 0)
        if len(naps) == 3:
            raise KeyboardInterrupt

    watch(lambda: grid_rows(tmp_path), sleep=sleep)
    assert naps == [INTERVAL] * 3
    assert [line for line in capsys.readouterr().out.splitlines() if "runs:" in line] == [
        "1 runs: 1 missing",
        "2 runs: 2 missing",
    ]


def test_on_a_terminal_the_table_is_drawn_over_and_the_last_one_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each drawing but the last is erased, and what is wider than the terminal is cut."""
    make(tmp_path, "wide-" + 50 * "x", 0)
    out = io.StringIO()
    monkeypatch.setattr(out, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stdout", out)
    for name, value in {"TERM": "xterm", "COLUMNS": "40", "LINES": "10"}.items():
        monkeypatch.setenv(name, value)
    naps = iter(range(3))

    def sleep(seconds: float) -> None:
        monkeypatch.setattr(console, "DRAW_SECONDS", 0.0)
        make(tmp_path, "grouped", 0)
        if next(naps) == 2:
            raise KeyboardInterrupt

    watch(lambda: grid_rows(tmp_path), sleep=sleep)
    *drawn, last = re.split(r"(?:\r|\x1b\[1A|\x1b\[2K)+", out.getvalue())
    tables = [re.sub(r"\x1b\[[?0-9;]*[a-z]", "", text).splitlines() for text in (drawn[0], last)]
    assert [table[-1].rstrip() for table in tables] == ["1 runs: 1 missing", "2 runs: 2 missing"]
    assert [len(table) for table in tables] == [3, 4]
    assert all(len(line) <= 40 for table in tables for line in table)


def test_a_long_grid_fits_the_terminal(tmp_path: Path) -> None:
    """Fifty runs in 12 lines: what runs or failed stands first, the rest is counted."""
    folders = [make(tmp_path, "wide", seed) for seed in range(50)]
    with folders[-1].claim() as attempt:
        write_json(attempt / "failure.json", {"message": "out of memory"})
    lines = format_rows(grid_rows(tmp_path), height=12).splitlines()
    assert len(lines) <= 12
    assert lines[1].split()[2] == "failed"
    assert lines[-2] == f"... and {50 - (len(lines) - 3)} more"
    assert lines[-1] == "50 runs: 1 failed, 49 missing"


def grid_rows_at(now: float, folder: RunFolder) -> list[dict]:
    """The rows as they would be at another time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "time", lambda: now)
        return grid_rows(folder.path.parent, [folder.run_id])
