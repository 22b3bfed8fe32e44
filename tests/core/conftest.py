"""What do the tests of core share? Small runs on the digits, and a way to start, stop and kill them."""

from __future__ import annotations

import copy
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from ablation_suite.core.config.menu import build
from ablation_suite.core.config.run_config import RunConfig
from ablation_suite.core.config.runtime import Runtime
from ablation_suite.core.config.schema import Document, validate
from ablation_suite.core.data import Digits
from ablation_suite.core.runs.identity import RECIPE, run_id
from ablation_suite.core.runs.run_folder import RunFolder

SMALL = {
    "model": {"backbone": {"name": "bottleneck", "planes": (16,), "blocks": (1,)}, "head": {"name": "linear"}},
    "optimizer": {"name": "adam", "lr": 3e-3},
    "epochs": 2,
    "batch_size": 64,
    "clip_norm": 10.0,
}
"""One stage of one block: an epoch of the digits takes a third of a second."""

ZYGOTE = """
import json, os, sys
import ablation_suite.core.training.finish
from ablation_suite.core.scheduling import worker
for line in sys.stdin:
    job = json.loads(line)
    child = os.fork()
    if child == 0:
        os.environ["ABLATE_RUNTIME"] = job["runtime"]
        sys.argv = ["worker", job["folder"]]
        os._exit(worker.main())
    print(child, flush=True)
    status = os.waitpid(child, 0)[1]
    print(os.waitstatus_to_exitcode(status), flush=True)
"""
"""Imports torch once, then is a worker with a RUN_FOLDER in a process of its own for every line."""


class Worker:
    """Trains run folders, each in a new process that can be signalled."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", ZYGOTE],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )

    def start(self, folder: RunFolder, runtime: Runtime) -> int:
        """Begin a run and give its process id."""
        line = json.dumps({"folder": str(folder.path), "runtime": runtime.model_dump_json()})
        print(line, file=self.process.stdin, flush=True)
        return int(self.process.stdout.readline())

    def wait(self) -> int:
        """The exit status of the run that was begun last; minus the signal where one ended it."""
        return int(self.process.stdout.readline())

    def run(self, folder: RunFolder, runtime: Runtime) -> int:
        """Begin a run and wait for its end."""
        self.start(folder, runtime)
        return self.wait()


@pytest.fixture(scope="session")
def worker():
    """A worker that can be killed."""
    worker = Worker()
    yield worker
    worker.process.stdin.close()
    worker.process.wait()
    worker.process.stdout.close()


@pytest.fixture
def one_thread():
    """Torch's process-wide switches as a run sets them, and back again."""
    import torch

    before = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled(), torch.backends.fp32_precision
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before[0])
    torch.use_deterministic_algorithms(before[1])
    torch.backends.fp32_precision = before[2]
    torch.set_float32_matmul_precision("highest")


@pytest.fixture(scope="session")
def digits():
    """The digits, loaded."""
    return build(Digits(), data_root=Path("unused"), cache=Path("unused")).load()


def _config(changes: dict | None = None, **settings) -> RunConfig:
    data = copy.deepcopy(SMALL)
    for path, value in {**(changes or {}), **settings}.items():
        *parents, last = path.split(".")
        place = data
        for parent in parents:
            place = place.setdefault(parent, {})
        place[last] = value
    return validate(RunConfig, Document(data=data, source="test"))


def _runtime(results: Path) -> Runtime:
    return Runtime(device="cpu", compile="off", tracker="off", results=str(results), cache=str(results / "cache"))


def _folder(store: Path, config: RunConfig, data_fingerprint: str) -> RunFolder:
    folder = RunFolder(store / run_id(config, data_fingerprint))
    job = {"run_id": folder.run_id, "recipe": RECIPE, "config": config.model_dump(mode="json")}
    folder.create({**job, "data_fingerprint": data_fingerprint, "labels": {}})
    return folder


@pytest.fixture
def make_config():
    """A small config with changes by dotted path, as in `make_config({"loss.weight": 0.0}, seed=1)`."""
    return _config


@pytest.fixture
def runtime(tmp_path):
    """The CPU, one thread, no tracker, all output below the test's own folder."""
    return _runtime(tmp_path)


@pytest.fixture
def make_folder(tmp_path, digits):
    """A run folder for a config, in a store of its own name."""
    return lambda config, store="runs": _folder(tmp_path / store, config, digits.fingerprint)


@pytest.fixture
def first_steps(digits, runtime, make_folder):
    """The (loss, gradient norm, number correct) of the first steps of `train`; the hooks are called after each."""

    from ablation_suite.core.training.loop import Preempted, train

    def run(config, num_steps=20, also=lambda parts: None, on_step=lambda step: None, store="runs", **changes):
        tallies = []

        def after(step):
            tallies.append(step.tally.tolist())
            also(step.parts)
            on_step(step)

        settings = runtime.model_copy(update={"channels_last": "off", **changes})
        folder = make_folder(config, store)
        with pytest.raises(Preempted):
            train(config, digits, settings, folder, stop=lambda: len(tallies) >= num_steps, on_step=after)
        return np.array(tallies)

    return run


@pytest.fixture(scope="session")
def finished(tmp_path_factory, digits):
    """The runtime and the folders of two finished runs, of seeds 0 and 1, which nobody may change."""
    from ablation_suite.core.scheduling.attempt import Datasets, work

    runtime, folders = _runtime(tmp_path_factory.mktemp("finished")), []
    for seed in (0, 1):
        folders.append(_folder(runtime.store, _config(seed=seed, epochs=4, ema_decay=0.8), digits.fingerprint))
        assert work(folders[-1], runtime, Datasets()) == 0
    return runtime, folders


def _weights_digest(folder: RunFolder) -> str:
    import torch

    found = hashlib.sha256()
    values = torch.load(folder.path / folder.record()["weights"], weights_only=True)
    for name, value in values.items():
        found.update(name.encode() + value.contiguous().numpy().tobytes())
    with np.load(folder.path / "outputs.npz") as outputs:
        for name in outputs.files:
            found.update(name.encode() + outputs[name].tobytes())
    return found.hexdigest()


@pytest.fixture
def weights_digest():
    """The SHA-256 of every tensor of a finished run's kept weights, and of its outputs."""
    return _weights_digest


@pytest.fixture
def kill_when():
    """Send a signal to a process as soon as a condition holds; fails where the condition never came."""

    def wait(process_id: int, condition, number: int = signal.SIGKILL, seconds: float = 60.0) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, "the moment to kill never came"
            time.sleep(0.001)
        os.kill(process_id, number)

    return wait


@pytest.fixture
def another_user():
    """The words before a command that has it run by a user who owns nothing of ours, but can read this code."""
    words = ["setpriv", "--reuid=4242", "--regid=4242", "--clear-groups"]
    if os.geteuid() != 0 or shutil.which("setpriv") is None:
        pytest.skip("only root can become another user, by setpriv")
    import torch

    code = [sys.executable, torch.__file__, __file__]
    if any(subprocess.run([*words, "test", "-r", path], cwd="/").returncode for path in code):
        pytest.skip("other users may not read this code or its Python")
    return words


@pytest.fixture
def server(monkeypatch):
    """A healthy stand-in for W&B, to which the clients of this process are sent; they give up after a second."""
    import wandb

    from tests.core.wandb_server import wandb_server

    wandb.teardown()
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    monkeypatch.setattr("ablation_suite.core.tracking.publisher._failed_at", {})
    monkeypatch.setattr("ablation_suite.core.tracking.wandb.LAG_SECONDS", 1)
    monkeypatch.setenv("WANDB_INIT_TIMEOUT", "1")
    monkeypatch.setenv("WANDB_FINISH_TIMEOUT", "1")
    with wandb_server() as running:
        for name, value in running.environment().items():
            monkeypatch.setenv(name, value)
        yield running
        wandb.teardown()
