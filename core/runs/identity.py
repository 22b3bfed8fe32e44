"""Is this run the same as that one? A run id is the hash of all that can change its numbers."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

from ablation_suite.core.config.menu import identity_data
from ablation_suite.core.config.run_config import RunConfig
from ablation_suite.core.runs.files import file_sha256, sha256

RECIPE = 2
"""Raised when the training arithmetic changes on purpose; runs of another recipe are other runs."""


def canonical(value: Any, *, allow_nan: bool = False) -> str:
    """JSON with sorted keys and no spaces: one text for one value."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=allow_nan)


def digest(value: Any, length: int = 12, *, allow_nan: bool = False) -> str:
    """The first `length` hexadecimal digits of the SHA-256 of the canonical JSON of `value`."""
    return sha256(canonical(value, allow_nan=allow_nan).encode(errors="backslashreplace"))[:length]


def run_id(config: RunConfig, data_fingerprint: str) -> str:
    """12 hexadecimal digits from the whole config, defaults included, the data's content and RECIPE.

    A setting that came later than others is left out at its neutral default, so that older runs are found again.
    Weights that come from a file count with its content too: another file under the same name makes another run.
    """
    content = {"config": identity_data(config), "data": data_fingerprint, "recipe": RECIPE}
    weights = config.model.weights_file
    if weights is not None and weights.exists():
        content["weights"] = _file_digest(weights, weights.stat().st_mtime_ns)
    return digest(content)


@cache
def _file_digest(path: Path, mtime_ns: int) -> str:
    return file_sha256(path)
