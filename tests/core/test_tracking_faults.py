"""What happens when a tracker cannot do its work? A warning, and nothing else."""

from __future__ import annotations

import logging
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from ablation_suite.cli import ablate
from ablation_suite.commands.sync import SyncError, sync_runs
from ablation_suite.core.config.runtime import Runtime
from ablation_suite.core.tracking.choice import TrackerError, check_tracker, choose_tracker, has_credentials
from tests.core.tracked_run import append_epoch, make_folder, train


@pytest.fixture(autouse=True)
def _no_wandb_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("WANDB_ERROR_REPORTING", "false")
    monkeypatch.setenv("NETRC", os.devnull)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setattr("ablation_suite.core.tracking.publisher._failed_at", {})


@pytest.fixture
def full_disk(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    """A results folder in which the tracker's own folder lies on a disk without a free byte."""
    disk = tmp_path / "results" / request.param
    disk.mkdir(parents=True)
    if os.geteuid() != 0 or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", disk]).returncode:
        pytest.skip("mounting a small disk needs root")
    try:
        filled = subprocess.run(["dd", "if=/dev/zero", f"of={disk / 'filler'}", "bs=1k"], capture_output=True)
        assert b"No space left" in filled.stderr
        yield tmp_path / "results"
    finally:
        subprocess.run(["umount", "--lazy", disk], check=True)


@pytest.mark.fault(
    "a full disk under a tracker", injected="tmpfs that is full", promised="one warning; training goes on"
)
# TensorBoard's own writer thread dies of the full disk; ours has told of it by then.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize(
    ("full_disk", "tracker"),
    [("wandb", "offline"), ("tensorboard", "tensorboard"), ("mlflow", "mlflow")],
    indirect=["full_disk"],
)
def test_a_full_disk_costs_one_warning(full_disk: Path, tracker: str, caplog: pytest.LogCaptureFixture) -> None:
    """Training ends as ever with its whole ledger; one warning says what happened and how to sync later."""
    folder = make_folder(full_disk)
    with caplog.at_level(logging.WARNING, "ablate.tracking"):
        train(folder, Runtime(tracker=tracker, results=str(full_disk)), 1, 5)
    assert [row["epoch"] for row in folder.ledger.history()] == [1, 2, 3, 4, 5]
    (message,) = [record.getMessage() for record in caplog.records if record.name == "ablate.tracking"]
    assert f"ablate sync {folder.run_id}" in message


@pytest.mark.parametrize("tracker", ["tensorboard", "mlflow"])
def test_a_missing_extra_names_the_package_to_install(
    tracker: str, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the package of a tracker, the run trains and the warning holds the `pip install` line."""
    import sys

    monkeypatch.delitem(sys.modules, f"ablation_suite.core.tracking.{tracker}", raising=False)
    monkeypatch.setitem(sys.modules, tracker, None)
    for name in [name for name in sys.modules if name.startswith((f"{tracker}.", f"torch.utils.{tracker}"))]:
        monkeypatch.setitem(sys.modules, name, None)
    train(make_folder(tmp_path), Runtime(tracker=tracker, results=str(tmp_path)), 1, 2)
    assert f"pip install {tracker}" in caplog.text


def test_online_without_a_key_trains_and_says_how_to_log_in(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """`online` without credentials asks for no key and no server: one warning names `wandb login`."""
    train(make_folder(tmp_path), Runtime(tracker="online", results=str(tmp_path)), 1, 2)
    assert "wandb login" in caplog.text


def test_an_unknown_tracker_is_refused_with_the_choices() -> None:
    """The error of `ofline` lists all six trackers and the nearest name."""
    with pytest.raises(TrackerError) as caught:
        check_tracker("ofline")
    text = str(caught.value)
    assert "did you mean 'offline'?" in text
    assert all(name in text for name in ("auto", "online", "offline", "off", "tensorboard", "mlflow"))


def test_auto_is_online_only_with_credentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a key auto is offline; a key in the environment or the netrc file makes it online."""
    assert choose_tracker("auto") == "offline"
    netrc = tmp_path / "netrc"
    netrc.write_text(f"machine api.wandb.ai\n  login user\n  password {'0' * 40}\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    assert choose_tracker("auto") == "online"
    monkeypatch.setenv("WANDB_BASE_URL", "https://wandb.example.org")
    assert not has_credentials(), "the key of another server is no key"
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    assert choose_tracker("auto") == "online"


@pytest.mark.parametrize(("mode", "tracker"), [("offline", "offline"), ("disabled", "off"), ("online", "online")])
def test_wandb_mode_decides_for_auto(mode: str, tracker: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """WANDB_MODE of the user wins over the presence of a key, but not over a tracker that was asked for by name."""
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    monkeypatch.setenv("WANDB_MODE", mode)
    assert choose_tracker("auto") == tracker
    assert choose_tracker("offline") == "offline"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--tracker", "offline"], "--tracker offline: publishes nothing; it is online, tensorboard or mlflow here"),
        (["--tracker", "mlflow", "--log-images", "3"], "--log-images: W&B alone is given it, not mlflow; leave one"),
        (["--tracker", "tensorboard", "--artifacts"], "--artifacts: W&B alone is given it, not tensorboard; leave one"),
    ],
)
def test_sync_refuses_what_it_would_pass_over(words: list[str], told: str, tmp_path: Path) -> None:
    """An error for people, instead of a sync without what was asked for."""
    done = CliRunner().invoke(ablate, ["sync", *words, "--results", str(tmp_path)])
    assert isinstance(done.exception, SyncError)
    assert str(done.exception).startswith(told)


def test_a_sync_of_no_runs_says_so(tmp_path: Path) -> None:
    """A results folder that was mistyped is no success in silence."""
    done = CliRunner().invoke(ablate, ["sync", "--tracker", "mlflow", "--results", str(tmp_path / "resutls")])
    assert (done.exit_code, done.output) == (0, f"no runs in {tmp_path}/resutls/runs\n")


def test_a_malformed_variable_of_wandb_is_told_without_its_value(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mistyped URL may hold a password, which the error of W&B itself would repeat."""
    monkeypatch.setenv("WANDB_API_KEY", "f00dbabe" * 5)
    monkeypatch.setenv("WANDB_BASE_URL", "htp//me:hunter2@host")
    folder = make_folder(tmp_path)
    append_epoch(folder, 1)
    lines: list[str] = []
    assert sync_runs([folder], Runtime(results=str(tmp_path)), lines.append) == 1
    assert "Input should be a valid URL" in lines[0]
    assert "hunter2" not in lines[0]
