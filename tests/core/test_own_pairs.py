"""Is a loss of the user's own over images and their partners trained as `contrastive` is?"""

from __future__ import annotations

import pytest

from ablation_suite.core.config.errors import OwnPartError
from ablation_suite.core.config.menu import identity_data
from ablation_suite.core.losses import OwnLoss
from ablation_suite.core.losses.own import own_loss
from ablation_suite.core.runs.run_folder import RunFolder
from ablation_suite.core.scheduling.attempt import DONE, Datasets, work

OURS = {"name": "contrastive", "weight": 2.0, "margin": 0.1}
CODE = """import torch
from torch.nn import functional


def pull(logits, features, targets, partner_logits, partner_features, partner_targets, weight=2.0, margin=0.1):
    both, labels = torch.cat([logits, partner_logits]), torch.cat([targets, partner_targets])
    sign = torch.where(targets == partner_targets, 1.0, -1.0)
    near = functional.cosine_embedding_loss(features, partner_features, sign, margin=margin)
    return 2.0 * functional.cross_entropy(both, labels) + weight * near


def alone(logits, targets):
    return functional.cross_entropy(logits, targets)
"""


@pytest.fixture
def code(tmp_path, monkeypatch):
    """A file of the losses, in the current folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(CODE)


@pytest.mark.parametrize("settings", [{}, {"positive_fraction": 0.8, "views": "joint"}])
def test_an_own_loss_of_pairs_trains_the_very_run_of_the_contrastive_loss(
    settings, code, tmp_path, make_config, digits, runtime
):
    """The same partners, the same passes, the same numbers in every epoch, where its formula is the same."""
    histories = []
    for number, loss in enumerate([{**OURS, **settings}, {"name": "mine.py:pull", "pairs": True, **settings}]):
        config = make_config({"loss": loss, "accumulate": 2})
        folder = RunFolder(tmp_path / f"run{number}")
        folder.create({"config": config.model_dump(mode="json"), "data_fingerprint": digits.fingerprint, "labels": {}})
        assert work(folder, runtime, Datasets()) == DONE, folder.failure()
        rows = folder.record()["history"]
        histories.append([(row["train/loss"], row["val/loss"], row["val/accuracy"]) for row in rows])
        assert folder.record()["cost"]["images_seen"] == 2 * 2 * len(digits.splits["train"])
    assert histories[0] == histories[1]


@pytest.mark.parametrize(
    ("loss", "told"),
    [
        ({"name": "mine.py:pull"}, "takes partner_targets; `pairs: true` is for"),
        ({"name": "mine.py:alone", "pairs": True}, "takes no argument of a partner; `pairs: true` is for"),
    ],
)
def test_a_loss_is_asked_for_what_it_can_be_given(loss, told, code):
    """One line where partners are missing, or where nobody takes them."""
    with pytest.raises(OwnPartError, match=told):
        own_loss(OwnLoss.model_validate(loss), [3, 3], 4, 0)


def test_images_that_are_mixed_are_no_pairs(code, make_config):
    """Two blends have no one class in which they could agree."""
    with pytest.raises(ValueError, match="mix needs a loss of single images"):
        make_config({"loss": {"name": "mine.py:pull", "pairs": True}, "mix": {"name": "mixup"}})


def test_runs_of_single_images_are_what_they_were(code):
    """The settings of pairs came later, and are no part of the ids of other runs."""
    plain = OwnLoss.model_validate({"name": "mine.py:alone"})
    assert plain.num_views == 1
    assert identity_data(plain).keys() == {"name", "code"}
