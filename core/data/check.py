"""Is a folder of photographs fit to train on? Everything that is wrong with it, found before anything is trained."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median_low
from typing import NamedTuple

from ablation_suite.core.config.errors import in_one_line
from ablation_suite.core.data import entries, layout, near, parallel
from ablation_suite.core.data.dataset import NUM_EXAMPLES, DataError, Finding, in_brief
from ablation_suite.core.data.decode import Unreadable, whole
from ablation_suite.core.data.folder import shared
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
    conflicting: tuple[tuple[str, ...], ...]  # paths of one content in several classes
    alike: tuple[tuple[str, ...], ...]  # paths of one picture in other bytes, in several splits or classes
    repeated: tuple[tuple[str, ...], ...]  # paths of one picture in one class of one split; no fault
    missing: dict[str, tuple[str, ...]]  # split -> classes of train that it has no image of
    similar_classes: tuple[tuple[str, ...], ...]  # names that differ in case or the like
    passed_over: dict[str, str]  # path -> why; no fault, but for pictures
    problems: tuple[Finding, ...]
    """All of these that are wrong, in the order in which they are told."""

    @property
    def ok(self) -> bool:
        return not self.problems


def inspect(folder: Path, progress: parallel.Progress | None = None) -> Findings:
    """Read and decode every image of the folder; DataError where it has no train/<class>/ at all."""
    if not os.path.isdir(folder):
        raise DataError(f"{folder}: no such folder, neither from here nor below --data-root DIR or ABLATE_DATA")
    found = layout.scan(folder, thoroughly=True)
    images = [(split, file) for split, files in found.splits.items() for file in files]
    looks = parallel.each(
        lambda i: _look(folder / images[i][1].path), len(images), progress or parallel.bar(f"checking {folder}")
    )
    seen = [(split, file, look) for (split, file), look in zip(images, looks, strict=True)]
    counts = {split: _count(found, split) for split in found.splits}
    content = [(split, file, look.content) for split, file, look in seen if look.content]
    leaked = _paths(shared([(split, file.path, digest) for split, file, digest in content]))
    labelled = [(found.classes[f.label], f.path, digest) for _, f, digest in content if f.label is not None]
    conflicting = _paths(shared(labelled))
    alike, repeated = _pictures([each for each in seen if each[2].sketch])
    unreadable = {file.path: look.fault for _, file, look in seen if look.fault}
    absent = {split: tuple(name for name in count if not count[name]) for split, count in counts.items()}
    missing = {split: names for split, names in absent.items() if names}
    similar = tuple(entries.alike(found.classes))
    problems = [
        *found.faults,
        *(Finding(f"unreadable: {path}", fault) for path, fault in unreadable.items()),
        *(Finding.of(paths, " = ", "in two splits") for paths in leaked),
        *(Finding.of(paths, " = ", "in two classes") for paths in conflicting),
        *(Finding.of(paths, " ~ ", "one picture in other bytes, in two splits or classes") for paths in alike),
        *(Finding(f"{split}/{name}", "no image of this class") for split, names in missing.items() for name in names),
        *(Finding(" and ".join(names), "classes whose names are nearly the same") for names in similar),
        *(Finding(path, entries.UNREAD) for path, why in found.passed_over.items() if why == entries.UNREAD),
    ]
    return Findings(
        folder=str(folder),
        counts=counts,
        widths=_range([look.size[0] for look in looks if look.size]),
        heights=_range([look.size[1] for look in looks if look.size]),
        faults=tuple(map(str, found.faults)),
        unreadable=unreadable,
        leaked=leaked,
        conflicting=conflicting,
        alike=alike,
        repeated=repeated,
        missing=missing,
        similar_classes=similar,
        passed_over=found.passed_over,
        problems=tuple(problems),
    )


def text(findings: Findings, *, everything: bool = False) -> str:
    """The findings for people; of many of one kind, examples, unless everything is asked for."""
    splits = list(findings.counts)
    classes = {name: in_one_line(name) for count in findings.counts.values() for name in count}
    width = max(map(len, [*classes.values(), "class"]))
    rows = [["class".ljust(width), *(split.rjust(8) for split in splits)]]
    for name, shown in classes.items():
        numbers = [findings.counts[split].get(name) for split in splits]
        rows.append([shown.ljust(width), *(("" if n is None else f"{n:,}").rjust(8) for n in numbers)])
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
    reasons = dict.fromkeys(findings.passed_over.values())
    for reason in reasons:
        paths = [path for path, why in findings.passed_over.items() if why == reason]
        lines.append(f"passed over: {len(paths):,}, {reason}: {_some(paths, everything)}")
    if findings.repeated:
        repeated = [Finding.of(paths, " ~ ", "") for paths in findings.repeated]
        words = [each.what if everything else each.brief or each.what for each in repeated]
        lines.append(f"one picture more than once in its class: {len(repeated):,}: {_some(words, everything)}")
    problems = findings.problems
    lines += map(str, problems) if everything else in_brief(problems, "--all lists them")
    return "\n".join([*map(in_one_line, lines), "nothing is wrong" if findings.ok else "not fit to train on as it is"])


class _Look(NamedTuple):
    """What one file is; `content` is empty where its bytes cannot be read."""

    content: str = ""
    size: tuple[int, int] | None = None
    sketch: near.Sketch | None = None
    fault: str = ""


def _look(path: Path) -> _Look:
    try:
        content = file_sha256(path)
    except OSError as error:
        return _Look(fault=error.strerror or str(error))
    try:
        with whole(path) as image:
            return _Look(content, image.size, near.sketch(image))
    except Unreadable as error:
        return _Look(content, fault=str(error))


def _pictures(
    images: Sequence[tuple[str, layout.File, _Look]],
) -> tuple[tuple[tuple[str, ...], ...], tuple[tuple[str, ...], ...]]:
    """Paths of one picture in other bytes in several splits or classes; of one picture, of any bytes, in one class."""
    across, within = [], []
    for group in near.groups([look.sketch for _, _, look in images if look.sketch]):
        members = [images[i] for i in group]
        paths = tuple(file.path for _, file, _ in members)
        if len({(split, file.label) for split, file, _ in members}) == 1:
            within.append(paths)
        elif len({look.content for _, _, look in members}) > 1:
            across.append(paths)
    return tuple(across), tuple(within)


def _paths(groups: list[tuple[list[str], list[str]]]) -> tuple[tuple[str, ...], ...]:
    return tuple(tuple(paths) for _, paths in groups)


def _some(names: Sequence[str], everything: bool) -> str:
    return (
        ", ".join(names) if everything else ", ".join([*names[:NUM_EXAMPLES], *["..."] * (len(names) > NUM_EXAMPLES)])
    )


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
