"""What does a run say about each image and class? Plain rows for the tables and pictures of a tracker."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

from ablation_suite.core.runs.run_folder import RunFolder

SPLIT = "val"
"""Whose images are looked at one by one: a look at those of the test split would be a reading of it."""


@dataclass(frozen=True, kw_only=True)
class Pictured:
    """One image that a run took for something else, or was least sure of."""

    name: str
    caption: str


@dataclass(frozen=True, kw_only=True)
class Guessed:
    """What a run made of the validation images; labels and guesses are numbers of classes, one each per image."""

    classes: list[str]
    labels: list[int]
    guesses: list[int]
    worst: list[Pictured]

    def by_class(self) -> tuple[list[str], list[list[Any]]]:
        """Columns and a row for each class: how many of it were found, and how many of those found were of it."""
        of_class, taken = Counter(self.labels), Counter(self.guesses)
        hits = Counter(label for label, guess in zip(self.labels, self.guesses, strict=True) if label == guess)
        rows = []
        for k, name in enumerate(self.classes):
            recall, precision = _share(hits[k], of_class[k]), _share(hits[k], taken[k])
            rows.append([name, of_class[k], recall, precision, _share(2 * hits[k], of_class[k] + taken[k])])
        return ["class", "images", "recall", "precision", "f1"], rows


def guessed(folder: RunFolder, num_worst: int) -> Guessed | None:
    """The validation images of a finished run, and those whose own class it gave the least probability; or None."""
    record, outputs = folder.record(), folder.outputs()
    if record is None or f"{SPLIT}_labels" not in outputs:
        return None
    probabilities, labels = outputs[f"{SPLIT}_probabilities"], outputs[f"{SPLIT}_labels"]  # N K, N
    classes, names = [str(each) for each in record["classes"]], outputs[f"{SPLIT}_names"]
    guesses, own = probabilities.argmax(1), probabilities[range(len(labels)), labels]
    worst = [
        Pictured(
            name=str(names[k]),
            caption=f"{names[k]}: {classes[labels[k]]} ({own[k]:.0%}), taken for {classes[guesses[k]]} "
            f"({probabilities[k, guesses[k]]:.0%})",
        )
        for k in own.argsort(kind="stable")[:num_worst]
    ]
    return Guessed(classes=classes, labels=labels.tolist(), guesses=guesses.tolist(), worst=worst)


def predictions(folder: RunFolder) -> dict[str, tuple[list[str], list[list[Any]]]]:
    """Per split, the columns and rows of a table of what the run says about each image."""
    classes = (folder.record() or {})["classes"]
    outputs = folder.outputs()
    tables: dict[str, tuple[list[str], list[list[Any]]]] = {}
    for split in [name.removesuffix("_names") for name in outputs if name.endswith("_names")]:
        probabilities = outputs[f"{split}_probabilities"]  # N K
        names, guesses = outputs[f"{split}_names"], probabilities.argmax(1)
        columns = ["image", "predicted", "probability"]
        rows = [
            [str(name), str(classes[k]), float(p[k])] for name, k, p in zip(names, guesses, probabilities, strict=True)
        ]
        if f"{split}_labels" in outputs:
            labels = outputs[f"{split}_labels"]
            columns += ["label", "correct"]
            rows = [[*row, str(classes[t]), bool(t == k)] for row, t, k in zip(rows, labels, guesses, strict=True)]
        tables[split] = (columns, rows)
    return tables


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
