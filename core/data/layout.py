"""Which files of a folder belong to which split and class?"""

from __future__ import annotations

import csv
import io
import os
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from ablation_suite.core.data.dataset import DataError
from ablation_suite.core.runs.files import open_regular, read_bytes

EXTENSIONS = frozenset(
    (
        ".jpg",
        ".jpeg",
        ".jpe",
        ".jfif",
        ".png",
        ".webp",
        ".bmp",
        ".gif",
        ".tif",
        ".tiff",
        ".ppm",
        ".pgm",
        ".pnm",
        ".avif",
    )
)
SYSTEM_FOLDERS = frozenset({"@eaDir", "#recycle", "#snapshot", "__MACOSX", "lost+found", "System Volume Information"})
"""Where storage systems keep thumbnails and what was thrown away."""
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
    passed_over: dict[str, str]
    """Path -> why what lies there is not used."""


class _Notes:
    """What is found on the way: all that is wrong, and what is passed over and why."""

    def __init__(self, root: Path):
        self.root = root
        self.faults: list[str] = []
        self.passed_over: dict[str, str] = {}
        self.followed: set[str] = set()

    def pass_over(self, path: str | Path, why: str) -> None:
        self.passed_over[os.path.relpath(path, self.root).replace(os.sep, "/")] = why

    def follows(self, path: str) -> bool:
        """Whether a folder is to be read; a link to what is read in its own place, or a second one, is passed over."""
        if not os.path.islink(path):
            return True
        real = os.path.realpath(path)
        inside = Path(real).is_relative_to(os.path.realpath(self.root))
        if inside or real in self.followed or Path(os.path.realpath(self.root)).is_relative_to(real):
            self.pass_over(path, "a link to a folder that is read elsewhere")
            return False
        self.followed.add(real)
        return True


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
    notes = _Notes(root)
    faults = notes.faults
    classes = _ordered(_folders(root / "train", notes))
    if not classes:
        raise DataError(f"{root / 'train'}: no class folders; images belong in train/<class>/")
    splits = {"train": _by_class(root, "train", classes, notes)}
    validation = [name for name in VALIDATION if (root / name).is_dir()]
    if len(validation) > 1:
        faults.append(f"{root}: {' and '.join(validation)} are both validation folders; keep one")
    if validation:
        splits["val"] = _by_class(root, validation[0], classes, notes)
    if (root / "test").is_dir():
        splits["test"] = _test(root, classes, notes)
    _pass_over_the_rest(root, validation[:1], notes)
    faults += [f"{root}: the {name} split holds no images" for name, files in splits.items() if not files]
    used = {file.label for file in splits["train"]}
    faults += [
        f"{root / 'train' / name}: no images; fill or remove the folder"
        for label, name in enumerate(classes)
        if label not in used
    ]
    return Layout(
        root=root,
        classes=classes,
        display=_display(root, classes),
        splits=splits,
        faults=tuple(faults),
        passed_over=notes.passed_over,
    )


def alike(names: Iterable[str]) -> dict[str, list[str]]:
    """Names by what is left of them without case, accents' encoding, separators and leading zeros."""
    groups: dict[str, list[str]] = {}
    for name in names:
        plain = unicodedata.normalize("NFKC", name).casefold()
        plain = re.sub(r"[\s_-]+", " ", plain).strip()
        groups.setdefault(re.sub(r"\b0+(?=\d)", "", plain), []).append(name)
    return groups


def _pass_over_the_rest(root: Path, validation: list[str], notes: _Notes) -> None:
    known = {"train", "test", *validation}
    for entry in os.scandir(root):
        if entry.name in known or entry.name in ("classes.txt", "test_labels.csv"):
            continue
        notes.pass_over(entry.path, "a folder beside the splits" if entry.is_dir() else "a file beside the splits")


def _ordered(names: list[str]) -> tuple[str, ...]:
    integers = all(name.isascii() and name.isdigit() for name in names)
    return tuple(sorted(names, key=lambda name: (int(name) if integers else 0, name)))


def _by_class(root: Path, split: str, classes: tuple[str, ...], notes: _Notes) -> tuple[File, ...]:
    faults, near = notes.faults, alike(classes)
    strays = sorted(entry.name for entry in os.scandir(root / split) if _is_image(entry.name) and not entry.is_dir())
    faults += [f"{root / split / name}: outside the class folders; move it into one" for name in strays]
    for entry in os.scandir(root / split):
        if not entry.is_dir() and not _is_image(entry.name):
            notes.pass_over(entry.path, _why(entry.name))
    for name in sorted(set(_folders(root / split, notes)) - set(classes)):
        meant = near.get(next(iter(alike([name]))), [])
        hint = f"; did you mean '{meant[0]}' (it differs in case, zeros or encoding)?" if meant else ""
        faults.append(
            f"{root / split / name}: no such class in train{hint or '; the classes are the folders of train'}"
        )
    return tuple(
        File(f"{split}/{name}/{image}", f"{name}/{_bare(image)}", label)
        for label, name in enumerate(classes)
        for image in _images(root / split / name, notes)
    )


def _test(root: Path, classes: tuple[str, ...], notes: _Notes) -> tuple[File, ...]:
    folders, faults = _folders(root / "test", notes), notes.faults
    if alike(classes).keys() & alike(folders).keys():
        return _by_class(root, "test", classes, notes)
    images = _images(root / "test", notes)
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


def _folders(folder: Path, notes: _Notes) -> list[str]:
    found = []
    for entry in os.scandir(folder):
        if not entry.is_dir():
            continue
        if why := _why_no_folder(entry.name):
            notes.pass_over(entry.path, why)
        else:
            found.append(entry.name)
    return sorted(found)


def _images(folder: Path, notes: _Notes) -> list[str]:
    """Images at any depth, as sorted paths with "/"; a link that leads nowhere counts, so that it is reported.

    A folder that a link leads to is read once.
    """

    def unlistable(error: OSError) -> None:
        notes.faults.append(f"{error.filename}: cannot be listed ({error.strerror})")

    found = []
    for place, folders, files in os.walk(folder, onerror=unlistable, followlinks=True) if folder.is_dir() else ():
        kept = []
        for name in sorted(folders):
            if why := _why_no_folder(name):
                notes.pass_over(os.path.join(place, name), why)
            elif notes.follows(os.path.join(place, name)):
                kept.append(name)
        folders[:] = kept
        below = os.path.relpath(place, folder).replace(os.sep, "/") + "/"
        found += [f"{below}{name}".removeprefix("./") for name in files if _is_image(name)]
        for name in files:
            if not _is_image(name):
                notes.pass_over(os.path.join(place, name), _why(name))
    return sorted(found)


def _why_no_folder(name: str) -> str:
    """Why a folder is passed over, or nothing."""
    return "hidden" if name.startswith(".") else "a folder of the system's" if name in SYSTEM_FOLDERS else ""


def _why(name: str) -> str:
    """Why a file is passed over."""
    extension = os.path.splitext(name)[1].lower()
    if name.startswith("."):
        return "hidden"
    if extension in (".heic", ".heif"):
        return f"{extension} images cannot be read here; convert them"
    return f"no image by its name ({extension or 'no extension'})"


def _is_image(name: str) -> bool:
    return not name.startswith(".") and os.path.splitext(name)[1].lower() in EXTENSIONS


def _bare(name: str) -> str:
    """A name without its extension, if it has that of an image."""
    stem, extension = os.path.splitext(name)
    return stem if extension.lower() in EXTENSIONS else name
