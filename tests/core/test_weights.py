"""Are pretrained weights found, checked and refused before anything is trained?"""

from __future__ import annotations

import hashlib
import http.server
import os
import pickle
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace
from urllib.error import URLError

import pytest
import torch
from safetensors.torch import save_file
from torchvision.models import ResNet18_Weights, get_model

from ablation_suite.core.config.schema import Document, validate
from ablation_suite.core.models import Model
from ablation_suite.core.models import weights as module
from ablation_suite.core.models.network import build_network
from ablation_suite.core.models.weights import WeightsError, check_weights, load_weights

pytestmark = pytest.mark.usefixtures("one_thread")


def model(weights, backbone="resnet18", **settings) -> Model:
    return validate(Model, Document(data={"backbone": backbone, "weights": str(weights), **settings}, source="test"))


@pytest.fixture(scope="module")
def pretrained():
    """A torchvision network of other values than its file's, with 1000 classes."""
    with torch.random.fork_rng():
        torch.manual_seed(5)
        return get_model("resnet18", weights=None).eval()


@pytest.fixture
def torch_home(tmp_path, monkeypatch):
    """An empty cache of torch's own, and the folder in it where weights lie."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    folder = tmp_path / "torch" / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def no_network(monkeypatch):
    """Every download fails as it does without a network."""

    def refuse(*args, **kwargs):
        raise URLError("Name or service not known")

    monkeypatch.setattr(torch.hub, "urlopen", refuse)


def published_as(url, monkeypatch):
    """Let `IMAGENET1K_V1` stand for a file of ours."""
    monkeypatch.setattr(module, "_entry", lambda model: SimpleNamespace(url=url))


def cached(folder: Path, pretrained, monkeypatch) -> Path:
    """The network's values in torch's cache, under a name with the beginning of their hash, as torchvision's have."""
    path = folder / "new.pth"
    torch.save(pretrained.state_dict(), path)
    path = path.rename(folder / f"resnet18-{hashlib.sha256(path.read_bytes()).hexdigest()[:8]}.pth")
    published_as(f"https://download.invalid/models/{path.name}", monkeypatch)
    return path


def assert_same_features(network, pretrained):
    """Features equal torchvision's, and the head is a new one of ten classes."""
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    before_fc = []
    handle = pretrained.fc.register_forward_hook(lambda module, inputs, output: before_fc.append(inputs[0]))
    pretrained(images)
    handle.remove()
    logits, features = network.eval()(images)
    assert torch.equal(features, before_fc[0])
    assert logits.shape == (2, 10)


def test_no_weights_need_no_torch():
    """Planning a grid from scratch stays fast: nothing is imported."""
    program = (
        "import sys; from ablation_suite.core.models import Model; "
        "from ablation_suite.core.models.weights import check_weights;"
        "check_weights(Model()); print('torch' in sys.modules)"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=Path(__file__).parents[2]
    )
    assert result.stdout.strip() == "False", result.stderr


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_path_is_loaded_and_the_head_replaced(suffix, pretrained, tmp_path):
    """A state dict of 1000 classes gives its features to a network of ten."""
    path = tmp_path / f"mine{suffix}"
    (torch.save if suffix == ".pth" else save_file)(pretrained.state_dict(), path)
    check_weights(model(path))
    network = build_network(model(path), num_classes=10, seed=0)
    load_weights(network, model(path))
    assert_same_features(network, pretrained)


def test_arms_of_other_heads_share_the_pretrained_backbone_and_their_own_initial_heads(pretrained, tmp_path):
    """Loading changes the backbone alone; the head keeps what the seed gave it."""
    path = tmp_path / "mine.pth"
    torch.save(pretrained.state_dict(), path)
    network, fresh = (build_network(model(path), num_classes=10, seed=0) for _ in range(2))
    load_weights(network, model(path))
    assert torch.equal(network.head.linear.weight, fresh.head.linear.weight)
    assert not torch.equal(network.backbone.conv1.weight, fresh.backbone.conv1.weight)


def test_a_cached_file_needs_no_network(pretrained, torch_home, no_network, monkeypatch):
    """What torch has downloaded once is found again below TORCH_HOME."""
    cached(torch_home, pretrained, monkeypatch)
    check_weights(model("IMAGENET1K_V1"))
    network = build_network(model("IMAGENET1K_V1"), num_classes=10, seed=0)
    load_weights(network, model("IMAGENET1K_V1"))
    assert_same_features(network, pretrained)


@pytest.mark.fault(
    "damaged pretrained weights", injected="a byte changed in the cached file", promised="noticed by the published hash"
)
def test_a_damaged_cached_file_is_noticed(pretrained, torch_home, no_network, monkeypatch):
    """One flipped bit, which torch would load: the hash in the name is compared, and the file is named."""
    path = cached(torch_home, pretrained, monkeypatch)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(WeightsError, match=f"{path.name} is damaged.*remove it"):
        check_weights(model("IMAGENET1K_V1"))


def test_without_file_and_network_the_error_names_file_folder_and_setting(torch_home, no_network):
    """torchvision's own name for resnet18's V1 weights, torch's cache, and `model.weights=none`."""
    with pytest.raises(WeightsError) as caught:
        check_weights(model("IMAGENET1K_V1"))
    for part in ("resnet18-f37072fd.pth", str(torch_home), "set model.weights=none", "Name or service not known"):
        assert part in str(caught.value)
    assert Path(ResNet18_Weights.IMAGENET1K_V1.url).name == "resnet18-f37072fd.pth"
    assert list(torch_home.iterdir()) == []


@pytest.fixture
def server(tmp_path):
    """A web server for the files of a folder, and the requests that it had."""
    folder, requests = tmp_path / "published", []
    folder.mkdir()

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args):
            super().__init__(*args, directory=str(folder))

        def log_message(self, *args):
            requests.append(self.path)

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield folder, f"http://127.0.0.1:{server.server_port}", requests
        server.shutdown()


def test_weights_are_downloaded_once(pretrained, torch_home, server, monkeypatch):
    """The first check fetches the file into torch's cache, the second finds it there."""
    folder, address, requests = server
    path = cached(folder, pretrained, monkeypatch)
    published_as(f"{address}/{path.name}", monkeypatch)
    for _ in range(2):
        check_weights(model("IMAGENET1K_V1"))
    assert requests == [f"/{path.name}"]
    assert (torch_home / path.name).read_bytes() == path.read_bytes()


@pytest.mark.fault(
    "a download that is something else", injected="a server with other bytes", promised="refused and not kept"
)
def test_a_download_of_another_hash_is_refused_and_not_kept(pretrained, torch_home, server, monkeypatch):
    """A file that is not what torchvision published never reaches the cache."""
    folder, address, _ = server
    torch.save(pretrained.state_dict(), folder / "resnet18-00000000.pth")
    published_as(f"{address}/resnet18-00000000.pth", monkeypatch)
    with pytest.raises(WeightsError, match="invalid hash value"):
        check_weights(model("IMAGENET1K_V1"))
    assert list(torch_home.iterdir()) == []


class Code:
    def __reduce__(self):
        return os.mkdir, ("executed",)


@pytest.mark.fault("code in a weights file", injected="a pickle that would run it", promised="refused, never run")
def test_a_file_with_code_in_it_is_refused_and_never_run(tmp_path, monkeypatch):
    """`weights_only`: the pickle would make a folder."""
    monkeypatch.chdir(tmp_path)
    torch.save({"conv1.weight": Code()}, tmp_path / "evil.pth")
    (tmp_path / "old.pt").write_bytes(pickle.dumps(Code(), 4))
    for name in ("evil.pth", "old.pt"):
        with pytest.raises(WeightsError, match=rf"{name} holds more than tensors.*, which is never run") as caught:
            check_weights(model(tmp_path / name))
        assert "Re-running" not in str(caught.value), "torch's advice is to run it"
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("data", [b"", b"junk" * 50, b"PK\3\4" + b"x" * 100, bytes(range(256))])
def test_a_file_that_is_none_of_torchs_is_one_line(data, tmp_path):
    """Nothing, text, half a ZIP file, rubbish: torch has another kind of error for each."""
    (tmp_path / "odd.pth").write_bytes(data)
    with pytest.raises(WeightsError, match=r"odd\.pth holds .* or is damaged; save the state dict") as caught:
        check_weights(model(tmp_path / "odd.pth"))
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("value", "words"),
    [([1, 2], "no state dict"), ({"epoch": 3, "model": {}}, "no state dict"), ({}, "missing conv1.weight")],
)
def test_a_file_that_is_no_state_dict_is_refused(value, words, tmp_path):
    """A list, a whole checkpoint, an empty dict."""
    torch.save(value, tmp_path / "odd.pth")
    with pytest.raises(WeightsError, match=words):
        check_weights(model(tmp_path / "odd.pth"))


def test_a_mismatch_lists_every_key(pretrained, tmp_path):
    """Missing, unexpected and misshapen tensors, all at once; the old head is none of them."""
    values = dict(pretrained.state_dict())
    values["conv1.weight"] = torch.zeros(64, 1, 7, 7)
    values["layer9.weight"] = values.pop("layer1.0.conv1.weight")
    torch.save(values, tmp_path / "other.pth")
    with pytest.raises(WeightsError) as caught:
        check_weights(model(tmp_path / "other.pth"))
    for part in (
        "does not fit resnet18",
        "missing layer1.0.conv1.weight",
        "unexpected layer9.weight",
        "conv1.weight is (64, 1, 7, 7), the network has (64, 3, 7, 7)",
    ):
        assert part in str(caught.value)
    assert "fc." not in str(caught.value)


def test_weights_of_another_backbone_do_not_fit(pretrained, tmp_path):
    """resnet18's file for a resnet34: the blocks that it lacks are listed."""
    torch.save(pretrained.state_dict(), tmp_path / "18.pth")
    with pytest.raises(WeightsError, match=r"missing layer3\.5\.conv2\.weight"):
        check_weights(model(tmp_path / "18.pth", backbone="resnet34"))


@pytest.mark.parametrize(
    ("weights", "backbone", "words"),
    [
        ("IMAGENET1K_V9", "resnet18", "no 'IMAGENET1K_V9' for resnet18; take one of none, a path, IMAGENET1K_V1"),
        ("IMAGENET1K_V1", "bottleneck", "bottleneck has no published weights; use `none`"),
        ("missing/file.pth", "resnet18", "no such file missing/file.pth"),
    ],
)
def test_a_name_or_path_that_does_not_exist_says_what_does(weights, backbone, words):
    """The choices are listed, or the file is named."""
    with pytest.raises(WeightsError, match=words):
        check_weights(model(weights, backbone=backbone))
