"""Is every metric scikit-learn's, and do its contributions vary over images as the metric does over samples?"""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics

from ablation_suite.core.metrics import PLAIN, metric_fault
from ablation_suite.core.metrics.measures import _PLAIN, calibration_error_by_chance, checked, data_fault, metric_of

CLASSES = tuple("abcde")


def sample(num_images=400, seed=0, balance=(5, 4, 3, 2, 1)):
    """Probabilities (N, K) and labels (N,) of classes of uneven sizes, which a mediocre network might have given."""
    rng = np.random.default_rng(seed)
    labels = rng.choice(5, num_images, p=np.array(balance) / sum(balance))
    logits = rng.normal(size=(num_images, 5))
    logits[np.arange(num_images), labels] += 1.0
    probabilities = np.exp(logits)
    return probabilities / probabilities.sum(axis=1, keepdims=True), labels


REFERENCES = {
    "accuracy": lambda p, y: metrics.accuracy_score(y, p.argmax(1)),
    "top_2": lambda p, y: metrics.top_k_accuracy_score(y, p, k=2),
    "balanced_accuracy": lambda p, y: metrics.balanced_accuracy_score(y, p.argmax(1)),
    "macro_f1": lambda p, y: metrics.f1_score(y, p.argmax(1), average="macro"),
    "nll": lambda p, y: metrics.log_loss(y, p),
    "brier": lambda p, y: np.mean(np.sum((p - np.eye(5)[y]) ** 2, axis=1)),
    "auroc": lambda p, y: metrics.roc_auc_score(y, p, multi_class="ovr"),
    "kappa": lambda p, y: metrics.cohen_kappa_score(y, p.argmax(1), weights="quadratic"),
    "recall/d": lambda p, y: metrics.recall_score(y, p.argmax(1), labels=[3], average=None)[0],
}


@pytest.mark.parametrize("name", REFERENCES)
@pytest.mark.parametrize("seed", range(3))
def test_the_mean_of_the_contributions_is_scikit_learns_metric(name, seed):
    """To the last digits, on classes of uneven sizes."""
    probabilities, labels = sample(seed=seed)
    found = metric_of(f"test/{name}", CLASSES).contributions(probabilities, labels)
    assert found.shape == (400,)
    assert found.mean() == pytest.approx(REFERENCES[name](probabilities, labels), rel=1e-10)


@pytest.mark.parametrize("name", ["balanced_accuracy", "macro_f1", "auroc", "kappa", "recall/d"])
def test_the_contributions_are_the_derivative_of_the_metric_by_the_weight_of_an_image(name):
    """An image that counts a little more moves scikit-learn's weighted metric by its influence."""
    probabilities, labels = sample(num_images=120)
    weighted = {
        "balanced_accuracy": lambda w: metrics.balanced_accuracy_score(labels, predicted, sample_weight=w),
        "macro_f1": lambda w: metrics.f1_score(labels, predicted, average="macro", sample_weight=w),
        "auroc": lambda w: np.mean(
            [metrics.roc_auc_score(labels == k, probabilities[:, k], sample_weight=w) for k in range(5)]
        ),
        "kappa": lambda w: metrics.cohen_kappa_score(labels, predicted, weights="quadratic", sample_weight=w),
        "recall/d": lambda w: metrics.recall_score(labels, predicted, labels=[3], average=None, sample_weight=w)[0],
    }[name]
    predicted = probabilities.argmax(1)
    found = metric_of(f"test/{name}", CLASSES).contributions(probabilities, labels)
    for image in range(0, 120, 7):
        more, less = np.ones(120), np.ones(120)
        more[image], less[image] = 1 + 1e-4, 1 - 1e-4
        slope = (weighted(more) - weighted(less)) / 2e-4  # of the metric, by the weight of one image
        assert found[image] - found.mean() == pytest.approx(120 * slope, abs=1e-5)


@pytest.mark.parametrize("name", ["macro_f1", "auroc", "kappa", "balanced_accuracy"])
def test_the_spread_of_the_contributions_is_the_spread_of_the_metric_over_samples(name):
    """The standard error of one sample is the standard deviation over 300 fresh ones, within a seventh."""
    measure = metric_of(f"test/{name}", CLASSES).contributions
    draws = [measure(*sample(500, seed)) for seed in range(300)]
    told = np.mean([each.std(ddof=1) / np.sqrt(500) for each in draws])
    assert told == pytest.approx(np.std([each.mean() for each in draws], ddof=1), rel=0.15)


def test_a_calibration_error_is_that_of_the_bins():
    """Two bins by hand: 0.9 said twice and right once, 0.6 said twice and right twice."""
    probabilities = np.array([[0.9, 0.1], [0.9, 0.1], [0.6, 0.4], [0.6, 0.4]])
    found = metric_of("val/calibration_error", "ab").contributions(probabilities, np.array([0, 1, 0, 0]))
    assert found.mean() == pytest.approx((2 * 0.4 + 2 * 0.4) / 4)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("accuracy", "such as test/accuracy"),
        ("train/accuracy", "val or test"),
        ("test/macrof1", "did you mean 'macro_f1'"),
        ("test/top_0", "no metric 'top_0'"),
        ("test/recall/", "no metric 'recall/'"),
    ],
)
def test_a_name_that_is_no_metric_is_told_with_the_nearest(name, told):
    """As every misspelt word of a spec."""
    assert told in metric_fault(name)


def test_every_metric_that_a_spec_may_name_can_be_computed():
    """Names are read without NumPy, and so stand by themselves."""
    assert tuple(_PLAIN) == PLAIN


def test_what_a_split_does_not_allow_is_told_before_training():
    """Too few classes for top-5, a class that is not there, and classes without an image."""
    labels = np.array([0, 1, 2, 3, 3])
    assert "of 5 classes the true one is always among the first 5" in data_fault("test/top_5", CLASSES, labels)
    assert "no class 'f'" in data_fault("test/recall/f", CLASSES, labels)
    assert (
        data_fault("test/recall/e", CLASSES, labels)
        == "test/recall/e: needs images of every class, and test has none of e"
    )
    assert "test has none of e" in data_fault("test/auroc", CLASSES, labels)
    assert data_fault("test/macro_f1", CLASSES, labels) == ""


# Four images of three classes: predictions 0, 1, 1, 0 for labels 0, 1, 0, 0; class 2 never occurs.
PROBABILITIES = np.array([[0.8, 0.1, 0.1], [0.2, 0.7, 0.1], [0.3, 0.6, 0.1], [0.5, 0.3, 0.2]])
LABELS = np.array([0, 1, 0, 0])


def value(name, probabilities, labels):
    """A metric of these images."""
    classes = [str(each) for each in range(probabilities.shape[1])]
    return metric_of(f"test/{name}", classes).contributions(probabilities, labels).mean()


def test_top_5_counts_labels_among_the_five_most_probable_by_an_explicit_sort():
    rng = np.random.default_rng(0)
    probabilities, labels = rng.dirichlet(np.ones(12), size=200), rng.integers(12, size=200)
    by_hand = np.mean(
        [label in sorted(range(12), key=lambda k: -p[k])[:5] for p, label in zip(probabilities, labels, strict=True)]
    )
    assert value("top_5", probabilities, labels) == pytest.approx(by_hand)
    assert 0.3 < by_hand < 0.6


def test_macro_f1_averages_the_classes_that_occur():
    """Class 0: precision 2/2, recall 2/3, F1 0.8; class 1: precision 1/2, recall 1, F1 2/3."""
    assert value("macro_f1", PROBABILITIES, LABELS) == pytest.approx((0.8 + 2 / 3) / 2)


def test_the_calibration_error_of_a_perfect_predictor_is_told():
    """Of 359 images it shows as much on average over 300 sets of labels that were drawn from its own probabilities."""
    rng = np.random.default_rng(9)
    p = rng.dirichlet([0.5, 0.5, 0.5], size=359)
    labels = (rng.random((300, 359, 1)) > p.cumsum(axis=1)[:, :2]).sum(axis=2)  # 300 N
    shown = np.mean([value("calibration_error", p, each) for each in labels])
    assert calibration_error_by_chance(p, np.random.default_rng(0), num_draws=300) == pytest.approx(shown, rel=0.05)
    assert shown > 0.03


def test_calibration_error_is_the_weighted_gap_of_each_bin():
    """Confidences 0.8, 0.7 (right), 0.6 (wrong), 0.5 (right); in fifteenths 12.0, 10.5, 9.0, 7.5: four bins."""
    assert value("calibration_error", PROBABILITIES, LABELS) == pytest.approx((0.2 + 0.3 + 0.6 + 0.5) / 4)


def test_within_one_bin_right_and_wrong_answers_balance():
    """Five images of confidence 0.8, four of them right: perfectly calibrated."""
    probabilities = np.tile([0.8, 0.2], (5, 1))
    assert value("calibration_error", probabilities, np.array([0, 0, 0, 0, 1])) == pytest.approx(0, abs=1e-12)
    assert value("calibration_error", probabilities, np.array([0, 0, 0, 1, 1])) == pytest.approx(0.2)


def test_bins_are_open_to_the_left():
    """0.6 = 9/15 closes the bin of 0.58: a wrong and a right answer there leave a gap of (0.6 - 0.42) / 2."""
    probabilities = np.array([[0.6, 0.4], [0.58, 0.42]])
    assert value("calibration_error", probabilities, np.array([1, 0])) == pytest.approx(0.09)


def test_certain_and_right_is_perfectly_calibrated_and_certain_and_wrong_is_not():
    certain = np.eye(3)
    assert value("calibration_error", certain, np.arange(3)) == 0
    assert value("calibration_error", certain, np.array([1, 2, 0])) == 1


@pytest.mark.parametrize(
    ("probabilities", "labels", "message"),
    [
        (PROBABILITIES, LABELS[:3], "are needed"),
        (PROBABILITIES, LABELS + 1.5, "integers"),
        (PROBABILITIES, LABELS + 2, "from 0 to 2"),
        (PROBABILITIES, LABELS - 1, "from 0 to 2"),
        (PROBABILITIES * 2, LABELS, "sum to one"),
        (PROBABILITIES * np.nan, LABELS, "finite"),
    ],
)
def test_what_is_no_prediction_is_refused(probabilities, labels, message):
    with pytest.raises(ValueError, match=message):
        checked(probabilities, labels)
