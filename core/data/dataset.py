"""What does a loaded data set look like, and what does a fault in it look like?"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from ablation_suite.core.config.errors import UserError, in_one_line

if TYPE_CHECKING:
    import numpy as np


class DataError(UserError):
    """All faults of a data set at once: one line each, saying what, where, and what to do."""

    def __init__(self, faults: str | Iterable[str]):
        self.faults = [faults] if isinstance(faults, str) else list(faults)
        super().__init__("\n".join(self.faults))


class Finding(NamedTuple):
    """Something that is wrong with an image or an entry of a folder."""

    what: str  # the path, say
    kind: str
    brief: str = ""  # what it is in few words, where it is many names

    @classmethod
    def of(cls, names: Sequence[str], between: str, kind: str, *, before: str = "") -> Finding:
        """What is wrong with several names together; in brief, examples and the number of the others."""
        few = [*names[:NUM_EXAMPLES], f"{len(names) - NUM_EXAMPLES:,} more"] if len(names) > MANY else []
        return cls(before + between.join(names), kind, before + between.join(few) if few else "")

    def __str__(self) -> str:
        return in_one_line(f"{self.what}: {self.kind}")


MANY = 10
"""More findings of one kind are one line with examples, and so are more names in one finding."""
NUM_EXAMPLES = 3


def in_brief(findings: Iterable[Finding], hint: str) -> list[str]:
    """A line for each finding; of many of one kind, one line with their number, some examples, and a hint."""
    kinds: dict[str, list[Finding]] = {}
    for each in findings:
        kinds.setdefault(each.kind, []).append(each)
    lines: list[str] = []
    for kind, alike in kinds.items():
        examples = "; ".join(each.brief or each.what for each in alike[:NUM_EXAMPLES])
        more = in_one_line(f"{examples}; and {len(alike) - NUM_EXAMPLES:,} more: {kind} ({hint})")
        few = [in_one_line(f"{each.brief}: {kind} ({hint})") if each.brief else str(each) for each in alike]
        lines += [more] if len(alike) > MANY else few
    return lines


class Images(Protocol):
    """Images as uint8, indexed like an array of shape (N, H, W, 3)."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    def __len__(self) -> int: ...

    def __getitem__(self, index: Any) -> np.ndarray: ...


@dataclass(frozen=True, kw_only=True)
class Split:
    """One split in its fixed order."""

    images: Images  # N H W 3, uint8
    labels: np.ndarray | None  # N, int64; None where nobody labelled them
    names: tuple[str, ...]  # N; the file below its split's folder, without its extension
    groups: tuple[str, ...] | None = None  # N; where a table or the pictures say which of them belong together

    def __len__(self) -> int:
        return len(self.images)


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """The splits "train", "val" and, where there is one, "test"; label k means classes[k]."""

    classes: tuple[str, ...]  # K; a class's own name: its folder's
    splits: dict[str, Split]
    fingerprint: str
    display: tuple[str, ...] = ()  # K; names for people (classes.txt), or nothing


def refuse_wrong_split(where: str, split: float | None, has_val: bool) -> None:
    """DataError unless validation images come from exactly one place: a split of their own, or a share of train."""
    if has_val and split is not None:
        raise DataError(
            f"{where}: has a validation split of its own, so `split: {split:g}` would do nothing; remove it"
        )
    if not has_val and split is None:
        raise DataError(
            f"{where}: has no validation split; set `split`, for example `split: 0.1`, to hold out part of train"
        )
