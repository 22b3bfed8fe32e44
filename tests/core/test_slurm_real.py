"""Does Slurm itself, one node of it, do with our runs what the fast tests say that it does?"""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from ablation_suite.core.config.runtime import Runtime
from ablation_suite.core.scheduling.attempt import Datasets, work
from ablation_suite.core.scheduling.slurm import Slurm
from tests.core import processes
from tests.core.fake_slurm import wait_until
from tests.core.killed_driver import epochs_trained, kill_and_start_again, start_driver
from tests.core.real_slurm import RealSlurm, why_not

pytestmark = [pytest.mark.slow, pytest.mark.skipif(why_not() is not None, reason=f"no Slurm: {why_not()}")]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """One node with two cores, and a partition `high` whose jobs preempt those of the other."""
    cluster = RealSlurm(tmp_path_factory.mktemp("cluster") / "slurm")
    yield cluster
    cluster.close()
    assert processes.carrying(cluster.mark) == []


@pytest.fixture
def slurm(cluster, monkeypatch):
    """The cluster, for commands of this process too."""
    for name in ("SLURM_CONF", "PATH"):
        monkeypatch.setenv(name, cluster.environment[name])
    yield cluster
    cluster.run("scancel", "--user=root")


@pytest.fixture
def runtime(tmp_path):
    """Runs go to Slurm, and their folders below the test's own."""
    (tmp_path / "results").mkdir()
    folders = {"results": str(tmp_path / "results"), "cache": str(tmp_path / "cache")}
    return Runtime(executor="slurm", device="cpu", compile="off", tracker="off", **folders)


@pytest.fixture
def grid(make_config, make_folder):
    """Folders of the same runs in any store."""
    return lambda store, num_runs, epochs: [
        make_folder(make_config(seed=seed, epochs=epochs), store) for seed in range(num_runs)
    ]


def jobs(cluster) -> list[str]:
    """State of each of our tasks that the controller remembers, in the order of their submission."""
    lines = cluster.run("squeue", "--noheader", "--array", "--sort=i", "--states=all", "--format=%j %T").splitlines()
    return [line.split()[1] for line in lines if line.startswith("ablate-")]


@pytest.mark.usefixtures("one_thread")
def test_a_grid_whose_driver_is_killed_again_and_again_is_trained_once_to_the_same_bits(
    slurm, grid, runtime, weights_digest
):
    """No run lost, no epoch trained twice, one sbatch; as `work` in this process has them."""
    folders, plain = grid("results/runs", 3, 4), grid("plain", 3, 4)
    seed = random.randrange(10**6)
    instants = int(os.environ.get("KILL_INSTANTS", "4"))
    assert kill_and_start_again(folders, runtime, instants, 3.0, seed) == 0, f"seed {seed}"
    for folder, other in zip(folders, plain, strict=True):
        assert work(other, runtime.model_copy(update={"results": str(other.path)}), Datasets()) == 0
        assert weights_digest(folder) == weights_digest(other), f"seed {seed}"
        assert set(epochs_trained(folder).values()) == {1}, f"seed {seed}"
    assert len(jobs(slurm)) == 3, f"seed {seed}"


@pytest.mark.usefixtures("one_thread")
def test_a_preempted_run_loses_no_finished_step_and_comes_out_the_same(slurm, grid, runtime, weights_digest):
    """Ten seconds of grace: the step under way ends, the state is saved, and Slurm brings the run back."""
    folder, plain = grid("results/runs", 1, 30)[0], grid("plain", 1, 30)[0]
    before = len(jobs(slurm))
    driver = start_driver([folder], runtime)
    wait_until(lambda: len(folder.ledger.history()) >= 2)
    slurm.submit_high(2)
    wait_until(lambda: any(row.get("event") == "preempted" for row in folder.ledger.rows()))
    told = next(row["message"] for row in folder.ledger.rows() if row.get("event") == "preempted")
    wait_until(lambda: "PENDING" in jobs(slurm))
    wait_until(lambda: slurm.start_now() or folder.is_finished(), 120)
    assert driver.wait(60) == 0
    resumed = [row for row in folder.ledger.rows() if row.get("event") == "resumed"]
    assert len(resumed) == 1
    assert f"in epoch {resumed[0]['epoch']} after step {resumed[0]['step']}" in told
    assert set(epochs_trained(folder).values()) == {1}
    wait_until(lambda: jobs(slurm)[before:] == ["COMPLETED"], 20)  # the one job, which Slurm itself brought back
    assert work(plain, runtime.model_copy(update={"results": str(plain.path)}), Datasets()) == 0
    assert weights_digest(folder) == weights_digest(plain)


def test_scancel_is_final(slurm, grid, runtime):
    """The run saves itself, its driver says who ended it, and submits nothing."""
    folder = grid("results/runs", 1, 60)[0]
    driver = start_driver([folder], runtime)
    wait_until(lambda: len(folder.ledger.history()) >= 1)
    before = len(jobs(slurm))
    slurm.run("scancel", "--state=RUNNING", "--user=root")
    assert driver.wait(60) == 1
    assert "was cancelled" in (Path(runtime.results) / "driver.txt").read_text()
    assert len(jobs(slurm)) == before
    assert folder.status() == "interrupted"
    assert list((folder.path / "checkpoints").glob("*.pt"))


@pytest.mark.parametrize("options", ["-p nowhere", "--gres=gpu:1", "--mem=1T"])
def test_what_the_cluster_does_not_have_is_one_line_at_check(slurm, runtime, options):
    """Slurm's own words."""
    with pytest.raises(Exception, match=f"slurm refuses --slurm '{options}': .+") as caught:
        Slurm(runtime.model_copy(update={"slurm": options})).check()
    assert "\n" not in str(caught.value)
