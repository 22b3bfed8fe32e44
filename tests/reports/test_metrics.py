"""Do the secondary metrics agree with sums done by hand?"""

import numpy as np
import pytest

from ablation_suite.reports.metrics import calibration_error, class_accuracy, confusion, macro_f1, top_5

pytestmark = pytest.mark.filterwarnings("error")

# Four images of three classes: predictions 0, 1, 1, 0 for labels 0, 1, 0, 0; class 2 never occurs.
PROBABILITIES = np.array([[0.8, 0.1, 0.1], [0.2, 0.7, 0.1], [0.3, 0.6, 0.1], [0.5, 0.3, 0.2]])
LABELS = np.array([0, 1, 0, 0])


def test_top_5_counts_labels_among_the_five_most_probable_by_an_explicit_sort():
    rng = np.random.default_rng(0)
    probabilities, labels = rng.dirichlet(np.ones(12), size=200), rng.integers(12, size=200)
    by_hand = np.mean(
        [label in sorted(range(12), key=lambda k: -p[k])[:5] for p, label in zip(probabilities, labels, strict=True)]
    )
    assert top_5(probabilities, labels) == pytest.approx(by_hand)
    assert 0.3 < by_hand < 0.6


def test_top_5_of_three_classes_is_one():
    assert top_5(PROBABILITIES, LABELS) == 1


def test_macro_f1_averages_the_classes_that_occur():
    """Class 0: precision 2/2, recall 2/3, F1 0.8; class 1: precision 1/2, recall 1, F1 2/3."""
    assert macro_f1(PROBABILITIES, LABELS) == pytest.approx((0.8 + 2 / 3) / 2)


def test_the_confusion_matrix_has_labels_in_rows_and_predictions_in_columns():
    assert confusion(PROBABILITIES, LABELS).tolist() == [[2, 1, 0], [0, 1, 0], [0, 0, 0]]


def test_class_accuracy_is_each_class_recall_and_nan_without_images():
    assert class_accuracy(PROBABILITIES, LABELS) == pytest.approx([2 / 3, 1, np.nan], nan_ok=True)


def test_calibration_error_is_the_weighted_gap_of_each_bin():
    """Confidences 0.8, 0.7 (right), 0.6 (wrong), 0.5 (right); in fifteenths 12.0, 10.5, 9.0, 7.5: four bins."""
    assert calibration_error(PROBABILITIES, LABELS) == pytest.approx((0.2 + 0.3 + 0.6 + 0.5) / 4)


def test_within_one_bin_right_and_wrong_answers_balance():
    """Five images of confidence 0.8, four of them right: perfectly calibrated."""
    probabilities = np.tile([0.8, 0.2], (5, 1))
    assert calibration_error(probabilities, np.array([0, 0, 0, 0, 1])) == pytest.approx(0, abs=1e-12)
    assert calibration_error(probabilities, np.array([0, 0, 0, 1, 1])) == pytest.approx(0.2)


def test_bins_are_open_to_the_left():
    """0.6 = 9/15 closes the bin of 0.58: a wrong and a right answer there leave a gap of (0.6 - 0.42) / 2."""
    probabilities = np.array([[0.6, 0.4], [0.58, 0.42]])
    assert calibration_error(probabilities, np.array([1, 0])) == pytest.approx(0.09)


def test_certain_and_right_is_perfectly_calibrated_and_certain_and_wrong_is_not():
    certain = np.eye(3)
    assert calibration_error(certain, np.arange(3)) == 0
    assert calibration_error(certain, np.array([1, 2, 0])) == 1


@pytest.mark.parametrize("metric", [top_5, macro_f1, calibration_error, class_accuracy, confusion])
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
def test_what_is_no_prediction_is_refused(metric, probabilities, labels, message):
    with pytest.raises(ValueError, match=message):
        metric(probabilities, labels)
