"""Does the suite keep its promises of speed on this machine? Measures every row and writes RESULTS.md.

    python -m tests.benchmarks [row ...]        input memory step grid tracking report; by default all, and RESULTS.md

About six minutes on two quiet cores. A row that fails stands in the table with its error, and the others go on.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import time
from collections.abc import Callable
from pathlib import Path

from tests.benchmarks.lines import Line, as_markdown

RESULTS = Path(__file__).with_name("RESULTS.md")
PACKAGES = ("torch", "torchvision", "numpy", "numba", "pillow", "wandb")


def input_lines(num_rounds: int) -> list[Line]:
    """Training input from the cache, and the first epoch with its building."""
    from tests.benchmarks import input

    return [
        Line(
            what=row.name,
            reference=f"{row.reference:,.0f} images/s",
            ours=f"{row.ours:,.0f} images/s",
            figure=f"{row.ratio:.1f}x ({row.lowest:.1f} to {row.highest:.1f})",
            bar="" if row.bar is None else f"{row.bar:g}x",
            met=None if row.bar is None else row.ratio >= row.bar,
        )
        for row in input.rows(num_rounds, 512)
    ]


def memory_lines(num_rounds: int) -> list[Line]:
    """The host memory of an epoch over a large data set."""
    from tests.benchmarks import input

    peak = input.host_memory()
    what = "peak host memory of 25,000 images at 224 px, beyond the mapped cache"
    return [Line(what=what, ours=f"{peak / 1e9:.2f} GB", bar="2 GB", met=peak < 2e9)]


def step_lines(num_rounds: int) -> list[Line]:
    """Training steps beside the plain script's."""
    from tests.benchmarks import step

    return step.lines(num_rounds)


def grid_lines(num_rounds: int) -> list[Line]:
    """What a grid costs beside its steps."""
    from tests.benchmarks import grid

    return grid.lines(num_rounds)


def tracking_lines(num_rounds: int) -> list[Line]:
    """What a tracker costs a run."""
    from tests.benchmarks import tracking

    return tracking.lines(num_rounds)


def report_lines(num_rounds: int) -> list[Line]:
    """The reports over a thousand runs, of one ablation and in five blocks."""
    from tests.benchmarks import report

    return report.lines()


ROWS: dict[str, Callable[[int], list[Line]]] = {
    "input": input_lines,
    "memory": memory_lines,
    "step": step_lines,
    "grid": grid_lines,
    "tracking": tracking_lines,
    "report": report_lines,
}


def measure_rows(names: list[str], num_rounds: int) -> list[Line]:
    """The lines of the named rows."""
    lines = []
    for name in names:
        print(f"{name} ...", file=sys.stderr, flush=True)
        try:
            lines += ROWS[name](num_rounds)
        except Exception as error:  # the rows that follow are still worth measuring
            text = f"failed: {type(error).__name__}: {error}".replace("\n", " ")
            lines.append(Line(what=name, ours=text, met=False))
    return lines


def print_rows(names: list[str], num_rounds: int) -> None:
    """Measure and print, as `ablate bench --reference` does."""
    print(as_markdown(measure_rows(names, num_rounds)))


def main() -> None:
    """Print the rows that were asked for; without any, measure all and write RESULTS.md."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="*", metavar="row", help=", ".join(ROWS))
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    if unknown := set(given.rows) - set(ROWS):
        parser.error(f"no such row: {', '.join(sorted(unknown))}; the rows are {', '.join(ROWS)}")
    before = os.getloadavg()[0]
    begin = time.monotonic()
    table = as_markdown(measure_rows(given.rows or list(ROWS), given.rounds))
    print(table)
    if not given.rows:
        RESULTS.write_text(_page(table, given.rounds, before, time.monotonic() - begin))


def _page(table: str, num_rounds: int, load: float, seconds: float) -> str:
    """RESULTS.md: the machine, the versions, the table."""
    from importlib import metadata

    from ablation_suite.core.config.runtime import Runtime
    from ablation_suite.core.runs.provenance import provenance

    facts = provenance(Runtime(), _device())
    model = facts["device"].get("model", "no CUDA device")
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in PACKAGES)
    return (
        "# Benchmarks\n\n"
        f"{facts['cpus']} cores of {facts['cpu']}, {model}; Python {platform.python_version()}, {versions}.\n"
        f"Measured on {time.strftime('%Y-%m-%d')} by `python -m tests.benchmarks --rounds {num_rounds}`, in "
        f"{seconds:.0f} s, at a load of {load:.1f} before it began.\n\n"
        "Figures are medians over rounds (lowest to highest). Reference and suite take turns in each round, and a\n"
        "ratio is the median of the rounds' ratios. The reference is the plain script, `reference.py`.\n\n"
        f"{table}"
    )


def _device() -> str:
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


if __name__ == "__main__":
    main()
