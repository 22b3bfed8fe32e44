"""Has the content of these files been seen before? SHA-256 of each file, remembered by path, size and times."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ablation_suite.core.data import parallel
from ablation_suite.core.runs.files import file_sha256, json_text, read_bytes, sha256, stamp, write_atomic

SETTLED_NS = 2_000_000_000
"""A file changed less than this before it was hashed may change again within one tick of a coarse clock."""


def digests(root: Path, names: Sequence[str], cache: Path, *, title: str) -> list[str]:
    """SHA-256 (hex) of each named file below root; where nothing changed since the last call, this costs only stats.

    A file that cannot be read has a digest of its own, "unreadable". The memory lies below cache/fingerprints, one file
    for each root and title.
    """
    owner = sha256(f"{root}\n{title}")[:16]
    memory = cache / "fingerprints" / f"{owner}.sealed"
    known: dict[str, list] = recall(memory).get("files", {})
    now = time.time_ns()
    stamps = [list(stamp(f"{root}/{name}")[1:]) for name in names]  # storage may number its inodes anew
    fresh = [i for i, name in enumerate(names) if not stamps[i] or known.get(name, [None])[:-1] != stamps[i]]
    progress = parallel.bar(f"reading {title}")
    values = parallel.each(lambda k: digest(root / names[fresh[k]]), len(fresh), progress)
    hashed = dict(zip(fresh, values, strict=True))
    found = [hashed[i] if i in hashed else known[name][-1] for i, name in enumerate(names)]
    entries = {
        name: [*of_file, hex]
        for name, of_file, hex in zip(names, stamps, found, strict=True)
        if of_file and max(of_file[1:]) < now - SETTLED_NS
    }
    if entries != known:
        remember(memory, {"root": str(root), "files": entries})
    return found


def digest(path: Path) -> str:
    """SHA-256 (hex) of one file, or "unreadable"."""
    try:
        return file_sha256(path)
    except OSError:
        return "unreadable"


def recall(memory: Path) -> dict[str, Any]:
    """What `remember` wrote, or nothing where it is not whole."""
    try:
        seal, text = read_bytes(memory).split(b"\n", 1)
    except (OSError, ValueError):
        return {}
    if seal != sha256(text).encode():  # one digit of it would give the data, and all their runs, another name
        return {}
    return dict(json.loads(text))


def remember(memory: Path, values: dict[str, Any]) -> None:
    """Write what can be found again, under its own digest."""
    with contextlib.suppress(OSError):  # where nothing can be kept, the next call hashes again
        memory.parent.mkdir(parents=True, exist_ok=True)
        text = json_text(values)
        write_atomic(memory, sha256(text).encode() + b"\n" + text)
