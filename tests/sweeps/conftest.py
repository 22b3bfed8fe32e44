"""What do all tests of sweeps share? A disk that does not wait, and the front door on runs that train nothing."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ablation_suite import cli
from ablation_suite.core.scheduling import executors
from tests.sweeps.fake import Fake

Ablate = Callable[..., tuple[int, str, str]]


@pytest.fixture
def ablate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Ablate:
    """The front door on a fake executor: exit status, output, errors."""

    def run(*words: str, before_poll: Callable[[], None] = lambda: None, **fake: Any) -> tuple[int, str, str]:
        def make(runtime: Any) -> Fake:
            return Fake(runtime.store, before_poll=before_poll, **fake)

        monkeypatch.setattr(executors, "make_executor", make)
        options = ["--results", str(tmp_path / "results")]
        monkeypatch.setattr(sys, "argv", ["ablate", "sweep", *words, *options])
        with pytest.raises(SystemExit) as caught:
            cli.main()
        captured = capfd.readouterr()
        return int(caught.value.code or 0), captured.out, captured.err

    return run


@pytest.fixture(autouse=True)
def _no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """A killed process loses nothing that it wrote."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
