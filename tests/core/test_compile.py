"""When is a network compiled, and does that change anything but the time?"""

from __future__ import annotations

import pytest
import torch

from ablation_suite.core.config.runtime import Runtime
from ablation_suite.core.models.network import build_network
from ablation_suite.core.scheduling.attempt import DONE, Datasets, work
from ablation_suite.core.training.compile import WARM_UP_SECONDS, choose, compile_backbone, for_whole_batches
from ablation_suite.core.training.parts import assemble

CUDA, CPU = torch.device("cuda"), torch.device("cpu")


def test_auto_compiles_exactly_where_the_saved_time_exceeds_the_warm_up(make_config):
    """resnet50 at 224 px: 3 x 8.18 GFLOP per image, a fifth of the time at 30 TFLOP/s saved: 0.164 ms per image."""
    config = make_config({"model.backbone": {"name": "resnet50"}, "data": {"name": "digits", "size": 224}})
    worth = WARM_UP_SECONDS / (0.2 * 3 * 2 * 4.089e9 / 30e12)
    assert not choose(config, int(0.98 * worth), CUDA, Runtime()).compiles
    assert choose(config, int(1.02 * worth), CUDA, Runtime()).compiles


def test_auto_never_compiles_on_the_cpu(make_config):
    """The gain there is small, and the warm-up takes a minute of two cores."""
    choice = choose(make_config(), 10**12, CPU, Runtime())
    assert not choice.compiles
    assert choice.words.startswith("off")


@pytest.mark.parametrize(("setting", "compiles"), [("on", True), ("off", False)])
def test_what_is_asked_for_is_done(make_config, setting, compiles):
    """`on` and `off` are not weighed."""
    for device in (CPU, CUDA):
        assert choose(make_config(), 1, device, Runtime(compile=setting)).compiles == compiles


def test_the_state_dict_of_a_compiled_network_keeps_its_keys(make_config, runtime):
    """Nothing is compiled before the first whole batch, and nothing is renamed."""
    network = build_network(make_config().model, num_classes=10, seed=0)
    keys = list(network.state_dict())
    compile_backbone(network.backbone, 8, runtime)
    assert list(network.state_dict()) == keys


@pytest.fixture
def compiled(monkeypatch):
    """What torch.compile was asked for, as (its settings, sizes of the batches that came); nothing is compiled."""
    asked = []

    def spy(function, **settings):
        sizes = []
        asked.append((settings, sizes))
        return lambda images, *rest: sizes.append(len(images)) or function(images, *rest)

    monkeypatch.setattr(torch, "compile", spy)
    return asked


def test_compiled_code_is_of_one_shape_and_other_batches_stay_eager(compiled, runtime):
    """Static shapes, so that a process that resumes compiles the same; the result is the function's own."""
    double = for_whole_batches(lambda images, by: images * by, 4, runtime)
    for size in (4, 3, 4, 1):
        assert torch.equal(double(torch.ones(size), torch.tensor(2.0)), torch.full((size,), 2.0))
    assert compiled == [({"dynamic": False}, [4, 4])]


@pytest.mark.parametrize(
    ("setting", "expected"),
    [("off", ()), ("auto", ()), ("on", ("backbone",))],  # so short a run gains nothing
)
def test_one_switch_compiles_the_backbone_or_nothing(setting, expected, compiled, make_config, runtime, monkeypatch):
    """On a device that is no CPU (here one without memory), and the parts say what was really compiled."""
    monkeypatch.setattr(torch, "Generator", lambda device="cpu", plain=torch.Generator: plain())
    config, settings = make_config(augment="photo"), runtime.model_copy(update={"compile": setting})
    parts = assemble(config, num_classes=10, steps_per_epoch=1, device=torch.device("meta"), runtime=settings)
    assert parts.compiled == expected
    assert len(compiled) == len(expected)


@pytest.mark.parametrize(("channels_last", "deterministic"), [("auto", True), ("off", False)])
def test_the_record_says_in_which_arithmetic_the_run_was_trained(
    channels_last, deterministic, make_config, make_folder, runtime
):
    """Both move the last bits of its sums, whoever chose them: a command line or a call from Python."""
    folder = make_folder(make_config(epochs=1))
    settings = {"channels_last": channels_last, "deterministic": deterministic}
    assert work(folder, runtime.model_copy(update=settings), Datasets()) == DONE
    how = folder.record()["provenance"]
    assert how["memory_format"] == ("contiguous_format" if channels_last == "off" else "channels_last")
    assert how["deterministic"] == ("on" if deterministic else "off")


def test_the_record_and_the_ledger_say_what_was_compiled(compiled, make_config, make_folder, runtime):
    """On the CPU fused loops augment, so that `on` compiles the backbone alone."""
    folder = make_folder(make_config(epochs=1, augment="photo"))
    assert work(folder, runtime.model_copy(update={"compile": "on"}), Datasets()) == DONE
    told = [row for row in folder.ledger.rows() if row.get("event") == "compile"]
    assert [(row["choice"], row["compiled"]) for row in told] == [("on, as asked for", ["backbone"])]
    assert folder.record()["provenance"]["compiled"] == ["backbone"]
    assert folder.record()["provenance"]["augmentation"] == "fused (numba)"
    assert set(compiled[0][1]) == {64}


@pytest.mark.slow
def test_a_compiled_step_gives_the_gradients_of_an_eager_one_and_is_compiled_once(make_config, runtime, one_thread):
    """Whole batches run compiled and agree to rounding; other batches, evaluation and a second network add no code."""
    images = torch.rand(8, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    eager = build_network(make_config().model, num_classes=10, seed=0)
    eager(images)[0].square().sum().backward()
    torch._dynamo.reset()
    counted = []
    for seed in (0, 1):
        network = build_network(make_config().model, num_classes=10, seed=seed)
        compile_backbone(network.backbone, len(images), runtime)
        network(images)[0].square().sum().backward()
        network(images[:5])
        network.eval()(images)
        counted.append(torch._dynamo.utils.counters["stats"]["unique_graphs"])
        if seed == 0:
            for ours, theirs in zip(network.parameters(), eager.parameters(), strict=True):
                torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-3, atol=1e-4)
    assert counted[0] == counted[1] > 0
