"""Do casts and counters of all layers at once give what torch gives layer by layer? To the bit, on the CPU."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from ablation_suite.core.training import streams
from ablation_suite.core.training.at_once import AtOnce
from ablation_suite.core.training.device import prepare
from ablation_suite.core.training.parts import assemble
from ablation_suite.core.training.step import step

pytestmark = pytest.mark.usefixtures("one_thread")


def trained(config, runtime, at_once: bool) -> tuple[dict, torch.Tensor]:
    """The weights and buffers after three steps, and the tally of the last."""
    prepare(runtime, config.precision)
    device = torch.device("cpu")
    parts = assemble(config, num_classes=10, steps_per_epoch=3, device=device, runtime=runtime)
    assert parts.at_once is None
    if at_once:
        parts = replace(parts, at_once=AtOnce(parts.network, config.precision))
    num_images = config.batch_size * parts.loss.num_views
    source = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (num_images, 8, 8, 3), dtype=torch.uint8, generator=source)
    labels = torch.randint(0, 10, (num_images,), generator=source)
    for number in range(3):
        tally = torch.zeros(3, dtype=torch.float64)
        parts.generator.manual_seed(number)
        mixing = streams.torch_generator(0, "mix", 1, number)
        step(config, parts, images, parts.augment.draw(0, 1, num_images), labels, mixing, tally)
    values = {**parts.network.state_dict(), **{f"average.{k}": v for k, v in parts.evaluated.state_dict().items()}}
    return values, tally


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"precision": "bf16"},
        {"precision": "fp16"},
        {"precision": "bf16", "accumulate": 2, "ema_decay": 0.5},
        {"precision": "bf16", "loss": {"name": "contrastive", "views": "separate"}},
        {"precision": "bf16", "model.freeze": "backbone"},
        {"precision": "bf16", "optimizer": "sam"},
    ],
    ids=["float32", "bf16", "fp16", "pieces and an average", "two passes", "frozen", "two gradients"],
)
def test_three_steps_leave_the_same_bits_as_autocast_and_batch_norm_by_themselves(changes, make_config, runtime):
    """Weights, running statistics, counters, loss, norm: every element is equal."""
    config = make_config(changes, batch_size=8)
    (ours, our_tally), (theirs, their_tally) = (trained(config, runtime, at_once) for at_once in (True, False))
    assert torch.equal(our_tally, their_tally)
    assert list(ours) == list(theirs)
    for name, value in ours.items():
        assert value.dtype == theirs[name].dtype
        assert torch.equal(value, theirs[name]), name
