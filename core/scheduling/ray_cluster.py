"""Can a Ray cluster do our work? Which nodes it has, whether they see the results, and have the same packages."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import sys
import uuid
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ablation_suite.core.config.errors import UserError
from ablation_suite.core.config.runtime import Runtime
from ablation_suite.core.runs.provenance import versions

CHECK_SECONDS = 120.0
"""How long a node may take to start a Python process and answer."""
ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    # Workers start at +15 otherwise, where on a busy machine they do nothing at all.
    "RAY_worker_niceness": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "1",
    "RAY_BACKEND_LOG_LEVEL": "fatal",
}
"""For a cluster that starts here; the nodes of others have their own."""


def connect(address: str | None) -> None:
    """Join a cluster, or start one of this machine's cores; UserError where there is none at the address."""
    try:
        import ray
    except ModuleNotFoundError:
        raise UserError("ray is not installed: pip install 'ablation-suite[ray]'") from None
    if ray.is_initialized():
        return
    if address:
        _require_listener(address)
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    local: dict[str, Any] = {} if address else {"include_dashboard": False}
    # Ray lets its workers look for modules in the current folder first.
    with _our_signals(), _silence(), contextlib.chdir("/"):
        try:
            ray.init(address=address or "local", log_to_driver=False, logging_level=logging.CRITICAL, **local)
        except (ConnectionError, RuntimeError, ValueError, TimeoutError) as error:
            raise UserError(f"ray at {address or 'this machine'}: {first_line(error)}") from None
    # What Ray says of dead nodes and actors is printed all the same, and to the standard output; we say it ourselves.
    ray._private.worker._worker_logs_enabled = False


def check(runtime: Runtime) -> None:
    """Ask every node on which a run fits for the results folder and its packages; UserError says what is amiss."""
    nodes = fitting_nodes(runtime)
    if not nodes and runtime.jobs == "auto":
        needed = " and ".join(f"{count:g} {name}" for name, count in resources(runtime).items())
        raise UserError(f"ray: no node has {needed}; for a cluster that grows when asked, say --jobs N")
    results = Path(runtime.results)
    results.mkdir(parents=True, exist_ok=True)
    nonce = results / f".ray-{uuid.uuid4().hex}"
    nonce.write_text(nonce.name)
    replies = {node["NodeID"]: nonce.with_name(f"{nonce.name}-{node['NodeID'][:12]}") for node in nodes}
    try:
        answers = {node: _ask(node, nonce, reply) for node, reply in replies.items()}
        for node in nodes:
            where = f"ray: node {node['NodeManagerAddress']}"
            found = _answer(answers[node["NodeID"]], where)
            _judge(found, nonce.name if replies[node["NodeID"]].exists() else "", where, results)
    finally:
        for path in (nonce, *replies.values()):
            path.unlink(missing_ok=True)


def look(nonce: str, reply: str) -> dict[str, Any]:
    """What a node sees and has: the content of a file, the versions of the packages, the niceness of its workers."""
    path = Path(nonce)
    seen = path.read_text() if path.exists() else ""
    if seen:
        Path(reply).write_text(seen)
    return {"seen": seen, "versions": versions(), "niceness": os.nice(0)}


def resources(runtime: Runtime) -> dict[str, float]:
    """What one run takes of its node."""
    has_gpu = any(node["Resources"].get("GPU") for node in alive_nodes())
    wants_gpu = runtime.device == "cuda" or (runtime.device == "auto" and has_gpu)
    return {"CPU": float(runtime.threads), **({"GPU": 1.0} if wants_gpu else {})}


def fitting_nodes(runtime: Runtime) -> list[dict[str, Any]]:
    """The nodes that could have a run."""
    needed = resources(runtime).items()
    return [node for node in alive_nodes() if all(node["Resources"].get(name, 0.0) >= n for name, n in needed)]


def alive_nodes() -> list[dict[str, Any]]:
    """The nodes that Ray believes alive."""
    import ray

    return [node for node in ray.nodes() if node["Alive"]]


def first_line(error: BaseException) -> str:
    """An error in one line."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)


def _require_listener(address: str) -> None:
    """Ray itself would try for minutes, whatever is wrong with the address."""
    host, _, port = address.rpartition(":")
    if not port.isdecimal() or host.startswith("ray://"):
        return  # "auto", or a client's address
    try:
        socket.create_connection((host, int(port)), timeout=10.0).close()
    except OSError as error:
        raise UserError(f"ray at {address}: no cluster answers there ({error.strerror or error})") from None


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Nothing on the error stream, whoever writes to it; what matters is raised."""
    sys.stderr.flush()
    before = os.dup(2)
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        os.dup2(before, 2)
        os.close(before)


@contextlib.contextmanager
def _our_signals() -> Iterator[None]:
    """Ray takes over SIGTERM, by which our driver leaves in good order."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


def _ask(node: str, nonce: Path, reply: Path) -> Any:
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    there = NodeAffinitySchedulingStrategy(node, soft=False)
    remote: Any = ray.remote
    return remote(num_cpus=0, max_retries=0, scheduling_strategy=there)(look).remote(str(nonce), str(reply))


def _answer(promise: Any, where: str) -> dict[str, Any]:
    import ray

    try:
        return ray.get(promise, timeout=CHECK_SECONDS)
    except ray.exceptions.GetTimeoutError:
        raise UserError(f"{where} has not started a process for {CHECK_SECONDS:.0f} s") from None
    except ray.exceptions.RayError as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        raise UserError(f"{where} cannot run the suite: {lines[-1]}; is it installed there?") from None


def _judge(found: dict[str, Any], nonce: str, where: str, results: Path) -> None:
    if not nonce or found["seen"] != nonce:
        raise UserError(f"{where} does not see {results}; put --results on a file system that all nodes share")
    ours, theirs = versions(), found["versions"]
    others = [
        f"{name} {theirs.get(name, 'none')} (here {ours[name]})" for name in ours if theirs.get(name) != ours[name]
    ]
    if others:
        raise UserError(f"{where} has other versions, and a run would be another there: {', '.join(others)}")
    if (niceness := found["niceness"]) > os.nice(0):  # who starts all of it with `nice` wants it so
        raise UserError(f"{where} starts workers at niceness {niceness}; start it with RAY_worker_niceness=0")
