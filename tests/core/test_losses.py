"""Do the losses say what their formulas say, and are the pairs drawn as promised?"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats
from torch.nn import functional

from ablation_suite.core.config.menu import build
from ablation_suite.core.losses import Contrastive, CrossEntropy

LABELS = np.repeat(np.arange(4), (30, 50, 20, 20))[np.random.default_rng(0).permutation(120)]


def test_cross_entropy_with_label_smoothing_is_the_formula():
    """By NumPy: the mean of -sum of q log p, with q = (1 - s) one-hot + s / K."""
    rng = np.random.default_rng(1)
    logits, targets = rng.normal(size=(6, 5)), rng.integers(5, size=6)
    log_p = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    for smoothing in (0.0, 0.1):
        q = np.full((6, 5), smoothing / 5) + (1 - smoothing) * np.eye(5)[targets]
        loss = build(CrossEntropy(label_smoothing=smoothing))
        ours = loss(torch.tensor(logits), torch.zeros(6, 2), torch.tensor(targets), 6)
        assert ours.item() == pytest.approx(-(q * log_p).sum(1).mean(), rel=1e-6)


def contrastive_by_hand(logits, features, targets, weight, margin):
    """The formula of the issue, one pair at a time, in NumPy."""
    half, total = len(targets) // 2, 0.0
    for i in range(half):
        for row in (i, half + i):
            total += np.log(np.exp(logits[row]).sum()) - logits[row, targets[row]]
        a, b = features[i], features[half + i]
        cosine = a @ b / np.sqrt((a @ a) * (b @ b))
        total += weight * (1.0 - cosine if targets[i] == targets[half + i] else max(0.0, cosine - margin))
    return total / half


@pytest.mark.parametrize(("weight", "margin"), [(15.0, 0.2), (0.0, 0.2), (1.0, -0.5)])
def test_the_contrastive_loss_is_both_cross_entropies_plus_the_weighted_cosine_loss(weight, margin):
    """CE(first) + CE(second) + weight x cosine embedding loss with margin, by NumPy, pair by pair."""
    rng = np.random.default_rng(2)
    logits, features = rng.normal(size=(16, 5)), rng.normal(size=(16, 7)) + 0.5
    targets = np.concatenate([np.arange(8) % 5, np.where(np.arange(8) < 4, np.arange(8) % 5, (np.arange(8) + 1) % 5)])
    loss = build(Contrastive(weight=weight, margin=margin))
    ours = loss(torch.tensor(logits), torch.tensor(features), torch.tensor(targets), 8)
    assert ours.item() == pytest.approx(contrastive_by_hand(logits, features, targets, weight, margin), rel=1e-6)


def test_the_contrastive_loss_smooths_the_labels_of_both_images():
    """Equal to torch's two smoothed cross-entropies where the pull has no weight."""
    logits, targets = torch.randn(8, 3, generator=torch.Generator().manual_seed(0)), torch.arange(8) % 3
    ours = build(Contrastive(weight=0.0, label_smoothing=0.2))(logits, torch.zeros(8, 2), targets, 4)
    first, second = (
        functional.cross_entropy(logits[half], targets[half], label_smoothing=0.2) for half in (slice(4), slice(4, 8))
    )
    torch.testing.assert_close(ours, first + second)


def test_a_partner_is_of_the_same_class_with_probability_one_half():
    """Over 50 epochs of 120 images, the count lies within the binomial's central 99.99 %; for 0.8 as well."""
    for fraction in (0.5, 0.8):
        loss = build(Contrastive(positive_fraction=fraction))
        same = sum((LABELS[loss.partners(LABELS, 0, epoch)] == LABELS).sum() for epoch in range(1, 51))
        low, high = stats.binom.interval(0.9999, 50 * len(LABELS), fraction)
        assert low <= same <= high


def test_no_image_is_its_own_partner_where_its_class_has_others():
    """In 200 epochs not once."""
    loss = build(Contrastive())
    for epoch in range(1, 201):
        assert (loss.partners(LABELS, 1, epoch) != np.arange(len(LABELS))).all()


def test_partners_are_even_over_the_others_of_the_class_and_over_all_of_other_classes():
    """Chi-square of the partners of one image, over many epochs, against equal frequencies."""
    loss, image = build(Contrastive()), 5
    partners = np.array([loss.partners(LABELS, 2, epoch)[image] for epoch in range(1, 8001)])
    is_same = LABELS[partners] == LABELS[image]
    others = np.setdiff1d(np.flatnonzero(LABELS[image] == LABELS), [image])
    for found, candidates in (
        (partners[is_same], others),
        (partners[~is_same], np.flatnonzero(LABELS[image] != LABELS)),
    ):
        counts = np.bincount(found, minlength=len(LABELS))[candidates]
        assert counts.sum() == len(found)
        assert stats.chisquare(counts).pvalue > 1e-4


def test_an_image_alone_in_its_class_is_paired_with_one_of_another_class():
    """There is no other of its class to be paired with; the rest keep their share."""
    labels = np.array([0, 1, 1, 1, 2])
    loss = build(Contrastive())
    partners = np.array([loss.partners(labels, 0, epoch) for epoch in range(1, 200)])
    for image in (0, 4):
        assert (labels[partners[:, image]] != labels[image]).all()
        assert set(partners[:, image]) == {0, 1, 2, 3, 4} - {image}


def test_images_of_one_single_class_are_paired_with_each_other():
    """Where no image of another class exists, every partner is another image of the class."""
    partners = build(Contrastive()).partners(np.zeros(6, int), 0, 1)
    assert (partners != np.arange(6)).all()


def test_a_class_without_images_and_classes_in_any_order_do_no_harm():
    """Labels 3, 1, 3, 1, 5 with classes 0, 2 and 4 empty: a positive partner is of the same class."""
    labels = np.array([3, 1, 3, 1, 5])
    always, never = build(Contrastive(positive_fraction=1.0)), build(Contrastive(positive_fraction=0.0))
    for epoch in range(1, 50):
        assert (labels[always.partners(labels, 0, epoch)][:4] == labels[:4]).all()
        assert (labels[never.partners(labels, 0, epoch)] != labels).all()


def test_pairs_are_a_function_of_seed_and_epoch():
    """Asked again, the same; in another epoch or with another seed, others."""
    loss = build(Contrastive())
    first = loss.partners(LABELS, 3, 4)
    loss.partners(LABELS, 3, 5)
    assert np.array_equal(first, loss.partners(LABELS, 3, 4))
    assert np.array_equal(first, build(Contrastive(weight=0.0)).partners(LABELS, 3, 4))
    for other in (loss.partners(LABELS, 3, 5), loss.partners(LABELS, 4, 4)):
        assert (first != other).mean() > 0.5
