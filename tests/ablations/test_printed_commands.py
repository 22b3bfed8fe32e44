"""Does every command that is printed do what it is printed for? Each is pasted, as a person would, and runs."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path
from types import NoneType

import click
import pytest
from click.testing import CliRunner

from ablation_suite.cli import ablate
from ablation_suite.commands import reproduce as reproduce_module
from ablation_suite.commands import run as run_module
from ablation_suite.commands import sweep as sweep_module
from ablation_suite.commands import tune as tune_module
from ablation_suite.core.config.errors import printable, shell_line
from ablation_suite.core.runs.files import write_json
from ablation_suite.core.runs.store import run_folders
from ablation_suite.core.scheduling.grid import Outcome

BASE = "{data: digits, model: {backbone: {name: bottleneck, planes: [8], blocks: [1]}}, optimizer: adam, epochs: 1}"
SPEC = """ablation: tiny
question: Does dropout help?
base: base.yaml
seeds: 2
baseline: none
arms: {"some more": {model.head.dropout: 0.3}}
"""
SWEEP = """sweep: search
base: base.yaml
space: {optimizer.lr: {log: [1e-3, 1e-2]}}
trials: 1
"""


@pytest.fixture
def home(tmp_path, monkeypatch):
    """The folder that the shell stands in, with a spec and a sweep."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ABLATE_CACHE", str(tmp_path / "cache"))
    for name, text in (("base.yaml", BASE), ("tiny.yaml", SPEC), ("search.yaml", SWEEP)):
        (tmp_path / name).write_text(text)
    yield tmp_path
    assert not (tmp_path / "results").exists(), "a command left out where the results lie"


def typed(line, ends=NoneType):
    """What a command line prints on both streams."""
    verb, *words = shlex.split(line)
    assert verb == "ablate"
    result = CliRunner().invoke(ablate, words, standalone_mode=False)
    assert isinstance(result.exception, ends), repr(result.exception)
    assert not result.return_value
    return result.output


def interrupted(line, module, name, monkeypatch):
    """The command that is printed where Ctrl-C comes during a call of `module.name`."""

    def stop(*args, **kwargs):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(module, name, stop)
        printed = typed(line, click.Abort)
    return re.search(r"`(ablate .*)` (goes on from here|begins again)", printed)[1]


def test_the_command_that_goes_on_carries_every_option_that_was_given(home, monkeypatch):
    """Those of the command line and those of the environment, and no others."""
    monkeypatch.setenv("ABLATE_RESULTS", "my results")
    line = "ablate run tiny.yaml batch_size=32 --arm 'some more' --arm none --seed 1 --executor inline --tracker off"
    again = interrupted(line, run_module, "drive", monkeypatch)
    assert sorted(shlex.split(again)) == sorted([*shlex.split(line), "--results", "my results"])
    monkeypatch.delenv("ABLATE_RESULTS")
    assert "2 runs: 2 trained" in typed(again)
    assert len(run_folders(home / "my results" / "runs")) == 2


def test_a_run_is_made_again_where_it_lies(home):
    """`show` with --results prints a command that finds the run finished."""
    typed("ablate run tiny.yaml --seed 0 --executor inline --tracker off --results 'my results'")
    for folder in run_folders(home / "my results" / "runs"):
        shown = typed(f"ablate show {folder.run_id} --results 'my results'")
        again = re.search("make it again: (.*)", shown)[1]
        assert "1 runs: 0 trained, 1 finished before" in typed(again)


def test_a_run_that_is_made_again_and_interrupted_says_how_to_begin_again(home, monkeypatch):
    """With the options that were given; the run itself is as it was."""
    typed("ablate run tiny.yaml --seed 0 --arm none --executor inline --tracker off --results away")
    (folder,) = run_folders(home / "away" / "runs")
    line = f"ablate reproduce {folder.run_id} --results away --device cpu"
    again = interrupted(line, reproduce_module, "reproduce_run", monkeypatch)
    assert sorted(shlex.split(again)) == sorted(shlex.split(line))
    assert "came out the same" in typed(again)


def test_a_search_goes_on_and_its_best_trial_is_made_again_where_they_lie(home, monkeypatch):
    """With the results folder, the executor and the database that were given."""
    given = "--results away --executor inline --tracker off"
    storage = f"sqlite:///{home}/study.db"
    monkeypatch.setenv("ABLATE_STORAGE", storage)
    again = interrupted(f"ablate sweep search.yaml epochs=2 {given}", sweep_module, "run_sweep", monkeypatch)
    assert f"--storage {storage}" in again
    monkeypatch.delenv("ABLATE_STORAGE")
    printed = typed(again)
    assert (home / "study.db").exists()
    assert "came out the same" in typed(re.search("make it again: (.*)", printed)[1])
    typed(f"ablate sweep report search.yaml epochs=2 --results away --storage {storage}")
    (page,) = home.rglob("report.md")
    assert "came out the same" in typed(re.search("ablate reproduce [^`\n]*", page.read_text())[0])


def test_a_password_is_not_printed(home, monkeypatch):
    """The one thing that a person has to fill in."""
    line = "ablate sweep search.yaml --storage postgresql://me:secret@host/db --results away"
    assert "postgresql://me:***@host/db" in interrupted(line, sweep_module, "run_sweep", monkeypatch)


def test_tuning_goes_on_where_it_was(home, monkeypatch):
    """With the space that was given."""
    line = "ablate tune tiny.yaml --space search.yaml --results away --executor inline --tracker off"
    again = interrupted(line, tune_module, "run_sweep", monkeypatch)
    assert shlex.split(again)[:3] == ["ablate", "tune", "tiny.yaml"]
    assert "1 trials for each of 2 arms" in typed(again)


def test_runs_that_missed_their_tracker_are_published_from_where_they_lie(home, monkeypatch):
    """To the tracker that was asked for."""
    pytest.importorskip("tensorboard")
    line = "ablate run tiny.yaml --seed 0 --arm none --executor inline --results away --tracker"
    typed(f"{line} off")
    (folder,) = run_folders(home / "away" / "runs")
    write_json(folder.path / "tracker.json", {"tensorboard": {"error": "it did not answer in time"}})
    monkeypatch.setattr(run_module, "drive", lambda *args, **kwargs: Outcome(finished=[folder.run_id]))
    printed = typed(f"{line} tensorboard")
    assert "1 epochs at" in typed(re.search("publish them with: (.*)", printed)[1])


def test_the_guides_name_no_option_that_their_verb_does_not_have():
    """In every line of a shell and every word in code of the pages for people."""
    commands = [
        (page.name, match[0])
        for page in Path(__file__).parents[2].glob("*.md")
        for match in re.finditer(r"\bablate [a-z]+\b[^`\n#]*", page.read_text())
    ]
    assert len(commands) > 40
    context, unknown = click.Context(ablate), []
    for page, line in commands:
        command, words = ablate, re.sub("'[^']*'", "", line).split()[1:]  # what is quoted is not ours
        while isinstance(command, click.Group) and words and (found := command.get_command(context, words[0])):
            command, words = found, words[1:]
        known = {each for option in command.params for each in (*option.opts, *option.secondary_opts)} | {"--help"}
        unknown += [
            f"{page}: {line}" for word in words if word.startswith("--") and word.partition("=")[0] not in known
        ]
    assert unknown == []


@pytest.mark.parametrize(
    "word", ["\u202eא", "new\nline", "\x1b[31m\x7f", "it's a \\ \t", "caf\udce9 ü", "-o", "", "$HOME"]
)
def test_a_printed_command_names_what_no_terminal_shows(word):
    """It is one line that gives no orders, and bash reads from it what was meant."""
    line = shell_line(["printf", "%s\\0", "a b", word])
    assert printable(line) == line
    assert "\n" not in line
    read = subprocess.run(["bash", "-c", line], capture_output=True, check=True, env={"LC_ALL": "C"}).stdout
    assert read == b"a b\0" + word.encode(errors="surrogateescape") + b"\0"
