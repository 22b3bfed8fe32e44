"""What do the verbs say and do about runs that are in a cluster's queue?"""

from __future__ import annotations

import json
import os
import re
import sys

import pytest

from ablation_suite import cli
from ablation_suite.ablations.plan import jobs, make_plans
from ablation_suite.core.config.runtime import Runtime
from ablation_suite.core.runs.run_folder import RunFolder
from ablation_suite.core.scheduling import slurm, slurm_queue
from ablation_suite.core.scheduling.slurm import Slurm
from tests.core.fake_slurm import FakeSlurm, wait_until
from tests.core.tracked_run import BARE_RECORD

SPEC = "ablation: tiny\nquestion: Is it?\nbase: base.yaml\nseeds: 2\narms: {b: {epochs: 2}}\n"


@pytest.fixture
def cluster(tmp_path, monkeypatch):
    """A fake Slurm on the PATH that starts nothing."""
    fake = FakeSlurm(tmp_path / "slurm-commands", held=True)
    monkeypatch.setenv("PATH", f"{fake.folder}:{os.environ['PATH']}")
    monkeypatch.setattr(slurm_queue, "ASK_SECONDS", 0.05)
    monkeypatch.setattr(slurm, "LOOK_SECONDS", 0.02)
    yield fake
    fake.close()


@pytest.fixture
def ablate(tmp_path, monkeypatch, capsys):
    """The front door: exit status and what it printed."""
    (tmp_path / "base.yaml").write_text("data: digits")
    (tmp_path / "tiny.yaml").write_text(SPEC)
    monkeypatch.chdir(tmp_path)

    def call(verb: str, *words: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["ablate", verb, "tiny.yaml", *words])
        with pytest.raises(SystemExit) as caught:
            cli.main()
        return int(caught.value.code or 0), "".join(capsys.readouterr())

    return call


@pytest.fixture
def queued(tmp_path, cluster, ablate):
    """The four runs of the spec in the queue, left there by a driver."""
    runtime = Runtime(results=str(tmp_path / "results"), executor="slurm")
    executor = Slurm(runtime)
    names = jobs(make_plans([str(tmp_path / "tiny.yaml")], runtime))
    for name, job in names.items():
        RunFolder(runtime.store / name).create(job)
        executor.submit(runtime.store / name)
    wait_until(lambda: executor.poll(0.0) or len(cluster.tasks) == 4)
    executor.close(detach=True)
    return [RunFolder(runtime.store / name) for name in names]


def test_status_says_why_a_run_waits_and_which_have_started(cluster, queued, ablate):
    """By one look at the queue; a run that trains shows as in any other engine."""
    cluster.tasks[1].state = "CONFIGURING"
    with queued[0].claim():
        status, text = ablate("status")
    assert status == 0
    assert "4 runs: 1 running, 3 queued" in text
    assert text.count("queued: Resources") == 2
    assert text.count("queued: configuring") == 1
    assert cluster.count("squeue") == 2  # the driver's first and this one
    rows = json.loads(ablate("status", "--json")[1])
    assert [row["state"] for row in rows].count("queued") == 4


def test_cancel_takes_jobs_out_of_the_queue_and_asks_what_is_under_way_to_end(cluster, queued, ablate):
    """Of one arm only; a finished run stays."""
    queued[3].commit(BARE_RECORD)
    with queued[2].claim():
        status, text = ablate("cancel", "--arm", "b")
    assert status == 0
    assert [int(word) for word in re.findall(r": (\d+)", text)] == [1, 1, 1, 1], text
    assert [task.state for task in cluster.tasks] == ["PENDING", "PENDING", "CANCELLED", "PENDING"]
    assert [folder.is_cancelled() for folder in queued] == [False, False, True, False]
    ablate("cancel")
    assert [task.state for task in cluster.tasks] == ["CANCELLED"] * 3 + ["PENDING"]


@pytest.mark.parametrize("options", ["-p nowhere", "--array=0-3"])
def test_a_fault_of_the_cluster_is_one_line_before_anything_is_planned(cluster, ablate, options, monkeypatch):
    """Exit status 2."""
    monkeypatch.setattr("ablation_suite.commands.run.make_plans", lambda *_, **__: pytest.fail("it was planned"))
    cluster.broken["sbatch"] = "Batch job submission failed: Invalid partition name specified"
    status, text = ablate("run", "--executor", "slurm", "--slurm", options)
    assert status == 2
    assert len(text.splitlines()) == 1
    assert options.split("=")[0] in text


def test_a_sweep_in_a_queue_must_say_how_many_trials_it_learns_from_at_a_time(cluster, monkeypatch, capsys, tmp_path):
    """A queue would take all of them at once."""
    words = ["sweep", "quickstart", "--executor", "slurm", "--results", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["ablate", *words])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert caught.value.code == 2
    assert "needs --jobs N" in capsys.readouterr().err


def test_ctrl_c_leaves_the_queue_and_says_how_to_end_it(cluster, ablate, tmp_path, monkeypatch):
    """Nothing is asked; the jobs stay."""

    def poll(executor, seconds, plain=Slurm.poll):
        if cluster.tasks:
            raise KeyboardInterrupt
        return plain(executor, seconds)

    monkeypatch.setattr(Slurm, "poll", poll)
    words = ("--executor", "slurm", "--tracker", "off", "--seed", "0", "--results", str(tmp_path / "results"))
    status, text = ablate("run", *words)
    assert status == 130
    assert [task.state for task in cluster.tasks] == ["PENDING"] * 2
    assert f"`ablate cancel tiny.yaml --seed 0 --results {tmp_path / 'results'}` ends it" in text
