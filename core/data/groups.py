"""Which images belong together, and what does a group of them contribute? Several views of one plant are one sample."""

from __future__ import annotations

import re
from collections.abc import Hashable, Mapping, Sequence
from functools import lru_cache
from itertools import combinations
from typing import TYPE_CHECKING, Any

from ablation_suite.core.data.dataset import NUM_EXAMPLES
from ablation_suite.core.data.entries import bare

if TYPE_CHECKING:  # a spec is read, and its rule judged, without NumPy
    import numpy as np
    from numpy.typing import NDArray

NAME = re.compile(r"\{(\w+)\}")
NEAR_DUPLICATES = "near_duplicates"


def is_told(groups: str | None) -> bool:
    """Whether a table or the pictures say which images belong together, not their names."""
    return groups is not None and (groups == NEAR_DUPLICATES or groups.endswith(".csv")) and not NAME.search(groups)


def rule_fault(rule: str) -> str:
    """Why a rule tells no groups apart, or nothing."""
    return "" if NAME.search(rule) else "needs a part in braces that tells the groups apart, as {plant}_*.jpg"


@lru_cache(maxsize=8)  # a report asks for those of each arm and metric
def groups_of(names: tuple[str, ...], rule: str) -> NDArray[np.int64]:
    """The group of each image (N,), numbered as they appear; an image that does not fit the rule is one alone.

    rule: `{plant}_*.jpg`. What stands in braces tells the groups apart, a star is any text, and a slash makes it a rule
    on the whole path below the split instead of the file's name. The extension says nothing: data sets name their
    images without. Images of one group in several folders are one group by file name.
    """
    return numbered(tuple(key or (index,) for index, key in enumerate(_keys(names, rule))))


def numbered(keys: tuple[Hashable, ...]) -> NDArray[np.int64]:
    """The number of each key (N,), in the order in which they appear."""
    import numpy as np

    numbers: dict[Hashable, int] = {}
    return np.array([numbers.setdefault(key, len(numbers)) for key in keys], dtype=np.int64)


def faults(names: Mapping[str, Sequence[str]], rule: str) -> list[str]:
    """A line for each split that is evaluated and that a rule fits no image of. names: those of each split."""
    found = (misfit(split, each, rule) for split, each in names.items() if split != "train")
    return [each for each in found if each]


def misfit(split: str, names: Sequence[str], rule: str) -> str:
    """That a rule fits no image of a split, or nothing."""
    if not names or any(_keys(names, rule)):
        return ""
    return f"groups: {rule} fits no image of {split}, whose names are like {names[0]}"


def in_words(names: Mapping[str, Sequence[str]], rule: str) -> list[str]:
    """A line for each split on its groups, and one for each two splits that share some."""
    return keys_in_words({split: _keys(each, rule) for split, each in names.items()})


def keys_in_words(of: Mapping[str, Sequence[tuple[str, ...] | None]]) -> list[str]:
    """The same of what tells the groups of each split apart, which is None for an image alone."""
    lines = []
    for split, keys in of.items():
        num_groups = len({key for key in keys if key}) + keys.count(None)
        alone = f", {keys.count(None):,} of them images that do not fit" if None in keys else ""
        lines.append(f"{split}: {len(keys):,} images in {num_groups:,} groups{alone}")
    for one, other in combinations(of, 2):
        shared = list(dict.fromkeys(key for key in of[one] if key and key in set(of[other])))
        if shared:
            examples = ", ".join("/".join(key) for key in shared[:NUM_EXAMPLES])
            more = ", ..." if len(shared) > NUM_EXAMPLES else ""
            lines.append(
                f"{len(shared):,} groups lie in {one} and in {other}, so that {other} asks for what {one} has shown: "
                f"{examples}{more}"
            )
    return lines


def summed(contributions: NDArray[Any], groups: NDArray[np.int64]) -> NDArray[np.float64]:
    """What each group contributes (G,), from what its images (N,) do: the mean over groups is that over images."""
    import numpy as np

    num_groups = int(groups.max()) + 1
    sums = np.bincount(groups, weights=contributions, minlength=num_groups)
    return np.asarray(sums * (num_groups / len(groups)), dtype=np.float64)


def _keys(names: Sequence[str], rule: str) -> list[tuple[str, ...] | None]:
    """What stands in the braces of each name; None where it does not fit."""
    pattern = _compiled(bare(rule.removesuffix(".*")))
    shown = (bare(name if "/" in rule else name.rpartition("/")[2]) for name in names)
    return [found.groups() if (found := pattern.fullmatch(name)) else None for name in shown]


def _compiled(rule: str) -> re.Pattern[str]:
    parts, last = [], 0
    for found in NAME.finditer(rule):
        parts += [_any(rule[last : found.start()]), "([^/]+?)"]
        last = found.end()
    return re.compile("".join([*parts, _any(rule[last:])]), re.DOTALL)


def _any(text: str) -> str:
    return "[^/]*".join(map(re.escape, text.split("*")))
