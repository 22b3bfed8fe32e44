"""Does a network of any make begin with its own distributions, each tensor drawn under its own name?"""

from __future__ import annotations

import pytest
import torch
from scipy import stats
from torch import Tensor, nn
from torchvision.models.convnext import CNBlockConfig, ConvNeXt
from torchvision.models.vision_transformer import VisionTransformer

from ablation_suite.core.config.errors import OwnPartError
from ablation_suite.core.models.initial import Construction, unrecorded
from ablation_suite.core.training import streams

pytestmark = pytest.mark.usefixtures("one_thread")


def convnext(num_blocks: int = 1) -> nn.Module:
    return ConvNeXt([CNBlockConfig(24, 48, num_blocks), CNBlockConfig(48, None, 1)], num_classes=10)


def vit(num_layers: int = 1) -> nn.Module:
    return VisionTransformer(16, 4, num_layers, num_heads=2, hidden_dim=32, mlp_dim=64, num_classes=10)


def drawn(make, seed: int = 0) -> dict[str, Tensor]:
    with Construction(seed) as construction:
        module = make()
    construction.replay(module, "net.")
    return {**dict(module.named_parameters()), **dict(module.named_buffers())}


@pytest.mark.parametrize("make", [convnext, vit])
def test_torchvisions_networks_keep_their_own_distributions(make):
    """No tensor can be told from torchvision's own by Kolmogorov and Smirnov, and constants are the same."""
    torch.manual_seed(1)
    theirs = dict(make().named_parameters())
    for name, ours in drawn(make).items():
        values, others = ours.detach().flatten().numpy(), theirs[name].detach().flatten().numpy()
        if len(set(others)) == 1:
            assert (values == others).all(), name
        else:
            assert stats.ks_2samp(values, others).pvalue > 1e-4, name
            assert not (values == others).all(), name


@pytest.mark.parametrize("make", [convnext, vit])
def test_an_added_layer_moves_nothing_else(make):
    """A deeper network has every tensor of the shallower one; another seed has none of the random ones."""
    first, deeper, other = drawn(make), drawn(lambda: make(2)), drawn(make, seed=1)
    shared = [name for name in first if name in deeper and deeper[name].shape == first[name].shape]
    assert len(shared) == len(first) < len(deeper)
    for name in shared:
        assert torch.equal(first[name], deeper[name]), name
        assert len(first[name].unique()) == 1 or not torch.equal(first[name], other[name]), name


class Embedding(nn.Module):
    """Whatever people do to one tensor when they make it."""

    def __init__(self, init):
        super().__init__()
        self.before = nn.Linear(3, 3)  # draws from the same stream, unless each tensor has its own
        self.value = nn.Parameter(init())


def orthogonal() -> Tensor:
    return nn.init.orthogonal_(torch.empty(6, 4), gain=2.0)


def padded() -> Tensor:
    value = nn.init.normal_(torch.empty(5, 3))
    value[0].fill_(0)
    value[1:].mul_(0.5)
    return value


def stacked() -> Tensor:
    return torch.cat([torch.randn(2, 3) * 0.02, torch.zeros(1, 3)]) + torch.rand(3, 1)


def partly() -> Tensor:
    value = torch.ones(4, 2)
    value[:2].uniform_(-1, 1)
    return value


def truncated() -> Tensor:
    return nn.init.trunc_normal_(torch.empty(4, 4), std=0.02)


def test_what_was_overwritten_is_not_drawn_again():
    """A layer's own first values, which a network then replaces, take nothing from the stream of its tensor."""
    ours = drawn(lambda: Embedding(lambda: nn.init.trunc_normal_(torch.rand(4, 4), std=0.02)))["value"]
    torch.manual_seed(streams.key(0, "init", "net.value") & (2**63 - 1))
    assert torch.equal(ours, truncated())


@pytest.mark.parametrize("init", [orthogonal, padded, stacked, partly, truncated], ids=lambda init: init.__name__)
def test_a_tensor_is_what_its_own_recipe_gives_from_the_stream_of_its_name(init):
    """The same code, run under torch's generator with that stream's seed, gives the same bits."""
    ours = drawn(lambda: Embedding(init), seed=4)["value"]
    torch.manual_seed(streams.key(4, "init", "net.value") & (2**63 - 1))
    assert torch.equal(ours, init())


def test_random_buffers_are_drawn_by_name_too():
    """As the waves of random Fourier features are."""

    class Waves(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("waves", torch.randn(4, 8), persistent=False)

    ours = drawn(Waves)["waves"]
    torch.manual_seed(streams.key(0, "init", "net.waves") & (2**63 - 1))
    assert torch.equal(ours, torch.randn(4, 8))


def test_copies_of_a_layer_are_drawn_apart():
    """nn.TransformerEncoder deep-copies its layer: torch begins with equal layers, whose names differ here."""
    layer = nn.TransformerEncoderLayer
    values = drawn(lambda: nn.TransformerEncoder(layer(8, 2, 16), 2, enable_nested_tensor=False))
    assert not torch.equal(values["layers.0.linear1.weight"], values["layers.1.linear1.weight"])
    assert float(values["layers.1.linear1.weight"].detach().abs().max()) <= 8**-0.5


def test_the_global_stream_is_given_back_and_may_not_be_seeded():
    """Whoever made a network finds torch's generator as it was; own code that seeds it is told."""
    before = torch.get_rng_state()
    drawn(vit)
    with unrecorded():
        assert Construction.is_paused
    assert not Construction.is_paused
    assert torch.equal(torch.get_rng_state(), before)
    with pytest.raises(OwnPartError, match=r"calls torch.manual_seed"), Construction(0):
        torch.manual_seed(0)
    assert torch.equal(torch.get_rng_state(), before)
