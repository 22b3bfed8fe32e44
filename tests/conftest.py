"""What do all tests share? An environment without the user's settings, and one thread per process."""

from __future__ import annotations

import os

for name in [name for name in os.environ if name.startswith(("ABLATE_", "WANDB_"))]:
    del os.environ[name]
os.environ |= {"OMP_NUM_THREADS": "1", "WANDB_ERROR_REPORTING": "false", "CUBLAS_WORKSPACE_CONFIG": ":4096:8"}
