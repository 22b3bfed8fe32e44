"""Can this run go on where it stopped? Checkpoints are verified before they are trusted; the last good one stays."""

from __future__ import annotations

import pickle
import warnings
from pathlib import Path
from typing import IO, Any, cast

import torch
from torch import nn

from ablation_suite.core.runs.damage import Damaged
from ablation_suite.core.runs.files import Hashing, file_sha256, read_bytes, replacing, write_atomic


def save(folder: Path, number: int, state: dict[str, Any]) -> None:
    """Write one numbered state, then drop all older ones but the last."""
    folder.mkdir(exist_ok=True)
    save_verified(folder / f"{number:012d}.pt", state)
    for old in sorted(folder.glob("*.pt"))[:-2]:
        drop(old)


def load(folder: Path, device: torch.device) -> dict[str, Any] | None:
    """The newest state whose SHA-256 is right, or None; damaged ones are removed, so that they count as no good one."""
    for path in sorted(folder.glob("*.pt"), reverse=True):
        if is_intact(path):
            return read_plain(path, device)
        drop(path)
    return None


def clear(folder: Path) -> None:
    """Remove the checkpoints of a finished run."""
    for path in folder.glob("*"):
        path.unlink()
    if folder.exists():
        folder.rmdir()


def save_verified(path: Path, state: dict[str, Any]) -> None:
    """torch.save to a temporary file, synced, renamed into place, and read back; OSError where it reads otherwise.

    The SHA-256 is of the bytes on their way to the disk. It is written last and beside them, so that a file without
    one does not count.
    """
    with replacing(path) as file:
        hashing = Hashing(file)
        try:
            torch.save(state, cast("IO[bytes]", hashing))
        except RuntimeError as error:  # "unexpected pos": torch's words for whatever a write failed of
            raise hashing.error or error from None
        _sum_path(path).unlink(missing_ok=True)
    write_atomic(_sum_path(path), hashing.sha256.hexdigest().encode())
    if not is_intact(path):
        raise OSError(f"{path} reads otherwise than it was written; is the disk sound?")


def read_verified(path: Path, device: torch.device) -> Any:
    """What `save_verified` wrote; Damaged where the file is lost or its SHA-256 is not right."""
    if not is_intact(path):
        raise Damaged(f"{path} is lost or damaged: its SHA-256 is not the one beside it")
    return read_plain(path, device)


def read_kept(network: nn.Module, path: Path, device: torch.device, sha256: str | None = None) -> None:
    """Give a network the weights that its run kept; Damaged where they are lost, damaged, or another network's.

    sha256: of the file, where the run's record names it.
    """
    values = read_verified(path, device)
    if sha256 not in (None, sum_beside(path)):
        raise Damaged(f"{path} is not what was written, its SHA-256 is another than in the record")
    try:
        network.load_state_dict(values)
    except (RuntimeError, TypeError) as error:
        raise Damaged(f"{path} does not hold the weights of this network") from error


def read_plain(path: Path, device: torch.device) -> Any:
    """What torch.save wrote of tensors and plain values; Damaged where a file holds code, or is none of torch's."""
    try:
        with warnings.catch_warnings(action="ignore"):  # about pickles that are refused
            return torch.load(path, map_location=device, weights_only=True)
    except (
        pickle.UnpicklingError,
        EOFError,
        LookupError,
        ValueError,
        TypeError,
        AttributeError,
        RuntimeError,
    ) as error:
        if isinstance(error, RuntimeError) and "PytorchStreamReader" not in str(error):  # out of memory, say
            raise
        raise Damaged(f"{path} holds more than tensors and plain values, which is never run, or is damaged") from error


def is_intact(path: Path) -> bool:
    """Whether the SHA-256 beside a file is that of its bytes; neither torch nor safetensors notices a flipped bit."""
    try:
        return sum_beside(path) == file_sha256(path)
    except PermissionError:
        raise
    except OSError:  # lost, or on a part of the disk that does not read
        return False


def sum_beside(path: Path) -> str:
    """The SHA-256 that lies beside a file, whether it is right or not; OSError where there is none."""
    return read_bytes(_sum_path(path)).decode(errors="replace")


def sweep(folder: Path) -> None:
    """Remove the unfinished temporary files that a killed attempt left in a run folder and its checkpoints."""
    for path in [*folder.glob(".best-*"), *folder.glob("checkpoints/.*")]:
        path.unlink()


def drop(path: Path) -> None:
    """Remove a saved state and its sum."""
    _sum_path(path).unlink(missing_ok=True)
    path.unlink(missing_ok=True)


def _sum_path(path: Path) -> Path:
    return path.with_suffix(".sha256")
