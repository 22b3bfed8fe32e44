"""Are the networks torchvision's, and do they begin as torchvision's do?"""

from __future__ import annotations

import math
from typing import get_args

import numpy as np
import pytest
import torch
import torchvision
from scipy import stats
from torch import nn
from torch.nn import functional
from torchvision.models import get_model, get_model_weights, list_models
from torchvision.models.resnet import Bottleneck
from torchvision.transforms.v2 import functional as vision

from ablation_suite.core.config.run_config import RunConfig
from ablation_suite.core.config.schema import Document, SchemaError, validate
from ablation_suite.core.models import Model, TorchvisionBackbone, TorchvisionClassifier
from ablation_suite.core.models.backbones import AverageMax, Drop, GeM
from ablation_suite.core.models.network import Network, build_network
from ablation_suite.core.models.stages import depths
from ablation_suite.core.models.weights import NetworkError, check_weights, load_weights
from ablation_suite.core.training.cost import network_cost

pytestmark = pytest.mark.usefixtures("one_thread")

BACKBONES = (
    "resnet18",
    "resnet34",
    "resnet50",
    "resnet101",
    "resnet152",
    "resnext50_32x4d",
    "resnext101_32x8d",
    "resnext101_64x4d",
    "wide_resnet50_2",
    "wide_resnet101_2",
)


def model(**settings) -> Model:
    return validate(Model, Document(data=settings, source="test"))


@pytest.mark.parametrize("name", BACKBONES)
def test_parameters_and_flops_are_the_published_ones(name):
    """torchvision publishes `num_params`, and `_ops` in units of 10^9 multiply-adds, with three decimals."""
    data = {"model": {"backbone": name}, "data": {"name": "folder", "path": "x", "size": 224}}
    config = validate(RunConfig, Document(data=data, source="test"))
    cost = network_cost(config, num_classes=1000)
    meta = next(iter(get_model_weights(name))).meta
    assert cost["parameters"] == meta["num_params"]
    assert round(cost["flops_per_image"] / 2e9, 3) == meta["_ops"]


@pytest.mark.parametrize("name", ["resnet18", "resnext50_32x4d"])
def test_the_forward_pass_is_torchvisions_with_the_same_weights(name):
    """Same logits for the same values, in evaluation and in training mode; the features are what enters `fc`."""
    theirs = get_model(name, weights=None, num_classes=7)
    ours = Network(model(backbone=name), num_classes=7)
    values = theirs.state_dict()
    ours.backbone.load_state_dict({key: value for key, value in values.items() if not key.startswith("fc.")})
    ours.head.linear.load_state_dict({"weight": values["fc.weight"], "bias": values["fc.bias"]})
    images = torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    for training in (True, False):
        logits, features = ours.train(training)(images)
        assert torch.equal(logits, theirs.train(training)(images))
        assert torch.equal(logits, theirs.fc(features))


def test_the_small_twin_is_made_of_torchvisions_bottlenecks():
    """Stem, bottlenecks with shortcuts of stride 1 then 2, and pooling, written out by hand, give the same features."""
    ours = build_network(
        model(
            backbone={"name": "bottleneck", "planes": (16, 32), "blocks": (2, 1), "groups": 4, "width_per_group": 16}
        ),
        num_classes=5,
        seed=0,
    )

    def shortcut(inputs: int, outputs: int, stride: int) -> nn.Sequential:
        return nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    paths = {"groups": 4, "base_width": 16}
    theirs = nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        Bottleneck(16, 16, 1, shortcut(16, 64, 1), **paths),
        Bottleneck(64, 16, 1, None, **paths),
        Bottleneck(64, 32, 2, shortcut(64, 128, 2), **paths),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(128, 5),
    )
    ours_values, theirs_values = ours.state_dict().values(), theirs.state_dict()
    assert [each.shape for each in ours_values] == [each.shape for each in theirs_values.values()]
    theirs.load_state_dict(dict(zip(theirs_values, ours_values, strict=True)))
    images = torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(ours(images)[0], theirs(images), rtol=1e-6, atol=1e-6)


def test_normalisation_is_torchvisions():
    """`imagenet` gives the network what torchvision's `normalize` gives with ImageNet's means and deviations."""
    plain, normalised = (
        build_network(model(normalize=each), num_classes=5, seed=0).eval() for each in ("none", "imagenet")
    )
    images = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    expected = vision.normalize(images, mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225])
    torch.testing.assert_close(normalised(images)[0], plain(expected)[0], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("raw", [False, True])
def test_the_positional_encoding_is_sines_and_cosines_of_doubled_features(raw):
    """[sin x, cos x, sin 2x, cos 2x, sin 4x, cos 4x] for L = 3, by NumPy; raw features before them only if asked."""
    encoding = {"name": "sinusoidal", "levels": 3, "include_input": raw}
    network = build_network(model(encoding=encoding), num_classes=5, seed=0)
    x = np.random.default_rng(0).normal(size=(4, 2048)).astype(np.float32)
    expected = [np.sin(x), np.cos(x), np.sin(2 * x), np.cos(2 * x), np.sin(4 * x), np.cos(4 * x)]
    expected = np.concatenate(([x] if raw else []) + expected, axis=1)
    encoded = network.encoding(torch.from_numpy(x))
    assert encoded.shape == (4, 12_288 + (2048 if raw else 0))
    np.testing.assert_allclose(encoded.numpy(), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("levels", "raw", "inputs"), [(1, False, 4096), (3, False, 12_288), (3, True, 14_336), (6, False, 24_576)]
)
def test_the_head_of_an_encoded_resnet50_has_2_l_d_inputs(levels, raw, inputs):
    """D = 2048, so that L = 3 gives 12,288; the raw features add D."""
    encoding = {"name": "sinusoidal", "levels": levels, "include_input": raw}
    with torch.device("meta"):
        network = Network(model(backbone="resnet50", encoding=encoding), num_classes=100)
    assert network.head.linear.weight.shape == (100, inputs)


def test_features_of_16_bits_are_encoded_in_32():
    """sin(32 x) of a bfloat16 product would be off by far more than the rounding of x itself."""
    network = build_network(model(encoding={"name": "sinusoidal", "levels": 6}), num_classes=5, seed=0)
    x = torch.linspace(0, 3, 50).bfloat16()[None]
    expected = torch.sin(32 * x.double()).float()
    torch.testing.assert_close(network.encoding(x)[:, 10 * 50 : 11 * 50], expected, rtol=0, atol=1e-5)


def test_initial_values_have_the_distribution_of_torchvisions_resnet():
    """Each convolution: normal with He's fan-out deviation and that of torchvision's own; batch norm 1 and 0; the
    linear layer even within 1 / sqrt(inputs), with a bias of zeros."""
    ours = build_network(model(backbone="resnet18"), num_classes=1000, seed=0)
    theirs = get_model("resnet18", weights=None).state_dict()
    for name, value in ours.backbone.named_parameters():
        if value.dim() == 4:
            fan_out = value.shape[0] * value.shape[2] * value.shape[3]
            deviation = math.sqrt(2.0 / fan_out)
            error = 5.0 / math.sqrt(2 * value.numel())
            assert abs(value.std().item() / deviation - 1.0) < error
            assert abs(value.std().item() / theirs[name].std().item() - 1.0) < 1.5 * error
            assert stats.kstest(value.detach().numpy().ravel()[:5000] / deviation, "norm").pvalue > 1e-4
        else:
            assert torch.equal(value, theirs[name])
    bound = 512**-0.5
    values = ours.head.linear.weight.detach().numpy().ravel()
    assert stats.kstest(values[:5000], "uniform", (-bound, 2 * bound)).pvalue > 1e-4
    assert not ours.head.linear.bias.any()


def test_arms_share_the_initial_values_of_every_tensor_of_one_name_and_shape():
    """A wider path, an encoding, dropout: whatever keeps its name and shape keeps its values, and most tensors do."""
    base = {"name": "bottleneck", "planes": (16, 32), "blocks": (1, 1)}
    arms = [
        model(backbone=base),
        model(backbone={**base, "blocks": (2, 1)}),
        model(backbone={**base, "groups": 8, "width_per_group": 8}),
        model(backbone=base, encoding="sinusoidal"),
        model(backbone=base, head={"name": "linear", "dropout": 0.5}),
    ]
    networks = [dict(build_network(each, num_classes=10, seed=3).named_parameters()) for each in arms]
    for network in networks[1:]:
        shared = [name for name, value in networks[0].items() if name in network and value.shape == network[name].shape]
        assert len(shared) >= 0.6 * len(networks[0])
        for name in shared:
            assert torch.equal(networks[0][name], network[name]), name


def test_another_seed_gives_other_values_and_no_two_tensors_share_theirs():
    """Convolutions of one shape in other places, or of another seed, are different draws."""
    first, second = (
        build_network(model(backbone={"name": "bottleneck", "planes": (16,), "blocks": (4,)}), 10, seed)
        for seed in (0, 1)
    )
    convolutions = [value for network in (first, second) for value in network.parameters() if value.dim() == 4]
    for index, one in enumerate(convolutions):
        for other in convolutions[index + 1 :]:
            assert one.shape != other.shape or not torch.equal(one, other)


def test_dropout_zeroes_its_share_scales_the_rest_and_draws_from_the_given_stream():
    """Like torch's dropout: kept inputs are divided by 1 - p; none are dropped in evaluation."""
    network = build_network(model(head={"name": "linear", "dropout": 0.7}), num_classes=3, seed=0)
    head = network.head
    head.linear = nn.Identity()
    ones = torch.ones(100, 1000)
    dropped = head(ones, torch.Generator().manual_seed(1))
    kept = dropped[dropped != 0]
    assert torch.allclose(kept, torch.tensor(1.0 / 0.3))
    assert abs(len(kept) / ones.numel() - 0.3) < 5 * math.sqrt(0.3 * 0.7 / ones.numel())
    assert torch.equal(dropped, head(ones, torch.Generator().manual_seed(1)))
    assert not torch.equal(dropped, head(ones, torch.Generator().manual_seed(2)))
    assert torch.equal(head.eval()(ones, None), ones)


def test_a_small_stem_keeps_the_size_of_small_images():
    """`stem: small` has a 3x3 stem of stride 1 and no pooling: 32 pixels become 4 before the global pooling, not 1."""
    sizes = {}
    for stem in ("imagenet", "small"):
        network = build_network(model(backbone={"name": "resnet18", "stem": stem}), num_classes=3, seed=0).eval()
        network.backbone.layer4.register_forward_hook(lambda *args, stem=stem: sizes.update({stem: args[2].shape[2:]}))
        network(torch.zeros(1, 3, 32, 32))
    assert sizes == {"imagenet": (1, 1), "small": (4, 4)}


FAMILIES = {
    "alexnet": 64,
    "convnext_tiny": 32,
    "densenet121": 32,
    "efficientnet_b0": 32,
    "googlenet": 32,
    "inception_v3": 75,
    "maxvit_t": 224,
    "mnasnet0_5": 32,
    "mobilenet_v2": 32,
    "mobilenet_v3_small": 32,
    "regnet_y_400mf": 32,
    "shufflenet_v2_x0_5": 32,
    "squeezenet1_1": 32,
    "swin_t": 32,
    "swin_v2_t": 32,
    "vgg11": 32,
    "vit_b_32": 224,
}
"""One network of each family of torchvision, and a size that it takes."""


def torchvisions(name, **settings):
    """The network as torchvision makes it for its published weights, in evaluation."""
    if name in ("googlenet", "inception_v3"):
        settings |= {"init_weights": False, "transform_input": True}
    return get_model(name, weights=None, num_classes=7, **settings).eval()


def test_every_classification_network_of_torchvision_is_on_the_menu():
    """By its own name, each once."""
    entries = (TorchvisionBackbone, TorchvisionClassifier)
    names = [name for entry in entries for name in get_args(entry.model_fields["name"].annotation)]
    assert sorted(names) == sorted(list_models(module=torchvision.models))


@pytest.mark.parametrize("name", FAMILIES)
def test_the_features_of_a_classifier_are_what_enters_its_last_layer(name, tmp_path):
    """With the values of torchvision's own network, read as a weights file, whose last layer is left out."""
    theirs = torchvisions(name)
    torch.save(theirs.state_dict(), tmp_path / "theirs.pth")
    described = model(backbone=name, weights=str(tmp_path / "theirs.pth"))
    ours = build_network(described, num_classes=3, seed=0)
    load_weights(ours, described)
    entered = []
    last = [module for module in theirs.modules() if isinstance(module, nn.Linear | nn.Conv2d)][-1]
    last.register_forward_hook(lambda module, inputs, output: entered.append(inputs[0]))
    images = torch.rand(2, 3, FAMILIES[name], FAMILIES[name], generator=torch.Generator().manual_seed(0))
    theirs(images)
    logits, features = ours.eval()(images)
    expected = entered[0].mean((2, 3)) if name.startswith("squeezenet") else entered[0]
    torch.testing.assert_close(features, expected, rtol=1e-4, atol=1e-5)
    assert features.shape == (2, ours.backbone.num_features)
    assert logits.shape == (2, 3)


@pytest.mark.parametrize("name", [name for name in FAMILIES if name != "inception_v3"])
def test_parameters_and_flops_of_a_classifier_are_the_published_ones(name):
    """Our head has a bias, where MaxViT's has none; Inception's published counts are of two heads."""
    weights = get_model_weights(name).DEFAULT.meta
    data = {"model": {"backbone": name}, "data": {"name": "folder", "path": "x", "size": 224}}
    cost = network_cost(validate(RunConfig, Document(data=data, source="test")), num_classes=1000)
    assert cost["parameters"] == weights["num_params"] + (1000 if name == "maxvit_t" else 0)
    if not name.startswith(("squeezenet", "swin_v2")):  # classified before pooling; published at 256 pixels
        assert cost["flops_per_image"] / 2e9 == pytest.approx(weights["_ops"], rel=0.02)


@pytest.mark.parametrize("name", FAMILIES)
def test_a_classifier_begins_with_torchvisions_distributions(name):
    """Each tensor has the mean and the deviation of torchvision's own, within the error of both."""
    torch.manual_seed(0)
    settings = {"init_weights": True} if name in ("googlenet", "inception_v3") else {}
    theirs = dict(get_model(name, weights=None, **settings).named_parameters())
    ours = build_network(model(backbone=name), num_classes=3, seed=0).backbone
    for tensor, value in ours.named_parameters():
        other = theirs[tensor]
        if value.numel() > 500 and other.std() > 1e-4 * other.abs().max():
            error = 6.0 / math.sqrt(value.numel())
            assert abs(value.std() / other.std() - 1.0) < error, tensor
            assert abs(value.mean() - other.mean()) < error * other.std(), tensor
            assert not torch.equal(value, other)
        elif other.std() < 1e-4 * other.abs().max() or not other.any():
            assert torch.equal(value, other), tensor


def test_classifiers_share_the_initial_values_of_every_tensor_of_one_name_and_shape():
    """A deeper ConvNeXt, another seed's global state before it, and no tensor moves; another seed moves all."""
    first = dict(build_network(model(backbone="convnext_tiny"), 3, 5).named_parameters())
    torch.manual_seed(123)
    before = torch.get_rng_state()
    deeper = dict(build_network(model(backbone="convnext_small"), 3, 5).named_parameters())
    assert torch.equal(torch.get_rng_state(), before)
    other = dict(build_network(model(backbone="convnext_tiny"), 3, 6).named_parameters())
    shared = [name for name in first if name in deeper and first[name].shape == deeper[name].shape]
    assert len(shared) > 0.8 * len(first)
    for name in shared:
        assert torch.equal(first[name], deeper[name]), name
        random = name.endswith("weight") and first[name].dim() > 1
        assert not random or not torch.equal(first[name], other[name]), name


@pytest.mark.parametrize("name", ["efficientnet_b0", "vgg11", "swin_t"])
def test_a_classifier_drops_from_the_given_stream_and_no_other(name):
    """In training the same stream gives the same features, another gives others, and the global state stays."""
    network = build_network(model(backbone=name), num_classes=3, seed=0).train()
    images = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    before = torch.get_rng_state()
    one, again, other = (network(images, torch.Generator().manual_seed(seed))[1] for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(one, again)
    assert not torch.equal(one, other)


@pytest.mark.parametrize("mode", ["row", "batch"])
def test_stochastic_depth_keeps_whole_images_as_torchvisions_does(mode):
    """Rows are kept whole with probability 1 - p and divided by it, or all together; none drop in evaluation."""
    drop = Drop(0.3, by_row=mode == "row")
    drop.generator = torch.Generator().manual_seed(0)
    values = drop(torch.ones(4000, 3, 2))
    assert values.unique().tolist() == pytest.approx([0.0, 1 / 0.7])
    share = (values != 0).float().mean().item()
    assert abs(share - 0.7) < 5 * math.sqrt(0.3 * 0.7 / (4000 if mode == "row" else 24000))
    assert (values[:, 0, 0] == values[:, 2, 1]).all() == (mode == "row")
    assert torch.equal(drop.eval()(torch.ones(2, 2)), torch.ones(2, 2))


@pytest.mark.parametrize("backbone", ["bottleneck", "resnet18", "convnext_tiny", "squeezenet1_1", "regnet_y_400mf"])
def test_pooling_is_the_average_the_maximum_or_a_generalised_mean_of_the_same_maps(backbone):
    """By hand from the maps that enter the pooling; GeM of power 1 would be the average, begins with 3, and learns."""
    maps, features = {}, {}
    for pooling in ("average", "max", "gem"):
        network = build_network(model(backbone=backbone, pooling=pooling), num_classes=3, seed=0).eval()
        kinds = {"average": nn.AdaptiveAvgPool2d, "max": nn.AdaptiveMaxPool2d, "gem": GeM}
        place = next(m for n, m in network.backbone.named_modules() if n in ("avgpool", "classifier.3"))
        assert isinstance(place, kinds[pooling])
        place.register_forward_hook(lambda module, inputs, output, key=pooling: maps.update({key: inputs[0]}))
        place.register_forward_hook(lambda module, inputs, output, key=pooling: features.update({key: output}))
        images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
        logits, _ = network(images)
    assert torch.equal(maps["max"], maps["gem"])
    torch.testing.assert_close(features["average"], maps["average"].mean((2, 3), keepdim=True))
    torch.testing.assert_close(features["max"], maps["max"].amax((2, 3), keepdim=True))
    by_hand = maps["gem"].clamp(min=1e-6).pow(3).mean((2, 3), keepdim=True).pow(1 / 3)
    torch.testing.assert_close(features["gem"], by_hand)
    logits.sum().backward()
    assert place.gem_power.grad.abs() > 0


@pytest.mark.parametrize("name", ["vit_b_16", "densenet121", "vgg11"])
def test_a_network_without_a_global_pooling_says_so(name):
    """Rather than to pool as ever under another name."""
    with pytest.raises(SchemaError, match=f"{name} has no global pooling"):
        model(backbone=name, pooling="max")


@pytest.mark.slow
def test_every_network_that_can_pool_otherwise_does():
    """What the menu says of each name is what its modules say."""
    for name in get_args(TorchvisionClassifier.model_fields["name"].annotation):
        if not name.startswith("regnet") and TorchvisionClassifier(name=name).pools:
            with torch.device("meta"):
                network = Network(model(backbone=name, pooling="gem"), num_classes=3)
            assert any(isinstance(module, GeM) for module in network.modules()), name


@pytest.mark.parametrize("name", [*FAMILIES, "squeezenet1_0", "resnet18"])
def test_images_that_a_network_leaves_nothing_of_are_refused(name):
    """The smallest image is the first that torchvision's own network takes, for training or evaluation alike."""
    backbone = model(backbone=name).backbone
    if backbone.image_size is not None:
        return
    theirs = torchvisions(name).to("meta")
    for size in range(1, backbone.smallest_image):
        with pytest.raises((RuntimeError, ValueError)):
            theirs(torch.zeros(1, 3, size, size, device="meta"))
    theirs(torch.zeros(1, 3, backbone.smallest_image, backbone.smallest_image, device="meta"))
    for settings in ({"size": 100, "eval_size": 0}, {"size": 0, "eval_size": 100}):
        small = {key: value or backbone.smallest_image - 1 for key, value in settings.items()}
        data = {"model": {"backbone": name}, "data": {"name": "folder", "path": "x", **small}}
        if backbone.smallest_image > 1:
            told = f"{name} takes images from {backbone.smallest_image} pixels on, and gets some of"
            with pytest.raises(SchemaError, match=told):
                validate(RunConfig, Document(data=data, source="test"))


def test_a_network_of_one_size_says_which():
    """A vision transformer has one position for each patch."""
    for size, fits in ((224, True), (32, False)):
        data = {"model": {"backbone": "vit_b_16"}, "data": {"name": "digits", "size": size}}
        if fits:
            validate(RunConfig, Document(data=data, source="test"))
        else:
            with pytest.raises(SchemaError, match="vit_b_16 takes images of 224 pixels only"):
                validate(RunConfig, Document(data=data, source="test"))


def test_a_frozen_backbone_keeps_every_value_and_the_head_moves(make_config, first_steps):
    """Batch norm's statistics too; the head begins as it does without freezing."""
    states = []

    def look(parts):
        states.append({name: value.clone() for name, value in parts.network.state_dict().items()})

    first_steps(make_config({"model.freeze": "backbone"}), 18, look)  # beyond an evaluation
    initial = build_network(make_config().model, num_classes=10, seed=0).state_dict()
    for name, value in states[-1].items():
        assert torch.equal(value, initial[name]) == name.startswith("backbone."), name


STAGED = ["resnet18", "convnext_tiny", "swin_t", "efficientnet_b0", "mobilenet_v3_small", "densenet121", "vit_b_16"]


@pytest.mark.parametrize("name", STAGED)
def test_layers_are_counted_in_the_order_in_which_they_act(name):
    """The layer never falls from one convolution or linear layer to the next that an image goes through."""
    with torch.device("meta"):
        backbone = Network(model(backbone=name), 10).eval().backbone
    depth, num_layers = depths(backbone)
    seen = []
    for inner, module in backbone.named_modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.register_forward_hook(lambda *_, at=f"{inner}.weight": seen.append(depth[at]))
    backbone(torch.zeros(1, 3, 224, 224, device="meta"))
    assert seen == sorted(seen)
    assert {*depth.values()} == {*range(num_layers)}
    blocks = {"resnet18": 9, "convnext_tiny": 22, "swin_t": 16, "efficientnet_b0": 18, "vit_b_16": 13}
    assert num_layers == blocks.get(name, num_layers)  # stem, blocks, and what shrinks the image between them


@pytest.mark.parametrize(
    ("name", "stage"), [("resnet18", "layer2"), ("convnext_tiny", "features.3"), ("bottleneck", "bn1")]
)
def test_a_network_can_be_frozen_up_to_a_part(name, stage):
    """All that an image meets up to the end of the part keeps its values and statistics; all after it is trained."""
    network = build_network(model(backbone=name, freeze=stage), 5, 0)
    network.train()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    optimizer = torch.optim.SGD([each for each in network.parameters() if each.requires_grad], lr=0.1)
    network(torch.rand(4, 3, 32, 32), torch.Generator())[0].square().sum().backward()
    optimizer.step()
    moved = {key for key, value in network.state_dict().items() if not torch.equal(value, before[key])}
    names = [key for key in before if key.startswith("backbone.")]
    end = max(at for at, key in enumerate(names) if key.startswith(f"backbone.{stage}."))
    assert not moved & {*names[: end + 1]}
    assert moved >= {
        key for key in names[end + 1 :] if key.endswith(("conv1.weight", "running_mean", "block.0.weight"))
    }
    assert any(key.startswith("head") for key in moved)


def test_a_part_that_a_backbone_does_not_have_is_told_with_those_that_there_are():
    """Before anything is trained, without building weights."""
    with pytest.raises(NetworkError, match=r"no part 'layer9' with weights \(did you mean 'layer\d'\?\); take none, "):
        check_weights(model(backbone="resnet18", freeze="layer9"))


def test_average_and_maximum_are_pooled_as_timm_does():
    """Half of torch's adaptive average plus half of its adaptive maximum, in the place of the average."""
    maps = torch.randn(2, 6, 5, 7)
    expected = 0.5 * (functional.adaptive_avg_pool2d(maps, 1) + functional.adaptive_max_pool2d(maps, 1))
    torch.testing.assert_close(AverageMax()(maps), expected)
    assert isinstance(
        build_network(model(backbone="resnet18", pooling="average_max"), 3, 0).backbone.avgpool, AverageMax
    )
