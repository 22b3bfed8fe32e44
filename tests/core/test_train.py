"""Is the training loop the plain loop that one would write by hand?"""

from __future__ import annotations

import copy
import dataclasses

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torchvision.models.resnet import Bottleneck
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as vision

from ablation_suite.core.config.menu import build
from ablation_suite.core.config.runtime import Runtime
from ablation_suite.core.config.schema import SchemaError
from ablation_suite.core.training import session, streams
from ablation_suite.core.training.evaluate import metrics, predict_logits
from ablation_suite.core.training.feed import Feeds
from ablation_suite.core.training.loop import NonFiniteLoss, Preempted, train
from ablation_suite.core.training.parts import assemble

pytestmark = pytest.mark.usefixtures("one_thread")


class ByHand(nn.Module):
    """The small twin of one stage and one block, without a line of ours."""

    def __init__(self, levels: int = 0):
        super().__init__()
        shortcut = nn.Sequential(nn.Conv2d(16, 64, 1, bias=False), nn.BatchNorm2d(64))
        self.features = nn.Sequential(
            nn.Conv2d(3, 16, 3, padding=1, bias=False),
            nn.BatchNorm2d(16),
            nn.ReLU(),
            Bottleneck(16, 16, 1, shortcut),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
        )
        self.levels = levels
        self.fc = nn.Linear(64 * max(1, 2 * levels), 10)

    def forward(self, images):
        x = self.features(images)
        encoded = [wave(2**level * x) for level in range(self.levels) for wave in (torch.sin, torch.cos)]
        return self.fc(torch.cat(encoded, 1) if encoded else x), x


def batches_by_hand(config, labels):
    """(epoch, step in the epoch, rows) of every batch, over all epochs."""
    for epoch in range(1, config.epochs + 1):
        order = streams.order(config.seed, epoch, len(labels))
        for step, start in enumerate(range(0, len(order), config.batch_size)):
            yield epoch, step, order[start : start + config.batch_size]


def losses_by_hand(config, split, network, optimizer, scheduler=None, num_steps=20):
    """The losses of the first steps of an ordinary torch loop, on the order and pairs that the config draws."""
    pictures = torch.from_numpy(split.images).permute(0, 3, 1, 2).contiguous()
    images = vision.to_dtype(pictures, torch.float32, scale=True)
    labels = torch.from_numpy(split.labels)
    losses = []
    network.train()
    for (epoch, step, rows), _ in zip(batches_by_hand(config, split.labels), range(num_steps), strict=False):
        x, y = images[rows], labels[rows]
        if config.loss.name == "contrastive":
            partners = build(config.loss).partners(split.labels, config.seed, epoch)[rows]
            (first, one), (second, other) = network(x), network(images[partners])
            sign = torch.where(y == labels[partners], 1, -1)
            pull = functional.cosine_embedding_loss(one, other, sign, margin=config.loss.margin)
            loss = functional.cross_entropy(first, y) + functional.cross_entropy(second, labels[partners])
            loss = loss + config.loss.weight * pull
        else:
            if config.mix.name != "none":
                mix = {"mixup": v2.MixUp, "cutmix": v2.CutMix}[config.mix.name]
                torch.set_rng_state(streams.torch_generator(config.seed, "mix", epoch, step).get_state())
                x, y = mix(alpha=config.mix.alpha, num_classes=10)(x, y)
            loss = functional.cross_entropy(network(x)[0], y, label_smoothing=config.loss.label_smoothing)
        optimizer.zero_grad()
        loss.backward()
        if config.clip_norm is not None:
            nn.utils.clip_grad_norm_(network.parameters(), config.clip_norm)
        optimizer.step()
        if scheduler is not None:
            scheduler.step()
        losses.append(loss.item())
    return losses


def twin_of(config, levels=0):
    """The network by hand with the initial values of a config's own."""
    parts = assemble(config, num_classes=10, steps_per_epoch=17, device=torch.device("cpu"), runtime=Runtime())
    by_hand = ByHand(levels)
    names, values = list(by_hand.state_dict()), list(parts.network.state_dict().values())
    by_hand.load_state_dict(dict(zip(names, values, strict=True)))
    return by_hand


ENCODED = {"model.encoding": {"name": "sinusoidal", "levels": 3}}
CONTRASTIVE = {"loss": {"name": "contrastive", "weight": 15.0, "margin": 0.2}}


@pytest.mark.parametrize(
    ("changes", "levels"),
    [
        ({"clip_norm": None}, 0),
        ({"clip_norm": 0.5}, 0),
        ({"loss": {"name": "cross_entropy", "label_smoothing": 0.1}, "clip_norm": 0.5}, 0),
        ({**CONTRASTIVE, "clip_norm": 5.0}, 0),
        ({**ENCODED, "clip_norm": 1.0}, 3),
        ({**CONTRASTIVE, **ENCODED, "clip_norm": 5.0}, 3),
        ({"mix": {"name": "mixup", "alpha": 0.4}, "clip_norm": 1.0}, 0),
        ({"mix": {"name": "cutmix", "alpha": 1.0}, "clip_norm": 1.0}, 0),
    ],
    ids=["plain", "clipped", "smoothed", "contrastive", "encoding", "contrastive+encoding", "mixup", "cutmix"],
)
def test_the_first_20_steps_equal_a_plain_loop(changes, levels, make_config, first_steps, digits):
    """Losses to 1e-6 of a hand-written loop with torch's fused Adam, across the border of an epoch (17 steps)."""
    config = make_config(changes)
    network = twin_of(config, levels)
    optimizer = torch.optim.Adam(network.parameters(), lr=config.optimizer.lr, fused=True)
    expected = losses_by_hand(config, digits.splits["train"], network, optimizer)
    np.testing.assert_allclose(first_steps(config)[:, 0], expected, rtol=1e-6)
    assert len(expected) == 20
    assert min(expected) < 0.95 * expected[0]


class AsPublished:
    """The published training step in float64: network, optimizer and losses of torch alone, a call for each image.

    Knows nothing of a config: it is told the pictures and classes of each step, and keeps the loss of each.
    """

    def __init__(self, network, *, encoding=0, contrastive=False, joint=False, pieces=1):
        self.network = ByHand(encoding).double()
        self.network.load_state_dict(network.state_dict())
        self.network.train()
        self.adam = torch.optim.Adam(self.network.parameters(), lr=3e-3, foreach=False)
        self.contrastive, self.joint, self.pieces = contrastive, joint, pieces
        self.criterion, self.cosine = nn.CrossEntropyLoss(), nn.CosineEmbeddingLoss(margin=0.2)
        self.losses = []

    def learn(self, pictures, classes):
        """One step on pictures uint8 (N, H, W, 3), or on pairs: (2 N, H, W, 3), the first ones first."""
        x = pictures.permute(0, 3, 1, 2).contiguous().double() / 255
        self.adam.zero_grad()
        total = 0.0
        sides = (x.chunk(2), classes.chunk(2)) if self.contrastive else ([x], [classes])
        num_images = len(sides[0][0])
        for piece in torch.arange(num_images).tensor_split(self.pieces):
            loss = self.criterion_of(*([each[piece] for each in side] for side in sides)) * len(piece) / num_images
            loss.backward()
            total += loss.item()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 5.0)
        self.adam.step()
        self.losses.append(total)

    def criterion_of(self, x, y):
        if not self.contrastive:
            return self.criterion(self.network(x[0])[0], y[0])
        if self.joint:
            (output1, output2), (feature1, feature2) = (each.chunk(2) for each in self.network(torch.cat(x)))
        else:
            output1, feature1 = self.network(x[0])
            output2, feature2 = self.network(x[1])
        same = torch.where(y[0] == y[1], 1, -1)
        classified = self.criterion(output1, y[0]) + self.criterion(output2, y[1])
        return classified + 15.0 * self.cosine(feature1, feature2, same)


@pytest.mark.parametrize("pieces", [1, 3])
@pytest.mark.parametrize(
    ("changes", "published"),
    [
        ({}, {}),
        (ENCODED, {"encoding": 3}),
        (CONTRASTIVE, {"contrastive": True}),
        ({"loss": {**CONTRASTIVE["loss"], "views": "joint"}}, {"contrastive": True, "joint": True}),
        ({**CONTRASTIVE, **ENCODED}, {"contrastive": True, "encoding": 3}),
    ],
    ids=["plain", "encoding", "contrastive", "joint", "contrastive+encoding"],
)
def test_in_float64_training_is_the_published_computation(
    changes, published, pieces, make_config, first_steps, monkeypatch
):
    """Losses of 20 steps, all weights and batch norm's statistics, to 1e-9 of the published loop in float64."""
    config = make_config({**changes, "clip_norm": 5.0, "accumulate": pieces})
    reference = AsPublished(twin_of(config, published.get("encoding", 0)), **published, pieces=pieces)
    network = []

    class InFloat64:
        def draw(self, seed, epoch, num_images):
            return torch.empty(num_images, 0)

        def __call__(self, images, rows):
            return images.permute(0, 3, 1, 2).double() / 255

    def in_float64(*args, **settings):
        parts = assemble(*args, **settings)
        network.append(parts.network.double())
        parts.network.register_forward_pre_hook(lambda module, args: (args[0].double(), *args[1:]))
        return dataclasses.replace(parts, augment=InFloat64())

    seen = []
    monkeypatch.setattr(session, "assemble", in_float64)
    losses = first_steps(config, 20, on_step=lambda step: seen.append((step.images.clone(), step.labels.clone())))[:, 0]
    for pictures, classes in seen:
        reference.learn(pictures, classes)
    np.testing.assert_allclose(losses, reference.losses, rtol=1e-9)
    for ours, theirs in zip(network[0].state_dict().values(), reference.network.state_dict().values(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)
    assert min(reference.losses) < 0.95 * reference.losses[0]


@pytest.mark.parametrize(("changes", "levels"), [({}, 0), (CONTRASTIVE, 0), (ENCODED, 3)])
def test_the_first_20_steps_equal_a_loop_over_tensors_at_the_reports_rate(
    changes, levels, make_config, first_steps, digits
):
    """Losses to 1e-6 with the plainest form of Adam; at 3e-5 the last bits of the two forms do not grow."""
    config = make_config({**changes, "optimizer.lr": 3e-5})
    network = twin_of(config, levels)
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-5, foreach=False)
    expected = losses_by_hand(config, digits.splits["train"], network, optimizer)
    np.testing.assert_allclose(first_steps(config)[:, 0], expected, rtol=1e-6)


def test_sgd_with_warm_up_and_cosine_equals_torchs_own_schedulers(make_config, first_steps, digits):
    """Half an epoch of warm-up (8 of 34 steps), then the cosine, set at every step by torch's SequentialLR."""
    config = make_config(
        optimizer={"name": "sgd", "lr": 0.1, "nesterov": True}, schedule={"name": "cosine", "warmup_epochs": 0.5}
    )
    network = twin_of(config)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9, nesterov=True, fused=True)
    warm = torch.optim.lr_scheduler.LinearLR(optimizer, start_factor=0.01, total_iters=8)
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=34 - 8)
    scheduler = torch.optim.lr_scheduler.SequentialLR(optimizer, [warm, cosine], milestones=[8])
    expected = losses_by_hand(config, digits.splits["train"], network, optimizer, scheduler)
    np.testing.assert_allclose(first_steps(config)[:, 0], expected, rtol=1e-6)


def test_the_norm_that_is_told_is_the_gradients_before_clipping(make_config, first_steps):
    """Clipping far below the norm does not change the first step's norm, and changes the second step's loss."""
    free, clipped = (first_steps(make_config(clip_norm=norm), 2) for norm in (None, 1e-3))
    assert free[0, 1] == clipped[0, 1] > 1e-3
    assert free[1, 0] != clipped[1, 0] or free[1, 1] != clipped[1, 1]


def test_the_moving_average_is_the_formula_and_torchs_own(make_config, first_steps):
    """First the weights after step 1, then decay x average + (1 - decay) x weights; batch norm's statistics as well.

    To the bit it is what torch's `AveragedModel` gives, but for integers, which are the network's own.
    """
    decay, states, averages, torchs = 0.9, [], [], []

    def watch(parts):
        if not torchs:
            torchs.append(AveragedModel(parts.network, multi_avg_fn=get_ema_multi_avg_fn(decay), use_buffers=True))
        torchs[0].update_parameters(parts.network)
        states.append({name: value.clone() for name, value in parts.network.state_dict().items()})
        averages.append({name: value.clone() for name, value in parts.evaluated.state_dict().items()})

    first_steps(make_config(ema_decay=decay), 10, watch)
    expected = states[0]
    for state, average in zip(states, averages, strict=True):
        expected = {name: decay * expected[name] + (1 - decay) * value for name, value in state.items()}
        for name, value in average.items():
            if value.is_floating_point():
                torch.testing.assert_close(value, expected[name], rtol=1e-5, atol=1e-6)
    assert not torch.equal(averages[-1]["backbone.conv1.weight"], states[-1]["backbone.conv1.weight"])
    for name, value in torchs[0].module.state_dict().items():
        expected = value if value.is_floating_point() else torch.tensor(10)
        assert torch.equal(averages[-1][name], expected), name


@pytest.mark.parametrize("loss", ["cross_entropy", "contrastive"])
def test_accumulated_gradients_equal_the_large_batch_without_batch_norm(loss, make_config, first_steps, monkeypatch):
    """With batch norm replaced by group norm, 3 pieces of 64 (22, 21, 21) give the losses and norms of the whole."""

    def without_batch_norm(*args, **settings):
        parts = assemble(*args, **settings)
        for module in list(parts.network.modules()):
            for name, child in module.named_children():
                if isinstance(child, nn.BatchNorm2d):
                    setattr(module, name, nn.GroupNorm(1, child.num_features, affine=False))
        return parts

    plain = [first_steps(make_config(accumulate=pieces, loss=loss), 4, store=f"bn{pieces}") for pieces in (1, 3)]
    monkeypatch.setattr(session, "assemble", without_batch_norm)
    whole, pieces = (
        first_steps(make_config(accumulate=pieces, loss=loss), 8, store=f"gn{pieces}") for pieces in (1, 3)
    )
    np.testing.assert_allclose(pieces[:, :2], whole[:, :2], rtol=1e-4)
    np.testing.assert_array_equal(pieces[:, 2], whole[:, 2])
    # Batch norm sees other batches, as the setting says.
    assert np.abs(plain[1][:, 0] / plain[0][:, 0] - 1).max() > 3e-4


def seen_by(config, digits, runtime, folder):
    """The images, augmentation draws and labels of each step of the first epoch, as bytes."""
    seen = []

    def on_step(step):
        num_first = len(step.labels) // step.parts.loss.num_views
        seen.append([each[:num_first].numpy().tobytes() for each in (step.images, step.draws, step.labels)])

    train(config, digits, runtime, folder, on_step=on_step)
    return seen


def test_arms_see_the_same_images_in_the_same_order_with_the_same_draws(digits, runtime, make_config, make_folder):
    """Another network, dropout, encoding, optimizer or loss changes neither; another seed changes both."""
    photo = {"name": "photo", "horizontal_flip": 0.5, "rotation": 20.0}
    base = {"augment": photo, "epochs": 1}
    arms = [
        {},
        {"model.backbone": {"name": "bottleneck", "planes": (16,), "blocks": (1,), "groups": 4, "width_per_group": 32}},
        {"model.head": {"name": "linear", "dropout": 0.5}, **ENCODED},
        {"optimizer": "sgd", "precision": "bf16", "ema_decay": 0.9},
        CONTRASTIVE,
    ]
    configs = [make_config({**base, **arm}) for arm in arms]
    seen = [seen_by(each, digits, runtime, make_folder(each, f"arm{at}")) for at, each in enumerate(configs)]
    assert len(seen[0]) == 17
    for other in seen[1:]:
        assert other == seen[0]
    other_seed = make_config({**base, "seed": 1})
    reseeded = seen_by(other_seed, digits, runtime, make_folder(other_seed))
    for one, other in zip(reseeded, seen[0], strict=True):
        assert one[0] != other[0]
        assert one[1] != other[1]


def test_the_row_of_an_epoch_holds_means_over_images(digits, runtime, make_config, make_folder):
    """Loss and accuracy weigh the short last batch by its images, and `images_seen` counts every one."""
    tallies = []
    config = make_config(epochs=1)
    folder = make_folder(config)
    train(
        config,
        digits,
        runtime,
        folder,
        on_step=lambda step: tallies.append((*step.tally.tolist(), len(step.labels))),
    )
    row = folder.ledger.history()[0]
    losses, norms, correct, sizes = np.array(tallies).T
    num_images = len(digits.splits["train"])
    assert sizes[0] == 64 > sizes[-1] > 1
    assert row["train/loss"] == pytest.approx((losses * sizes).sum() / num_images, rel=1e-9)
    assert row["train/accuracy"] == pytest.approx(correct.sum() / num_images, rel=1e-9)
    assert row["train/grad_norm"] == pytest.approx(norms.mean(), rel=1e-9)
    assert (row["images_seen"], row["num_steps"], row["lr"]) == (num_images, 17, 3e-3)


def few(digits, num_images):
    """The digits with only the first training images."""
    split = digits.splits["train"]
    part = dataclasses.replace(
        split, images=split.images[:num_images], labels=split.labels[:num_images], names=split.names[:num_images]
    )
    return dataclasses.replace(digits, splits={**digits.splits, "train": part})


@pytest.mark.parametrize(("num_images", "steps", "seen"), [(65, 1, 64), (66, 2, 66), (64, 1, 64), (1, 1, 1)])
def test_a_last_batch_of_one_image_is_left_out(num_images, steps, seen, digits, runtime, make_config, make_folder):
    """Batch norm has no variance over one image; the record counts what was really seen."""
    config = make_config(epochs=1)
    folder = make_folder(config)
    train(config, few(digits, num_images), runtime, folder)
    row = folder.ledger.history()[0]
    assert (row["num_steps"], row["images_seen"]) == (steps, seen)


def test_a_loss_that_is_not_finite_stops_the_run_and_says_where(digits, runtime, make_config, make_folder):
    """The text holds the epoch, the first bad step, the learning rate and the gradient norms."""
    config = make_config(optimizer={"name": "sgd", "lr": 1e30}, clip_norm=None)
    with pytest.raises(
        NonFiniteLoss, match=r"loss is not finite in epoch 1, step [2-9], at learning rate 1e\+30"
    ) as caught:
        train(config, digits, runtime, make_folder(config))
    assert "gradient norm" in str(caught.value)
    assert "at the step before" in str(caught.value)
    assert "lower optimizer.lr or set clip_norm" in str(caught.value)


def test_a_gradient_that_is_not_finite_stops_the_run_although_the_loss_is(
    digits, runtime, make_config, make_folder, monkeypatch
):
    """The root of zero has an infinite slope: the loss of step 17 is a number, its gradient is not."""
    from ablation_suite.core.losses.cross_entropy import CrossEntropyLoss

    calls = []

    def at_last(self, logits, features, targets, num_images, plain=CrossEntropyLoss.__call__):
        calls.append(0)
        loss = plain(self, logits, features, targets, num_images)
        return loss + (logits.sum() * 0.0).abs().sqrt() if len(calls) == 17 else loss

    monkeypatch.setattr(CrossEntropyLoss, "__call__", at_last)
    config = make_config(epochs=1)
    with pytest.raises(NonFiniteLoss, match="gradient is not finite in epoch 1, step 17"):
        train(config, digits, runtime, make_folder(config))


def test_a_step_asks_nothing_of_the_head_but_logits(make_config, first_steps, monkeypatch):
    """Another head, without a layer called `linear`, trains under mixing, which needs the number of classes."""

    class TwoLayers(nn.Module):
        def __init__(self, linear):
            super().__init__()
            self.layers = nn.Sequential(linear, nn.ReLU(), nn.Linear(10, 10))

        def forward(self, features, generator):
            return self.layers(features)

    def with_other_head(*args, **settings):
        parts = assemble(*args, **settings)
        parts.network.head = TwoLayers(parts.network.head.linear)
        return parts

    monkeypatch.setattr(session, "assemble", with_other_head)
    assert np.isfinite(first_steps(make_config(mix="mixup"), 3)[:, 0]).all()


@pytest.mark.parametrize("stop_after", [None, 1, 2])
def test_early_stopping_ends_the_run_when_no_better_epoch_has_come(
    stop_after, digits, runtime, make_config, make_folder
):
    """The first epochs of the run that goes on to the end, to the bit, up to `patience` after the best; resumed or not.

    With a learning rate of 0.1 the accuracy falls back after some epochs.
    """
    settings = {"optimizer.lr": 0.1, "epochs": 12}
    endless, early = make_config(settings), make_config({**settings, "early_stopping": {"patience": 2}})
    folders = [make_folder(config) for config in (endless, early)]
    train(endless, digits, runtime, folders[0])
    if stop_after is not None:
        with pytest.raises(Preempted):
            train(early, digits, runtime, folders[1], stop=lambda: len(folders[1].ledger.history()) >= stop_after)
    _, position = train(early, digits, runtime, folders[1])
    accuracies, ended = ([row["val/accuracy"] for row in each.ledger.history()] for each in folders)
    best = next(at for at in range(12) if max(accuracies[: at + 3]) == accuracies[at] and at + 3 <= 12)
    assert ended == accuracies[: best + 3]
    assert len(ended) < 12
    assert position.best_epoch == best + 1
    assert [row["epoch"] for row in folders[1].ledger.rows() if row.get("event") == "stopped_early"] == [best + 3]


def test_early_stopping_and_the_last_epochs_weights_contradict_each_other(make_config):
    """Patience is counted from the epoch that is kept."""
    with pytest.raises(SchemaError, match="selection=last does not keep"):
        make_config(selection="last", early_stopping={"patience": 1})


def test_a_share_of_the_training_images_is_stratified_and_nested(digits, runtime, make_config, make_folder):
    """A run sees its share of each class, rounded, all of them every epoch; a smaller share is part of a larger one."""
    split, seen = digits.splits["train"], {}
    for share in (0.001, 0.1, 0.5, 1.0):
        pictures, labels = [], []

        def on_step(step, pictures=pictures, labels=labels):
            pictures += [image.numpy().tobytes() for image in step.images]
            labels += step.labels.tolist()

        config = make_config({"data": {"name": "digits", "share": share}, "epochs": 1, "batch_size": 50})
        folder = make_folder(config)
        train(config, digits, runtime, folder, on_step=on_step)
        sizes = np.bincount(split.labels)
        np.testing.assert_array_equal(np.bincount(labels), np.maximum(1, np.floor(share * sizes + 0.5)))
        assert folder.ledger.history()[0]["images_seen"] == len(labels)
        seen[share] = set(pictures)
    assert seen[0.001] < seen[0.1] < seen[0.5] < seen[1.0] == {image.tobytes() for image in split.images}


def test_a_balanced_sampler_draws_images_twice_and_changes_them_in_two_ways(digits, runtime, make_config, make_folder):
    """An epoch has as many images as before; those that stand in it twice are two different pictures after erasing."""
    seen = []

    def on_step(step):
        inputs = step.parts.augment(step.images, step.draws)
        seen.extend(
            (image.numpy().tobytes(), made.numpy().tobytes()) for image, made in zip(step.images, inputs, strict=True)
        )

    data, augment = {"name": "digits", "sampler": "balanced"}, {"name": "random_crop", "padding": 3}
    config = make_config({"data": data, "augment": augment, "epochs": 1})
    folder = make_folder(config)
    train(config, digits, runtime, folder, on_step=on_step)
    images = [image for image, _ in seen]
    assert folder.ledger.history()[0]["images_seen"] == len(images) == len(digits.splits["train"])
    assert len({*images}) < 0.7 * len(images)  # 1 - 1/e of them, in expectation
    twice = [image for image in {*images} if images.count(image) == 2]
    ways = [len({made for image, made in seen if image == each}) for each in twice]
    assert np.mean(np.array(ways) == 2) > 0.9  # of 49 crops, two are the same now and then


def weights_after(config, digits, runtime, folder):
    """The network's weights at the end of every epoch, and the parts and the position at the end of training."""
    kept = []

    def on_step(step):
        if step.number == step.num_steps:
            kept.append({name: each.detach().clone() for name, each in step.parts.network.named_parameters()})

    run, position = train(config, digits, runtime, folder, on_step=on_step)
    return kept, run.parts, position


def test_swa_is_the_equal_average_of_the_last_epochs_with_statistics_of_its_own(
    digits, runtime, make_config, make_folder, one_thread
):
    """Of epochs 3 to 5, with torch's update_bn over the last epoch's images in order; it is what is evaluated."""
    config = make_config(epochs=5, swa={"start_epoch": 3, "lr": 1e-3}, selection="last")
    folder = make_folder(config)
    kept, parts, _ = weights_after(config, digits, runtime, folder)
    assert parts.evaluated is not parts.network
    for name, each in parts.evaluated.named_parameters():
        torch.testing.assert_close(each, (kept[2][name] + kept[3][name] + kept[4][name]) / 3)
    run = session.set_up(config, digits, runtime)
    twin = copy.deepcopy(parts.evaluated)
    images = torch.from_numpy(run.split.images[np.concatenate(run.draw(5).views)])
    batches = (images.permute(0, 3, 1, 2) / 255.0).split(64)
    torch.optim.swa_utils.update_bn(batches, twin)
    for (name, ours), theirs in zip(parts.evaluated.named_buffers(), twin.buffers(), strict=True):
        torch.testing.assert_close(ours, theirs, msg=name)
    rates = [row["lr"] for row in folder.ledger.history()]
    assert rates == [3e-3, 3e-3, 1e-3, 1e-3, 1e-3]
    val = digits.splits["val"]
    logits = predict_logits(parts.evaluated, Feeds().of(val.images, run.device), len(val), 64, "float32")
    told = metrics(logits, torch.from_numpy(val.labels))
    assert told["loss"] == pytest.approx(folder.ledger.history()[-1]["val/loss"])


def test_before_its_first_epoch_swa_evaluates_the_network(digits, runtime, make_config, make_folder):
    """The history of the epochs before is that of a run without it."""
    folders = [make_folder(make_config(epochs=3, **more)) for more in ({}, {"swa": {"start_epoch": 3}})]
    for folder, more in zip(folders, ({}, {"swa": {"start_epoch": 3}}), strict=True):
        train(make_config(epochs=3, **more), digits, runtime, folder)
    losses = [[row["val/loss"] for row in folder.ledger.history()] for folder in folders]
    assert losses[0][:2] == losses[1][:2]
    assert losses[0][2] != losses[1][2]  # an average of one epoch is that epoch, but for its statistics
