"""Does provenance say where numbers come from, fast and without secrets?"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import subprocess
import sys
from pathlib import Path

import pytest

import ablation_suite
from ablation_suite.core.config.runtime import Runtime
from ablation_suite.core.runs.provenance import provenance, scrub, scrub_command, source_hash


def test_provenance_names_packages_and_machine() -> None:
    """Versions are those of importlib.metadata, device and threads as given, and all of it is JSON."""
    facts = json.loads(json.dumps(provenance(Runtime(threads=3), "cpu")))
    assert facts["packages"]["torch"] == importlib.metadata.version("torch")
    assert facts["packages"]["python"] == sys.version.split()[0]
    assert (facts["threads"], facts["device"]["name"]) == (3, "cpu")
    assert facts["host"]
    assert facts["cpu"]


def test_a_change_in_the_repository_changes_the_diff(tmp_path: Path) -> None:
    """The commit is git's own answer; a clean tree has no diff, and two different edits have two different ones."""
    git = ["git", "-C", str(tmp_path), "-c", "user.name=t", "-c", "user.email=t@t"]
    (tmp_path / "a.py").write_text("x = 1\n")
    for words in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "first"]):
        subprocess.run([*git, *words], check=True)
    states = [_state_of(tmp_path)]
    for text in ("x = 2\n", "x = 3\n"):
        (tmp_path / "a.py").write_text(text)
        states.append(_state_of(tmp_path))
    assert [state["dirty"] for state in states] == [False, True, True]
    assert states[0]["diff"] is None
    assert states[1]["diff"] != states[2]["diff"]
    head = subprocess.check_output([*git, "rev-parse", "HEAD"], text=True).strip()
    assert {state["commit"] for state in states} == {head}


def test_the_source_is_told_by_version_and_by_a_hash_that_a_changed_byte_or_name_changes(tmp_path: Path) -> None:
    """Computed here by the documented rule, through links as a checkout has them, and nothing else counts."""
    room = tmp_path / "room"
    room.mkdir()
    (room / "b.py").write_text("two\n")
    package = tmp_path / "package"
    package.mkdir()
    (package / "a.py").write_text("one\n")
    (package / "linked").symlink_to("../room")
    expected = hashlib.sha256(b"a.py\x004\0one\nlinked/b.py\x004\0two\n").hexdigest()[:12]
    assert source_hash(package) == expected
    (package / "notes.txt").touch()
    assert source_hash(package) == expected
    (room / "b.py").rename(room / "c.py")
    renamed = source_hash(package)
    (room / "c.py").write_text("too\n")
    assert len({expected, renamed, source_hash(package)}) == 3
    suite = provenance(Runtime(), "cpu")["suite"]
    assert suite["source"] == source_hash(Path(ablation_suite.__file__).parent)
    assert suite["version"] == importlib.metadata.version("ablation-suite")


def test_outside_a_repository_there_is_no_commit(tmp_path: Path) -> None:
    """A folder that git does not know gives None, and no error."""
    assert _state_of(tmp_path) is None


def test_provenance_imports_nothing_heavy() -> None:
    """In a fresh process neither torch nor wandb is imported for it."""
    code = (
        "import sys; from ablation_suite.core.runs.provenance import provenance; "
        "from ablation_suite.core.config.runtime import Runtime;"
        "provenance(Runtime(), 'cpu'); print({'torch', 'wandb'} & set(sys.modules))"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "set()"


def test_the_second_run_of_a_process_asks_nothing_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the cache warm, provenance works where git cannot be started at all, and only its time is new."""
    first = provenance(Runtime(), "cpu")
    monkeypatch.setenv("PATH", "")
    second = provenance(Runtime(), "cpu")
    assert {**second, "time": first["time"]} == first
    assert first["suite"]


@pytest.mark.fault(
    "secrets on a command line or in an error", injected="keys, tokens, passwords in URLs", promised="replaced by ***"
)
@pytest.mark.parametrize(
    "text",
    [
        "WANDB_API_KEY=hunter2hunter2",
        "--api-key=hunter2hunter2",
        "wandb.api_key=hunter2hunter2",
        "token:hunter2hunter2",
        "password=hunter2hunter2,next",
        "https://user:hunter2hunter2@example.org/repository.git",
        "Authorization: Bearer hunter2hunter2",
        "hf_hunter2hunter2hunter2",
        f"the key {'0f' * 20} was refused",
    ],
)
def test_secrets_are_replaced(text: str) -> None:
    """Values of secret-looking names, passwords in URLs, bearer tokens and known forms of keys become ***."""
    assert "hunter2" not in scrub(text)
    assert "0f0f" not in scrub(text)
    assert "***" in scrub(text)


@pytest.mark.parametrize(
    "text", ["model.backbone.name=resnet50", "--jobs=2", "monkey=3", "error: no such run", "a/b.yaml"]
)
def test_ordinary_words_stay(text: str) -> None:
    """What is no secret is kept to the letter."""
    assert scrub(text) == text


def test_a_secret_after_its_flag_is_hidden() -> None:
    """`--token VALUE` as two words hides the value and keeps the rest."""
    command = ["ablate", "run", "quickstart", "--token", "hunter2", "--jobs", "2"]
    assert scrub_command(command) == ["ablate", "run", "quickstart", "--token", "***", "--jobs", "2"]


def _state_of(folder: Path) -> dict | None:
    code = (
        "import json; from ablation_suite.core.runs.provenance import provenance; "
        "from ablation_suite.core.config.runtime import Runtime;"
        "print(json.dumps(provenance(Runtime(), 'cpu')['git']))"
    )
    answer = subprocess.check_output([sys.executable, "-c", code], cwd=folder, text=True)
    return json.loads(answer)
