"""Is a folder of photographs fit to train on? Everything that is wrong with it, found before anything is trained."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median_low
from typing import NamedTuple

import numpy as np
from PIL import Image

from ablation_suite.core.config.errors import printable
from ablation_suite.core.data import layout, parallel
from ablation_suite.core.data.dataset import DataError
from ablation_suite.core.data.decode import Unreadable, whole
from ablation_suite.core.data.folder import leaked
from ablation_suite.core.runs.files import file_sha256

UNLABELLED = "(unlabelled)"
MOST_LISTED = 5
"""Findings of one kind that are listed by themselves."""
NEAR = 3.0
"""Mean difference, in grey levels, of small pictures that are one: JPEG changes less, another photograph more."""
FLAT = 6.0
"""Standard deviation, in grey levels, of a small picture that shows too little to be told from others."""


@dataclass(frozen=True, kw_only=True)
class Findings:
    """What a folder holds and what is wrong with it; paths are relative to the folder."""

    folder: str
    counts: dict[str, dict[str, int]]  # split -> class -> images
    widths: tuple[int, int, int] | None  # pixels: smallest, median, largest; None where nothing is readable
    heights: tuple[int, int, int] | None
    faults: tuple[str, ...]  # of the layout
    unreadable: dict[str, str]  # path -> reason
    passed_over: dict[str, str]  # path -> why it is not used
    leaked: tuple[tuple[str, ...], ...]  # paths of one content in several splits
    conflicting: tuple[tuple[str, ...], ...]  # paths of one content in several classes
    look_alike: tuple[tuple[str, ...], ...]  # other bytes, the same picture, in several splits or classes
    repeated: int  # further copies, by content or looks, within one class of one split
    similar_classes: tuple[tuple[str, ...], ...]  # classes whose names differ in case, zeros or encoding alone
    missing: dict[str, tuple[str, ...]]  # split -> classes of train that it has no image of

    @property
    def ok(self) -> bool:
        wrong = (self.faults, self.unreadable, self.leaked, self.missing, self.conflicting, self.look_alike)
        return not any(wrong) and not self.similar_classes


def inspect(folder: Path, progress: parallel.Progress | None = None) -> Findings:
    """Read and decode every image of the folder; DataError where it has no train/<class>/ at all."""
    if not os.path.isdir(folder):
        raise DataError(f"{folder}: no such folder, neither from here nor below --data-root DIR or ABLATE_DATA")
    found = layout.scan(folder)
    images = [(split, file) for split, files in found.splits.items() for file in files]
    seen = parallel.each(
        lambda i: _look(folder / images[i][1].path), len(images), progress or parallel.bar(f"checking {folder}")
    )
    sizes = [look.image_size for look in seen if look.image_size]
    counts = {split: _count(found, split) for split in found.splits}
    sound = [(split, file.path, look.content) for (split, file), look in zip(images, seen, strict=True) if look.content]
    conflicting, look_alike, repeated = _same_pictures(images, seen)
    return Findings(
        folder=str(folder),
        counts=counts,
        widths=_range([width for width, _ in sizes]),
        heights=_range([height for _, height in sizes]),
        faults=found.faults,
        unreadable={file.path: look.reason for (_, file), look in zip(images, seen, strict=True) if look.reason},
        passed_over=found.passed_over,
        conflicting=conflicting,
        look_alike=look_alike,
        repeated=repeated,
        similar_classes=tuple(tuple(names) for names in layout.alike(found.classes).values() if len(names) > 1),
        leaked=tuple(tuple(paths) for _, paths in leaked(sound)),
        missing={
            split: absent
            for split, count in counts.items()
            if (absent := tuple(name for name, number in count.items() if number == 0))
        },
    )


def text(findings: Findings, *, every: bool = False) -> str:
    """The findings for people; many of one kind are a line with examples, unless `every` one is to be listed."""
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
    by_reason: dict[str, list[str]] = {}
    for path, why in findings.passed_over.items():
        by_reason.setdefault(why, []).append(path)
    for why, paths in by_reason.items():
        lines += _shortened([f"passed over, {why}: {path}" for path in paths], every)
    if findings.repeated:
        lines.append(f"{findings.repeated:,} images repeat another one of their class and split")
    kinds = (
        [*findings.faults],
        [f"unreadable: {path}: {reason}" for path, reason in findings.unreadable.items()],
        [f"in two splits: {' = '.join(paths)}" for paths in findings.leaked],
        [f"in two classes: {' = '.join(paths)}" for paths in findings.conflicting],
        [f"the same picture in other bytes: {' = '.join(paths)}" for paths in findings.look_alike],
        [f"classes of almost one name: {' and '.join(names)}" for names in findings.similar_classes],
        [f"missing from {split}: {', '.join(names)}" for split, names in findings.missing.items()],
    )
    lines += [line for kind in kinds for line in _shortened(kind, every)]
    return printable("\n".join([*lines, "nothing is wrong" if findings.ok else "not fit to train on as it is"]))


def _shortened(lines: list[str], every: bool) -> list[str]:
    if every or len(lines) <= MOST_LISTED:
        return lines
    return [*lines[:MOST_LISTED], f"  and {len(lines) - MOST_LISTED:,} more like these (--all lists them)"]


class _Look(NamedTuple):
    """What was seen of one file."""

    content: str = ""
    """Its digest; empty where the bytes cannot be read."""
    image_size: tuple[int, int] | None = None
    reason: str = ""
    """Why it is no image."""
    small: np.ndarray | None = None
    """The picture in grey, (16, 16) float32; None where it shows nothing that tells it from others."""


def _look(path: Path) -> _Look:
    try:
        content = file_sha256(path)
    except OSError as error:
        return _Look(reason=error.strerror or str(error))
    try:
        with whole(path) as image:
            small = np.asarray(image.convert("L").resize((16, 16), Image.Resampling.BOX), dtype=np.float32)
            return _Look(content, image.size, small=small if small.std() > FLAT else None)
    except Unreadable as error:
        return _Look(content, reason=str(error))


def _same_pictures(
    images: Sequence[tuple[str, layout.File]], seen: Sequence[_Look]
) -> tuple[tuple[tuple[str, ...], ...], tuple[tuple[str, ...], ...], int]:
    """Pictures in several classes; those alike in other bytes in several classes or splits; and how many repeat."""
    by_content: dict[str, list[int]] = {}
    for index, look in enumerate(seen):
        if look.content:
            by_content.setdefault(look.content, []).append(index)
    conflicting = [group for group in by_content.values() if len(_labels(images, group)) > 1]
    first = [group[0] for group in by_content.values() if seen[group[0]].small is not None]
    groups = [[index for each in group for index in by_content[seen[each].content]] for group in _alike(first, seen)]
    apart = [group for group in groups if len({(images[index][0], images[index][1].label) for index in group}) > 1]
    places = Counter((look.content, images[i][0], images[i][1].label) for i, look in enumerate(seen) if look.content)
    repeated = sum(number - 1 for number in places.values()) + sum(
        len({seen[index].content for index in group}) - 1 for group in groups if group not in apart
    )
    told, looks = (
        tuple(tuple(images[index][1].path for index in group) for group in each) for each in (conflicting, apart)
    )
    return told, looks, repeated


def _labels(images: Sequence[tuple[str, layout.File]], group: Sequence[int]) -> set[int]:
    return {label for index in group if (label := images[index][1].label) is not None}


def _alike(indices: list[int], seen: Sequence[_Look]) -> list[list[int]]:
    """Groups of two or more whose small pictures are almost one: as after another compression or size."""
    from scipy.cluster.hierarchy import DisjointSet
    from scipy.spatial import cKDTree

    if len(indices) < 2:
        return []
    points = np.stack([seen[index].small.reshape(8, 2, 8, 2).mean((1, 3)).ravel() for index in indices])  # type: ignore[union-attr]
    sets = DisjointSet(range(len(indices)))
    for one, other in cKDTree(points).query_pairs(8 * NEAR):
        difference = np.abs(seen[indices[one]].small - seen[indices[other]].small)  # type: ignore[operator]
        if difference.mean() <= NEAR:
            sets.merge(one, other)
    return [sorted(indices[each] for each in group) for group in sets.subsets() if len(group) > 1]


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
