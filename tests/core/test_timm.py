"""Are the networks of the extra timm timm's own, seeded as ours are?"""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from ablation_suite.core.config.schema import Document, SchemaError, validate
from ablation_suite.core.models import Model
from ablation_suite.core.models.network import build_network
from ablation_suite.core.models.weights import NetworkError, WeightsError, check_weights, load_weights
from ablation_suite.core.runs.identity import run_id
from ablation_suite.core.training.session import set_up

timm = pytest.importorskip("timm")
DEEP = {
    "name": "timm",
    "model": "resnet18",
    "args": {
        "stem_type": "deep",
        "stem_width": 32,
        "drop_path_rate": 0.3,
        "act_layer": "silu",
        "norm_layer": "groupnorm",
        "block_args": {"attn_layer": "se"},
    },
}
"""Stem, attention, drop path, norm and activation, as a modernised ResNet has them."""


def model(**settings) -> Model:
    return validate(Model, Document(data=settings, source="test"))


def test_a_backbone_is_timms_network_of_these_args_without_its_classifier():
    """With the same values it gives the same features, and it has the parts that were asked for."""
    network = build_network(model(backbone=DEEP), 10, 0, 32)
    theirs = timm.create_model("resnet18", num_classes=0, **DEEP["args"])
    theirs.load_state_dict(network.backbone.state_dict())
    images = torch.rand(2, 3, 32, 32)
    assert torch.equal(network.eval()(images)[1], theirs.eval()(images))
    assert network.num_features == 512
    kinds = {type(each).__name__ for each in network.backbone.modules()}
    assert {"SEModule", "GroupNorm", "SiLU", "DropPath"} <= kinds


def test_the_features_are_counted_by_a_pass_where_a_layer_follows_the_pooling():
    """mobilenetv3 has 576 channels before its pooling and 1024 features after it."""
    network = build_network(model(backbone={"name": "timm", "model": "mobilenetv3_small_050"}), 10, 0, 32)
    assert network.num_features == 1024
    assert network.head.linear.in_features == 1024


def test_initial_values_are_a_function_of_seed_and_name_and_an_attention_moves_no_other():
    """Another seed draws every random tensor anew; without attention the convolutions begin as with it."""
    plain = {**DEEP, "args": {key: value for key, value in DEEP["args"].items() if key != "block_args"}}
    networks = [build_network(model(backbone=each), 10, seed, 32) for each, seed in ((DEEP, 0), (DEEP, 0), (DEEP, 1))]
    one, again, other = (dict(each.named_parameters()) for each in networks)
    less = dict(build_network(model(backbone=plain), 10, 0, 32).named_parameters())
    assert len(one) > len(less)
    for name, each in one.items():
        assert torch.equal(each, again[name])
        assert torch.equal(each, other[name]) == (each.unique().numel() == 1), name
        assert name not in less or torch.equal(each, less[name]), name


def test_drop_path_is_seeded_by_the_step(make_config, digits, runtime):
    """Two sessions take the same step whatever torch's generator did before, and leave it as it was."""
    losses = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        session = set_up(
            make_config({"model": {"backbone": DEEP}, "data": {"name": "digits", "size": 32}}), digits, runtime
        )
        before = torch.get_rng_state()
        epoch, tally = session.draw(1), torch.zeros(3, dtype=torch.float64)
        for images, rows in session.feed.batches([epoch.views[0][:8]]):
            step = session.step(epoch, 0, images, rows, tally)
        assert torch.equal(torch.get_rng_state(), before)
        losses.append((tally.tolist(), step.parts.network.state_dict()["head.linear.weight"]))
    assert losses[0][0] == losses[1][0]
    assert torch.equal(losses[0][1], losses[1][1])


def test_weights_of_a_file_and_of_the_hubs_cache_are_timms(tmp_path, monkeypatch):
    """Its own state dict, the classifier left out; a tag is looked for in the cache before any network is asked."""
    theirs = timm.create_model("resnet18", num_classes=7)
    path = tmp_path / "weights.pth"
    torch.save(theirs.state_dict(), path)
    backbone = {"name": "timm", "model": "resnet18"}

    def loaded(weights):
        chosen = model(backbone=backbone, weights=weights)
        check_weights(chosen, 32)
        network = build_network(chosen, 10, 0, 32)
        load_weights(network, chosen)
        return network.backbone.state_dict()

    assert all(torch.equal(value, theirs.state_dict()[name]) for name, value in loaded(str(path)).items())
    from safetensors.torch import save_file

    published = timm.create_model("resnet18", num_classes=1000)
    save_file(published.state_dict(), tmp_path / "model.safetensors")
    place = str(tmp_path / "model.safetensors")
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda repository, file: place)
    for tag in ("a1_in1k", "default"):
        assert all(torch.equal(value, published.state_dict()[name]) for name, value in loaded(tag).items())


def test_what_timm_cannot_do_is_one_line(monkeypatch):
    """An unknown model, argument, tag; an image that does not fit; weights that nobody can fetch; a missing package."""
    told = []
    for changes, weights, size in (
        ({"model": "resnet81"}, "none", 32),
        ({"args": {"stem": "deep"}}, "none", 32),
        ({}, "a9_in1k", 32),
        ({"model": "vit_tiny_patch16_224"}, "none", 32),
    ):
        with pytest.raises((NetworkError, WeightsError)) as caught:
            check_weights(model(backbone={"name": "timm", "model": "resnet18", **changes}, weights=weights), size)
        told.append(str(caught.value))
    assert "timm has no model 'resnet81' (did you mean 'resnet" in told[0]
    assert "cannot be made of its args" in told[1]
    assert "unexpected keyword argument 'stem'" in told[1]
    assert "no 'a9_in1k' for timm's resnet18; take one of none, a path, default, a1_in1k" in told[2]
    assert "cannot take images of 32 pixels" in told[3]
    assert not any("\n" in line for line in told)
    with pytest.raises(SchemaError, match="num_classes cannot be set"):
        model(backbone={"name": "timm", "model": "resnet18", "args": {"num_classes": 3}})
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(NetworkError, match=r"pip install 'ablation-suite\[timm\]'"):
        check_weights(model(backbone={"name": "timm", "model": "resnet18"}), 32)


def test_args_are_part_of_the_identity_and_planning_loads_neither_timm_nor_torch(make_config):
    """One argument more is another run; its id is found without either package."""
    configs = [
        make_config({"model": {"backbone": {"name": "timm", "model": "resnet18", "args": args}}})
        for args in ({}, {"stem_type": "deep"}, {"stem_type": "deep", "stem_width": 16})
    ]
    assert len({run_id(each, "d") for each in configs}) == 3
    assert len({hash(each.model) for each in configs}) == 3
    program = (
        "import sys; from ablation_suite.core.config.schema import parse, validate;"
        "from ablation_suite.core.config.run_config import RunConfig;"
        "from ablation_suite.core.runs.identity import run_id;"
        "text = 'model: {backbone: {name: timm, model: resnet50d, args: {stem_width: 64}}}';"
        "print(run_id(validate(RunConfig, parse(text, source='x')), 'd'));"
        "assert not {'torch', 'timm'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
