"""Write CALIBRATION.md: `python -m tests.benchmarks.calibration`, or some of its sections with --only."""

from __future__ import annotations

import argparse
import datetime
import platform
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import scipy

from tests.benchmarks.calibration import (
    bands,
    coverage,
    families,
    groups,
    measures,
    pairs,
    rivals,
    selection,
    sharing,
    stopping,
)

SECTIONS: dict[str, tuple[str, Callable[[int], Iterator[str]]]] = {
    "intervals": ("Seeds, images, noise", coverage.intervals),
    "accuracies": ("Other accuracies", coverage.accuracies),
    "few": ("Few differing images", coverage.few_images),
    "groups": ("Groups of images", groups.groups),
    "sharing": ("Arms that share the spread of their seeds", sharing.sharing),
    "measures": ("Other metrics", measures.measures),
    "pairs": ("What pairing is worth", pairs.pairs),
    "selection": ("Choosing the epoch", selection.selection),
    "bands": ("Bands along the epochs", bands.bands),
    "families": ("Families of arms", families.families),
    "rivals": ("What other tools say", rivals.rivals),
    "stopping": ("Seeds as needed", stopping.stopping),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repetitions", type=int, default=2000)
    parser.add_argument("--only", choices=SECTIONS, action="append", default=[])
    parser.add_argument("--output", type=Path, default=Path(__file__).parents[1] / "CALIBRATION.md")
    arguments = parser.parse_args()
    kept = _sections_of(arguments.output.read_text(encoding="utf-8")) if arguments.only else {}
    page = [
        "# Calibration of the statistics",
        "",
        "Written by `python -m tests.benchmarks.calibration`, which explains the simulated experiments.",
        "",
    ]
    for name, (title, write) in SECTIONS.items():
        if arguments.only and name not in arguments.only:
            body = kept.get(title, "")
        else:
            body = _body(write, arguments.repetitions)
        page += [f"## {title}", "", body, ""]
    arguments.output.write_text("\n".join(page).rstrip() + "\n", encoding="utf-8")


def _body(write: Callable[[int], Iterator[str]], repetitions: int) -> str:
    started = time.process_time()
    lines = [line if line.startswith("|") else textwrap.fill(line, 110) for line in write(repetitions)]
    made = (
        f"`--repetitions {repetitions}`; {datetime.date.today()}; Python {platform.python_version()}, "
        f"numpy {np.__version__}, scipy {scipy.__version__}; {time.process_time() - started:.0f} s of one core."
    )
    return "\n".join([*lines, "", made])


def _sections_of(page: str) -> dict[str, str]:
    pieces = page.split("\n## ")[1:]
    return {title: body.strip() for title, _, body in (piece.partition("\n") for piece in pieces)}


if __name__ == "__main__":
    main()
