"""Which files of a folder belong to which split and class?"""

from __future__ import annotations

import csv
import io
import os
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from ablation_suite.core.data.dataset import DataError
from ablation_suite.core.runs.files import open_regular, read_bytes

EXTENSIONS = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp"})
VALIDATION = ("val", "valid", "validation")


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
    faults: tuple[str, ...]


def scan(root: Path) -> Layout:
    """Read the folder's names, no contents but those of test_labels.csv and classes.txt.

    train/<class>/ is needed; val/<class>/ (or valid, validation) and test/ (images, or <class>/) may be missing.
    Images are ordered by class and then by path. Raises DataError where there is no train/ with class folders, or where
    a folder may not be listed.
    """
    try:
        return _scan(root)
    except OSError as error:
        raise DataError(f"{error.filename}: cannot be listed ({error.strerror})") from None


def _scan(root: Path) -> Layout:
    if not (root / "train").is_dir():
        raise DataError(f"{root}: no train folder; images belong in train/<class>/")
    faults: list[str] = []
    classes = _ordered(_folders(root / "train"))
    if not classes:
        raise DataError(f"{root / 'train'}: no class folders; images belong in train/<class>/")
    splits = {"train": _by_class(root, "train", classes, faults)}
    validation = [name for name in VALIDATION if (root / name).is_dir()]
    if len(validation) > 1:
        faults.append(f"{root}: {' and '.join(validation)} are both validation folders; keep one")
    if validation:
        splits["val"] = _by_class(root, validation[0], classes, faults)
    if (root / "test").is_dir():
        splits["test"] = _test(root, classes, faults)
    faults += [f"{root}: the {name} split holds no images" for name, files in splits.items() if not files]
    used = {file.label for file in splits["train"]}
    faults += [
        f"{root / 'train' / name}: no images; fill or remove the folder"
        for label, name in enumerate(classes)
        if label not in used
    ]
    return Layout(root=root, classes=classes, display=_display(root, classes), splits=splits, faults=tuple(faults))


def _ordered(names: list[str]) -> tuple[str, ...]:
    integers = all(name.isascii() and name.isdigit() for name in names)
    return tuple(sorted(names, key=lambda name: (int(name) if integers else 0, name)))


def _by_class(root: Path, split: str, classes: tuple[str, ...], faults: list[str]) -> tuple[File, ...]:
    strays = sorted(entry.name for entry in os.scandir(root / split) if _is_image(entry.name) and not entry.is_dir())
    faults += [f"{root / split / name}: outside the class folders; move it into one" for name in strays]
    for name in sorted(set(_folders(root / split)) - set(classes)):
        faults.append(f"{root / split / name}: no such class in train; the classes are the folders of train")
    return tuple(
        File(f"{split}/{name}/{image}", f"{name}/{_bare(image)}", label)
        for label, name in enumerate(classes)
        for image in _images(root / split / name, faults)
    )


def _test(root: Path, classes: tuple[str, ...], faults: list[str]) -> tuple[File, ...]:
    folders = _folders(root / "test")
    if any(name in classes for name in folders):
        return _by_class(root, "test", classes, faults)
    images = _images(root / "test", faults)
    names = list(map(_bare, images))
    taken: dict[str, str] = {}
    for name, image in zip(names, images, strict=True):
        if name in taken:
            faults.append(f"{root / 'test' / image}: shares its name with {taken[name]}; rename one of them")
        taken[name] = image
    labels = _labels(root / "test_labels.csv", classes, names, faults)
    files = zip(images, names, strict=True)
    return tuple(File(f"test/{image}", name, labels.get(name)) for image, name in files)


def _labels(path: Path, classes: tuple[str, ...], names: list[str], faults: list[str]) -> dict[str, int]:
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
                faults.append(f"{path}: no column {' and '.join(sorted(missing))}; it needs image_name and label")
                return {}
            for row in rows:
                name, label = _bare((row["image_name"] or "").strip()), (row["label"] or "").strip()
                where = f"{path}:{rows.line_num}"
                if name not in known:
                    faults.append(f"{where}: no image test/{name}; add it or remove the row")
                elif name in labels:
                    faults.append(f"{where}: {name} has a second row; keep one")
                elif label not in number:
                    faults.append(f"{where}: '{label}' is no class; the classes are the folders of train")
                labels[name] = number.get(label, 0)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        faults.append(f"{path}: cannot be read: {error}")
        return {}
    faults += [f"{path}: no row for test image {name}; add it" for name in names if name not in labels]
    return labels


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
    return sorted(entry.name for entry in os.scandir(folder) if entry.is_dir() and not entry.name.startswith("."))


def _images(folder: Path, faults: list[str]) -> list[str]:
    """Images at any depth, as sorted paths with "/"; a link that leads nowhere counts, so that it is reported."""

    def unlistable(error: OSError) -> None:
        faults.append(f"{error.filename}: cannot be listed ({error.strerror})")

    found = []
    for place, folders, files in os.walk(folder, onerror=unlistable) if folder.is_dir() else ():
        folders[:] = [name for name in folders if not name.startswith(".")]
        below = os.path.relpath(place, folder).replace(os.sep, "/") + "/"
        found += [f"{below}{name}".removeprefix("./") for name in files if _is_image(name)]
    return sorted(found)


def _is_image(name: str) -> bool:
    return not name.startswith(".") and os.path.splitext(name)[1].lower() in EXTENSIONS


def _bare(name: str) -> str:
    """A name without its extension, if it has that of an image."""
    stem, extension = os.path.splitext(name)
    return stem if extension.lower() in EXTENSIONS else name
