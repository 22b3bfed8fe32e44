"""Do the losses say what their formulas say, and are the pairs drawn as promised?"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn.utils.class_weight import compute_class_weight
from torch.nn import functional

from ablation_suite.core.config.menu import build
from ablation_suite.core.config.schema import SchemaError
from ablation_suite.core.losses import (
    BinaryCrossEntropy,
    ClassWeighted,
    Contrastive,
    CrossEntropy,
    Focal,
    LogitAdjustment,
    SupervisedContrastive,
    Triplet,
)
from ablation_suite.core.losses.cross_entropy import class_weights

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


def rows(num_images=12, num_classes=4, seed=3):
    """Logits, features and targets in float64."""
    rng = np.random.default_rng(seed)
    logits, features = rng.normal(size=(num_images, num_classes)), rng.normal(size=(num_images, 5))
    return torch.tensor(logits), torch.tensor(features), torch.tensor(rng.integers(num_classes, size=num_images))


def test_balanced_weights_are_scikit_learns_and_effective_numbers_those_of_the_paper():
    """n images of a class count as (1 - beta^n) / (1 - beta) of them; a class without images is left out."""
    labels = np.repeat([0, 1, 3], (90, 9, 1))
    balanced = class_weights(ClassWeighted(), np.bincount(labels))
    expected = compute_class_weight("balanced", classes=np.array([0, 1, 3]), y=labels)
    np.testing.assert_allclose(balanced, [expected[0], expected[1], 0.0, expected[2]])
    effective = class_weights(ClassWeighted(weights="effective_number", beta=0.9), np.bincount(labels))
    by_hand = [1 / sum(0.9**i for i in range(n)) for n in (90, 9, 0, 1) if n]
    np.testing.assert_allclose(effective[[0, 1, 3]], 3 * np.array(by_hand) / sum(by_hand))
    assert effective[2] == 0


def test_class_weighted_cross_entropy_is_torchs_scaled_to_the_images():
    """torch's weighted mean divides by the weights of the batch, ours by its images; shares of classes add up."""
    logits, features, targets = rows()
    sizes = np.array([5, 10, 20, 40])
    weights = torch.tensor(class_weights(ClassWeighted(), sizes))
    for smoothing in (0.0, 0.1):
        loss = build(ClassWeighted(label_smoothing=smoothing), sizes)
        theirs = functional.cross_entropy(logits, targets, weights, label_smoothing=smoothing)
        theirs = theirs * weights[targets].sum() / len(targets)
        torch.testing.assert_close(loss(logits, features, targets, 12), theirs)
        soft = functional.one_hot(targets, 4).double()
        torch.testing.assert_close(loss(logits, features, soft, 12), theirs)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_the_focal_loss_is_the_formula(gamma):
    """By NumPy: the mean of -(1 - p)^gamma log p of the class; gamma 0 is cross-entropy; blended labels blend it."""
    logits, features, targets = rows()
    p = np.exp(logits.numpy()) / np.exp(logits.numpy()).sum(1, keepdims=True)
    focal = -((1 - p) ** gamma) * np.log(p)
    loss = build(Focal(gamma=gamma))
    ours = loss(logits, features, targets, 12)
    assert ours.item() == pytest.approx(focal[range(12), targets].mean(), rel=1e-9)
    if gamma == 0.0:
        torch.testing.assert_close(ours, functional.cross_entropy(logits, targets))
    shares = torch.rand(12, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert loss(logits, features, shares, 12).item() == pytest.approx((shares.numpy() * focal).sum(1).mean(), rel=1e-9)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_the_focal_loss_of_a_sure_image_has_a_gradient(gamma):
    """A probability that rounds to 1 leaves nothing missing; the slope of its root would be infinite."""
    logits = torch.tensor([[200.0, 0.0], [0.0, 0.0]], requires_grad=True)
    build(Focal(gamma=gamma))(logits, torch.zeros(2, 1), torch.tensor([0, 1]), 2).backward()
    assert logits.grad.isfinite().all()


def test_the_supervised_contrastive_loss_is_equation_2_of_khosla_et_al():
    """Image by image in NumPy, with the two of class 2 and the one alone in class 3; added to the cross-entropy."""
    logits, features, _ = rows()
    targets = torch.tensor([0, 0, 0, 0, 1, 1, 1, 1, 1, 2, 2, 3])
    z, total = features.numpy() / np.linalg.norm(features.numpy(), axis=1, keepdims=True), 0.0
    for i in range(12):
        others = [a for a in range(12) if a != i]
        positives = [p for p in others if targets[p] == targets[i]]
        normaliser = np.log(sum(np.exp(z[i] @ z[a] / 0.2) for a in others))
        total += sum(normaliser - z[i] @ z[p] / 0.2 for p in positives) / max(1, len(positives))
    plain = functional.cross_entropy(logits, targets).item()
    ours = build(SupervisedContrastive(weight=0.7, temperature=0.2))(logits, features, targets, 12)
    assert ours.item() == pytest.approx(plain + 0.7 * total / 12, rel=1e-9)


@pytest.mark.parametrize("labels", [[0, 1, 2], [0, 0, 0], [0]])
def test_a_batch_without_positives_or_without_negatives_has_a_gradient(labels):
    """Where there is no image to be pulled to, nothing pulls, and nothing is infinite."""
    features = torch.randn(len(labels), 5, generator=torch.Generator().manual_seed(0)).requires_grad_()
    logits, targets = torch.zeros(len(labels), 3), torch.tensor(labels)
    build(SupervisedContrastive())(logits, features, targets, len(labels)).backward()
    assert features.grad.isfinite().all()


@pytest.mark.parametrize("loss", ["class_weighted", "focal", "supervised_contrastive"])
def test_each_loss_trains_the_digits(loss, make_config, first_steps):
    """Through the loop, in 16 bits: the loss falls."""
    losses = first_steps(make_config(loss=loss, precision="bf16"), 17)[:, 0]
    assert losses[-3:].mean() < 0.97 * losses[:3].mean()


def test_a_loss_that_compares_images_takes_no_mixed_ones(make_config):
    """A blend of two classes is of neither; cross-entropies take shares of classes."""
    for loss in ("contrastive", "supervised_contrastive"):
        with pytest.raises(SchemaError, match=f"the {loss} loss compares whole images"):
            make_config(loss=loss, mix="mixup")
    for loss in ("class_weighted", "focal"):
        make_config(loss=loss, mix="mixup")


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


def test_logit_adjustment_is_the_papers_loss():
    """Menon et al. 2021, eq. 10: log(1 + sum over other classes of (share / own share)^tau exp(their - own logit))."""
    logits, features, targets = rows()
    sizes = np.array([5, 10, 20, 40])
    loss = build(LogitAdjustment(tau=1.5), sizes)(logits, features, targets, 12)
    values = []
    for row, label in zip(logits.numpy(), targets.tolist(), strict=True):
        others = [k for k in range(4) if k != label]
        values.append(np.log1p(sum((sizes[k] / sizes[label]) ** 1.5 * np.exp(row[k] - row[label]) for k in others)))
    assert loss.item() == pytest.approx(np.mean(values), rel=1e-9)
    plain = build(LogitAdjustment(tau=0.0, label_smoothing=0.1), sizes)(logits, features, targets, 12)
    assert plain.item() == pytest.approx(build(CrossEntropy(label_smoothing=0.1))(logits, features, targets, 12).item())


def test_a_class_without_images_can_be_adjusted_for():
    """It counts as one of a single image, so that nothing is infinite where targets are smoothed."""
    loss = build(LogitAdjustment(label_smoothing=0.1), np.array([5, 0, 20, 40]))
    assert loss(*rows(), 12).isfinite()


def test_binary_cross_entropy_is_the_formula_on_smoothed_targets():
    """By NumPy: -(q log s(x) + (1 - q) log s(-x)), over classes meaned or summed, for hard, mixed, cut-off targets."""
    logits, features, targets = rows()
    x = logits.numpy()
    hard = np.eye(4)[targets]
    mixed = 0.7 * hard + 0.3 * hard[::-1]
    for given, shares in ((targets, hard), (torch.tensor(mixed), mixed)):
        for smoothing, threshold in ((0.0, None), (0.1, None), (0.1, 0.2)):
            q = shares * (1 - smoothing) + smoothing / 4
            q = q if threshold is None else (q > threshold).astype(float)
            values = q * np.log1p(np.exp(-x)) + (1 - q) * np.log1p(np.exp(x))
            for sums in (False, True):
                entry = BinaryCrossEntropy(label_smoothing=smoothing, target_threshold=threshold, sum_classes=sums)
                expected = values.sum(1).mean() if sums else values.mean()
                assert build(entry)(logits, features, given, 12).item() == pytest.approx(expected, rel=1e-9)


def test_the_triplet_loss_is_torchs_of_the_hardest_triplets():
    """The triplets are found by loops, their loss is torch.nn.functional.triplet_margin_loss."""
    logits, features, targets = rows(num_images=14)
    distance = torch.cdist(features, features)
    triplets = []
    for at in range(14):
        same = [k for k in range(14) if targets[k] == targets[at] and k != at]
        other = [k for k in range(14) if targets[k] != targets[at]]
        if same:
            triplets.append([at, max(same, key=lambda k: distance[at, k]), min(other, key=lambda k: distance[at, k])])
    anchor, positive, negative = (features[list(each)] for each in zip(*triplets, strict=True))
    theirs = functional.triplet_margin_loss(anchor, positive, negative, margin=0.4, eps=0.0, reduction="sum") / 14
    ours = build(Triplet(weight=2.0, margin=0.4))(logits, features, targets, 14)
    torch.testing.assert_close(ours, functional.cross_entropy(logits, targets) + 2.0 * theirs)
    assert 10 < len(triplets) <= 14


def test_a_triplet_loss_of_equal_features_has_finite_gradients():
    """Two images with the same features are at the root's end, where its slope is infinite."""
    features = torch.ones(4, 3, requires_grad=True)
    build(Triplet())(torch.zeros(4, 2), features, torch.tensor([0, 0, 1, 1]), 4).backward()
    assert features.grad.isfinite().all()


def test_a_projection_stands_between_the_features_and_the_contrast_alone():
    """The loss with a projection is the loss without one, of projected features; the cross-entropy stays as it is."""
    logits, features, targets = rows()
    for kind in ("linear", "mlp"):
        loss = build(SupervisedContrastive(weight=0.5, projection=kind, projection_dim=3))
        projection = loss.make_beside(5).double()
        assert [tuple(p.shape) for p in projection.parameters() if p.dim() == 2][-1] == (3, 5)
        expected = build(SupervisedContrastive(weight=0.5))(logits, projection(features), targets, 12)
        torch.testing.assert_close(loss(logits, features, targets, 12), expected)
