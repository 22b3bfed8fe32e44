"""What does someone see who types `ablate sweep`? One clear line per fault, and how to go on."""

from __future__ import annotations

import csv
import io
import json
import re
import sqlite3
import subprocess
import sys
from collections import Counter
from contextlib import closing
from pathlib import Path

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from ablation_suite.core.scheduling import console
from ablation_suite.sweeps.progress import SweepProgress
from ablation_suite.sweeps.session import run_sweep
from tests.sweeps.conftest import Ablate
from tests.sweeps.fake import Fake, make_fake_sweep, make_runtime, write_spec

HOUSE = Path(__file__).parents[2]


def test_a_sweep_tells_how_it_goes_and_what_it_found(tmp_path: Path, ablate: Ablate) -> None:
    """One line per trial, then what Optuna itself counts and finds best, how to make it again, and to look closer."""
    status, out, err = ablate(str(write_spec(tmp_path)))
    assert status == 0
    assert sum(line.startswith("trial ") for line in err.splitlines()) == 15
    assert "[15/15 done" in err
    journal = JournalStorage(JournalFileBackend(str(tmp_path / "results" / "sweeps" / "fake" / "journal.log")))
    study = optuna.load_study(study_name="fake", storage=journal)
    states = Counter(each.state.name.lower() for each in study.trials)
    assert set(states) == {"complete", "pruned"}
    top = study.best_trial
    counts = f"fake: {states['complete']} complete, {states['pruned']} pruned"
    assert out.splitlines()[:2] == [counts, f"best: trial {top.number}, val/accuracy {top.value:.4f}"]
    assert "make it again: ablate reproduce " in out
    assert "optuna-dashboard" in out
    status, again, err = ablate(str(write_spec(tmp_path)))
    assert again == out
    assert "trial " not in err.replace("15 trials on", "")


def test_on_a_terminal_the_trials_under_way_have_bars(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Below the lines of the ended trials: the whole sweep, then each trial with its epoch."""
    out, runtime = io.StringIO(), make_runtime(tmp_path / "results")
    monkeypatch.setattr(out, "isatty", lambda: True)
    monkeypatch.setattr(console, "DRAW_SECONDS", 0.0)
    for name, value in {"TERM": "xterm", "COLUMNS": "150", "LINES": "30"}.items():
        monkeypatch.setenv(name, value)
    with SweepProgress(out) as progress:
        run_sweep(make_fake_sweep(tmp_path, pruner="none"), runtime, progress, executor=Fake(runtime.store, size=2))
    lines = [
        re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", line).strip() for line in re.split(r"\n|\r?\x1b\[2K", out.getvalue())
    ]
    assert sum(bool(re.match(r"trial +\d+  0\.\d{4} .*\[\d+/15 done", line)) for line in lines) == 15
    drawn = [line.replace("╸", "━").replace("╺", "━") for line in lines if "━" in line]
    assert drawn[0] == f"fake    {30 * '━'} 0/15 done"
    assert f"{30 * '━'} 15/15 done, best " in drawn[-1]
    assert [line for line in drawn if line.startswith("trial 14")][-1].endswith("epoch 3/4")


def test_status_best_and_export_agree(tmp_path: Path, ablate: Ablate) -> None:
    """The best trial is the same in each form, and the export has one row per trial."""
    spec = str(write_spec(tmp_path))
    ablate(spec)
    status = json.loads(ablate("status", spec, "--json")[1])
    top = json.loads(ablate("best", spec, "--json")[1])
    rows = json.loads(ablate("export", spec, "--json")[1])
    table = list(csv.DictReader(io.StringIO(ablate("export", spec)[1])))
    assert status["best"] == top
    assert top["score"] == max(row["score"] for row in rows if row["score"] is not None)
    assert len(rows) == len(table) == sum(status["outcomes"].values()) == 15
    assert [row["optimizer.lr"] for row in table] == [str(row["optimizer.lr"]) for row in rows]


def test_ctrl_c_keeps_everything_and_says_how_to_go_on(tmp_path: Path, ablate: Ablate) -> None:
    """Status 130, the command to go on with, and a study that then comes to its end."""
    polls = iter(range(12))

    def interrupt() -> None:
        if next(polls, None) is None:
            raise KeyboardInterrupt

    spec = str(write_spec(tmp_path))
    status, _, err = ablate(spec, before_poll=interrupt)
    assert status == 130
    assert f"`ablate sweep {spec} --results {tmp_path / 'results'}` goes on from here" in err
    assert "1 running" in ablate("status", spec)[1]
    status, out, _ = ablate(spec)
    assert status == 0
    assert "running" not in out


def test_when_all_trials_fail_the_reasons_are_counted(tmp_path: Path, ablate: Ablate) -> None:
    """Exit status 1, and each reason once with its number."""
    status, _, err = ablate(str(write_spec(tmp_path, trials=3)), fails=lambda config: "no such data")
    assert status == 1
    assert "every trial failed:" in err
    assert "3 failed: no such data" in err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["metric=test/accuracy"], "would choose by the test images"),
        (["space={}"], "names nothing to search"),
        (["space.optimizer.lr={log: [0, 1]}"], "starts above zero"),
        (["--storage", "nonsense"], "no database URL"),
        (["--storage", "sqlite:////nonexistent/folder/study.db"], "unable to open database file"),
        (["--storage", "sqlite://"], "a database in memory ends with the command"),
        (["--storage", "sqlite:///:memory:"], "a database in memory ends with the command"),
        (["--storage", "sqlite:///file:x?mode=memory&uri=true"], "a database in memory ends with the command"),
        (["--storage", "oracle2://a:b@c/d"], "no such kind of database"),
        (["--storage", "postgresql+pg8000://a:b@c/d"], "pip install 'psycopg[binary]', for postgresql+psycopg://"),
        (["--storage", "mysql://a:b@c/d"], "pip install 'PyMySQL[rsa]', for mysql+pymysql://"),
    ],
)
def test_wrong_input_is_one_line_and_status_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ablate: Ablate, words: list[str], message: str
) -> None:
    """No traceback, nothing trained, no file left in the current folder."""
    spec = str(write_spec(tmp_path / "specs"))
    current = tmp_path / "current"
    current.mkdir()
    monkeypatch.chdir(current)
    status, out, err = ablate(spec, *words)
    assert not list(current.iterdir())
    assert status == 2
    assert message in err
    assert len(err.splitlines()) == 1
    assert out == ""


def test_a_password_is_never_printed(tmp_path: Path, ablate: Ablate) -> None:
    """Whatever is wrong with the URL, its password stands in no message."""
    spec = str(write_spec(tmp_path))
    places = [f"me:{password}@localhost:1/db" for password in ("s3cr%40t", "{s3cr}")]
    places.append("localhost:1/db?user=me&password=s3cr%40t")
    for url in [f"{kind}://{place}" for kind in ("postgresql", "mysql+pymysql", "oracle2", "x") for place in places]:
        status, out, err = ablate(spec, "--storage", url)
        assert status == 2
        assert len(err.splitlines()) == 1
        assert "s3cr" not in out + err


def test_a_database_makes_no_noise(tmp_path: Path) -> None:
    """Optuna's warnings about heartbeats are not for users."""
    write_spec(tmp_path, trials=2)
    code = f"""
from pathlib import Path
from ablation_suite.sweeps.spec import read_sweep
from tests.sweeps.fake import search
search(read_sweep(Path({str(tmp_path / "sweep.yaml")!r})), Path({str(tmp_path)!r}), "sqlite:///{tmp_path}/study.db")
"""
    result = subprocess.run([sys.executable, "-c", code], cwd=HOUSE, check=True, capture_output=True, text=True)
    assert result.stdout + result.stderr == ""


@pytest.mark.fault("a locked SQLite file", injected="another connection that holds it", promised="one line")
def test_a_locked_database_is_one_line(tmp_path: Path, ablate: Ablate) -> None:
    """Another process holds the SQLite file: said after its time-out, without a traceback."""
    spec, database = str(write_spec(tmp_path, trials=1)), tmp_path / "study.db"
    url = f"sqlite:///{database}?timeout=0.2"
    assert ablate(spec, "--storage", url)[0] == 0
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        status, _, err = ablate(spec, "trials=2", "--storage", url)
    assert status == 2
    assert err.splitlines()[-1].endswith("database is locked")


@pytest.mark.fault(
    "results of a search that cannot be written", injected="a file in the folder's place", promised="one line"
)
def test_results_that_cannot_be_written_are_one_line(tmp_path: Path, ablate: Ablate) -> None:
    """A file stands where the results folder should be."""
    (tmp_path / "results").write_text("")
    status, _, err = ablate(str(write_spec(tmp_path)))
    assert status == 2
    assert "is a file, and all output goes to a folder" in err
    assert len(err.splitlines()) == 1


def test_help_imports_neither_optuna_nor_torch() -> None:
    """`ablate --help` is instant because a verb's code is loaded when the verb runs."""
    code = """
import sys, contextlib, ablation_suite.cli
sys.argv = ["ablate", "--help"]
with contextlib.suppress(SystemExit):
    ablation_suite.cli.main()
assert not {"optuna", "torch", "sqlalchemy"} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
