"""What do runs lose where their driver, their job or their node is ended? Faults in engines that really run."""

from __future__ import annotations

import random
import re
import shutil
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from ablation_suite.core.config.menu import build
from ablation_suite.core.config.runtime import Runtime
from ablation_suite.core.data import Digits
from ablation_suite.core.runs.run_folder import RunFolder
from tests.benchmarks.lines import Line
from tests.core import conftest, real_ray, real_slurm
from tests.core.fake_slurm import wait_until
from tests.core.killed_driver import epochs_trained, start_driver

NUM_KILLS, NUM_ROUNDS = 30, 5
NUM_RUNS, NUM_EPOCHS = 3, 12
LONG_EPOCHS = 60
LOST_SECONDS = 600.0
"""A grid that has not ended so long after its last kill is lost."""
RECORDING = """#!/bin/bash
{sbatch} "$@"
status=$?
[ $status = 0 ] && [[ " $* " != *" --test-only "* ]] && echo "$*" >> {log}
exit $status
"""
"""An sbatch that notes what Slurm took."""


class Engine:
    """An engine that has been started, and the folders of the grids that it trains."""

    def __init__(self, name: str, scratch: Path, patch: pytest.MonkeyPatch):
        self.name, self.scratch, self.cluster = name, scratch, None
        self.options: dict[str, Any] = {"executor": name}
        if name == "slurm":
            self.cluster = real_slurm.RealSlurm(scratch / "slurm")
            patch.setenv("SLURM_CONF", self.cluster.environment["SLURM_CONF"])
            patch.setenv("PATH", f"{self._recording()}:{self.cluster.environment['PATH']}")
        elif name == "ray":
            self.cluster = real_ray.RealRay(num_nodes=2)
            self.options["ray_address"] = self.cluster.address
        else:
            self.options["jobs"] = 2

    def runtime(self, **more: Any) -> Runtime:
        """One for a grid in folders of its own."""
        folder = Path(tempfile.mkdtemp(dir=self.scratch))
        (folder / "results").mkdir()
        folders = {"results": str(folder / "results"), "cache": str(folder / "cache")}
        return Runtime(device="cpu", compile="off", tracker="off", **folders, **self.options, **more)

    def submitted(self) -> list[str]:
        """The command lines of all that Slurm has taken from the suite."""
        log = self.scratch / "sbatch.log"
        return log.read_text().splitlines() if log.exists() else []

    def close(self) -> None:
        if self.cluster is not None:
            self.cluster.close()

    def _recording(self) -> Path:
        """A folder for the PATH, with an sbatch that notes what Slurm took."""
        folder = self.scratch / "bin"
        folder.mkdir()
        script = folder / "sbatch"
        script.write_text(RECORDING.format(sbatch=shutil.which("sbatch"), log=self.scratch / "sbatch.log"))
        script.chmod(0o755)
        return folder


@contextmanager
def started(name: str) -> Iterator[Engine]:
    """An engine, which is ended with the context."""
    with tempfile.TemporaryDirectory() as scratch, pytest.MonkeyPatch.context() as patch:
        engine = Engine(name, Path(scratch), patch)
        try:
            yield engine
        finally:
            engine.close()


def grid(runtime: Runtime, num_runs: int, num_epochs: int) -> list[RunFolder]:
    """Folders of small runs on the digits, the same configs in every store."""
    fingerprint = build(Digits(), data_root=Path("unused"), cache=Path("unused")).fingerprint()
    configs = [conftest._config(seed=seed, epochs=num_epochs) for seed in range(num_runs)]
    return [conftest._folder(runtime.store, each, fingerprint) for each in configs]


def undisturbed(engine: Engine, num_runs: int = NUM_RUNS) -> tuple[dict[str, str], float]:
    """The digests of a grid by run, and the seconds of its driver, which nobody kills."""
    runtime = engine.runtime()
    folders, begun = grid(runtime, num_runs, NUM_EPOCHS), time.monotonic()
    if start_driver(folders, runtime).wait():
        raise RuntimeError(said(runtime))
    return {each.run_id: conftest._weights_digest(each) for each in folders}, time.monotonic() - begun


def said(runtime: Runtime) -> str:
    """What the drivers of a grid printed."""
    return (Path(runtime.results) / "driver.txt").read_text()


def kill_lines(name: str) -> list[Line]:
    """Grids whose driver is killed at random instants of the time that an undisturbed one takes."""
    with started("process") as plain:
        digests, seconds = undisturbed(plain)
    found: Counter[str] = Counter()
    rng = random.Random(name)
    with started(name) as engine:
        if name != "process":
            _, seconds = undisturbed(engine)
        num_before = num_tasks(engine)
        while found["kills"] < NUM_KILLS:
            runtime = engine.runtime()
            folders = grid(runtime, NUM_RUNS, NUM_EPOCHS)
            found["kills"] += killed_until_done(folders, runtime, rng, seconds, NUM_KILLS - found["kills"])
            found["runs"] += len(folders)
            for folder in folders:
                kinds = Counter(row["kind"] for row in folder.ledger.rows())
                found["twice"] += max(0, kinds["end"] - 1)
                found["again"] += sum(count - 1 for count in epochs_trained(folder).values())
                found["epochs"] += NUM_EPOCHS
                found["lost"] += not folder.is_finished()
                found["other"] += folder.is_finished() and conftest._weights_digest(folder) != digests[folder.run_id]
        more_tasks = num_tasks(engine) - num_before - found["runs"]
    where = f"{found['kills']} kills of the driver, at instants of the {seconds:.0f} s of an undisturbed grid"
    lines = [
        zero_line(f"{name}: runs lost", found["lost"], found["runs"], where),
        zero_line(f"{name}: runs brought to their end twice", found["twice"], found["runs"]),
        zero_line(f"{name}: runs of other bits than those of `process`, undisturbed", found["other"], found["runs"]),
        Line(what=f"{name}: epochs trained again", ours=f"{found['again']} of {found['epochs']}"),
    ]
    if name == "slurm":
        lines.append(zero_line("slurm: tasks submitted beyond one for each run", more_tasks, found["runs"]))
    return lines


def killed_until_done(folders: list[RunFolder], runtime: Runtime, rng: random.Random, seconds: float, most: int) -> int:
    """Kill driver after driver, until one ends before its instant or after the last kill; the number of kills."""
    for number in range(most):
        driver = start_driver(folders, runtime)
        try:
            if driver.wait(rng.uniform(0.0, seconds)):
                raise RuntimeError(said(runtime))
            return number
        except subprocess.TimeoutExpired:
            driver.kill()
            driver.wait()
    driver = start_driver(folders, runtime)
    try:
        driver.wait(LOST_SECONDS)
    except subprocess.TimeoutExpired:
        driver.kill()
        driver.wait()
    return most


def num_tasks(engine: Engine) -> int:
    """How many tasks Slurm has taken."""
    return sum(int(last) + 1 for line in engine.submitted() for last in re.findall(r"--array=0-(\d+)", line))


def zero_line(what: str, count: int, of: int, note: str = "") -> Line:
    """A count that is to be 0."""
    return Line(what=what, ours=f"{count} of {of}", bar="0", met=count == 0, note=note)


def scancel_lines() -> list[Line]:
    """Jobs that somebody ends by hand; their driver is to say so and leave."""
    num_resubmitted = num_other = 0
    with started("slurm") as engine:
        for _ in range(NUM_ROUNDS):
            runtime = engine.runtime()
            [folder] = grid(runtime, 1, LONG_EPOCHS)
            driver = start_driver([folder], runtime)
            wait_until(lambda folder=folder: len(folder.ledger.history()) >= 1, LOST_SECONDS)
            before = num_tasks(engine)
            engine.cluster.run("scancel", "--state=RUNNING", "--user=root")
            num_other += driver.wait(LOST_SECONDS) != 1 or "was cancelled" not in said(runtime)
            num_resubmitted += num_tasks(engine) - before
    return [
        zero_line("slurm: jobs submitted again after `scancel`", num_resubmitted, NUM_ROUNDS),
        zero_line("slurm: drivers that did not say who ended the job", num_other, NUM_ROUNDS),
    ]


def preemption_lines() -> list[Line]:
    """Jobs that a partition of higher priority preempts, with ten seconds of grace."""
    lost: list[int] = []
    with started("slurm") as engine:
        for _ in range(NUM_ROUNDS):
            runtime = engine.runtime()
            [folder] = grid(runtime, 1, LONG_EPOCHS)
            driver = start_driver([folder], runtime)
            wait_until(lambda folder=folder: len(folder.ledger.history()) >= 2, LOST_SECONDS)
            engine.cluster.submit_high(2)
            wait_until(lambda folder=folder: events(folder, "preempted"), LOST_SECONDS)
            while driver.poll() is None:
                engine.cluster.start_now()
            stopped = re.search(r"in epoch (\d+) after step (\d+)", events(folder, "preempted")[0]["message"])
            resumed = events(folder, "resumed")[0]
            num_steps = folder.ledger.history()[0]["num_steps"]
            epoch, step = map(int, stopped.groups())
            lost.append((epoch - resumed["epoch"]) * num_steps + step - resumed["step"])
            if not folder.is_finished():
                raise RuntimeError(said(runtime))
    return [zero_line("slurm: finished steps lost to a preemption", sum(lost), NUM_ROUNDS, "of so many preemptions")]


def events(folder: RunFolder, name: str) -> list[dict[str, Any]]:
    """What a run's ledger says of an event."""
    return [row for row in folder.ledger.rows() if row.get("event") == name]


def node_lines() -> list[Line]:
    """A third node that dies with the run on it."""
    num_lost = num_again = num_elsewhere = num_tries = 0
    with started("ray") as engine:
        for _ in range(NUM_ROUNDS):
            extra, runtime = engine.cluster.add_node(), engine.runtime()
            folders = grid(runtime, 3, LONG_EPOCHS)
            driver = start_driver(folders, runtime)
            wait_until(lambda folders=folders: all(each.ledger.history() for each in folders), LOST_SECONDS)
            engine.cluster.cluster.remove_node(extra, allow_graceful=False)
            driver.wait(LOST_SECONDS)
            num_elsewhere += said(runtime).count("its node is gone; it goes on elsewhere")
            num_tries += said(runtime).count("its Ray actor ended")
            num_lost += sum(not each.is_finished() for each in folders)
            num_again += sum(count - 1 for each in folders for count in epochs_trained(each).values())
    return [
        zero_line("ray: runs lost with their node", num_lost, NUM_ROUNDS, "of so many nodes, each with one run"),
        Line(
            what="ray: runs that went on elsewhere",
            ours=f"{num_elsewhere} of {NUM_ROUNDS}",
            bar="all",
            met=num_elsewhere == NUM_ROUNDS,
        ),
        zero_line("ray: dead nodes that cost their run a try", num_tries, NUM_ROUNDS),
        Line(what="ray: epochs trained again", ours=f"{num_again} of {NUM_ROUNDS * 3 * LONG_EPOCHS}"),
    ]
