"""Do runs go on a Ray cluster as they do here, whatever becomes of a node, an actor or the driver?"""

from __future__ import annotations

import os
import random
import signal
from pathlib import Path

import pytest

from ablation_suite.core.config.errors import UserError
from ablation_suite.core.config.runtime import Runtime
from ablation_suite.core.runs.run_folder import RunFolder
from ablation_suite.core.scheduling import ray_cluster
from ablation_suite.core.scheduling.attempt import Datasets, work
from ablation_suite.core.scheduling.ray import Ray
from tests.core import processes
from tests.core.fake_slurm import wait_until
from tests.core.killed_driver import epochs_trained, kill_and_start_again, start_driver
from tests.core.real_ray import RealRay, why_not

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(why_not() is not None, reason=f"no Ray: {why_not()}"),
    # Ray leaves sockets and processes to the end of its own process.
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning"),
]


@pytest.fixture(scope="module")
def cluster():
    """Two nodes of one core each."""
    cluster = RealRay(num_nodes=2)
    yield cluster
    cluster.close()
    assert processes.carrying(cluster.mark) == []


@pytest.fixture
def runtime(cluster, tmp_path):
    """Runs go to the cluster, and their folders below the test's own."""
    (tmp_path / "results").mkdir()
    folders = {"results": str(tmp_path / "results"), "cache": str(tmp_path / "cache")}
    settings = {"device": "cpu", "compile": "off", "tracker": "off", **folders}
    return Runtime(executor="ray", ray_address=cluster.address, **settings)


@pytest.fixture
def grid(make_config, make_folder):
    """Folders of the same runs in any store."""
    return lambda store, num_runs, epochs: [
        make_folder(make_config(seed=seed, epochs=epochs), store) for seed in range(num_runs)
    ]


def printed(runtime) -> str:
    """What the driver said."""
    return (Path(runtime.results) / "driver.txt").read_text()


@pytest.mark.usefixtures("one_thread")
def test_a_grid_whose_driver_is_killed_again_and_again_is_trained_once_to_the_same_bits(grid, runtime, weights_digest):
    """No run lost; an epoch is trained again only where its worker was killed before it could save it."""
    folders, plain = grid("results/runs", 3, 12), grid("plain", 3, 12)
    seed = random.randrange(10**6)
    instants = int(os.environ.get("KILL_INSTANTS", "3"))
    assert kill_and_start_again(folders, runtime, instants, 12.0, seed) == 0, f"seed {seed}: {printed(runtime)}"
    for folder, other in zip(folders, plain, strict=True):
        assert work(other, runtime.model_copy(update={"results": str(other.path)}), Datasets()) == 0
        assert weights_digest(folder) == weights_digest(other), f"seed {seed}"
        assert sum(epochs_trained(folder).values()) <= 12 + instants, f"seed {seed}"


def test_the_actors_of_a_killed_driver_end_and_the_next_driver_goes_on(cluster, grid, runtime):
    """Ray kills them with their workers, within a second where nothing else runs; here they have ten."""
    folder = grid("results/runs", 1, 60)[0]
    driver = start_driver([folder], runtime)
    wait_until(lambda: len(list((folder.path / "checkpoints").glob("*.pt"))) == 2, 120)
    assert len(cluster.actors()) == 1
    driver.kill()
    driver.wait()
    wait_until(lambda: not cluster.actors() and not folder.is_locked(), 10.0)
    assert start_driver([folder], runtime).wait() == 0, printed(runtime)
    assert [row["event"] for row in folder.ledger.rows() if row["kind"] == "event"].count("resumed") == 1


def test_a_dead_node_costs_no_try_and_its_run_goes_on_elsewhere(cluster, grid, runtime):
    """Told in one line; Ray's own words stay away from the terminal."""
    extra = cluster.add_node()
    folders = grid("results/runs", 3, 40)
    driver = start_driver(folders, runtime)
    wait_until(lambda: all(folder.ledger.history() for folder in folders), 120)
    cluster.cluster.remove_node(extra, allow_graceful=False)
    assert driver.wait(240) == 0, printed(runtime)
    lines = printed(runtime).splitlines()
    assert sum("its node is gone; it goes on elsewhere" in line for line in lines) == 1
    assert all(line.startswith(("3 runs", "run ", "  ")) or "runs done" in line for line in lines), printed(runtime)
    assert all(set(epochs_trained(folder).values()) == {1} for folder in folders)


def test_an_actor_that_dies_counts_as_a_try(cluster, grid, runtime):
    """Three times, and the run has failed; its words say of what."""
    folder = grid("results/runs", 1, 400)[0]
    driver = start_driver([folder], runtime)
    for attempt in range(1, 4):
        wait_until(lambda attempt=attempt: len(folder.attempts()) == attempt and cluster.actors(), 120)
        for process in cluster.actors():
            os.kill(process, signal.SIGKILL)
        wait_until(lambda: not cluster.actors())
    assert driver.wait(120) == 1
    assert "its Ray actor ended: " in printed(runtime)


def test_a_cluster_that_does_not_see_the_results_or_has_no_gpu_is_one_line_at_check(runtime, monkeypatch):
    """So are other versions, workers that would be nice to everybody, and a cluster that is not there."""
    import ray

    executor = Ray(runtime)
    try:
        executor.check()
        assert executor.capacity() == 2
        with pytest.raises(UserError, match="ray: no node has 1 CPU and 1 GPU; for a cluster that grows"):
            Ray(runtime.model_copy(update={"device": "cuda"})).check()
        with pytest.raises(UserError, match="on a Ray cluster say --device cuda"):
            Ray(runtime.model_copy(update={"device": "cuda:1"})).check()
        monkeypatch.setattr(ray_cluster, "versions", lambda: {"python": "2.7"})
        with pytest.raises(UserError, match=r"has other versions.*: python 3\.\d+\.\d+ \(here 2\.7\)"):
            executor.check()
        monkeypatch.setattr(ray_cluster, "_ask", lambda node, nonce, reply: ray.put({"seen": ""}))
        with pytest.raises(UserError, match=r"does not see .*results; put --results on a file system that all"):
            executor.check()
        assert [path.name for path in Path(runtime.results).glob(".ray*")] == []
    finally:
        executor.close(detach=False)
    with pytest.raises(UserError, match=r"^ray at 127\.0\.0\.1:1: no cluster answers there"):
        Ray(runtime.model_copy(update={"ray_address": "127.0.0.1:1"})).check()


def test_without_an_address_a_cluster_of_this_machine_starts_and_ends_with_the_command(grid, runtime):
    """A laptop; SIGTERM is still ours."""
    folders = grid("results/runs", 2, 2)
    before = signal.getsignal(signal.SIGTERM)
    driver = start_driver(folders, runtime.model_copy(update={"ray_address": None, "jobs": 2}))
    assert driver.wait(180) == 0, printed(runtime)
    assert all(RunFolder(folder.path).is_finished() for folder in folders)
    assert signal.getsignal(signal.SIGTERM) is before
