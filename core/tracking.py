"""Where do people see this run? W&B (the only importer of wandb), TensorBoard or MLflow, fed from the run's ledger."""

from __future__ import annotations

import difflib
import netrc
import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

from core.runtime import Runtime
from core.store import RunFolder
from core.tracker_projection import Shown
from core.tracker_publisher import Publisher, Sink

TRACKERS = ("auto", "online", "offline", "off", "tensorboard", "mlflow")
EXTRAS = {"tensorboard": "tensorboard", "mlflow": "mlflow-skinny"}


class Tracker(Protocol):
    """What the training loop sees of a tracker."""

    def publish(self) -> None:
        """Have the ledger's new rows shown; returns at once and never raises."""


def check_tracker(name: str) -> None:
    """ValueError, with the choices, for a tracker that does not exist."""
    if name not in TRACKERS:
        near = difflib.get_close_matches(name, TRACKERS, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise ValueError(f"tracker: {name!r} is none of {', '.join(TRACKERS)}{hint}")


def choose_tracker(name: str) -> str:
    """The tracker that a name means here: `auto` follows WANDB_MODE, else is online where there are credentials."""
    check_tracker(name)
    if name != "auto":
        return name
    asked = {"disabled": "off", "dryrun": "offline", "run": "online"}.get(*[os.environ.get("WANDB_MODE", "")] * 2)
    if asked in ("online", "offline", "off"):
        return asked
    return "online" if has_credentials() else "offline"


def has_credentials() -> bool:
    """Whether W&B would find an API key for its server: in the environment or where `wandb login` writes it."""
    if os.environ.get("WANDB_API_KEY") or os.environ.get("WANDB_IDENTITY_TOKEN_FILE"):
        return True
    host = urlsplit(os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")).netloc
    home = (Path.home() / ".netrc", Path.home() / "_netrc")
    for path in [Path(os.environ["NETRC"])] if os.environ.get("NETRC") else home:
        try:
            if netrc.netrc(path).authenticators(host):
                return True
        except (OSError, netrc.NetrcParseError):
            continue
    return False


@contextmanager
def open_tracker(runtime: Runtime, folder: RunFolder) -> Iterator[Tracker]:
    """Show a run while it trains; nothing raises into the training or makes it wait, but for a bounded goodbye."""
    kind = choose_tracker(runtime.tracker)
    if kind == "off":
        yield _Off()
        return
    publisher = Publisher(kind, folder, lambda run: open_sink(kind, runtime, run)).start()
    try:
        yield publisher
    except BaseException:
        publisher.close(failed=True)
        raise
    publisher.close()


def open_sink(kind: str, runtime: Runtime, run: Shown) -> Sink:
    """Begin or continue a run at a tracker."""
    if kind in EXTRAS:
        try:
            return import_module(f"core.tracker_{kind}").open_sink(Path(runtime.results), run)
        except ModuleNotFoundError as error:
            raise ValueError(f"it needs a package that is not installed: pip install {EXTRAS[kind]}") from error
    return WandbSink(kind, Path(runtime.results), run)


class WandbSink:
    """One W&B run, whose id is the run id: epoch k is step k.

    Online it is resumed, and the server's last step says which epochs it holds. Offline nothing can be resumed, so that
    each attempt is a whole new segment, and the segments of earlier attempts are removed once this one is delivered.
    """

    def __init__(self, mode: str, results: Path, run: Shown):
        if mode == "online" and not has_credentials():
            raise ValueError("no API key: run `wandb login` or set WANDB_API_KEY")
        import wandb

        os.makedirs(results, exist_ok=True)
        self._run = wandb.init(
            id=run.run_id,
            config=run.config,
            resume="allow" if mode == "online" else None,
            reinit="create_new",
            settings=wandb.Settings(**_unless_set_by_user(_settings(mode, results, run)), mode=mode),
        )
        for name in ("train/*", "val/*", "test/*", "sys/*", "lr", "seconds"):
            self._run.define_metric(name, step_metric="epoch")
        self.held_epoch = self._run.starting_step - 1
        self.where = self._run.url if mode == "online" else str(Path(self._run.dir).parent)

    def log(self, epoch: int, numbers: dict[str, float]) -> None:
        """One history row, written at once."""
        self._run.log(numbers, step=epoch, commit=True)

    def summarise(self, numbers: dict[str, float]) -> None:
        """The run's row in the W&B table."""
        self._run.summary.update(numbers)

    def close(self, failed: bool) -> None:
        """Finish the run; raises where the server did not take everything in time."""
        self._run.finish(exit_code=int(failed))


class _Off:
    def publish(self) -> None:
        return


def _settings(mode: str, results: Path, run: Shown) -> dict[str, Any]:
    return {
        "root_dir": str(results.absolute()),
        "project": run.project,
        "run_group": run.group,
        "run_job_type": run.job_type,
        "run_name": run.name,
        "run_tags": tuple(run.tags),
        "console": "off",
        "silent": True,
        "disable_git": True,
        "init_timeout": 10.0,
        "finish_timeout": 10.0,
        "finish_timeout_raises": True,
        "x_disable_stats": True,
        # The default of 15 s leaves nothing of a young run that is killed.
        "x_transaction_log_flush_interval": 1.0,
    }


def _unless_set_by_user(settings: dict[str, Any]) -> dict[str, Any]:
    """The settings without those that the user's own WANDB_* variables give, which would lose against ours."""
    variables = {
        "root_dir": "WANDB_DIR",
        "run_name": "WANDB_NAME",
        "run_tags": "WANDB_TAGS",
        "run_job_type": "WANDB_JOB_TYPE",
    }

    def variable(key: str) -> str:
        return variables.get(key) or "WANDB_" + ("_" + key[2:] if key.startswith("x_") else key).upper()

    return {key: value for key, value in settings.items() if value is not None and variable(key) not in os.environ}
