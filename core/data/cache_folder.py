"""Where do decoded data sets lie, how much room is left for them, and who may write?"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ablation_suite.core.data import parallel
from ablation_suite.core.data.dataset import DataError
from ablation_suite.core.runs import locks
from ablation_suite.core.runs.files import blake2b, json_bytes, read_json, write_synced

LIMIT = "ABLATE_CACHE_LIMIT_GB"
DEFAULT_LIMIT_GB = 50.0
MANIFEST = "manifest.json"


def decoded_folder(cache: Path) -> Path:
    """The folder of all decoded data sets, made if need be; DataError where it cannot be written."""
    place = cache / "decoded"
    try:
        (place / ".locks").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(
            f"{place}: cannot be written ({error.strerror}); set ABLATE_CACHE to a folder that can"
        ) from None
    return place


def manifest(place: Path) -> dict[str, Any] | None:
    """The manifest of a decoded data set; None where it is not whole, or not what was written."""
    try:
        found = dict(read_json(place / MANIFEST))
        return found if found["digest"] == _digest_of(found) else None
    except (OSError, ValueError, TypeError, KeyError):
        return None


def write_manifest(place: Path, found: Mapping[str, Any]) -> None:
    """Write down what a decoded data set holds, with the digest of all that is said of it."""
    write_synced(place / MANIFEST, json_bytes({**found, "digest": _digest_of(found)}))


def _digest_of(found: Mapping[str, Any]) -> str:
    text = json.dumps({key: value for key, value in found.items() if key != "digest"}, sort_keys=True)
    return blake2b(text.encode())


def entries(cache: Path) -> dict[str, dict[str, Any] | None]:
    """The manifest of every decoded data set, by key; None where it is damaged or of another version."""
    place = cache / "decoded"
    found = sorted(place.iterdir()) if place.is_dir() else []
    return {entry.name: manifest(entry) for entry in found if entry.is_dir() and not entry.name.startswith(".")}


def room(cache: Path) -> tuple[int, str]:
    """Bytes that one more decoded data set may take, and how that comes about in words.

    All together stay below ABLATE_CACHE_LIMIT_GB, and a tenth of the free disk is left alone.
    """
    text = os.environ.get(LIMIT, str(DEFAULT_LIMIT_GB))
    try:
        limit = int(float(text) * 1e9)
    except (ValueError, OverflowError):
        raise DataError(f"{LIMIT}: '{text}' is no number of gigabytes") from None
    used = sum(entry["num_bytes"] for entry in entries(cache).values() if entry)
    there = next(place for place in (cache / "decoded", *(cache / "decoded").absolute().parents) if place.exists())
    free = shutil.disk_usage(there).free
    words = f"{LIMIT} is {limit / 1e9:g}, {used / 1e9:.1f} GB are used, {free / 1e9:.1f} GB of disk are free"
    return max(0, min(limit - used, free * 9 // 10)), words


def remove(cache: Path, key: str) -> int:
    """Remove one decoded data set and give back its bytes; runs that have it open keep it until they end."""
    found = entries(cache)
    if key not in found:
        raise DataError(f"{cache / 'decoded' / key}: no such decoded data set; see `ablate data cache list`")
    discard(decoded_folder(cache) / key)
    return int((found[key] or {"num_bytes": 0})["num_bytes"])


def discard(place: Path) -> None:
    """Remove a folder so that no moment shows half of it; DataError where that is not allowed."""
    try:
        doomed = temporary(place)
        os.rename(place, doomed)
    except OSError as error:
        raise DataError(
            f"{place}: cannot be removed ({error.strerror}); ask its owner, or set ABLATE_CACHE to a folder of your own"
        ) from error
    shutil.rmtree(doomed, ignore_errors=True)


def temporary(place: Path) -> Path:
    """A new empty folder beside `place`, for what will be or has been there; who may read it, the umask says."""
    made = place.parent / f".{place.name}-{secrets.token_hex(8)}"  # mkdtemp's would be for its owner alone
    made.mkdir()
    return made


@contextlib.contextmanager
def writing(cache: Path, key: str) -> Iterator[None]:
    """Hold the only right to build `key`, waiting for a builder in another process; a killed one lets go of it.

    What killed builders of any key have left behind is removed.
    """
    place = decoded_folder(cache)
    with _lock(place, key, wait=True) as held:
        for left in place.glob(".*-*") if held else ():
            owner = left.name[1:].rpartition("-")[0]
            if owner == key:
                shutil.rmtree(left, ignore_errors=True)
            else:
                with contextlib.suppress(OSError, DataError), _lock(place, owner, wait=False):
                    shutil.rmtree(left, ignore_errors=True)
        yield


@contextlib.contextmanager
def _lock(place: Path, key: str, *, wait: bool) -> Iterator[bool]:
    """Hold the lock of a key; False where the file system knows no locks."""
    path = place / ".locks" / key
    try:
        try:
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except PermissionError:  # another user's: reading is enough for a lock, but for NFS
            handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise DataError(
            f"{path}: cannot be opened ({error.strerror}); set ABLATE_CACHE to a folder that can be written"
        ) from error
    with open(handle, "rb") as file:
        try:
            if wait:
                locks.take(file, heed=parallel.heed, look_seconds=parallel.LOOK_SECONDS)
            elif not locks.try_take(file):
                raise BlockingIOError(f"{path}: another process holds it")
        except locks.NoLocks:
            yield False
        else:
            yield True
