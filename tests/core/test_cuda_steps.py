"""What does the host do in a training step on a CUDA device? Seen on the null device: waits, warnings, launches."""

from __future__ import annotations

import os
import tempfile
import warnings

import pytest
import torch

from ablation_suite.core.augment.photo import no_kernels
from ablation_suite.core.config.menu import build
from ablation_suite.core.config.run_config import RunConfig
from ablation_suite.core.config.runtime import Runtime
from ablation_suite.core.config.schema import Document, validate
from ablation_suite.core.training import streams
from ablation_suite.core.training.device import prepare
from ablation_suite.core.training.parts import assemble
from ablation_suite.core.training.step import step
from tests.null_cuda import counts

BACKBONE = {"name": "bottleneck", "planes": (32, 64), "blocks": (1, 1), "groups": 16, "width_per_group": 8}
SMALL = {"backbone": BACKBONE, "head": {"name": "linear", "dropout": 0.2}}
ENCODED = {**SMALL, "encoding": {"name": "sinusoidal", "levels": 3}}
PHOTO = {"name": "photo", "horizontal_flip": 0.5, "vertical_flip": 0.5, "rotation": 50, "sharpness": 2}
PHOTO |= {"brightness": 0.2, "contrast": 0.2, "saturation": 0.2}
KINDS = {
    "cross entropy": {},
    "no augmentation": {"augment": "none"},
    "label smoothing": {"loss": {"name": "cross_entropy", "label_smoothing": 0.1}},
    "contrastive": {"loss": "contrastive"},
    "encoding": {"model": ENCODED},
    "imagenet's normalisation": {"model": {**SMALL, "normalize": "imagenet"}},
    "tf32": {"precision": "tf32"},
    "bf16": {"precision": "bf16"},
    "fp16": {"precision": "fp16"},
    "average": {"ema_decay": 0.99},
    "mixup": {"mix": "mixup"},
    "cutmix": {"mix": "cutmix"},
    "accumulate": {"accumulate": 3},
    "accumulate pairs": {"accumulate": 3, "loss": "contrastive"},
    "sgd": {"optimizer": "sgd"},
    "adamw": {"optimizer": "adamw"},
    "all": {"precision": "fp16", "ema_decay": 0.99, "accumulate": 2, "loss": "contrastive", "model": ENCODED},
}


def take_steps(changes: dict, size: int = 32, num_steps: int = 3, device: str = "cuda") -> dict:
    """Launches of a step after the first, by name, and the warnings of all; a wait in it raises."""
    settings = {"model": SMALL, "clip_norm": 10.0, "batch_size": 16, "augment": PHOTO, **changes}
    config = validate(RunConfig, Document(data=settings, source="test"))
    there, runtime = torch.device(device), Runtime(device=device, compile="off", cache="unused")
    prepare(runtime, config.precision)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        parts = assemble(config, num_classes=10, steps_per_epoch=10, device=there, runtime=runtime)
        num_images = config.batch_size * parts.loss.num_views
        images = torch.zeros(num_images, size, size, 3, dtype=torch.uint8, device=there)
        draws = parts.augment.draw(0, 1, num_images).to(there)
        labels = torch.zeros(num_images, dtype=torch.long, device=there)
        tally = torch.zeros(3, dtype=torch.float64, device=there)
        for number in range(num_steps):
            mixing = streams.torch_generator(0, "mix", 1, number)
            parts.generator.manual_seed(number)
            torch.cuda.set_sync_debug_mode("error" if number else "default")
            counts.reset()
            step(config, parts, images, draws, labels, mixing, tally)
            torch.cuda.set_sync_debug_mode("default")
    return {
        "augmentation": parts.augment.ran,
        "launches": counts.launches(),
        "copies": counts.copies(),
        "warnings": [
            str(each.message)
            for each in caught
            if "prototype" not in str(each.message) and not issubclass(each.category, DeprecationWarning)
        ],
    }


@pytest.mark.parametrize("kind", KINDS)
def test_no_step_waits_for_the_device_or_takes_a_kernel_of_chance(kind, null_cuda):
    """Each kind of step, with torch's own check of waits on, and every warning of an op that is not deterministic."""
    seen = null_cuda.call(take_steps, KINDS[kind])
    assert seen["warnings"] == []
    assert sum(seen["launches"].values()) > 50
    assert not [name for name in seen["copies"] if "pageable" in name or "host" in name]


RESNET = {"model": {"backbone": "resnet50", "head": {"name": "linear", "dropout": 0.7}}, "batch_size": 2}


@pytest.mark.parametrize(
    ("changes", "size", "most"),
    [({}, 32, 120), ({"precision": "bf16"}, 32, 160), ({**RESNET, "precision": "bf16"}, 64, 650)],
    ids=["small", "small bf16", "resnet50 bf16"],
)
def test_a_step_launches_few_kernels(changes, size, most, null_cuda):
    """Each costs the host 5 us and more, whatever the batch; torch's own way takes 233, 303 and 887."""
    seen = null_cuda.call(take_steps, changes, size)
    launches = seen["launches"]
    assert sum(launches.values()) <= most
    assert seen["augmentation"] == "fused (Triton)"
    assert [launches[name] for name in ("_sum_grey", "_paint")] == [1, 1]


def layouts(setting: str) -> list[bool]:
    """Whether weights, inputs and gradients of a step lie channels last, on a device that was told so or not."""
    config = validate(RunConfig, Document(data={"model": SMALL, "batch_size": 16, "augment": PHOTO}, source="test"))
    there, runtime = torch.device("cuda"), Runtime(device="cuda", compile="off", channels_last=setting, cache="unused")
    prepare(runtime, config.precision)
    parts = assemble(config, num_classes=10, steps_per_epoch=10, device=there, runtime=runtime)
    inputs = []
    parts.network.backbone.register_forward_pre_hook(lambda module, given: inputs.append(given[0]))
    images = torch.zeros(16, 32, 32, 3, dtype=torch.uint8, device=there)
    draws, labels = parts.augment.draw(0, 1, 16).to(there), torch.zeros(16, dtype=torch.long, device=there)
    mixing, tally = streams.torch_generator(0, "mix", 1, 0), torch.zeros(3, dtype=torch.float64, device=there)
    step(config, parts, images, draws, labels, mixing, tally)
    weight = parts.network.backbone.stages[0][0].conv2.weight
    return [each.is_contiguous(memory_format=torch.channels_last) for each in (weight, inputs[0], weight.grad)]


@pytest.mark.parametrize(("setting", "expected"), [("auto", True), ("on", True), ("off", False)])
def test_one_switch_lays_everything_of_a_step_in_one_way(setting, expected, null_cuda):
    """Weights, augmented images and gradients alike; `auto` is on."""
    assert null_cuda.call(layouts, setting) == [expected] * 3


def augment_without_kernels() -> tuple[int, str]:
    """The launches of an augmentation where Triton has no C compiler, and how it says that it ran."""
    os.environ["CC"] = "/nowhere"
    os.environ["TRITON_CACHE_DIR"] = tempfile.mkdtemp()
    augment = build(validate(RunConfig, Document(data={"augment": PHOTO}, source="test")).augment)
    images = torch.zeros(4, 8, 8, 3, dtype=torch.uint8, device="cuda")
    rows = augment.draw(0, 1, 4).cuda()
    counts.reset()
    assert augment(images, rows).shape == (4, 3, 8, 8)
    assert "nowhere" in no_kernels()
    return sum(counts.launches().values()), augment.ran


def test_where_kernels_cannot_be_compiled_torch_augments(null_cuda):
    """The same images by 120 launches, and the reason in one line, which the record has."""
    num_launches, ran = null_cuda.call(augment_without_kernels)
    assert num_launches > 50
    assert ran.startswith("eager (torch; ")
    assert "nowhere" in ran


def multiply_compiled(precisions: list[str]) -> list[dict]:
    """The launches of a compiled product under each precision, and what torch says of it."""
    seen = []
    matrix = torch.zeros(64, 64, device="cuda")
    for precision in precisions:
        prepare(Runtime(device="cuda"), precision)
        torch._dynamo.reset()
        product = torch.compile(lambda x: torch.relu(x @ x + 1.0))
        product(matrix)
        counts.reset()
        product(matrix)
        seen.append({"launches": counts.launches(), "words": torch.get_float32_matmul_precision()})
    return seen


@pytest.mark.slow
def test_what_is_compiled_runs_in_every_arithmetic_of_32_bits(null_cuda):
    """torch's compiler asks for the precision in words of its own, and finds the same: one product, one fused rest."""
    seen = null_cuda.call(multiply_compiled, ["float32", "tf32", "float32"])
    assert [each["words"] for each in seen] == ["highest", "high", "highest"]
    for each in seen:
        names = [name for name in each["launches"] if "triton" in name or "gemm" in name]
        assert sorted(each["launches"].values()) == [1, 1]
        assert len(names) == 2
