"""What does a run see of a data set of the user's own? Its items, decoded once, known by its files' content."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Mapping, Sequence
from copy import copy
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ablation_suite.core.config.paths import typed
from ablation_suite.core.data import file_hashes, parallel
from ablation_suite.core.data.dataset import DataError, Dataset, refuse_wrong_split
from ablation_suite.core.runs.files import sha256

if TYPE_CHECKING:
    import numpy as np

    from ablation_suite.core.data import Form, OwnData
    from ablation_suite.core.data.cache import Decoded

SPLITS = ("train", "val", "test")


class OwnSource:
    """A data set that a user's class or function gives."""

    def __init__(self, entry: OwnData, *, data_root: Path, cache: Path):
        self.entry, self.cache = entry, cache
        self.data_root = typed(data_root).resolve()

    def fingerprint(self) -> str:
        """SHA-256 (hex) of the code, its arguments, and the content of the files that these name; nothing is run."""
        return self._content

    def load(self, progress: parallel.Progress | None = None) -> Dataset:
        """The splits, decoded once into the cache; DataError of what it gives, OwnPartError of how its code fares."""
        from ablation_suite.core.data.cache import decoded
        from ablation_suite.core.data.splits import as_splits, readable_rows
        from ablation_suite.core.own.loading import blamed, make
        from ablation_suite.core.own.undisturbed import undisturbed

        name, entry = self.entry.name, self.entry
        given = {key: getattr(entry, key) for key in type(entry).model_fields if key not in ("name", "code")}
        with undisturbed(name):
            made = make(entry, {**entry.settings, **self._places}, **given)
            if not isinstance(made, Mapping) or "train" not in made:
                keys = f"a mapping of {', '.join(map(str, made))}" if isinstance(made, Mapping) else type(made).__name__
                raise DataError(f"{name}: gives {keys}; it should give a mapping with train, val and test")
            if unknown := [str(key) for key in made if key not in (*SPLITS, "classes")]:
                raise DataError(f"{name}: gives {', '.join(unknown)}; the keys are {', '.join(SPLITS)} and classes")
            refuse_wrong_split(name, entry.split, "val" in made)
            with blamed(entry, "counted"):
                decoders = {
                    key: _Decoder(made[key], entry.form(evaluated=False), name) for key in SPLITS if key in made
                }

            def decode(form: Form, splits: Collection[str]) -> dict[str, Decoded]:
                anew = {key: each.in_form(form) for key, each in decoders.items() if key in splits}
                return decoded(self.cache, self.fingerprint(), anew, title=name, progress=progress)

            found = decode(entry.form(evaluated=False), decoders)
        faults = [
            f"{name}: {split} image {row} is unreadable: {reason}"
            for split, every in found.items()
            for row, reason in every.unreadable.items()
        ]
        num_classes = int(max(every.labels.max(initial=-1) for every in found.values())) + 1
        classes = tuple(map(str, made.get("classes") or range(num_classes)))
        if len(classes) < num_classes:
            faults.append(f"{name}: names {len(classes)} classes, and has the label {num_classes - 1}")
        if not faults and any((found[key].labels < 0).any() for key in ("train", "val") if key in found):
            faults.append(f"{name}: has training or validation images without a label")
        faults += [f"{name}: has no image in its {key} split" for key, each in found.items() if not len(each.labels)]
        if faults:
            raise DataError(faults)
        rows = readable_rows(found, entry.split, entry.split_seed)
        with undisturbed(name):
            splits = as_splits(entry, rows, found, decode, lambda origin, kept: [f"{origin}/{row:06d}" for row in kept])
        return Dataset(classes=classes, fingerprint=self.fingerprint(), splits=splits)

    @cached_property
    def _places(self) -> dict[str, Path]:
        """The arguments that name files or folders, located from here or below the data root."""
        signature = self.entry.signature
        names = [key for key, each in signature.parameters.items() if each.is_place] if signature is not None else []
        places = {}
        for key in names:
            value = self.entry.settings.get(key)
            if isinstance(value, str):
                here = typed(value)
                places[key] = (here if here.exists() else self.data_root / here).resolve()
                if not places[key].exists():
                    raise DataError(
                        f"data.{key}: no such file or folder '{value}', neither from here nor below {self.data_root}"
                    )
        return places

    @cached_property
    def _content(self) -> str:
        entry = self.entry
        settings = {key: value for key, value in entry.settings.items() if key not in self._places}
        lines = [json.dumps([entry.name, entry.code, settings], sort_keys=True)]
        for key, place in sorted(self._places.items()):
            root, names = (place.parent, [place.name]) if place.is_file() else (place, _files(place))
            digests = file_hashes.digests(root, names, self.cache, title=entry.name)
            lines += [f"{key}\0{name}\0{digest}" for name, digest in zip(names, digests, strict=True)]
        return sha256("\n".join(lines))


class _Decoder:
    """The images of one split, whatever kind of items they are."""

    def __init__(self, items: Any, form: Form, name: str):
        self.form = form
        first = items[0] if isinstance(items, tuple) and len(items) == 2 else None
        self.arrays = items if getattr(first, "ndim", 0) in (3, 4) else None
        if self.arrays is None and not hasattr(items, "__getitem__"):
            raise DataError(f"{name}: gives {type(items).__name__} for a split; it should be a sequence, or two arrays")
        if self.arrays is not None and len(self.arrays[0]) != len(self.arrays[1]):
            raise DataError(f"{name}: gives {len(self.arrays[0])} images and {len(self.arrays[1])} labels for a split")
        self.items: Sequence[Any] = items

    def in_form(self, form: Form) -> _Decoder:
        """The same images in another form."""
        other = copy(self)
        other.form = form
        return other

    def __len__(self) -> int:
        return len(self.arrays[0] if self.arrays is not None else self.items)

    def __call__(self, index: int) -> tuple[np.ndarray, int]:
        """Pixels (size, size, 3) uint8 and label (-1: none) of one image; raises Unreadable."""
        import numpy as np
        from PIL import Image

        from ablation_suite.core.data.decode import Unreadable, in_form, to_rgb

        try:
            image, label = self.items[index] if self.arrays is None else (each[index] for each in self.arrays)
            if not isinstance(image, Image.Image):
                pixels = np.asarray(image)
                if pixels.dtype != np.uint8 or pixels.ndim not in (2, 3):
                    raise TypeError(f"is {pixels.dtype} {pixels.shape}; images are uint8 (H, W, 3) or (H, W)")
                image = Image.fromarray(pixels)
            return in_form(to_rgb(image), self.form), -1 if label is None else int(label)
        except MemoryError:
            raise
        except Exception as error:  # whatever the user's own reader meets
            raise Unreadable(" ".join(str(error).split()) or type(error).__name__) from error


def _files(folder: Path) -> list[str]:
    """Every file below a folder, sorted; hidden ones are left out."""
    found = []
    for place, folders, names in os.walk(folder):
        folders[:] = [each for each in folders if not each.startswith(".")]
        found += [os.path.relpath(os.path.join(place, name), folder) for name in names if not name.startswith(".")]
    return sorted(found)
