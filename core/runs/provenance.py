"""Where did these numbers come from? Commit, packages, machine and command line of this process, with no secrets."""

from __future__ import annotations

import functools
import os
import platform
import re
import shlex
import socket
import subprocess
import sys
import time
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ablation_suite.core.config.errors import UserError, os_error_line
from ablation_suite.core.runs.files import sha256
from ablation_suite.core.runs.shape import Provenance

PACKAGES = ("torch", "torchvision", "numpy", "numba", "wandb", "optuna", "pillow", "pydantic")
LONGEST_ERROR = 300

_SECRET_NAME = (
    r"(?:[\w.\-]*[_.\-])?(?:(?:api|access|private)?key|token|secret|pass(?:word|wd|phrase)?|credentials?|auth)"
)
_SECRETS = (
    (re.compile(rf"(?i)(\b{_SECRET_NAME}[=:])[^\s&,;'\"]+"), r"\1***"),
    (re.compile(r"(?i)\b((?:bearer|basic)\s+)[^\s,;'\"]{8,}"), r"\1***"),
    (re.compile(r"(?i)(\b[a-z][a-z0-9+.\-]*://[^\s:/@]*:)[^\s/@]+@"), r"\1***@"),
    (re.compile(r"\b(?:wandb_v\d_\w{20,}|local-[0-9a-f]{40}|[0-9a-f]{40}|hf_\w{20,}|gh[pousr]_\w{20,})\b"), "***"),
)
_SECRET_FLAG = re.compile(rf"(?i)^-{{1,2}}{_SECRET_NAME}$")


def provenance(runtime: Any, device: str) -> Provenance:
    """What a reader needs to make this run again or to doubt it, as plain JSON; gathered once per process."""
    return {
        **_of_process(),
        "device": {"name": device, **_device(device)},
        "threads": runtime.threads,
        "time": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    }


def scrub(text: str) -> str:
    """The text with values of secret-looking names, passwords in URLs and known forms of keys replaced by ***."""
    for pattern, replacement in _SECRETS:
        text = pattern.sub(replacement, text)
    return text


def error_line(error: Exception) -> str:
    """What an error says, and its kind where it is none for people: one line of bounded length, without secrets."""
    if isinstance(error, UserError):
        words = str(error)
    elif isinstance(error, ValidationError):  # whose own words repeat the values, which may be secrets
        faults = (": ".join([*map(str, each["loc"]), each["msg"]]) for each in error.errors())
        words = f"{type(error).__name__}: {'; '.join(faults)}"
    elif isinstance(error, OSError) and error.filename is not None:
        words = os_error_line(error)
    else:
        words = f"{type(error).__name__}: {error}"
    return scrub(" ".join(words.split()))[:LONGEST_ERROR]


def scrub_command(argv: list[str]) -> list[str]:
    """A command line without its secrets, also where a flag and its value are two words."""
    hidden = [bool(index and _SECRET_FLAG.match(argv[index - 1])) for index in range(len(argv))]
    return ["***" if hide else scrub(word) for word, hide in zip(argv, hidden, strict=True)]


def source_hash(package: Path) -> str:
    """12 hexadecimal digits over the names and bytes of a package's .py files: which code trained, installed or not."""
    # Not `rglob`, which passes over the linked rooms of a checkout.
    folders = os.walk(package, followlinks=True)
    paths = [Path(folder, name) for folder, _, names in folders for name in names if name.endswith(".py")]
    found = []
    for name, path in sorted((path.relative_to(package).as_posix(), path) for path in paths):
        content = path.read_bytes()
        found += [f"{name}\0{len(content)}\0".encode(), content]
    return sha256(b"".join(found))[:12]


def versions() -> dict[str, str]:
    """The versions of Python and of the packages that the numbers may depend on, as far as they are installed."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        with suppress(metadata.PackageNotFoundError):
            found[package] = metadata.version(package)
    return found


@functools.cache
def _of_process() -> Provenance:
    package = Path(__file__).parents[2]
    return {
        "command": scrub_command(shlex.split(os.environ.get("ABLATE_COMMAND", "")) or sys.argv),
        "git": _commit(Path.cwd()),
        "suite": {**(_commit(package.resolve()) or {}), "version": _suite_version(), "source": source_hash(package)},
        "packages": versions(),
        "host": socket.gethostname(),
        "system": platform.platform(),
        "cpu": _cpu_model(),
        "cpus": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
    }


@functools.cache
def _commit(folder: Path) -> dict[str, Any] | None:
    """Commit and state of the repository around a folder: `diff` is a hash of all that differs from the commit."""
    status = _git(folder, "status", "--porcelain=v2", "--branch", "--untracked-files=normal")
    if status is None:
        return None
    lines = status.decode(errors="replace").splitlines()
    commit = next((line.split()[-1] for line in lines if line.startswith("# branch.oid")), None)
    changes = [line for line in lines if not line.startswith("#")]
    differs = sha256("\n".join(changes).encode() + (_git(folder, "diff", "HEAD") or b"")) if changes else None
    return {"commit": commit, "dirty": bool(changes), "diff": differs[:12] if differs else None}


def _git(folder: Path, *words: str) -> bytes | None:
    # Optional locks would touch the index of a repository that somebody else may be working in.
    command = ["git", "--no-optional-locks", "-C", str(folder), *words]
    try:
        return subprocess.run(command, capture_output=True, check=True, timeout=5).stdout
    except (OSError, subprocess.SubprocessError):
        return None


def _suite_version() -> str | None:
    try:
        return metadata.version("ablation-suite")
    except metadata.PackageNotFoundError:
        return None


def _cpu_model() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.processor()
    found = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return found.group(1) if found else platform.processor()


@functools.cache
def _device(device: str) -> dict[str, Any]:
    """Model, memory and driver of a CUDA device; torch is asked only where it is imported already."""
    torch = sys.modules.get("torch")
    if torch is None or not device.startswith("cuda") or not torch.cuda.is_available():
        return {}
    properties = torch.cuda.get_device_properties(device)
    return {
        "model": properties.name,
        "memory_bytes": properties.total_memory,
        "capability": f"{properties.major}.{properties.minor}",
        "driver": _driver(),
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
    }


def _driver() -> str | None:
    try:
        text = Path("/proc/driver/nvidia/version").read_text()
    except OSError:
        return None
    found = re.search(r"\b(\d+\.\d+(?:\.\d+)?)\b", text)
    return found.group(1) if found else None
