"""Which images make up a split? Those that can be read, and a stratified draw where a part has to be held out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ablation_suite.core.data.dataset import Split
from ablation_suite.core.data.views import Rows, middle
from ablation_suite.core.training import streams

if TYPE_CHECKING:
    from ablation_suite.core.data import Form, Pictures
    from ablation_suite.core.data.cache import Decoded


def stratified(labels: np.ndarray, held_out: Sequence[float], seed: int) -> list[np.ndarray]:
    """Divide images by class: the rest first, then one part per share held out; each part is sorted (int64).

    A class gives each part its share, rounded, but at least one image, and keeps at least one in the rest. Every class
    has a stream of its own, so more images in one class move no image of another.
    """
    parts: list[list[np.ndarray]] = [[] for _ in range(len(held_out) + 1)]
    for label in np.unique(labels):
        rows = streams.generator(seed, "split", int(label)).permutation(np.flatnonzero(labels == label))
        for part, share in zip(parts[1:], held_out, strict=True):
            count = max(1, int(share * np.count_nonzero(labels == label) + 0.5))
            count = min(count, len(rows) - 1)
            part.append(rows[:count])
            rows = rows[count:]
        parts[0].append(rows)
    return [np.sort(np.concatenate([np.empty(0, np.int64), *part])) for part in parts]


def stratified_groups(labels: np.ndarray, groups: np.ndarray, held_out: float, seed: int) -> list[np.ndarray]:
    """Divide images by class, and groups (N,) as a whole: the rest, and what is held out; each is sorted (int64).

    A group counts for the class of its first image. A class holds out so many groups, in a drawn order, as come nearest
    to its share of images, but at least one, and keeps at least one in the rest. Every class has a stream of its own.
    """
    numbers, first, sizes = np.unique(groups, return_index=True, return_counts=True)
    held: list[np.ndarray] = []
    for label in np.unique(labels):
        order = streams.generator(seed, "split", int(label)).permutation(np.flatnonzero(labels[first] == label))
        if len(order) > 1:
            beyond = np.abs(np.cumsum(sizes[order]) - held_out * np.count_nonzero(labels == label))
            held.append(numbers[order[: min(int(beyond.argmin()) + 1, len(order) - 1)]])
    is_held = np.isin(groups, np.concatenate([np.empty(0, np.int64), *held]))
    return [np.flatnonzero(~is_held), np.flatnonzero(is_held)]


def part_of(split: Split, share: float, seed: int) -> Split:
    """The given share of a split's images by class, rounded, at least one of each; nested, and in the split's order."""
    if share == 1.0:
        return split
    assert split.labels is not None
    rows = []
    for label in np.unique(split.labels):
        order = streams.generator(seed, "share", int(label)).permutation(np.flatnonzero(split.labels == label))
        rows.append(order[: max(1, int(share * len(order) + 0.5))])
    kept = np.sort(np.concatenate(rows))
    names = tuple(split.names[row] for row in kept)
    return Split(images=Rows(split.images, kept), labels=split.labels[kept], names=names)


def readable_rows(
    found: Mapping[str, Decoded], split: float | None, seed: int, groups: np.ndarray | None = None
) -> dict[str, tuple[str, np.ndarray]]:
    """For "train", "val" and "test": where its images come from, and which rows there, without unreadable ones.

    Where `split` is a share, that much of train is held out as val; whole groups, where its images have `groups`.
    """
    rows = {
        name: (name, np.setdiff1d(np.arange(len(every.labels)), list(every.unreadable)))
        for name, every in found.items()
    }
    if split is not None:
        _, kept = rows["train"]
        labels = found["train"].labels[kept]
        if groups is None:
            train, val = stratified(labels, (split,), seed)
        else:
            train, val = stratified_groups(labels, groups[kept], split, seed)
        rows = {**rows, "train": ("train", kept[train]), "val": ("train", kept[val])}
    return {name: rows[name] for name in ("train", "val", "test") if name in rows}


def as_splits(
    entry: Pictures,
    rows: Mapping[str, tuple[str, np.ndarray]],
    found: Mapping[str, Decoded],
    decode: Callable[[Form, set[str]], Mapping[str, Decoded]],
    names: Callable[[str, np.ndarray], Sequence[str]],
) -> dict[str, Split]:
    """The splits of a data set: train from what was `found` for it, the others in the form that is evaluated.

    `rows` say for each split where its images come from and which they are, `names` what they are called.
    """
    form = entry.form(evaluated=True)
    evaluated = found
    if form != entry.form(evaluated=False):
        evaluated = decode(form, {origin for name, (origin, _) in rows.items() if name != "train"})
    return {
        name: _chosen(found[origin], kept, names(origin, kept))
        if name == "train"
        else _chosen(evaluated[origin], kept, names(origin, kept), entry.eval_crop)
        for name, (origin, kept) in rows.items()
    }


def _chosen(every: Decoded, rows: np.ndarray, names: Sequence[str], crop: int | None = None) -> Split:
    """The chosen rows of what was decoded; unlabelled where any label is missing."""
    labels = every.labels[rows]
    images = middle(every.images, crop)
    return Split(
        images=images if len(rows) == len(every.images) else Rows(images, rows),
        labels=labels if np.all(labels >= 0) else None,
        names=tuple(names),
    )
