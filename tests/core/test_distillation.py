"""Does a network learn from a teacher as the paper says, and is the teacher known before anything is trained?"""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch
from torch.nn import functional
from torchvision.models import get_model

from ablation_suite.core.config.menu import build
from ablation_suite.core.losses import CrossEntropy, Distillation
from ablation_suite.core.models.network import IMAGENET_MEAN, IMAGENET_STD, Network
from ablation_suite.core.models.teacher import load_teacher
from ablation_suite.core.models.weights import WeightsError
from ablation_suite.core.runs.identity import run_id
from ablation_suite.core.runs.teachers import misfits, pinned
from ablation_suite.core.training import checkpoint
from ablation_suite.core.training.session import set_up

CPU = torch.device("cpu")


def test_the_loss_is_hintons():
    """By NumPy: (1 - w) CE + w T^2 sum q log(q / p), meaned over images, with softened probabilities."""
    rng = np.random.default_rng(0)
    logits, teachers, targets = rng.normal(size=(6, 5)), rng.normal(size=(6, 5)), rng.integers(5, size=6)
    loss = build(Distillation(teacher="resnet18", temperature=3.0, weight=0.7, label_smoothing=0.1))
    loss.teach(torch.tensor(teachers))
    ours = loss(torch.tensor(logits), torch.zeros(6, 2), torch.tensor(targets), 6)
    soft = [np.exp(each / 3.0) / np.exp(each / 3.0).sum(1, keepdims=True) for each in (teachers, logits)]
    divergence = (soft[0] * np.log(soft[0] / soft[1])).sum(1).mean()
    plain = build(CrossEntropy(label_smoothing=0.1))(torch.tensor(logits), torch.zeros(6, 2), torch.tensor(targets), 6)
    assert ours.item() == pytest.approx(0.3 * plain.item() + 0.7 * 9.0 * divergence, rel=1e-9)


def taught(make_config, teacher, **settings):
    return make_config({"loss": {"name": "distillation", "teacher": teacher, **settings}})


def test_a_finished_run_teaches_with_its_kept_weights(finished, digits, make_config):
    """Its logits are those of its network in evaluation, found by the beginning of its id or by its folder."""
    runtime, (folder, _) = finished
    record = folder.record()
    network = Network(make_config(epochs=4, ema_decay=0.8).model, 10)
    network.load_state_dict(checkpoint.read_verified(folder.path / record["weights"], CPU))
    images = torch.rand(5, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    expected = network.eval()(images)[0]
    for name in (folder.run_id[:6], str(folder.path)):
        before = torch.get_rng_state()
        teach = load_teacher(taught(make_config, name).loss, 10, runtime, CPU)
        assert torch.equal(torch.get_rng_state(), before)
        logits = teach(images)
        assert torch.equal(logits, expected)
        assert not logits.requires_grad


def test_a_step_takes_the_teachers_word_for_the_images_as_the_network_sees_them(finished, digits, make_config):
    """The loss of the first step, with the label's share at zero, is the divergence on the augmented, mixed images."""
    runtime, (folder, _) = finished
    changes = {"mix": "mixup", "augment": {"name": "photo", "horizontal_flip": 0.5}, "batch_size": 32}
    loss = {"name": "distillation", "teacher": folder.run_id, "weight": 1.0}
    session = set_up(make_config({**changes, "loss": loss}), digits, runtime)
    seen = []
    session.parts.network.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    session.parts.network.register_forward_hook(lambda module, inputs, outputs: seen.append(outputs[0].detach()))
    epoch, tally = session.draw(1), torch.zeros(3, dtype=torch.float64)
    for images, rows in session.feed.batches(epoch.views[:1]):
        session.step(epoch, 0, images, rows, tally)
    teach = load_teacher(session.config.loss, 10, runtime, CPU)
    inputs, logits = seen
    theirs = (teach(inputs) / 4.0).softmax(1)
    expected = 16.0 * functional.kl_div((logits / 4.0).log_softmax(1), theirs, reduction="batchmean")
    assert tally[0].item() == pytest.approx(expected.item(), rel=1e-5)


def test_another_teacher_or_other_weights_of_it_are_another_run(finished, make_config, tmp_path):
    """The SHA-256 of the weights is part of the identity; weights that changed since then are refused."""
    runtime, folders = finished
    ids = [run_id(pinned(taught(make_config, each.run_id), runtime), "data") for each in folders]
    assert len({*ids}) == 2
    copy = tmp_path / "copy" / folders[0].run_id
    shutil.copytree(folders[0].path, copy)
    planned = pinned(taught(make_config, str(copy)), runtime)
    kept = copy / folders[0].record()["weights"]
    checkpoint.save_verified(kept, checkpoint.read_verified(folders[1].path / folders[1].record()["weights"], CPU))
    assert run_id(pinned(taught(make_config, str(copy)), runtime), "d") != run_id(planned, "d")
    with pytest.raises(WeightsError, match="other weights than when this run was planned"):
        load_teacher(planned.loss, 10, runtime, CPU)


def test_a_network_of_torchvision_teaches_from_a_file_with_these_classes(make_config, digits, runtime, tmp_path):
    """Its logits are those of torchvision's network on normalised images; another file is another run."""
    network = get_model("resnet18", weights=None, num_classes=10)
    torch.save(network.state_dict(), tmp_path / "teacher.pth")
    config = taught(make_config, "resnet18", teacher_weights=str(tmp_path / "teacher.pth"))
    assert not list(misfits(config, digits, runtime))
    images = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    mean, std = (torch.tensor(each).view(1, 3, 1, 1) for each in (IMAGENET_MEAN, IMAGENET_STD))
    expected = network.eval()((images - mean) / std)
    torch.testing.assert_close(load_teacher(config.loss, 10, runtime, CPU)(images), expected)
    first = run_id(pinned(config, runtime), "d")
    torch.save(get_model("resnet18", weights=None, num_classes=10).state_dict(), tmp_path / "teacher.pth")
    assert run_id(pinned(config, runtime), "d") != first
    torch.save(get_model("resnet18", weights=None, num_classes=4).state_dict(), tmp_path / "teacher.pth")
    with pytest.raises(WeightsError, match=r"loss.teacher_weights: do not fit resnet18 with 10 classes"):
        load_teacher(config.loss, 10, runtime, CPU)


def test_a_teacher_that_cannot_teach_is_told_in_one_line(finished, digits, make_config):
    """Other classes, held-out images, no such run, one that is not finished, ImageNet's classes, another size."""
    runtime, (folder, _) = finished
    unfinished = runtime.store / "0123456789ab"
    unfinished.mkdir(exist_ok=True)
    (unfinished / "run.json").write_text(json.dumps({**folder.job(), "run_id": unfinished.name}))

    def told(config, dataset=digits):
        lines = list(misfits(config, dataset, runtime))
        assert all("\n" not in line for line in lines)
        return lines

    try:
        other = type(digits)(classes=tuple("abcdefghij"), splits=digits.splits, fingerprint="other")
        assert "was trained on other classes (10: 0, 1, 2, ...)" in told(taught(make_config, folder.run_id), other)[0]
        split = make_config(
            {"loss": {"name": "distillation", "teacher": folder.run_id}, "data": {"name": "digits", "split_seed": 1}}
        )
        assert "held out here: its split_seed is 0, here it is 1" in told(split)[0]
        assert "no such run" in told(taught(make_config, "ffffff"))[0]
        assert "missing, not finished; train it first" in told(taught(make_config, "0123456789ab"))[0]
        assert "has ImageNet's 1000 classes and the data 10" in told(taught(make_config, "resnet18"))[0]
        assert "takes images of 224 pixels only" in told(taught(make_config, "vit_b_16"))[-1]
        assert "vgg11 takes images from 32 pixels on" in told(taught(make_config, "vgg11"))[-1]
        with pytest.raises(WeightsError, match="not finished"):
            pinned(taught(make_config, "0123456789ab"), runtime)
        assert told(taught(make_config, folder.run_id)) == []
    finally:
        shutil.rmtree(unfinished)
