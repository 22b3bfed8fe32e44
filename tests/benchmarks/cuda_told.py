"""What do the parts of a sitting with a CUDA device share? Where their figures go, and how something is timed."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from ablation_suite.core.runs.provenance import error_line

CUDA = torch.device("cuda")


class Told:
    """Takes what a part measures: rows of its table, and figures for the parts that come later."""

    def __init__(self, path: Path, figures: dict[str, float]):
        self.path, self.figures = path, figures

    def row(self, *cells: str) -> None:
        self._line({"row": cells})

    def figure(self, name: str, value: float) -> None:
        self.figures[name] = value
        self._line({"figure": name, "value": value})

    @contextmanager
    def faults_of(self, *cells: str) -> Iterator[None]:
        """Put what goes wrong inside into the row that begins with these cells, and go on after it."""
        try:
            yield
        except Exception as error:
            self.row(*cells, f"failed: {error_line(error)}")

    def _line(self, content: dict[str, Any]) -> None:
        with open(self.path, "a") as file:
            file.write(json.dumps(content) + "\n")


def seconds_of(work: Callable[[], object]) -> float:
    """Seconds until the device has done it."""
    torch.cuda.synchronize()
    begin = time.perf_counter()
    work()
    torch.cuda.synchronize()
    return time.perf_counter() - begin


def judged(value: float, unit: str, bar: float, form: str) -> str:
    """The value with its unit, bold where it is below its bar."""
    return f"{value:{form}}{unit}" if value >= bar else f"**{value:{form}}{unit}**"
