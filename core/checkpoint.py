"""Can this run go on where it stopped? Checkpoints that are verified before they are trusted, the last good one kept."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import torch

from core.store import write_atomic


def save(folder: Path, number: int, state: dict[str, Any]) -> None:
    """Write one numbered state, then drop all older ones but the last."""
    folder.mkdir(exist_ok=True)
    save_verified(folder / f"{number:012d}.pt", state)
    for old in sorted(folder.glob("*.pt"))[:-2]:
        drop(old)


def load(folder: Path, device: torch.device) -> dict[str, Any] | None:
    """The newest state whose SHA-256 is right, or None; damaged ones are passed over."""
    for path in sorted(folder.glob("*.pt"), reverse=True):
        if is_intact(path):
            return torch.load(path, map_location=device, weights_only=True)
    return None


def clear(folder: Path) -> None:
    """Remove the checkpoints of a finished run."""
    for path in folder.glob("*"):
        path.unlink()
    if folder.exists():
        folder.rmdir()


def save_verified(path: Path, state: dict[str, Any]) -> None:
    """torch.save to a temporary file, synced, renamed into place, and read back for its SHA-256.

    The sum is written last and beside it, so that a file without one does not count.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with open(temporary, "wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    _sum_path(path).unlink(missing_ok=True)
    os.replace(temporary, path)
    write_atomic(_sum_path(path), _sha256(path).encode())


def is_intact(path: Path) -> bool:
    """Whether the SHA-256 beside a file is that of its bytes; neither torch nor safetensors notices a flipped bit."""
    expected = _sum_path(path)
    return path.exists() and expected.exists() and expected.read_text() == _sha256(path)


def drop(path: Path) -> None:
    """Remove a saved state and its sum."""
    _sum_path(path).unlink(missing_ok=True)
    path.unlink(missing_ok=True)


def _sum_path(path: Path) -> Path:
    return path.with_suffix(".sha256")


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
