"""Do residual networks with other norms, beginnings and skips compute what torchvision's own parts do?"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torchvision.models import get_model
from torchvision.models.resnet import BasicBlock, Bottleneck
from torchvision.ops import stochastic_depth

from ablation_suite.core.config.schema import Document, SchemaError, validate
from ablation_suite.core.models import Model
from ablation_suite.core.models.network import build_network
from ablation_suite.core.models.residual import Drop

BLOCKS = (BasicBlock, Bottleneck)


def model(**settings) -> Model:
    return validate(Model, Document(data={"backbone": settings}, source="test"))


@pytest.mark.parametrize("name", ["resnet18", "resnext50_32x4d"])
@pytest.mark.parametrize("norm", ["group", "none"])
def test_another_norm_is_torchvisions_network_with_that_layer(name, norm):
    """torchvision's own `norm_layer`, with the same values, gives the same features."""
    layers = {"group": lambda channels: nn.GroupNorm(32, channels), "none": nn.Identity}
    ours = build_network(model(name=name, norm=norm), 10, 0).backbone
    theirs = get_model(name, weights=None, norm_layer=layers[norm])
    theirs.fc = nn.Identity()
    theirs.load_state_dict(ours.state_dict())
    images = torch.rand(2, 3, 64, 64)
    torch.testing.assert_close(ours(images), theirs(images))
    assert not any(isinstance(each, nn.BatchNorm2d) for each in ours.modules())


def test_groups_divide_the_channels_of_small_networks_too():
    """The twin of 16 planes has 16 and 64 channels: 16 and 32 groups."""
    network = build_network(model(name="bottleneck", planes=(16,), blocks=(1,), norm="group"), 10, 0)
    groups = {each.num_channels: each.num_groups for each in network.modules() if isinstance(each, nn.GroupNorm)}
    assert groups == {16: 16, 64: 32}
    assert network.train()(torch.rand(2, 3, 8, 8))[0].isfinite().all()


def test_the_norm_moves_no_other_initial_value():
    """Convolutions and the head begin alike under every norm."""
    networks = [build_network(model(name="resnet18", norm=norm), 10, 3) for norm in ("batch", "group", "none")]
    values = [{name: each for name, each in one.named_parameters() if each.dim() > 1} for one in networks]
    assert [*values[0]] == [*values[1]] == [*values[2]]
    for name, each in values[0].items():
        assert torch.equal(each, values[1][name])
        assert torch.equal(each, values[2][name])


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
@pytest.mark.parametrize("norm", ["batch", "group"])
def test_residual_blocks_can_begin_as_the_identity(name, norm):
    """torchvision's zero_init_residual: the scale of the last norm of every block is 0, and that of no other."""
    network = build_network(model(name=name, norm=norm, zero_init_residual=True), 10, 0).backbone
    theirs = get_model(name, weights=None, zero_init_residual=True)
    zeros = {key for key, value in theirs.state_dict().items() if key.endswith("weight") and not value.any()}
    assert {key for key, value in network.state_dict().items() if key.endswith("weight") and not value.any()} == zeros
    assert len(zeros) == sum(isinstance(each, BLOCKS) for each in network.modules())
    with pytest.raises(SchemaError, match="norm: none has none"):
        model(name=name, norm="none", zero_init_residual=True)


def test_blocks_are_skipped_as_torchvisions_stochastic_depth_skips_rows():
    """In training a block adds torchvision's stochastic_depth of what it would add; in evaluation all of it."""
    torch.manual_seed(0)
    network = build_network(model(name="resnet18", stochastic_depth=0.7), 10, 0)
    backbone = network.backbone
    blocks = [each for each in backbone.modules() if isinstance(each, BLOCKS)]
    drops = [getattr(each.bn2, "drop", None) for each in blocks]
    assert drops[0] is None
    assert [each.probability for each in drops[1:]] == pytest.approx([0.7 * at / 7 for at in range(1, 8)])
    assert [*backbone.state_dict()] == [key for key in get_model("resnet18").state_dict() if not key.startswith("fc.")]
    plain = build_network(model(name="resnet18"), 10, 0)
    images = torch.rand(3, 3, 32, 32)
    torch.testing.assert_close(network.eval()(images)[1], plain.eval()(images)[1])
    last, inputs = blocks[-1], torch.randn(400, 512, 1, 1)
    network.train()
    last.bn2.drop.generator = torch.Generator().manual_seed(1)
    added = last.bn2(inputs)
    whole = nn.functional.batch_norm(inputs, None, None, last.bn2.weight, last.bn2.bias, True)
    kept = added.flatten(1).any(1)
    torch.testing.assert_close(added[kept], whole[kept] / 0.3)
    assert abs(kept.float().mean() - 0.3) < 0.07
    theirs = stochastic_depth(whole, 0.7, "row")
    assert abs(theirs.flatten(1).any(1).float().mean() - 0.3) < 0.07


def test_skips_are_drawn_from_the_runs_stream_and_survive_a_copy():
    """The same generator gives the same features, another one others; a deep copy, as EMA makes, has its own drops."""
    from copy import deepcopy

    network = build_network(model(name="bottleneck", planes=(16,), blocks=(4,), stochastic_depth=0.9), 10, 0).train()
    images = torch.rand(16, 3, 8, 8)
    before = torch.get_rng_state()
    one, again, other = (network(images, torch.Generator().manual_seed(seed))[1].detach().numpy() for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert np.array_equal(one, again)
    assert not np.array_equal(one, other)
    twin = deepcopy(network)
    assert np.array_equal(twin(images, torch.Generator().manual_seed(1))[1].detach().numpy(), one)
    drops = [{id(each) for each in each.modules() if isinstance(each, Drop)} for each in (network, twin)]
    assert not drops[0] & drops[1]
