"""Is this run the same as that one? A run id is the hash of all that can change its numbers."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

from ablation_suite.core.config.menu import build, identity_data
from ablation_suite.core.config.run_config import RunConfig
from ablation_suite.core.config.runtime import Runtime
from ablation_suite.core.runs.files import file_sha256, sha256, stamp
from ablation_suite.core.runs.labels import Labels
from ablation_suite.core.runs.shape import Job

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
        content["weights"] = _file_digest(weights, stamp(weights))
    return digest(content)


def is_run_id(name: str) -> bool:
    """Whether this could be what `run_id` gives: a run folder that somebody copied may have any name."""
    return len(name) == 12 and set(name) <= set("0123456789abcdef")


def data_fingerprint(config: RunConfig, runtime: Runtime, known: dict[str, str]) -> str:
    """The fingerprint of a config's data set, computed once per `known`."""
    key = config.data.model_dump_json()
    if key not in known:
        source = build(config.data, data_root=Path(runtime.data_root), cache=Path(runtime.cache))
        known[key] = source.fingerprint()
    return known[key]


def job_of(config: RunConfig, fingerprint: str, labels: Labels) -> Job:
    """What a `run.json` says of a run: all that makes its id, and its labels."""
    return {
        "run_id": run_id(config, fingerprint),
        "recipe": RECIPE,
        "config": config.model_dump(mode="json"),
        "data_fingerprint": fingerprint,
        "labels": labels,
    }


@cache
def _file_digest(path: Path, _stamp: tuple[int, ...]) -> str:
    return file_sha256(path)
