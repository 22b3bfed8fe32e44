"""What becomes of a grid on CUDA devices? Worker processes on the null device, whose losses are all zero."""

from __future__ import annotations

import subprocess
import sys

import pytest

from ablation_suite.core.runs.files import read_json
from ablation_suite.core.scheduling.attempt import LOST_DEVICE
from ablation_suite.core.scheduling.grid import Outcome, drive
from ablation_suite.core.scheduling.process import ProcessPool


class Quiet:
    """Reports nothing."""

    def begin(self, jobs, num_finished, num_workers): ...

    def news(self, event): ...

    def ended(self, folder, failure, *, here=True): ...

    def line(self, text): ...


@pytest.fixture
def grid(null_cuda, make_config, make_folder, runtime, monkeypatch):
    """Trains runs of one epoch on null devices, and gives the outcome and their folders."""

    def train(num_runs: int, jobs, *, device="cuda", **settings) -> tuple[Outcome, list]:
        for name, value in null_cuda.environment(zeros=True, **settings).items():
            monkeypatch.setenv(name, value)
        chosen = runtime.model_copy(update={"device": device, "jobs": jobs})
        folders = [make_folder(make_config(epochs=1, seed=seed)) for seed in range(num_runs)]
        pool = ProcessPool(chosen)
        try:
            outcome = drive({each.run_id: each.job() for each in folders}, chosen, pool, Quiet())
        finally:
            pool.close(detach=False)
        return outcome, folders

    return train


@pytest.mark.slow
def test_a_worker_that_lost_its_device_ends_and_costs_the_grid_one_attempt(grid, tmp_path):
    """An illegal access in the second run: a new worker takes that run up, and every run gets its record."""
    (tmp_path / "break").write_text("3000")
    outcome, folders = grid(3, 1, break_file=tmp_path / "break")
    assert not (tmp_path / "break").exists()
    assert sorted(outcome.finished) == sorted(each.run_id for each in folders)
    failures = [read_json(path) for each in folders for path in each.path.glob("attempts/*/failure.json")]
    assert [(each["kind"], each["status"]) for each in failures] == [("lost device", LOST_DEVICE)]
    assert "illegal memory access" in failures[0]["message"]


BASE = """
data: digits
model: {backbone: {name: bottleneck, planes: [8], blocks: [1]}}
optimizer: {name: adam, lr: 3e-3}
epochs: 1
"""
SPEC = """
ablation: tiny
question: Does dropout help?
base: base.yaml
seeds: 4
baseline: none
arms:
  some: {model.head.dropout: 0.3}
"""


@pytest.mark.slow
def test_runs_are_spread_over_the_devices_asked_for_and_records_name_theirs(null_cuda, tmp_path):
    """Two of three devices, which the driver has found without torch; one worker on each."""
    (tmp_path / "base.yaml").write_text(BASE)
    (tmp_path / "tiny.yaml").write_text(SPEC)
    command = [sys.executable, "-P", "-m", "ablation_suite", "run", "tiny.yaml", "--devices", "0,2", "--tracker", "off"]
    environment = null_cuda.environment(devices=3, zeros=True) | {"ABLATE_CACHE": str(tmp_path / "cache")}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "8 runs to train on 2 workers" in done.stderr
    records = [read_json(path) for path in tmp_path.glob("results/runs/*/record.json")]
    assert len(records) == 8
    assert {each["provenance"]["device"]["name"] for each in records} == {"cuda:0", "cuda:2"}
    assert {each["provenance"]["device"]["model"] for each in records} == {"Null H100"}
