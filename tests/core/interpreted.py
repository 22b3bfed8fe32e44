"""What do Triton's kernels give in its interpreter, which takes them line by line in NumPy, on any machine?

In a process of its own, since Triton's own functions are interpreted or compiled from their import on.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path

from torch import Tensor


class Interpreter:
    """A process in which `core.augment.gpu.augment` runs on the CPU."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", "from tests.core.interpreted import serve; serve()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=Path(__file__).parents[2],
            env={**os.environ, "TRITON_INTERPRET": "1"},
        )

    def __call__(self, images: Tensor, rows: Tensor) -> Tensor:
        """The augmented images."""
        pickle.dump((images, rows), self.process.stdin)
        self.process.stdin.flush()
        return pickle.load(self.process.stdout)

    def close(self) -> None:
        """End the process."""
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()


def serve() -> None:
    """Augment what comes in until nothing does."""
    from ablation_suite.core.augment import gpu

    while True:
        try:
            images, rows = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        pickle.dump(gpu.augment(images, rows), sys.stdout.buffer)
        sys.stdout.buffer.flush()
