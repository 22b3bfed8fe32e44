"""What does a job or a record have to say, so that its readers need not ask again?"""

from __future__ import annotations

from typing import Any

import pytest

from ablation_suite.core.runs.shape import job_fault, record_fault
from tests.core.tracked_run import BARE_RECORD


@pytest.mark.parametrize(
    ("changed", "fault"),
    [
        ({"metrics": {"val/accuracy": True}}, "metrics is no mapping of numbers"),
        ({"history": [{"epoch": 1.0}]}, "history is no list of epochs"),
        ({"classes": ["zero", 1]}, "classes is no list of texts"),
        ({"labels": {"seed": "0"}}, "labels.seed is no number"),
        ({"labels": {"ablations": {"pooling": None}}}, "labels.ablations is no list of uses"),
        ({"provenance": {"device": "cpu"}}, "provenance.device is no mapping"),
        ({"cost": None}, "it has no cost"),
    ],
)
def test_a_value_of_another_kind_is_named_with_its_path(changed: dict[str, Any], fault: str) -> None:
    """The kinds are those of the types that readers see, at every depth of them."""
    assert record_fault({**BARE_RECORD, **changed}) == fault


def test_what_an_older_version_did_not_write_is_no_fault() -> None:
    """Uses that are names alone, nulls, and keys that are not known or not there."""
    labels = {"ablations": ["pooling"], "group": None, "colour": 3}
    assert job_fault({"labels": labels, "config": {}}) == ""
    assert record_fault({**BARE_RECORD, "labels": labels, "provenance": {"git": None, "cpus": None}}) == ""
