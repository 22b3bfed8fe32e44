"""Is a path that somebody types the path that they mean? `~` without a shell, `=` in a name."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from ablation_suite import options
from ablation_suite.ablations.find import find_specs
from ablation_suite.ablations.resolve import resolve
from ablation_suite.cli import ablate
from ablation_suite.core.config.errors import UserError
from ablation_suite.core.config.paths import typed
from ablation_suite.core.models import Model
from ablation_suite.reading_verbs import part, report
from ablation_suite.sweeps.spec import find_sweep
from ablation_suite.training_verbs import sweep

SPEC = "{ablation: tiny, question: q, base: %s, seeds: 1, arms: {some: {model.head.dropout: 0.3}}}"


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A home with a base in it, beside the folder where the shell stands."""
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "base.yaml").write_text("{data: digits, epochs: 1}")
    (tmp_path / "here").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "home"


@pytest.mark.fault(
    "a path with ~ that no shell has read",
    injected="~/x as SPEC, base, tuned values, sweep, weights, --out, --check, FILE and a SQLite URL",
    promised="the home, everywhere; no folder named ~ is made",
)
def test_a_home_is_read_wherever_a_path_is_typed(home):
    """As a spec names it, and as `--out=~/x` brings it."""
    (home / "tiny.yaml").write_text(SPEC % "~/base.yaml, tuned: ~/tuned.yaml")
    assert find_specs(["~/tiny.yaml"]) == [home / "tiny.yaml"]
    assert resolve(home / "tiny.yaml")[0].tuned == str(home / "tuned.yaml")
    assert find_sweep("~/base.yaml") == home / "base.yaml"
    assert Model(backbone="resnet18", weights="~/w.pth").weights_file == home / "w.pth"
    ask = CliRunner().invoke
    assert ask(part, ["head", "~/my_head.py"]).exit_code == 0
    assert (home / "my_head.py").is_file()
    assert f"{home}/rep" in str(ask(report, ["--check=~/rep"]).exception)
    looked = ask(sweep, ["status", "lr_dropout", "--storage=sqlite:///~/none/study.db"])
    assert f"{home}/none/study.db" in str(looked.exception)
    assert not list(Path().iterdir())


def test_a_home_that_is_not_known_stays_as_it_is():
    """It is then a path that does not exist, which is told as such where it is used."""
    assert typed("~nobody-of-this-name/x") == Path("~nobody-of-this-name/x")


@pytest.mark.fault(
    "a path with = in its name",
    injected="specs in lr=1/ and dropout=0.yaml",
    promised="what exists is a path; all else with = is an override",
)
def test_a_path_that_exists_is_never_taken_for_an_override(home):
    """Neither a file nor a folder, and an override of the same setting stays one."""
    Path("lr=1").mkdir()
    Path("dropout=0.yaml").touch()
    words = ("lr=1", "optimizer.lr=1", "dropout=0.yaml", "~/base.yaml", "lr=2")
    assert options.split_words(words) == (("lr=1", "dropout=0.yaml", "~/base.yaml"), ("optimizer.lr=1", "lr=2"))


@pytest.mark.parametrize("verb", ["audit", "plan", "check", "report", "status", "cancel", "run", "show"])
def test_results_that_are_a_file_are_one_line_of_every_verb(verb, tmp_path, monkeypatch):
    """Nothing of it is said to be a damaged run, and nothing is trained."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "results").write_text("mine")
    command = ablate.commands[verb]
    done = CliRunner().invoke(command, ["quickstart/1-backbone"] if verb != "status" else [])
    assert isinstance(done.exception, UserError)
    assert str(done.exception) == "results: is a file, and all output goes to a folder; name one with --results"
    assert (tmp_path / "results").read_text() == "mine"
