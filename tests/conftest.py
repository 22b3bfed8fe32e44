"""What do all tests share? An environment without the user's settings, one thread per process, and a working Ctrl-C."""

from __future__ import annotations

import os
import signal

import pytest

for name in [name for name in os.environ if name.startswith(("ABLATE_", "WANDB_"))]:
    del os.environ[name]
os.environ |= {"OMP_NUM_THREADS": "1", "WANDB_ERROR_REPORTING": "false", "CUBLAS_WORKSPACE_CONFIG": ":4096:8"}
# A shell starts its background jobs with SIGINT ignored, which the tests' own processes would inherit.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def null_cuda(tmp_path_factory):
    """A null CUDA device; tests that need it are skipped where none can be built."""
    from tests.null_cuda import NullDevice, missing

    if reason := missing():
        pytest.skip(reason)
    device = NullDevice(tmp_path_factory.mktemp("null_cuda"))
    yield device
    device.close()
