"""Is every file operation of a run allowed to fail, or to be the last? A sample of `tests.benchmarks.fault_walk`."""

from __future__ import annotations

import pytest

from tests.core.fault_walk import TORN, Case, Walker, missing, outcome

PLACES = (
    *(("link", "signal=SIGKILL"), ("write", "error=ENOSPC"), ("write", TORN)),
    *(("fsync", "error=EIO"), ("rename", "error=EIO")),
)
"""Of each kind of call the one in the middle."""


@pytest.mark.slow
@pytest.mark.skipif(bool(missing()), reason="needs strace")
@pytest.mark.fault(
    "EIO, ENOSPC, SIGKILL and a torn write at each file operation",
    injected="strace's inject at the n-th openat, mkdir, write, fsync, rename, link and unlink of a run, and half of a "
    "write before the kill; here a sample",
    promised="one line and a failed attempt, or none; the next attempt ends to the bit as a run that was left alone",
)
def test_a_run_survives_a_fault_at_any_of_its_file_operations(
    tmp_path, make_config, make_folder, runtime, weights_digest
):
    """Five of about 670 places."""
    walker = Walker(tmp_path, runtime)
    config = make_config(ema_decay=0.9, batch_size=16)
    try:
        whole = make_folder(config, "whole")
        calls = walker.calls(whole)
        assert len(calls) > 100
        for kind, fault in PLACES:
            numbers = [number for call, number in calls if call == kind]
            case = Case(kind, numbers[len(numbers) // 2], fault)
            folder = make_folder(config, f"{kind}-{fault[:4]}")
            outcome(walker, folder, case)
            assert weights_digest(folder) == weights_digest(whole), case
            assert not [path for path in folder.path.glob(".*")], case
            assert not (folder.path / "checkpoints").exists(), case
    finally:
        walker.close()
