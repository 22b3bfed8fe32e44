"""How is an image decoded only once? Into one uint8 array per split, mapped from disk by all runs, arms, trials."""

from __future__ import annotations

import contextlib
import errno
import mmap
import os
import shutil
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ablation_suite.core.data import cache_folder, parallel
from ablation_suite.core.data.dataset import DataError, Images
from ablation_suite.core.data.decode import RECIPE, Unreadable
from ablation_suite.core.data.views import Decoder, OnTheFly
from ablation_suite.core.runs.files import blake2b, open_regular, stamp

BLOCK = 64 * 2**20
"""Bytes that one digest of a manifest stands for; several threads verify the blocks of one large array."""


@dataclass(frozen=True, kw_only=True)
class Decoded:
    """The images of one split as they were found, before anything is left out or held out."""

    images: Images  # N H W 3, uint8; an unreadable image is black
    labels: np.ndarray  # N, int64; -1 where there is none
    unreadable: dict[int, str]  # index -> reason


def decoded(
    cache: Path,
    fingerprint: str,
    decoders: Mapping[str, Decoder],
    *,
    title: str,
    progress: parallel.Progress | None = None,
) -> dict[str, Decoded]:
    """Open the decoded splits of a data set, building them if need be: np.memmap, or decoded on the fly past the limit.

    One folder per (fingerprint, form, RECIPE) below cache/decoded. It appears whole, by a rename, or not at all, and
    what is not byte for byte what was decoded is never given out: a damaged one is decoded anew, and stderr says so.
    A sound one is only read, so that a cache that others prepared need not be writable.
    `progress(done, total)` is called while images are decoded; without one, a terminal shows a bar.
    """
    form, *others = {decoder.form for decoder in decoders.values()}
    assert not others
    part = "" if "train" in decoders else "".join(f"-{split}" for split in decoders)
    key = f"{fingerprint[:16]}-{form.size}px-r{RECIPE}{form.suffix}{part}"
    place = cache / "decoded" / key
    found = None if _fits_by_now(cache, place, decoders) else _open(place, decoders)
    if found is None:
        with cache_folder.writing(cache, key):
            # Another process may have built it meanwhile.
            found = None if _fits_by_now(cache, place, decoders) else _open(place, decoders)
            if found is None:
                _build(cache, place, decoders, title, progress or parallel.bar(f"decoding {title}"))
                found = _open(place, decoders)
    if found is None:
        raise DataError(f"{place}: written, but cannot be read back; is the disk sound?")
    return found


def _fits_by_now(cache: Path, place: Path, decoders: Mapping[str, Decoder]) -> bool:
    """Whether images that were too many for the cache when they were first decoded have room now."""
    manifest = cache_folder.manifest(place)
    return (
        manifest is not None
        and not manifest.get("stored")
        and os.access(place.parent, os.W_OK)
        and _num_bytes(decoders) <= cache_folder.room(cache)[0]
    )


def _open(place: Path, decoders: Mapping[str, Decoder]) -> dict[str, Decoded] | None:
    """The splits if the folder is whole and fits; else None."""
    manifest = cache_folder.manifest(place)
    if manifest is None:
        return None
    found = {}
    try:
        if not _sound(place, manifest["blocks"]):  # before NumPy parses a header
            return None
        for split, decoder in decoders.items():
            labels = np.load(place / f"{split}.labels.npy")
            images: Images = OnTheFly(decoder)
            if manifest["stored"]:
                images = np.load(place / f"{split}.npy", mmap_mode="r")
            if images.shape != OnTheFly(decoder).shape or len(labels) != len(decoder):
                return None
            unreadable = {int(index): reason for index, reason in manifest["unreadable"][split].items()}
            found[split] = Decoded(images=images, labels=labels, unreadable=unreadable)
    except (OSError, ValueError, KeyError):
        return None
    return found


_verified: dict[Path, tuple[int, ...]] = {}
"""Files that this process has read whole and found as their manifest says, with their stamps at that time."""


def _sound(place: Path, blocks: dict[str, list[str]]) -> bool:
    """Whether every file has the digests that it was written with; each is read once per process."""
    for name, digests in blocks.items():
        path = place / name
        now = stamp(path)
        if _verified.get(path) != now:
            if _digests(path) != digests:
                return False
            _verified[path] = now
    return True


def _digests(path: Path) -> list[str]:
    """BLAKE2b of each block of a file, hashed side by side (about 1 GB/s for each core)."""
    # Mapped, not read: the pages are those that training will use.
    with (
        open_regular(path) as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data,
        memoryview(data) as view,
    ):

        def one(index: int) -> str:
            with view[index * BLOCK : (index + 1) * BLOCK] as block:
                return blake2b(block)

        return parallel.each(one, -(-len(view) // BLOCK))


def _build(
    cache: Path, place: Path, decoders: Mapping[str, Decoder], title: str, progress: parallel.Progress | None
) -> None:
    if place.exists():
        before = cache_folder.manifest(place)
        if before is None or before.get("stored"):  # else it only had no room for arrays
            print(f"{place}: damaged, or not of this version; its images are decoded anew", file=sys.stderr)
        cache_folder.discard(place)
    counts = {split: len(decoder) for split, decoder in decoders.items()}
    num_bytes = _num_bytes(decoders)
    room, words = cache_folder.room(cache)
    stored = num_bytes <= room
    if not stored:
        print(
            f"{title}: {num_bytes / 1e9:.1f} GB decoded are too much for the cache ({words}); images will be decoded "
            "anew in every epoch",
            file=sys.stderr,
        )
    temporary = None
    try:
        temporary = cache_folder.temporary(place)
        unreadable, done = {}, 0
        for split, decoder in decoders.items():
            unreadable[split] = _fill(temporary, split, decoder, stored, _part(progress, done, sum(counts.values())))
            done += len(decoder)
        manifest = {
            "title": title,
            "num_images": counts,
            "size": next(iter(decoders.values())).form.size,
            "num_bytes": num_bytes if stored else 0,
            "stored": stored,
            "created": time.strftime("%Y-%m-%d %H:%M:%S"),
            "unreadable": unreadable,
            "blocks": {path.name: _digests(path) for path in sorted(temporary.iterdir())},
        }
        cache_folder.write_manifest(temporary, manifest)
        os.rename(temporary, place)
    except OSError as error:
        if error.errno in (errno.EEXIST, errno.ENOTEMPTY):  # a file system without locks let another builder be first
            return
        raise DataError(
            f"{place}: cannot be written ({error.strerror}); free the disk, set ABLATE_CACHE to another folder, or "
            f"{cache_folder.LIMIT}=0 to decode on the fly"
        ) from error
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)


def _fill(
    folder: Path, split: str, decoder: Decoder, stored: bool, progress: parallel.Progress | None
) -> dict[str, str]:
    """Decode one split, each image straight to its place in the file, so that memory stays small."""
    labels = np.full(len(decoder), -1, np.int64)
    unreadable: dict[int, str] = {}
    with contextlib.ExitStack() as stack:
        if stored:
            shape = OnTheFly(decoder).shape
            path = folder / f"{split}.npy"
            start = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=shape).offset
            file = stack.enter_context(path.open("r+b", buffering=0))

        def one(index: int) -> None:
            try:
                image, labels[index] = decoder(index)
            except Unreadable as error:
                unreadable[index] = str(error)
                return
            if stored and os.pwrite(file.fileno(), image.tobytes(), start + index * image.nbytes) < image.nbytes:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        parallel.each(one, len(decoder), progress)
        if stored:
            os.fsync(file.fileno())
    np.save(folder / f"{split}.labels.npy", labels)
    return {str(index): unreadable[index] for index in sorted(unreadable)}


def _num_bytes(decoders: Mapping[str, Decoder]) -> int:
    return sum(len(decoder) * decoder.form.size**2 * 3 for decoder in decoders.values())


def _part(progress: parallel.Progress | None, before: int, total: int) -> parallel.Progress | None:
    """The progress of one split as progress of the whole."""
    return progress and (lambda done, _: progress(before + done, total))
