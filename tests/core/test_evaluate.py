"""Do the recorded numbers follow from the images, one by one?"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, log_loss
from torch import nn

from ablation_suite.core.config.run_config import RunConfig
from ablation_suite.core.config.schema import Document, validate
from ablation_suite.core.models.network import Network
from ablation_suite.core.scheduling.attempt import DONE, Datasets, work
from ablation_suite.core.training.evaluate import metrics, predict_logits
from ablation_suite.core.training.feed import Host

pytestmark = pytest.mark.usefixtures("one_thread")


class FirstPixel(nn.Module):
    """Says class 1 with a logit that is the first red value, else class 0."""

    def forward(self, images):
        red = images[:, 0, 0, 0]
        return torch.stack([torch.full_like(red, 0.5), red], dim=1), red


def test_accuracy_is_the_mean_over_images_with_a_short_last_batch():
    """Ten images in batches of four, the last two wrong: 0.8, where a mean of batches would say 0.67."""
    images = np.zeros((10, 2, 2, 3), np.uint8)
    images[[1, 3, 5, 8, 9]] = 255
    labels = torch.tensor([0, 1, 0, 1, 0, 1, 0, 0, 0, 0])
    logits = predict_logits(FirstPixel(), Host(images), 10, batch_size=4, precision="float32")
    assert logits.shape == (10, 2)
    found = metrics(logits, labels)
    assert found["accuracy"] == 0.8
    assert found["loss"] == pytest.approx(log_loss(labels, logits.double().softmax(1)), rel=1e-6)


def test_the_class_is_read_from_the_probabilities_that_are_kept():
    """Logits of 0 and 1e-9 have one probability in float32, whose first class counts, as in outputs.npz."""
    logits = torch.tensor([[0.0, 1e-9, -1.0]])
    probabilities = logits.softmax(1).numpy()
    for label in (0, 1):
        expected = accuracy_score([label], probabilities.argmax(1))
        assert metrics(logits, torch.tensor([label]))["accuracy"] == expected


def test_evaluation_leaves_the_network_in_training_mode_and_without_gradients():
    """Dropout and batch norm are in evaluation mode meanwhile."""
    modes = []

    class Watched(FirstPixel):
        def forward(self, images):
            modes.append((self.training, torch.is_grad_enabled()))
            return super().forward(images)

    network = Watched()
    predict_logits(network, Host(np.zeros((3, 2, 2, 3), np.uint8)), 3, 2, "float32")
    assert modes == [(False, False)] * 2
    assert network.training


def test_the_kept_outputs_give_exactly_the_recorded_accuracy(finished):
    """scikit-learn's accuracy of outputs.npz equals the record's to the last bit, for validation and test."""
    for folder in finished[1]:
        recorded = folder.record()["metrics"]
        with np.load(folder.path / "outputs.npz") as outputs:
            for split in ("val", "test"):
                labels, probabilities = outputs[f"{split}_labels"], outputs[f"{split}_probabilities"]
                assert accuracy_score(labels, probabilities.argmax(1)) == recorded[f"{split}/accuracy"]
                assert log_loss(labels, probabilities) == pytest.approx(recorded[f"{split}/loss"], rel=1e-4)
                assert len(outputs[f"{split}_names"]) == len(labels)


def test_the_outputs_keep_which_images_belong_together(digits, runtime, make_config, make_folder):
    """So that a report judges groups that a table or the pictures told, without either."""
    told = {name: replace(each, groups=each.names[::-1]) for name, each in digits.splits.items()}
    folder = make_folder(make_config(epochs=1))
    datasets = Datasets()
    datasets.get(make_config(epochs=1), digits.fingerprint, runtime)
    datasets._open = dict.fromkeys(datasets._open, replace(digits, splits=told))
    assert work(folder, runtime, datasets) == DONE
    outputs = folder.outputs()
    for split in ("val", "test"):
        assert outputs[f"{split}_groups"].tolist() == outputs[f"{split}_names"].tolist()[::-1]


def test_the_best_epoch_really_is_the_best(finished):
    """The first of the highest validation accuracies of the ledger, and the record is about its weights."""
    for folder in finished[1]:
        record = folder.record()
        accuracies = [row["val/accuracy"] for row in folder.ledger.history()]
        assert record["metrics"]["best_epoch"] == 1 + accuracies.index(max(accuracies))
        assert record["metrics"]["val/accuracy"] == max(accuracies)
        assert record["metrics"]["last/val/accuracy"] == accuracies[-1]
        assert record["history"] == folder.ledger.history()


def test_the_kept_weights_give_the_kept_outputs(finished, digits):
    """Loaded into a new network and fed by hand, image by image, they give the recorded probabilities."""
    folder = finished[1][0]
    record = folder.record()
    config = validate(RunConfig, Document(data=record["config"], source="test"))
    network = Network(config.model, len(record["classes"])).eval()
    network.load_state_dict(torch.load(folder.path / record["weights"], weights_only=True))
    images = torch.from_numpy(digits.splits["test"].images[:20]).permute(0, 3, 1, 2) / 255
    with torch.no_grad(), np.load(folder.path / "outputs.npz") as outputs:
        by_hand = torch.cat([network(image[None])[0].softmax(1) for image in images]).numpy()
        np.testing.assert_allclose(outputs["test_probabilities"][:20], by_hand, atol=1e-5)
        assert outputs["test_names"].tolist() == list(digits.splits["test"].names)


def test_only_an_epoch_that_is_better_replaces_the_best(make_config, make_folder, runtime, digits, monkeypatch):
    """Accuracies of 0.5, 0.7, 0.7, 0.6 keep epoch 2, and `selection: last` keeps epoch 4.

    What the first run's last epoch said is kept beside it: it is what the second run's kept epoch says.
    """
    from ablation_suite.core.training import loop

    outputs = {}
    for selection, kept in (("best", 2), ("last", 4)):
        accuracies = iter([0.5, 0.7, 0.7, 0.6])
        with monkeypatch.context() as patch:
            patch.setattr(loop, "metrics", lambda *_, a=accuracies: {"loss": 1.0, "accuracy": next(a)})
            folder = make_folder(make_config(selection=selection, epochs=4))
            assert work(folder, runtime, Datasets()) == DONE
        record = folder.record()
        assert record["metrics"]["best_epoch"] == kept
        assert record["weights"] == f"best-{kept:04d}.pt"
        assert (folder.path / record["weights"]).exists()
        outputs[selection] = folder.outputs()
    assert "last_val_probabilities" not in outputs["last"]
    np.testing.assert_array_equal(outputs["best"]["last_val_probabilities"], outputs["last"]["val_probabilities"])
    assert not np.array_equal(outputs["best"]["val_probabilities"], outputs["last"]["val_probabilities"])


def test_a_moving_average_is_what_is_evaluated_and_kept(make_config, make_folder, runtime, digits):
    """With a decay near one the kept weights stay near the first step's, whose network had learnt nothing."""
    folders = [make_folder(make_config(ema_decay=decay, epochs=3), f"ema{decay}") for decay in (None, 0.9999)]
    for folder in folders:
        assert work(folder, runtime, Datasets()) == DONE
    plain, averaged = (folder.record()["metrics"]["last/val/accuracy"] for folder in folders)
    assert averaged < 0.3 < plain
