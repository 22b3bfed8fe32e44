"""Are names taken by all who read them, and told at once where they are not?"""

from __future__ import annotations

import pytest
import wandb

from ablation_suite.ablations.resolve import resolve
from ablation_suite.core.config.names import LONGEST, artifact_name, fitted, name_fault, project_fault
from ablation_suite.core.config.schema import SchemaError

GOOD = [
    "dropout, 2 levels",
    "L = 3",
    "été",
    "8 narrow paths",
    "a.b-c_d",
    "x" * 120,
    "👩‍🔬 arm",
    "(none)",
    "con-trast",
    "#1",
]


@pytest.mark.parametrize("name", GOOD)
def test_a_good_name_is_left_as_it_is(name):
    """Spaces, punctuation, letters of any script and joined emoji are no fault."""
    assert name_fault(name) == ""
    assert fitted(name) == name


@pytest.mark.fault(
    "names like CON, -o, --help, U+202E, 80 emoji",
    injected="such names, to the one rule that `check` asks",
    promised="refused with the reason",
)
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("", "is empty"),
        ("  ", "is empty"),
        ("a/b", "a slash"),
        ("a\\b", "a slash"),
        ("-o", "begins with a dash"),
        ("--help", "begins with a dash"),
        (".hidden", "begins with"),
        (" x", "begins with"),
        ("x.", "ends with a dot"),
        ("x ", "ends with"),
        ("CON", "device on Windows"),
        ("lpt1.txt", "device on Windows"),
        ("a\x1b[31m", "U+001B"),
        ("a\nb", "U+000A"),
        ("a\u202eb", "U+202E"),
        ("a\u2066b", "U+2066"),
        ("\ud800", "U+D800"),
        ("😀" * 80, "has 320 bytes of UTF-8"),
        ("x" * 121, "has 121 bytes"),
    ],
)
def test_a_name_that_some_reader_refuses_says_why(name, words):
    """File systems of all kinds, terminals, command lines."""
    assert words in name_fault(name)


@pytest.mark.fault(
    "a project W&B does not take", injected="`project=a/b` and others", promised="refused exactly where W&B refuses it"
)
@pytest.mark.parametrize("name", [*GOOD, "a/b", "a\\b", "a#b", "a?b", "a%b", "a:b", "", "p" * 129])
def test_a_project_is_refused_exactly_where_wandb_refuses_it(name):
    """Held against the client's own rule; ours refuses also what no folder can be called."""
    try:
        accepted = bool(wandb.Settings(project=name)) and name != ""
    except (wandb.errors.UsageError, ValueError):
        accepted = False
    assert accepted == (project_fault(name) == "")


@pytest.mark.fault(
    "names that W&B does not take for artifacts",
    injected="commas, spaces, long names",
    promised="mapped by one function, told apart by digest",
)
@pytest.mark.parametrize("name", [*GOOD, "a/b:c?d#e", "report-dropout, 2 levels", "ü" * 200, "x'y;z"])
def test_a_mapped_name_is_taken_for_artifacts_and_runs(name):
    """Held against the client: its artifacts and ids; names that differ stay different."""
    mapped = artifact_name(name)
    wandb.Artifact(mapped, type="report")
    assert wandb.Settings(run_id=mapped).run_id == mapped
    assert len(mapped) <= 128
    assert artifact_name(name + "!") != artifact_name(name + "?") != mapped
    assert artifact_name("report-contrastive") == "report-contrastive"


def test_names_made_from_levels_fit(tmp_path):
    """Paths of weights and many factors: a grid's names are usable, whatever its levels are."""
    assert fitted("weights=runs/a.pth") == "weights=runs-a.pth"
    assert len(fitted("é" * 100).encode()) <= LONGEST
    assert fitted("é" * 100) != fitted("é" * 101)
    (tmp_path / "b.yaml").write_text("data: digits")
    spec = "ablation: a\nquestion: q\nbase: b.yaml\ngrid: {model.weights: [none, x/a.pth, x-a.pth]}"
    (tmp_path / "s.yaml").write_text(spec)
    with pytest.raises(SchemaError, match=r"two arms would have the name 'weights=x-a\.pth'"):
        resolve(tmp_path / "s.yaml")
    (tmp_path / "s.yaml").write_text(spec.replace("x-a", "x-b"))
    assert list(resolve(tmp_path / "s.yaml")[1]) == ["baseline", "weights=x-a.pth", "weights=x-b.pth"]
