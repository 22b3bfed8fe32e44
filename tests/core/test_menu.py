"""Can every entry of every menu be built, and does each have its words for people?"""

from __future__ import annotations

from importlib import import_module
from typing import get_args

import pytest

from ablation_suite.commands.menu import docs
from ablation_suite.core.config.menu import Entry, Frozen
from ablation_suite.core.config.run_config import RunConfig
from ablation_suite.core.config.runtime import Runtime
from ablation_suite.sweeps.spec import SweepSpec


def classes(annotation) -> list[type[Frozen]]:
    if isinstance(annotation, type) and issubclass(annotation, Frozen):
        return [annotation, *(c for field in annotation.model_fields.values() for c in classes(field.annotation))]
    return [c for part in get_args(annotation) for c in classes(part)]


ENTRIES = sorted(
    {c for model in (RunConfig, SweepSpec) for c in classes(model) if issubclass(c, Entry)},
    key=lambda entry: entry.__name__,
)


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.__name__)
def test_every_entry_names_something_that_can_be_called(entry):
    """The import string of a menu entry is only followed when it is built."""
    module, _, attribute = entry.builds.partition(":")
    assert callable(getattr(import_module(module), attribute))


@pytest.mark.parametrize("model", [RunConfig, Runtime, SweepSpec, *ENTRIES], ids=lambda model: model.__name__)
def test_every_setting_has_a_line_for_the_menu(model):
    """`ablate menu` prints it; `name` needs none."""
    texts = docs(model)
    for name in model.model_fields:
        assert name == "name" or texts.get(name), f"{model.__name__}.{name}"


def test_every_family_is_found():
    """Ten families, from data to schedule."""
    assert len(ENTRIES) >= 17
