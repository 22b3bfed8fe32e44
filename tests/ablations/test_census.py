"""Can the kinds of arms that published ablations have be written in YAML, and does each take a step?

The kinds are those of a census of twelve studies: training recipes, fine-tuning, imbalance, modernised ResNets,
contrastive pretraining, small photographs. Every arm is tried as `ablate check` does it, beside one baseline.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import yaml
from torchvision.models import get_model

from ablation_suite.ablations.effect import Effects, try_effects
from ablation_suite.ablations.resolve import resolve
from ablation_suite.core.config.menu import build
from ablation_suite.core.config.run_config import RunConfig
from ablation_suite.core.config.runtime import Runtime
from ablation_suite.core.config.schema import parse, validate
from ablation_suite.core.runs.identity import RECIPE, run_id
from ablation_suite.core.runs.run_folder import RunFolder
from ablation_suite.core.scheduling.attempt import DONE, Datasets, work

BASE = """
data: {name: digits, size: 24, share: 0.5}
model: {backbone: {name: bottleneck, planes: [16], blocks: [2]}}
augment: {name: photo, horizontal_flip: 0.5}
optimizer: {name: sgd, lr: 0.05, weight_decay: 1e-3}
loss: cross_entropy
epochs: 4
batch_size: 16
"""
ARMS = """
backbone mobilenet: {model.backbone: mobilenet_v3_small}
backbone regnet: {model.backbone: regnet_y_400mf}
backbone shufflenet: {model.backbone: shufflenet_v2_x0_5}
backbone resnet: {model.backbone: {name: resnet18, stem: small}}
timm: {model.backbone: {name: timm, model: resnet18}}
timm stem: {model.backbone: {name: timm, model: resnet18d}}
timm attention: {model.backbone: {name: timm, model: resnet18, args: {block_args: {attn_layer: se}}}}
timm drop path: {model.backbone: {name: timm, model: resnet18, args: {drop_path_rate: 0.2}}}
timm norm: {model.backbone: {name: timm, model: resnet18, args: {norm_layer: groupnorm}}}
timm activation: {model.backbone: {name: timm, model: resnet18, args: {act_layer: silu}}}
group norm: {model.backbone.norm: group}
no norm: {model.backbone.norm: none}
zero-initialised residuals: {model.backbone.zero_init_residual: true}
stochastic depth: {model.backbone.stochastic_depth: 0.5}
pooling max: {model.pooling: max}
pooling gem: {model.pooling: gem}
pooling average and max: {model.pooling: average_max}
frozen backbone: {model.freeze: backbone}
frozen up to a part: {model.freeze: bn1}
rate of the head: {head_lr_factor: 10}
layer decay: {layer_decay: 0.7}
random resized crop: {augment.random_resized_crop: {scale: [0.5, 1.0]}}
crop after padding: {augment.random_crop: {padding: 1, padding_mode: reflect}}
RandAugment: {augment.rand_augment: {num_ops: 2, magnitude: 9}}
TrivialAugmentWide: {augment.trivial_augment_wide: true}
AutoAugment: {augment.auto_augment: {policy: cifar10}}
AugMix: {augment.aug_mix: {severity: 2}}
random erasing: {augment.random_erasing: {p: 0.25}}
blur: {augment.gaussian_blur: {kernel_size: 3, p: 0.5}}
grey: {augment.random_grayscale: {p: 0.2}}
hue: {augment.hue: 0.1}
a policy alone: {augment: trivial_augment_wide}
erasing alone: {augment: {name: random_erasing, p: 1.0}}
equalised: {data.preprocess: equalize}
CLAHE: {data.preprocess: {name: clahe, tiles: 2}}
resized by cropping: {data: {name: digits, share: 0.5, size: 16, resize: crop}}
evaluated larger: {data.eval_size: 32}
evaluated in the middle: {data.eval_crop: 20}
mixup or cutmix: {mix: {name: either, mixup_alpha: 0.2, cutmix_alpha: 1.0, probability: 1.0}}
focal: {loss: focal}
class-weighted, balanced: {loss: class_weighted}
class-weighted, effective number: {loss: {name: class_weighted, weights: effective_number, beta: 0.99}}
logit adjustment: {loss: logit_adjustment}
binary cross-entropy: {loss: {name: binary_cross_entropy, label_smoothing: 0.1}}
label smoothing: {loss.label_smoothing: 0.1}
supervised contrastive: {loss: supervised_contrastive}
contrastive temperature: {loss: {name: supervised_contrastive, temperature: 0.5}}
contrastive projection: {loss: {name: supervised_contrastive, projection: mlp, projection_dim: 16}}
triplet: {loss: triplet}
distillation from a run: {loss: {name: distillation, teacher: TEACHER}}
distillation from a network: {loss: {name: distillation, teacher: resnet18, teacher_weights: WEIGHTS}}
no decay of norms and biases: {optimizer.decay_norms_and_biases: false}
RMSprop: {optimizer: rmsprop}
Muon: {optimizer: muon}
SAM: {optimizer: {name: sam, lr: 0.05, rho: 0.05}}
step: {schedule: step}
multi-step: {schedule: {name: multi_step, milestones: [2, 3]}}
exponential: {schedule: exponential}
linear: {schedule: linear}
one cycle: {schedule: one_cycle}
plateau: {schedule: plateau}
early stopping: {early_stopping: {patience: 3}}
share of the images: {data.share: 0.25}
balanced sampler: {data.sampler: balanced}
SWA: {swa: {start_epoch: 3}}
moving average: {ema_decay: 0.9}
"""


NAMES = list(yaml.safe_load(ARMS))


@pytest.fixture(scope="module")
def tried(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Effects, list[str]]]:
    """What one step of every arm said, and the arms."""
    folder = tmp_path_factory.mktemp("census")
    runtime = Runtime(device="cpu", compile="off", tracker="off", results=str(folder), cache=str(folder / "cache"))
    before = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled(), torch.backends.fp32_precision
    yield _try_all(folder, runtime)
    torch.set_num_threads(before[0])
    torch.use_deterministic_algorithms(before[1])
    torch.backends.fp32_precision = before[2]


def _try_all(folder: Path, runtime: Runtime) -> tuple[Effects, list[str]]:
    (folder / "base.yaml").write_text(BASE)
    with torch.random.fork_rng(devices=[]):
        torch.save(get_model("resnet18", num_classes=10).state_dict(), folder / "teacher.pth")
    arms = ARMS.replace("TEACHER", _finished_run(folder, runtime)).replace("WEIGHTS", str(folder / "teacher.pth"))
    lines = "".join(f"  {line}\n" for line in arms.strip().splitlines())
    (folder / "census.yaml").write_text(
        f"ablation: census\nquestion: Does every kind take a step?\nbase: base.yaml\nseeds: 1\narms:\n{lines}"
    )
    ablation, configs = resolve(folder / "census.yaml")
    return try_effects(ablation, configs, runtime), list(configs)


def _finished_run(folder: Path, runtime: Runtime) -> str:
    """The id of a run that can teach: the base's, for one epoch."""
    config = validate(RunConfig, parse(BASE.replace("epochs: 4", "epochs: 1"), source="teacher"))
    data = build(config.data, data_root=folder, cache=folder / "cache").fingerprint()
    name = run_id(config, data)
    job = {"run_id": name, "recipe": RECIPE, "config": config.model_dump(mode="json"), "data_fingerprint": data}
    run = RunFolder(runtime.store / name)
    run.create({**job, "labels": {}})
    assert work(run, runtime, Datasets()) == DONE, run.failure()
    return name


@pytest.mark.slow
def test_all_arms_can_be_tried(tried):
    """Nothing is missing on this machine, and the images have what every arm asks of them."""
    effects, _ = tried
    assert effects.untried == ""
    assert not effects.misfits


@pytest.mark.parametrize("name", NAMES)
def test_every_kind_of_arm_takes_a_step_that_shows_its_factor(tried, name):
    """It reads well, is built, steps, has an effect, and moves nothing outside of its factor."""
    effects, arms = tried
    assert name in arms
    assert effects.broken.get(name) is None
    assert name not in effects.without
    assert effects.moved.get(name) is None
