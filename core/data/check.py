"""Is a folder of photographs fit to train on? Everything that is wrong with it, found before anything is trained."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from statistics import median_low

from ablation_suite.core.config.errors import printable
from ablation_suite.core.data import layout, parallel
from ablation_suite.core.data.dataset import DataError
from ablation_suite.core.data.decode import Unreadable, whole
from ablation_suite.core.data.folder import leaked
from ablation_suite.core.runs.files import file_sha256

UNLABELLED = "(unlabelled)"


@dataclass(frozen=True, kw_only=True)
class Findings:
    """What a folder holds and what is wrong with it; paths are relative to the folder."""

    folder: str
    counts: dict[str, dict[str, int]]  # split -> class -> images
    widths: tuple[int, int, int] | None  # pixels: smallest, median, largest; None where nothing is readable
    heights: tuple[int, int, int] | None
    faults: tuple[str, ...]  # of the layout
    unreadable: dict[str, str]  # path -> reason
    leaked: tuple[tuple[str, ...], ...]  # paths of one content in several splits
    missing: dict[str, tuple[str, ...]]  # split -> classes of train that it has no image of

    @property
    def ok(self) -> bool:
        return not (self.faults or self.unreadable or self.leaked or self.missing)


def inspect(folder: Path, progress: parallel.Progress | None = None) -> Findings:
    """Read and decode every image of the folder; DataError where it has no train/<class>/ at all."""
    if not os.path.isdir(folder):
        raise DataError(f"{folder}: no such folder, neither from here nor below --data-root DIR or ABLATE_DATA")
    found = layout.scan(folder)
    images = [(split, file) for split, files in found.splits.items() for file in files]
    seen = parallel.each(
        lambda i: _look(folder / images[i][1].path), len(images), progress or parallel.bar(f"checking {folder}")
    )
    sizes = [look for _, look in seen if isinstance(look, tuple)]
    counts = {split: _count(found, split) for split in found.splits}
    sound = [(split, file.path, content) for (split, file), (content, _) in zip(images, seen, strict=True) if content]
    return Findings(
        folder=str(folder),
        counts=counts,
        widths=_range([width for width, _ in sizes]),
        heights=_range([height for _, height in sizes]),
        faults=found.faults,
        unreadable={
            file.path: look for (_, file), (_, look) in zip(images, seen, strict=True) if isinstance(look, str)
        },
        leaked=tuple(tuple(paths) for _, paths in leaked(sound)),
        missing={
            split: absent
            for split, count in counts.items()
            if (absent := tuple(name for name, number in count.items() if number == 0))
        },
    )


def text(findings: Findings) -> str:
    """The findings for people."""
    splits = list(findings.counts)
    classes = list(dict.fromkeys(name for count in findings.counts.values() for name in count))
    width = max(map(len, [*classes, "class"]))
    rows = [["class".ljust(width), *(split.rjust(8) for split in splits)]]
    for name in classes:
        numbers = [findings.counts[split].get(name) for split in splits]
        rows.append([name.ljust(width), *(("" if n is None else f"{n:,}").rjust(8) for n in numbers)])
    totals = [f"{sum(findings.counts[split].values()):,}".rjust(8) for split in splits]
    lines = [findings.folder, *("  ".join(row) for row in [*rows, ["total".ljust(width), *totals]])]
    if findings.widths and findings.heights:
        lines.append(
            "width {}, {}, {}; height {}, {}, {} (smallest, median, largest)".format(
                *findings.widths, *findings.heights
            )
        )
    if "val" not in findings.counts:
        lines.append("no validation folder: a spec needs `split`, for example `split: 0.1`")
    lines += findings.faults
    lines += [f"unreadable: {path}: {reason}" for path, reason in findings.unreadable.items()]
    lines += [f"in two splits: {' = '.join(paths)}" for paths in findings.leaked]
    lines += [f"missing from {split}: {', '.join(names)}" for split, names in findings.missing.items()]
    return printable("\n".join([*lines, "nothing is wrong" if findings.ok else "not fit to train on as it is"]))


def _look(path: Path) -> tuple[str, tuple[int, int] | str]:
    """Content digest (empty where the bytes cannot be read), and width and height or the reason against it."""
    try:
        content = file_sha256(path)
    except OSError as error:
        return "", error.strerror or str(error)
    try:
        with whole(path) as image:
            return content, image.size
    except Unreadable as error:
        return content, str(error)


def _count(found: layout.Layout, split: str) -> dict[str, int]:
    """Images of each class; an unlabelled split has one count alone."""
    files = found.splits[split]
    if any(file.label is None for file in files):
        return {UNLABELLED: len(files)}
    counts = dict.fromkeys(found.classes, 0)
    for file in files:
        counts[found.classes[file.label or 0]] += 1
    return counts


def _range(values: list[int]) -> tuple[int, int, int] | None:
    return (min(values), median_low(values), max(values)) if values else None
