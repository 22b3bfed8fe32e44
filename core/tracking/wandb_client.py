"""How is W&B's client set up, and its server asked? The only importer of wandb."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from ablation_suite.core.tracking.choice import KeyRefused
from ablation_suite.core.tracking.projection import Shown

PATIENCE_LIVE, PATIENCE_SYNC = 10.0, 20.0
"""Seconds that W&B gets to finish a run after a training and in a sync; to begin one, at most those of a sync."""
PAGE = 1000
"""Runs that a server is asked for at once, to be found again."""


def connect() -> Any:
    """The module wandb, silenced as only `setup` does: `init` alone does not still what login and finish print."""
    import wandb

    wandb.setup(wandb.Settings(**_unless_set_by_user({"silent": True})))
    return wandb


def api(patience: float) -> Any:
    """What asks the server; KeyRefused where it does not know the key, TimeoutError where it is away."""
    wandb = connect()
    seconds = int(os.environ.get("WANDB_INIT_TIMEOUT") or patience)
    try:
        return wandb.Api(timeout=seconds)
    except wandb.errors.AuthenticationError as error:
        if "respond in time" in str(error):
            raise TimeoutError(f"W&B did not answer in {seconds} s") from error
        raise KeyRefused("W&B: key refused; run `wandb login`") from error


def run_at(server: Any, path: str) -> Any:
    """The run at the server, or None where there is none."""
    try:
        return server.run(path)
    except Exception as error:  # a CommError that wraps all kinds
        if "could not find run" in str(error).lower():
            return None
        raise


def missing(notes: Iterable[Mapping[str, Any]]) -> set[str]:
    """The ids of those published runs that the server does not show any more; each note says where one was."""
    by_project: dict[str, set[str]] = {}
    for note in notes:
        *_, entity, project, _, _ = urlsplit(note["where"]).path.split("/")
        by_project.setdefault(unquote(f"{entity}/{project}"), set()).add(note["id"])
    found: set[str] = set()
    for project, names in by_project.items():
        there = api(PATIENCE_SYNC).runs(project, filters={"name": {"$in": sorted(names)}}, per_page=PAGE)
        try:
            found |= names - {each.id for each in there}
        except ValueError:  # the project itself was deleted
            found |= names
    return found


def settings(results: Path, run: Shown, patience: float) -> dict[str, Any]:
    """What the client is told of a run, without what the user's own variables say."""
    ours = {
        "root_dir": str(results),
        "project": run.project,
        "run_group": run.group,
        "run_job_type": run.job_type,
        "run_name": run.name,
        "run_tags": tuple(run.tags),
        "run_notes": run.notes or None,
        "console": "off",
        "silent": True,
        "disable_git": True,
        "init_timeout": min(patience, PATIENCE_SYNC),
        "finish_timeout": patience,
        "finish_timeout_raises": True,
        "x_disable_stats": True,
        # It would store the command line as it was typed; the ledger has it without secrets.
        "x_disable_meta": True,
        # The default of 15 s leaves nothing of a young run that is killed.
        "x_transaction_log_flush_interval": 0.5,
    }
    return _unless_set_by_user(ours)


def _unless_set_by_user(settings: dict[str, Any]) -> dict[str, Any]:
    """The settings without those that the user's own WANDB_* variables give, which would lose against ours."""
    variables = {
        "root_dir": "WANDB_DIR",
        "run_name": "WANDB_NAME",
        "run_tags": "WANDB_TAGS",
        "run_notes": "WANDB_NOTES",
        "run_job_type": "WANDB_JOB_TYPE",
    }

    def is_set(key: str) -> bool:
        # What begins with x_ goes by WANDB_X_... and by WANDB__...
        names = {variables.get(key) or f"WANDB_{key.upper()}", re.sub("^x_", "WANDB__", key).upper()}
        return not names.isdisjoint(os.environ)

    return {key: value for key, value in settings.items() if value is not None and not is_set(key)}
