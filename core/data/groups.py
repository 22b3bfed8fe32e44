"""Which images belong together, and what does a group of them contribute? Several views of one plant are one sample."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # a spec is read, and its rule judged, without NumPy
    import numpy as np
    from numpy.typing import NDArray

NAME = re.compile(r"\{(\w+)\}")


@lru_cache(maxsize=8)  # a report asks for those of each arm and metric
def groups_of(names: tuple[str, ...], rule: str) -> NDArray[np.int64]:
    """The group of each image (N,), numbered as they appear; an image that does not fit the rule is one alone.

    rule: `{plant}_*.jpg`. What stands in braces tells the groups apart, a star is any text, and a slash makes it a rule
    on the whole path instead of the file's name. Images of one group in several folders are one group by file name.
    """
    import numpy as np

    pattern = _compiled(rule)
    keys = []
    for index, name in enumerate(names):
        found = pattern.fullmatch(name if "/" in rule else name.rpartition("/")[2])
        keys.append(found.groups() if found else (index,))
    numbers: dict[tuple[object, ...], int] = {}
    return np.array([numbers.setdefault(key, len(numbers)) for key in keys], dtype=np.int64)


def summed(contributions: NDArray[Any], groups: NDArray[np.int64]) -> NDArray[np.float64]:
    """What each group contributes (G,), from what its images (N,) do: the mean over groups is that over images."""
    import numpy as np

    num_groups = int(groups.max()) + 1
    sums = np.bincount(groups, weights=contributions, minlength=num_groups)
    return np.asarray(sums * (num_groups / len(groups)), dtype=np.float64)


def _compiled(rule: str) -> re.Pattern[str]:
    parts, last = [], 0
    for found in NAME.finditer(rule):
        parts += [_any(rule[last : found.start()]), "([^/]+?)"]
        last = found.end()
    return re.compile("".join([*parts, _any(rule[last:])]), re.DOTALL)


def _any(text: str) -> str:
    return "[^/]*".join(map(re.escape, text.split("*")))
