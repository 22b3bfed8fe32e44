"""Can one run be stopped while its worker goes on?"""

from __future__ import annotations

from pathlib import Path

import pytest

from ablation_suite.core.config.menu import build
from ablation_suite.core.config.run_config import RunConfig
from ablation_suite.core.config.runtime import Runtime
from ablation_suite.core.config.schema import Document, validate
from ablation_suite.core.runs.identity import RECIPE, run_id
from ablation_suite.core.runs.run_folder import RunFolder
from ablation_suite.core.scheduling.executors import Event
from ablation_suite.core.scheduling.process import ProcessPool


def make_run(runtime: Runtime, epochs: int) -> RunFolder:
    config = validate(RunConfig, Document(data={"data": "digits", "epochs": epochs}))
    source = build(config.data, data_root=Path(runtime.data_root), cache=Path(runtime.cache))
    fingerprint = source.fingerprint()
    folder = RunFolder(runtime.store / run_id(config, fingerprint))
    job = {"config": config.model_dump(mode="json"), "data_fingerprint": fingerprint, "recipe": RECIPE}
    folder.create({"run_id": folder.run_id, "labels": {}, **job})
    return folder


def wait(pool: ProcessPool, *, until_end: bool) -> Event:
    """The first news of a run, or its end."""
    while True:
        for event in pool.poll(60.0):
            if not until_end or event.retry is not None:
                return event


@pytest.mark.slow
def test_a_cancelled_run_is_saved_and_its_worker_takes_the_next(tmp_path: Path) -> None:
    """The cancelled run ends as preempted with a checkpoint, the same process trains another, and the first goes on."""
    runtime = Runtime(results=str(tmp_path), tracker="off", jobs=1, device="cpu")
    long, short = make_run(runtime, 3), make_run(runtime, 1)
    pool = ProcessPool(runtime)
    try:
        pool.submit(long.path)
        wait(pool, until_end=False)
        pid = pool.workers[0].process.pid
        pool.cancel("another run")
        pool.cancel(long.run_id)
        assert wait(pool, until_end=True).retry == "free"
        assert list((long.path / "checkpoints").iterdir())
        assert long.status() == "interrupted"
        pool.submit(short.path)
        assert wait(pool, until_end=True).retry == "never"
        pool.submit(long.path)
        assert wait(pool, until_end=True).retry == "never"
        assert [worker.process.pid for worker in pool.workers] == [pid]
    finally:
        pool.close(detach=False)
    record = long.record()
    assert record is not None
    assert [row["epoch"] for row in record["history"]] == [1, 2, 3]
    assert "resumed" in {row.get("event") for row in long.ledger.rows()}
