"""What is each entry below a folder of photographs: an image, or passed over, and why?"""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

EXTENSIONS = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".avif"}
    | {".ppm", ".pgm", ".pbm", ".pnm"}
    | {".heic", ".heif"}
)
"""What counts as an image; that HEIC cannot be read is told of each file, since many telephones write no other."""
UNREAD_PICTURES = frozenset(
    {".arw", ".cr2", ".cr3", ".dcm", ".dng", ".eps", ".j2k", ".jp2", ".jpx", ".jxl", ".nef", ".orf", ".psd", ".raf"}
    | {".raw", ".rw2", ".svg", ".tga", ".xcf"}
)
SYSTEM_FOLDERS = frozenset(
    {"@eaDir", "@tmp", "@Recycle", "#recycle", "#snapshot", "__MACOSX", "$RECYCLE.BIN", "lost+found"}
    | {"System Volume Information"}
)
"""What storage devices and systems put beside photographs: thumbnails, copies, and what was deleted."""

HIDDEN, SYSTEM = "hidden", "in a folder of the storage system's own"
UNREAD = "a picture of a kind that is not read; convert it"
OTHER, SEEN = "no picture, by its extension", "a linked folder whose images are read already"


@dataclass
class Entries:
    """What lies below one folder: paths from there, with "/"."""

    images: list[str] = field(default_factory=list)  # sorted; also what cannot be read, so that it is reported
    passed_over: dict[str, str] = field(default_factory=dict)  # path -> why
    unlistable: list[tuple[str, str]] = field(default_factory=list)  # folder, what the system says


def below(folder: Path, *, thoroughly: bool = False) -> Entries:
    """All entries at any depth; folders that are linked are followed, each folder once, those without a link first.

    What lies in folders that are passed over is listed only where asked for: that may take long.
    """
    found = Entries()
    seen: set[tuple[int, int]] = set()
    waiting = [str(folder)]
    for top in waiting:  # grows by the links that are met

        def unlistable(error: OSError) -> None:
            found.unlistable.append((str(error.filename), error.strerror or str(error)))

        for place, folders, files in os.walk(top, onerror=unlistable):
            at = os.path.relpath(place, folder).replace(os.sep, "/").removeprefix(".").removeprefix("/")
            status = os.stat(place)
            if (status.st_dev, status.st_ino) in seen:
                found.passed_over[at] = SEEN
                folders.clear()
                continue
            seen.add((status.st_dev, status.st_ino))
            for name in files:
                path = f"{at}/{name}".removeprefix("/")
                why = reason(name)
                if why is None:
                    found.images.append(path)
                else:
                    found.passed_over[path] = why
            for name in sorted(folders):
                why = folder_reason(name)
                path = f"{at}/{name}".removeprefix("/")
                if why is not None:
                    inside = every_file(folder / path) if thoroughly else []
                    found.passed_over |= {f"{path}/{each}": why for each in inside} or {path: why}
                elif os.path.islink(os.path.join(place, name)):
                    waiting.append(os.path.join(place, name))
            folders[:] = [
                name
                for name in folders
                if folder_reason(name) is None and not os.path.islink(os.path.join(place, name))
            ]
    found.images.sort()
    return found


def reason(name: str) -> str | None:
    """Why a file of this name is passed over, or None: an image."""
    extension = os.path.splitext(name)[1].lower()
    if name.startswith("."):
        return HIDDEN
    if extension in EXTENSIONS:
        return None
    return UNREAD if extension in UNREAD_PICTURES else OTHER


def folder_reason(name: str) -> str | None:
    """Why a folder of this name is passed over, or None."""
    return HIDDEN if name.startswith(".") else SYSTEM if name in SYSTEM_FOLDERS else None


def every_file(folder: Path) -> list[str]:
    """All that is no folder below a folder, by its path from there; links are not followed."""
    found = [os.path.relpath(os.path.join(at, name), folder) for at, _, names in os.walk(folder) for name in names]
    return sorted(path.replace(os.sep, "/") for path in found)


def bare(name: str) -> str:
    """A name without its extension, if it has that of an image."""
    stem, extension = os.path.splitext(name)
    return stem if extension.lower() in EXTENSIONS else name


def meant(name: str, names: Iterable[str]) -> str:
    """`; did you mean 'x'?` for the one of the names that a name is nearly: in case, Unicode form, space or zeros."""
    near = [each for each in names if each != name and _letters(each) == _letters(name)]
    if not near:
        return ""
    form = " (the same letters in another Unicode form)" if _composed(near[0]) == _composed(name) else ""
    return f"; did you mean '{near[0]}'{form}?"


def alike(names: Iterable[str]) -> list[tuple[str, ...]]:
    """Groups of names that differ in case, Unicode form, space or zeros alone."""
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(_letters(name), []).append(name)
    return [tuple(group) for group in groups.values() if len(group) > 1]


def _letters(name: str) -> str:
    text = " ".join(unicodedata.normalize("NFKC", name).casefold().replace("_", " ").replace("-", " ").split())
    return text.lstrip("0") or "0" if text.isdigit() else text


def _composed(name: str) -> str:
    return unicodedata.normalize("NFC", name)
