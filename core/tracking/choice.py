"""Which tracker does a name mean on this machine? Asked before anything trains, with neither torch nor wandb."""

from __future__ import annotations

import difflib
import netrc
import os
from pathlib import Path
from urllib.parse import urlsplit

from ablation_suite.core.config.errors import UserError

TRACKERS = ("auto", "online", "offline", "off", "tensorboard", "mlflow")
EXTRAS = {"tensorboard": "tensorboard", "mlflow": "mlflow-skinny"}
"""Tracker -> the package that it needs beyond the ordinary ones."""
_WANDB_MODES = {"online": "online", "run": "online", "offline": "offline", "dryrun": "offline", "disabled": "off"}


class TrackerError(UserError):
    """A tracker that does not exist, or that cannot be used as asked."""


class KeyRefused(TrackerError):
    """The server of a tracker does not know the key."""


def check_tracker(name: str) -> None:
    """TrackerError, with the choices, for a tracker that does not exist."""
    if name not in TRACKERS:
        near = difflib.get_close_matches(name, TRACKERS, n=1)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        raise TrackerError(f"tracker: {name!r} is none of {', '.join(TRACKERS)}{hint}")


def choose_tracker(name: str) -> str:
    """The tracker that a name means here: `auto` follows WANDB_MODE, else is online where there are credentials."""
    check_tracker(name)
    if name != "auto":
        return name
    asked = _WANDB_MODES.get(os.environ.get("WANDB_MODE", ""))
    return asked or ("online" if has_credentials() else "offline")


def has_credentials() -> bool:
    """Whether W&B would find an API key for its server: in the environment or where `wandb login` writes it."""
    if os.environ.get("WANDB_API_KEY") or os.environ.get("WANDB_IDENTITY_TOKEN_FILE"):
        return True
    host = urlsplit(os.environ.get("WANDB_BASE_URL") or "https://api.wandb.ai").netloc
    home = [Path(os.path.expanduser(name)) for name in ("~/.netrc", "~/_netrc")]  # stays as it is without a home
    for path in [Path(os.environ["NETRC"])] if os.environ.get("NETRC") else home:
        try:
            if netrc.netrc(path).authenticators(host):
                return True
        except (OSError, netrc.NetrcParseError):
            continue
    return False
