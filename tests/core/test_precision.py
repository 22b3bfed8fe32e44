"""Does every arithmetic train, and do layouts that must not matter not matter?"""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ablation_suite.core.scheduling.attempt import DONE, Datasets, work
from ablation_suite.core.training import session
from ablation_suite.core.training.loop import train

pytestmark = pytest.mark.usefixtures("one_thread")

PRECISIONS = {"float32": torch.float32, "tf32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
cuda = pytest.param(
    "cuda", marks=[pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")]
)
on_each_device = pytest.mark.parametrize("device", ["cpu", cuda])


@on_each_device
@pytest.mark.parametrize("precision", PRECISIONS)
def test_every_precision_trains_the_digits(precision, device, make_config, make_folder, runtime, digits):
    """Four of five digits are right after 96 steps, and the forward pass really has the type that was asked for.

    Half of the images in batches of half the size, because processors are slow in halves.
    """
    types = set()

    def on_step(step):
        if (step.epoch, step.number) == (1, 1):
            step.parts.network.head.register_forward_hook(lambda *args: types.add(args[2].dtype))

    small = {"data": {"name": "digits", "share": 0.25}, "batch_size": 16, "optimizer.lr": 1e-2}
    folder = make_folder(make_config(small, precision=precision, epochs=6))
    assert work(folder, runtime.model_copy(update={"device": device}), Datasets(), on_step=on_step) == DONE
    record = folder.record()
    assert types == {PRECISIONS[precision]}
    assert record["metrics"]["test/accuracy"] > 0.8
    assert all(np.isfinite(row["train/grad_norm"]) for row in record["history"])


def test_half_precision_rounds_and_stays_near_single(make_config, first_steps):
    """The first loss differs, since it is rounded, by less than the rounding of eight (bf16) or eleven bits (fp16)."""
    losses = {name: first_steps(make_config(precision=name), 3, store=name)[:, 0] for name in PRECISIONS}
    for name, error in (("bf16", 2**-8), ("fp16", 2**-11)):
        assert losses[name][0] != losses["float32"][0]
        np.testing.assert_allclose(losses[name], losses["float32"], rtol=4 * error)


def test_a_step_whose_scaled_gradient_overflows_is_skipped(make_config, first_steps, monkeypatch):
    """With a scale far too large the first steps move nothing and halve it, the loss stays a number, the rest train."""
    states = []

    def too_large(*args, assemble=session.assemble, **settings):
        parts = assemble(*args, **settings)
        parts.scaler.load_state_dict({**parts.scaler.state_dict(), "scale": 2.0**40})
        return parts

    def watch(parts):
        states.append((parts.scaler.get_scale(), parts.network.head.linear.weight.detach().clone()))

    monkeypatch.setattr(session, "assemble", too_large)
    tally = first_steps(make_config(precision="fp16", batch_size=16), 30, watch)
    scales = [scale for scale, _ in states]
    assert scales[:3] == [2.0**39, 2.0**38, 2.0**37]
    assert torch.equal(states[0][1], states[2][1])
    assert not torch.equal(states[0][1], states[-1][1])
    assert np.isfinite(tally[:, 0]).all()
    assert tally[-1, 0] < tally[0, 0]


def test_the_gradient_norm_does_not_carry_the_scale(make_config, first_steps):
    """It is told and clipped after unscaling: fp16's norm is float32's within rounding."""
    norms = [first_steps(make_config(precision=name), 2, store=name)[0, 1] for name in ("float32", "fp16")]
    assert norms[1] == pytest.approx(norms[0], rel=0.01)


@pytest.mark.parametrize("changes", [{}, {"loss": "contrastive"}, {"mix": "cutmix"}, {"augment": "photo"}])
def test_channels_last_equals_contiguous_memory(changes, make_config, make_folder, digits, runtime):
    """The same losses but for the order of sums; weights and images lie as asked for, in training and evaluation."""
    losses = {}
    for setting in ("on", "off"):
        seen = []

        def look(backbone, inputs, seen=seen):
            weight = backbone.stages[0][0].conv2.weight
            lasts = (each.is_contiguous(memory_format=torch.channels_last) for each in (weight, inputs[0]))
            seen.append((backbone.training, *lasts))

        def on_step(step, look=look):
            if step.number == 1:
                for network in (step.parts.network, step.parts.evaluated):
                    network.backbone.register_forward_pre_hook(look)

        config = make_config({**changes, "model.normalize": "imagenet"}, epochs=1, ema_decay=0.9)
        folder, settings = make_folder(config, setting), runtime.model_copy(update={"channels_last": setting})
        train(config, digits, settings, folder, on_step=on_step)
        losses[setting] = folder.ledger.history()[0]["train/loss"]
        assert set(seen) == {(training, setting == "on", setting == "on") for training in (True, False)}
    assert losses["on"] == pytest.approx(losses["off"], rel=1e-3)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_cuda_device_computes_what_the_cpu_computes(make_config, first_steps):
    """The first losses agree within the rounding of sums in another order."""
    cpu, gpu = (first_steps(make_config(), 5, store=name, device=name) for name in ("cpu", "cuda"))
    np.testing.assert_allclose(gpu[:, 0], cpu[:, 0], rtol=1e-4)
