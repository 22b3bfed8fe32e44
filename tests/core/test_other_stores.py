"""Is a run folder that another machine or an older version wrote read, reused and gone on with?"""

from __future__ import annotations

import json
import os
import shutil
import time

import pytest
from click.testing import CliRunner

from ablation_suite.core.config.menu import identity_data
from ablation_suite.core.runs import lease
from ablation_suite.core.runs.files import read_json, write_json
from ablation_suite.core.runs.run_folder import RunFolder
from ablation_suite.core.runs.store import run_folders
from ablation_suite.core.scheduling.attempt import DONE, PREEMPTED, Datasets, work
from ablation_suite.core.scheduling.console import Progress
from ablation_suite.core.scheduling.grid import drive
from ablation_suite.core.scheduling.inline import Inline
from ablation_suite.reading_verbs import compare, show, status

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.fault(
    "a store copied from another machine",
    injected="cp without times, other hosts in claims and leases, modes of another umask, one run unfinished",
    promised="the finished run is used as it is, the unfinished one goes on at its checkpoint, to the same bits",
)
def test_a_store_that_was_copied_from_another_machine_is_gone_on_with(
    make_config, make_folder, runtime, weights_digest, tmp_path
):
    """Its lease ended minutes ago, its processes mean nothing here, its lock files lock nothing."""
    finished, stopped = (make_folder(make_config(seed=seed), "theirs") for seed in (0, 1))
    assert work(finished, runtime, Datasets()) == DONE
    steps = iter(range(10**9))
    assert work(stopped, runtime, Datasets(), stop=lambda: next(steps) >= 25) == PREEMPTED
    for folder in (finished, stopped):
        claim = folder.path / "attempts/1/claim.json"
        write_json(claim, {**read_json(claim), "host": "elsewhere", "pid": 1})
    write_json(stopped.lease_path, {"machine": "theirs", "host": "elsewhere", "token": "t"})
    shutil.copytree(tmp_path / "theirs", runtime.store, copy_function=shutil.copyfile)
    for path in runtime.store.rglob("*"):
        os.chmod(path, 0o700 if path.is_dir() else 0o600)
    old = time.time() - 2 * lease.STALE_SECONDS
    copies = run_folders(runtime.store)
    assert {folder.status() for folder in copies} == {"finished", "running"}  # a fresh copy of a lease may be one
    os.utime(RunFolder(runtime.store / stopped.run_id).lease_path, (old, old))
    jobs = {folder.run_id: folder.job() for folder in copies}
    outcome = drive(jobs, runtime, Inline(runtime), Progress())
    assert (outcome.finished, outcome.reused, outcome.failed) == ([stopped.run_id], 1, {})
    copy = RunFolder(runtime.store / stopped.run_id)
    assert "resumed" in [row.get("event") for row in copy.ledger.rows()]
    whole = make_folder(make_config(seed=1), "whole")
    assert work(whole, runtime, Datasets()) == DONE
    assert weights_digest(copy) == weights_digest(whole)


@pytest.mark.fault(
    "a store that an older version wrote",
    injected="records without a digest, configs without later settings, uses as a list, no lease, no attempts",
    promised="read by every verb that looks, compared with a run of today, reused by a driver",
)
def test_a_store_of_an_older_version_is_read_and_reused(finished, runtime):
    """What came since is missing everywhere: nothing is trained, no run id moves, no verb stumbles."""
    shutil.copytree(finished[0].store, runtime.store)
    old, new = (RunFolder(runtime.store / folder.run_id) for folder in finished[1])
    jobs = {folder.run_id: folder.job() for folder in (old, new)}
    record = {**old.record(), "config": _without_later(old)}
    for key in ("provenance", "data_fingerprint", "run_id", "labels"):
        record.pop(key)
    old.record_path.write_text(json.dumps(record))
    labels = {"group": "g", "arm": "a", "seed": 0, "ablations": ["g"]}
    write_json(old.path / "run.json", {**old.job(), "config": _without_later(old), "labels": labels})
    shutil.rmtree(old.path / "attempts")
    for name in ("lease.json", "lock", "log.txt"):
        (old.path / name).unlink(missing_ok=True)
    where = ["--results", runtime.results]
    for words in ([status], [status, "--json"], [show, old.run_id], [show, old.run_id, "--json"]):
        result = CliRunner().invoke(words[0], [*words[1:], *where], catch_exceptions=False)
        assert result.exit_code == 0
        assert "finished" in result.output
    result = CliRunner().invoke(compare, [old.run_id, new.run_id, *where], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert drive(jobs, runtime, Inline(runtime), Progress()).reused == 2
    assert old.job()["labels"]["ablations"]


def _without_later(folder: RunFolder) -> dict:
    """The config of a run as it was written before the later settings were there."""
    from ablation_suite.core.config.run_config import RunConfig
    from ablation_suite.core.config.schema import Document, validate

    config = validate(RunConfig, Document(data=folder.job()["config"], source="test"))
    return json.loads(json.dumps(identity_data(config)))
