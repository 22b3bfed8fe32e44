"""Which files of a folder belong to which split and class?"""

from __future__ import annotations

import csv
import io
import os
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from ablation_suite.core.config.paths import is_text
from ablation_suite.core.data import entries
from ablation_suite.core.data.dataset import DataError, Finding
from ablation_suite.core.data.entries import Entries, bare, meant
from ablation_suite.core.runs.files import open_regular, read_bytes

VALIDATION = ("val", "valid", "validation")
OUTSIDE = "in no split: those are train/, val/ and test/"
SPLITS = ("train", *VALIDATION, "test")
LABELS, NAMES = "test_labels.csv", "classes.txt"


class File(NamedTuple):
    """One image file: its path below the data folder, its name within its split, its class (None: unlabelled)."""

    path: str
    name: str
    label: int | None


@dataclass(frozen=True, kw_only=True)
class Layout:
    """What stands where; `faults` says all that is wrong with it, so that a check can report the rest as well."""

    root: Path
    classes: tuple[str, ...]
    display: tuple[str, ...]
    splits: dict[str, tuple[File, ...]]
    faults: tuple[Finding, ...]
    passed_over: dict[str, str]  # path -> why


def scan(root: Path, *, thoroughly: bool = False) -> Layout:
    """Read the folder's names, no contents but those of test_labels.csv and classes.txt.

    train/<class>/ is needed; val/<class>/ (or valid, validation) and test/ (images, or <class>/) may be missing.
    Images are ordered by class and then by path. What lies in folders that are passed over is named only `thoroughly`.
    Raises DataError where there is no train/ with class folders, or where a folder may not be listed.
    """
    try:
        return _Scan(root, thoroughly).layout()
    except OSError as error:
        raise DataError(f"{error.filename}: cannot be listed ({error.strerror})") from None


class _Scan:
    """The walk through one folder, with what it has met so far."""

    def __init__(self, root: Path, thoroughly: bool):
        self.root, self.thoroughly = root, thoroughly
        self.faults: list[Finding] = []
        self.passed_over: dict[str, str] = {}

    def layout(self) -> Layout:
        root = self.root
        top = _folders(root)
        if "train" not in top:
            near = next((f"; rename '{name}'" for name in top if meant(name, ["train"])), "")
            raise DataError(f"{root}: no train folder; images belong in train/<class>/{near}")
        self._top(top)
        classes = _ordered(_folders(root / "train"))
        if not classes:
            raise DataError(f"{root / 'train'}: no class folders; images belong in train/<class>/")
        splits = {"train": self._by_class("train", classes)}
        validation = [name for name in VALIDATION if name in top]
        if len(validation) > 1:
            self._fault(root, f"{' and '.join(validation)} are both validation folders; keep one")
        if validation:
            splits["val"] = self._by_class(validation[0], classes)
        if "test" in top:
            splits["test"] = self._test(classes)
        for name, files in splits.items():
            if not files:
                self._fault(root, f"the {name} split holds no images")
        used = {file.label for file in splits["train"]}
        for label, name in enumerate(classes):
            if not is_text(name):
                self._fault(root / "train" / name, "the name of this class is no text in UTF-8; rename the folder")
            if label not in used:
                self._fault(root / "train" / name, "no images; fill or remove the folder")
        return Layout(
            root=root,
            classes=classes,
            display=_display(root, classes),
            splits=splits,
            faults=tuple(self.faults),
            passed_over=self.passed_over,
        )

    def _fault(self, what: object, kind: str) -> None:
        self.faults.append(Finding(str(what), kind))

    def _pass_over(self, path: str, why: str) -> None:
        inside = entries.every_file(self.root / path) if self.thoroughly and (self.root / path).is_dir() else []
        self.passed_over |= {f"{path}/{each}": why for each in inside} or {path: why}

    def _top(self, folders: list[str]) -> None:
        """What stands beside the splits."""
        for name in sorted(set(os.listdir(self.root)) - {*SPLITS, LABELS, NAMES}):
            near = meant(name, SPLITS) if name in folders else meant(name, (LABELS, NAMES))
            if near:
                self._fault(self.root / name, f"is not looked at{near}")
            else:
                why = entries.folder_reason if (self.root / name).is_dir() else entries.reason
                self._pass_over(name, why(name) or OUTSIDE)

    def _by_class(self, split: str, classes: tuple[str, ...]) -> tuple[File, ...]:
        folder = self.root / split
        for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
            why = entries.folder_reason(entry.name) if entry.is_dir() else entries.reason(entry.name)
            if why is not None:
                self._pass_over(f"{split}/{entry.name}", why)
            elif not entry.is_dir():
                self._fault(folder / entry.name, "outside the class folders; move it into one")
            elif entry.name not in classes:
                near = meant(entry.name, classes) or "; the classes are the folders of train"
                self._fault(folder / entry.name, f"no such class in train{near}")
        return tuple(
            File(f"{split}/{name}/{image}", f"{name}/{bare(image)}", label)
            for label, name in enumerate(classes)
            for image in self._images(f"{split}/{name}")
        )

    def _test(self, classes: tuple[str, ...]) -> tuple[File, ...]:
        if any(name in classes or meant(name, classes) for name in _folders(self.root / "test")):
            if (self.root / LABELS).exists():
                self._fault(self.root / LABELS, "is not looked at where test/ has class folders; keep one of the two")
            return self._by_class("test", classes)
        images = self._images("test")
        names = list(map(bare, images))
        taken: dict[str, str] = {}
        for name, image in zip(names, images, strict=True):
            if name in taken:
                self._fault(self.root / "test" / image, f"shares its name with {taken[name]}; rename one of them")
            taken[name] = image
        labels = self._labels(self.root / LABELS, classes, names)
        files = zip(images, names, strict=True)
        return tuple(File(f"test/{image}", name, labels.get(name)) for image, name in files)

    def _labels(self, path: Path, classes: tuple[str, ...], names: list[str]) -> dict[str, int]:
        """Labels of the flat test images by name: all of them, or none where there is no file."""
        if not path.exists():
            return {}
        labels: dict[str, int] = {}
        known, number = set(names), {name: label for label, name in enumerate(classes)}
        try:
            with io.TextIOWrapper(open_regular(path), encoding="utf-8-sig", newline="") as file:
                rows = csv.DictReader(file)
                missing = {"image_name", "label"} - set(rows.fieldnames or ())
                if missing:
                    self._fault(path, f"no column {' and '.join(sorted(missing))}; it needs image_name and label")
                    return {}
                for row in rows:
                    name, label = bare((row["image_name"] or "").strip()), (row["label"] or "").strip()
                    where = f"{path}:{rows.line_num}"
                    if name not in known:
                        self._fault(f"{where}: test/{name}", "no such image; add it or remove the row")
                    elif name in labels:
                        self._fault(f"{where}: {name}", "has a second row; keep one")
                    elif label not in number:
                        near = meant(label, classes) or "; the classes are the folders of train"
                        self._fault(f"{where}: '{label}'", f"is no class{near}")
                    labels[name] = number.get(label, 0)
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            self._fault(path, f"cannot be read: {error}")
            return {}
        for name in names:
            if name not in labels:
                self._fault(f"{path}: test image {name}", "has no row; add one")
        return labels

    def _images(self, split_and_class: str) -> list[str]:
        folder = self.root / split_and_class
        found = entries.below(folder, thoroughly=self.thoroughly) if folder.is_dir() else Entries()
        self.faults += [Finding(path, f"cannot be listed ({why})") for path, why in found.unlistable]
        self.passed_over |= {f"{split_and_class}/{path}": why for path, why in found.passed_over.items()}
        return found.images


def _ordered(names: list[str]) -> tuple[str, ...]:
    integers = all(name.isascii() and name.isdigit() for name in names)
    return tuple(sorted(names, key=lambda name: (int(name) if integers else 0, name)))


def _display(root: Path, classes: tuple[str, ...]) -> tuple[str, ...]:
    """Names for people from lines such as "0 airplane", where each class has exactly one and no two share it."""
    try:
        lines = read_bytes(root / "classes.txt").decode("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError):
        return ()
    pairs = [line.split(maxsplit=1) for line in lines if line.strip()]
    names = {pair[0]: pair[1].strip() for pair in pairs if len(pair) == 2}
    unambiguous = len(pairs) == len(names) == len(set(names.values())) and set(names) == set(classes)
    return tuple(names[name] for name in classes) if unambiguous else ()


def _folders(folder: Path) -> list[str]:
    return sorted(
        entry.name for entry in os.scandir(folder) if entry.is_dir() and entries.folder_reason(entry.name) is None
    )
