"""Which runs does a store hold? Folders whose names are run ids, found by a listing."""

from __future__ import annotations

import os
from pathlib import Path

from ablation_suite.core.config.errors import UserError
from ablation_suite.core.runs.run_folder import RunFolder


class NoSuchRun(UserError):
    """A name that stands for no run, or for several."""


def run_names(store: Path) -> list[str]:
    """The names of what lies in a store, runs or not, in order; OSError where the store is no folder or is not ours."""
    try:
        return sorted(os.listdir(store))
    except FileNotFoundError:
        return []


def is_run(store: Path, name: str) -> bool:
    """Whether a name in a store is that of a run: it has a `run.json`, or may have one where we may not look."""
    try:
        os.lstat(f"{store}/{name}/run.json")
    except PermissionError:
        return True
    except OSError:
        return False
    return True


def run_folders(store: Path) -> list[RunFolder]:
    """Every run folder of a store, in the order of their ids; OSError where the store is no folder or is not ours."""
    return [RunFolder(store / name) for name in run_names(store) if is_run(store, name)]


def find_run(store: Path, prefix: str) -> RunFolder:
    """The one run whose id starts with `prefix`; NoSuchRun where there is none or several."""
    found = [folder for folder in run_folders(store) if folder.run_id.startswith(prefix)]
    if len(found) != 1:
        several = "several runs begin so: " + ", ".join(folder.run_id for folder in found)
        raise NoSuchRun(f"run {prefix}: {several if found else f'no such run in {store}'}")
    return found[0]
