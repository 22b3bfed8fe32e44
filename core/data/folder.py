"""What does a run see of a folder of photographs?"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from ablation_suite.core.config.errors import shell_line
from ablation_suite.core.config.paths import typed
from ablation_suite.core.data import file_hashes, groups, layout, told_groups
from ablation_suite.core.data.dataset import DataError, Dataset, Finding, in_brief, refuse_wrong_split
from ablation_suite.core.runs.files import sha256

if TYPE_CHECKING:
    import numpy as np

    from ablation_suite.core.data import Folder, Form
    from ablation_suite.core.data.cache import Decoded
    from ablation_suite.core.data.parallel import Progress


class FolderSource:
    """A folder with train/<class>/, val/<class>/ and test/; layout.py says which forms they may take."""

    def __init__(self, entry: Folder, *, data_root: Path, cache: Path):
        self.entry, self.cache = entry, cache
        self.folder = located(entry.path, data_root)

    def fingerprint(self) -> str:
        """SHA-256 (hex) of every file's content, path, split and class; DataError where the layout is at fault.

        Neither the place of the folder nor how it is read (`size`, `allow`) matters to it.
        """
        refuse_wrong_split(str(self.folder), self.entry.split, "val" in self._layout.splits)
        if self.entry.groups == groups.NEAR_DUPLICATES or self._told is None:  # or else the content decides it
            return self._content
        return sha256("\0".join([self._content, *(each for told in self._told.values() for each in told)]))

    def load(self, progress: Progress | None = None) -> Dataset:
        """The splits, decoded once into the cache; DataError lists every unreadable and every leaked image."""
        from ablation_suite.core.data.splits import as_splits, readable_rows

        fingerprint = self.fingerprint()
        found = self.decoded(progress)
        rows = readable_rows(found, self.entry.split, self.entry.split_seed, self._groups())
        faults = [] if "unreadable" in self.entry.allow else self._unreadable(found)
        faults += [] if "leaked" in self.entry.allow else [*self._leaked(rows), *self._parted(rows)]
        faults += [] if "conflicting" in self.entry.allow else self._conflicting(rows)
        divided = ", which gets whole groups" if self.entry.split and self.entry.groups else ""
        faults += [
            Finding(str(self.folder), f"no readable image in the {name} split{divided}")
            for name in rows
            if not len(rows[name][1])
        ]
        self._refuse(faults)
        files = self._layout.splits
        splits = as_splits(
            self.entry,
            rows,
            found,
            lambda form, splits: self.decoded(progress, form, splits),
            lambda origin, kept: [files[origin][row].name for row in kept],
        )
        return Dataset(
            classes=self._layout.classes,
            display=self._layout.display,
            fingerprint=fingerprint,
            splits={name: replace(each, groups=self._told_of(*rows[name])) for name, each in splits.items()},
        )

    def decoded(
        self, progress: Progress | None = None, form: Form | None = None, splits: Collection[str] | None = None
    ) -> dict[str, Decoded]:
        """The splits as they lie in the folder, from the cache, which is built if need be.

        In the form of training images, and all of them, unless another form or some splits are asked for.
        """
        from ablation_suite.core.data.cache import decoded

        form = form or self.entry.form(evaluated=False)
        decoders = {
            split: FileDecoder(self.folder, files, form)
            for split, files in self._layout.splits.items()
            if splits is None or split in splits
        }
        return decoded(self.cache, self._content, decoders, title=str(self.folder), progress=progress)

    @cached_property
    def _layout(self) -> layout.Layout:
        if not os.path.isdir(self.folder):
            raise DataError(
                f"{self.folder}: no such folder, nor is '{self.entry.path}' one from here; give the folder it lies "
                "in with --data-root DIR or ABLATE_DATA, or an absolute path"
            )
        found = layout.scan(self.folder)
        self._refuse(found.faults)
        return found

    def _groups(self) -> np.ndarray | None:
        """The group of each image of train/, where the entry says which belong together."""
        if self.entry.groups is None:
            return None
        if self._told is not None:
            return groups.numbered(tuple(self._told["train"]))
        names = tuple(file.name for file in self._layout.splits["train"])
        if fault := groups.misfit("train", names, self.entry.groups):
            raise DataError(f"{self.folder}: {fault}")
        return groups.groups_of(names, self.entry.groups)

    @cached_property
    def _told(self) -> dict[str, list[str]] | None:
        """Split -> the group of each of its images, where a table or the pictures tell; those without labels have none.

        Nobody judges by images without labels.
        """
        if not groups.is_told(self.entry.groups):
            return None
        assert self.entry.groups is not None
        splits = {
            split: files
            for split, files in self._layout.splits.items()
            if all(file.label is not None for file in files)
        }
        every = [file for files in splits.values() for file in files]
        if self.entry.groups == groups.NEAR_DUPLICATES:
            left = iter(told_groups.by_likeness(self.folder, every, self._content, self.cache))
        else:
            left = iter(told_groups.by_table(self.entry.groups, self.folder, every))
        return {split: [next(left) for _ in files] for split, files in splits.items()}

    def _told_of(self, origin: str, kept: np.ndarray) -> tuple[str, ...] | None:
        """The groups of some images of a split of the folder."""
        told = (self._told or {}).get(origin)
        return None if told is None else tuple(told[row] for row in kept)

    def _refuse(self, faults: Sequence[Finding]) -> None:
        if faults:
            raise DataError(
                in_brief(faults, f"all: {shell_line(['ablate', 'data', 'check', str(self.folder), '--all'])}")
            )

    @cached_property
    def _content(self) -> str:
        lines = [
            "\0".join((split, below, "" if file.label is None else self._layout.classes[file.label], digest, "\n"))
            for split, files in self._layout.splits.items()
            for file, digest in zip(files, self._digests[split], strict=True)
            for below in [file.path.partition("/")[2]]  # the validation folder has three names
        ]
        return sha256("".join(lines))

    @cached_property
    def _digests(self) -> dict[str, list[str]]:
        """SHA-256 of the files of each split, in order."""
        paths = [file.path for files in self._layout.splits.values() for file in files]
        found = iter(file_hashes.digests(self.folder, paths, self.cache, title=str(self.folder)))
        return {split: [next(found) for _ in files] for split, files in self._layout.splits.items()}

    def _unreadable(self, found: dict[str, Decoded]) -> list[Finding]:
        return [
            Finding(
                str(self.folder / self._layout.splits[split][row].path),
                f"unreadable: {reason}; replace or remove it, or set `allow: [unreadable]` to leave it out",
            )
            for split, every in found.items()
            for row, reason in every.unreadable.items()
        ]

    def _leaked(self, rows: dict[str, tuple[str, np.ndarray]]) -> list[Finding]:
        images = [(name, file.path, digest) for name, file, digest in self._images(rows)]
        return [
            Finding.of(
                paths,
                ", ",
                "keep it in one split, or set `allow: [leaked]`",
                before=f"{self.folder}: the same image in {' and '.join(dict.fromkeys(names))}: ",
            )
            for names, paths in shared(images)
        ]

    def _parted(self, rows: dict[str, tuple[str, np.ndarray]]) -> Iterator[Finding]:
        """Groups that lie in several splits; copies of one file are said to leak already."""
        splits: dict[str, dict[str, list[str]]] = {}
        digests: dict[str, set[str]] = {}
        for name, (origin, kept) in rows.items():
            for row, group in zip(kept, self._told_of(origin, kept) or (), strict=False):
                splits.setdefault(group, {}).setdefault(name, []).append(self._layout.splits[origin][row].path)
                digests.setdefault(group, set()).add(self._digests[origin][row])
        for group, paths in splits.items():
            if len(paths) > 1 and len(digests[group]) > 1:
                yield Finding.of(
                    [path for each in paths.values() for path in each],
                    ", ",
                    "keep a group in one split, or set `allow: [leaked]`",
                    before=f"{self.folder}: one group in {' and '.join(paths)}: ",
                )

    def _conflicting(self, rows: dict[str, tuple[str, np.ndarray]]) -> list[Finding]:
        """Only within a split: across splits it leaks, which is said of it."""
        return [
            Finding.of(
                paths,
                ", ",
                "keep the one that is right, or set `allow: [conflicting]`",
                before=f"{self.folder}: the same image as {' and '.join(dict.fromkeys(labels))}: ",
            )
            for split in rows
            for labels, paths in shared(
                [
                    (self._layout.classes[file.label], file.path, digest)
                    for name, file, digest in self._images(rows)
                    if name == split and file.label is not None
                ]
            )
        ]

    def _images(self, rows: dict[str, tuple[str, np.ndarray]]) -> Iterator[tuple[str, layout.File, str]]:
        """Split, file and digest of each image."""
        for name, (split, kept) in rows.items():
            for row in kept:
                yield name, self._layout.splits[split][row], self._digests[split][row]


def located(path: str, data_root: Path) -> Path:
    """The folder that a typed path means: what it leads to from here, else what has that name below the data root."""
    here = typed(path)
    return (here if here.is_dir() else data_root / here).resolve()


class FileDecoder:
    """The image files of one split."""

    def __init__(self, folder: Path, files: tuple[layout.File, ...], form: Form):
        self.folder, self.files, self.form = folder, files, form

    def __len__(self) -> int:
        return len(self.files)

    def __call__(self, index: int) -> tuple[np.ndarray, int]:
        """Pixels (H, W, 3) uint8 and label (-1: none); raises Unreadable."""
        from ablation_suite.core.data.decode import read

        label = self.files[index].label
        return read(self.folder / self.files[index].path, self.form), -1 if label is None else label


def shared(images: list[tuple[str, str, str]]) -> list[tuple[list[str], list[str]]]:
    """Contents that more than one split or class has, from (split or class, path, digest) of every image.

    The splits or classes, and the paths, of each.
    """
    by_content: dict[str, list[tuple[str, str]]] = {}
    for owner, path, digest in images:
        by_content.setdefault(digest, []).append((owner, path))
    groups = [group for group in by_content.values() if len({owner for owner, _ in group}) > 1]
    return [([owner for owner, _ in group], [path for _, path in group]) for group in groups]
