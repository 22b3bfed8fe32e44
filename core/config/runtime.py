"""Where and how does a run happen? Nothing here is hashed, and nothing here may change the numbers on purpose."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Literal

import platformdirs
from pydantic import AfterValidator, Field

from ablation_suite.core.config.errors import UserError
from ablation_suite.core.config.menu import Frozen


def _results() -> str:
    return os.environ.get("ABLATE_RESULTS", "results")


def _data_root() -> str:
    return os.environ.get("ABLATE_DATA", "data")


def _cache() -> str:
    if os.environ.get("ABLATE_CACHE"):
        return os.environ["ABLATE_CACHE"]
    try:
        return str(platformdirs.user_cache_path("ablation-suite").expanduser())
    except RuntimeError:
        raise UserError(
            "no home folder is known (HOME is not set, and this user has none); set HOME, or ABLATE_CACHE to a folder"
        ) from None


Place = Annotated[str, AfterValidator(os.path.expanduser)]
"""A folder as people type it: `~` is their home also where no shell has read it (--results=~/x)."""


class Runtime(Frozen):
    """Device, folders, workers and tracker of an invocation; environment variables are the defaults of the folders."""

    device: str = "auto"
    """`auto` takes the CUDA devices, else the CPU."""
    devices: tuple[Annotated[int, Field(ge=0)], ...] = ()
    """Numbers of the CUDA devices that workers are spread over, all where none is named; a worker has one."""
    compile: Literal["auto", "on", "off"] = "auto"
    """Whether torch.compile is used; `auto` weighs its warm-up against the steps to come."""
    channels_last: Literal["auto", "on", "off"] = "auto"
    """Memory format of images and convolutions; `auto` is on where the device gains from it."""
    deterministic: bool = True
    """Whether kernels that give the same bits at each run are preferred to the fastest."""
    threads: int = Field(1, ge=1)
    """CPU threads of one worker."""
    jobs: Annotated[int, Field(ge=1)] | Literal["auto"] = "auto"
    """Runs side by side; `auto` is as many as the cores of the CPU, or the CUDA devices, take."""
    executor: Literal["inline", "process", "slurm", "ray"] = "process"
    """`process` is a pool of warm workers, `inline` this very process, `slurm` a cluster's queue, `ray` its nodes."""
    slurm: str = ""
    """Options of sbatch, as in '-p gpu --gres=gpu:1 -t 8:00:00'."""
    pack: Annotated[int, Field(ge=1)] | Literal["auto"] = "auto"
    """Runs of one Slurm task; `auto` packs those that are known to be short."""
    ray_address: str | None = None
    """Where the Ray cluster is (RAY_ADDRESS); without, one starts on this machine."""
    tracker: str = "auto"
    """Where runs are shown: `auto`, `online`, `offline` (W&B), `tensorboard`, `mlflow` or `off`."""
    checkpoint_minutes: float = Field(5.0, gt=0.0)
    """Longest time between two checkpoints inside an epoch."""
    results: Place = Field(default_factory=_results, validate_default=True)
    """The one folder that everything is written to (ABLATE_RESULTS)."""
    data_root: Place = Field(default_factory=_data_root, validate_default=True)
    """Where named data sets lie (ABLATE_DATA)."""
    teachers: Place = ""
    """A further results folder in which runs that teach others are looked for."""
    cache: Place = Field(default_factory=_cache, validate_default=True)
    """Where decoded data and fingerprints are kept (ABLATE_CACHE)."""

    @property
    def store(self) -> Path:
        """The folder of the run folders."""
        return Path(self.results) / "runs"
