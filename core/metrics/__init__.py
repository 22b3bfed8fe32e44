"""What can be measured on the images of a split? Menu of the metrics, each written SPLIT/METRIC as `test/macro_f1`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Union

from pydantic import BeforeValidator, Discriminator, Field, Tag, model_validator

from ablation_suite.core.config.errors import nearest
from ablation_suite.core.config.menu import OURS, OWN
from ablation_suite.core.config.own import Own, split_name
from ablation_suite.core.config.wording import shown

SPLITS = ("val", "test")
PLAIN = ("accuracy", "balanced_accuracy", "macro_f1", "auroc", "kappa", "nll", "brier", "calibration_error")
"""The metrics that need no more than their name; `measures` has them."""
_OWN = re.compile(rf"({'|'.join(SPLITS)})/(?!recall/)(.+\.py|[^\W\d][\w.]*):[^\W\d]\w*")


class OwnMetric(Own):
    """A metric of your own: called on what a run said of a split, it gives each image's contribution or one number.

    Called as metric(probabilities, labels): probabilities are a float64 array of NumPy (N, K), each row summing to one,
    and labels int64 (N,). An array (N,) is one contribution an image, and their mean is the metric: a cost, a weight, a
    hit. One number is the metric itself; what each image does to it is then found by leaving it out (the jackknife,
    Efron and Stein 1981), which takes N more calls a run. It is computed from the outputs of finished runs, whenever a
    report is made; no run has it in its id.
    Given, where its arguments have these names: classes, the names of the classes (K).
    """

    builds = "ablation_suite.core.metrics.own:own_metric"
    given = ("classes",)
    called = ("probabilities", "labels")

    text: str = Field("", max_length=60)
    """What tables and sentences call it; by default the name of the function, with its arguments."""
    higher_is_better: bool = True
    """Whether more of it is better."""
    unit: str = Field("%", pattern=r"^(%|[^\W\d_]{1,12})$")
    """A word, such as euro; in % it is a share in [0, 1], shown in percent, its differences in percentage points."""

    @classmethod
    def parted(cls, name: str) -> tuple[str, str]:
        """The split with its slash, and what names the part: `test/`, `costs.py:Cost`; no part in a metric of ours."""
        split, slash, part = name.partition("/")
        return (split + slash, part) if is_own(name) else (name, "")

    @model_validator(mode="before")
    @classmethod
    def _is_own(cls, data: Any) -> Any:
        """Refuse settings of what is no own metric, or none at all."""
        name = data.get("name") if isinstance(data, Mapping) else None
        if isinstance(name, str) and not is_own(name):
            raise ValueError(metric_fault(name) or f"{name} takes no settings; write `{name}` alone")
        return data

    @property
    def split(self) -> str:
        """The split whose images it is computed on."""
        return split_of(self.name)

    @property
    def measure(self) -> str:
        """What tells it from all other metrics of its split: the part with all its arguments."""
        return f"{self.parted(self.name)[1]}{self._arguments}"

    @property
    def key(self) -> str:
        """The same with the split, as other metrics are written."""
        return f"{self.split}/{self.measure}"

    @property
    def title(self) -> str:
        """What people call it."""
        return self.text or f"{split_name(self.name)[1].replace('_', ' ')}{self._arguments}"

    @property
    def _arguments(self) -> str:
        words = ", ".join(f"{key}={shown(value)}" for key, value in self.settings.items())
        return f"({words})" if words else ""


def _whose(value: Any) -> str:
    return OURS if isinstance(value, str) else OWN


def _expand_own(value: Any) -> Any:
    return {"name": value} if isinstance(value, str) and is_own(value) else value


MetricField = Annotated[
    Union[Annotated[str, Tag(OURS)], Annotated[OwnMetric, Tag(OWN)]],  # noqa: UP007 (as `tagged` writes its own)
    Discriminator(_whose),
    BeforeValidator(_expand_own),
]
"""A `SPLIT/METRIC` of the suite as text, or one of the user's own."""


def is_own(name: str) -> bool:
    """Whether a `SPLIT/METRIC` names a part of the user's own."""
    return bool(_OWN.fullmatch(name))


def key_of(metric: str | OwnMetric) -> str:
    """The `SPLIT/METRIC` by which a metric is known."""
    return metric if isinstance(metric, str) else metric.key


def split_of(name: str) -> str:
    """The split of a `SPLIT/METRIC`."""
    return name.partition("/")[0]


def metric_fault(name: str) -> str:
    """Why a `SPLIT/METRIC` is none, or nothing; a class that `recall/CLASS` names is not looked for here."""
    split, _, measure = name.partition("/")
    if split not in SPLITS or not measure:
        example = f"test/{name}" if is_own(f"test/{name}") else "test/accuracy"
        return f"{name!r} is no metric; write it SPLIT/METRIC, such as {example}, with val or test"
    if measure in PLAIN or re.fullmatch(r"top_[1-9]\d*", measure) or re.fullmatch(r"recall/.+", measure):
        return ""
    known = f"there are {', '.join(PLAIN)}, top_K, recall/CLASS, and FILE.py:NAME of your own"
    return f"no metric {measure!r}{nearest(measure, PLAIN)}; {known}"
