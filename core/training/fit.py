"""Can these settings be trained on these images, and can what is asked of them be answered? Asked before training."""

from __future__ import annotations

from collections.abc import Iterator

from ablation_suite.core.config.run_config import RunConfig
from ablation_suite.core.data.dataset import Dataset


def misfits(config: RunConfig, dataset: Dataset, metric: str | None = None) -> Iterator[str]:
    """What is wrong with a RunConfig for a data set, with the numbers; `metric` is one that the runs must have."""
    test = dataset.splits.get("test")
    if metric == "test/accuracy" and (test is None or test.labels is None):
        have = "no test split" if test is None else "a test split without labels"
        yield f"metric: test/accuracy cannot be had, the data has {have}; label its images, or ask for val/accuracy"
