"""Do own parts of every family take part in a step as ours do, and is what they break told with the user's line?"""

from __future__ import annotations

import random
import signal
import sys
from functools import partial
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torchvision.transforms import v2

from ablation_suite.core.config.errors import OwnPartError
from ablation_suite.core.config.menu import build
from ablation_suite.core.config.run_config import RunConfig
from ablation_suite.core.config.schema import Document, parse, validate
from ablation_suite.core.data.dataset import DataError
from ablation_suite.core.models.network import build_network
from ablation_suite.core.own.loading import load, told
from ablation_suite.core.own.undisturbed import undisturbed
from ablation_suite.core.scheduling.attempt import BAD_CONFIG, Datasets, work
from ablation_suite.core.scheduling.worker import stop_flag
from ablation_suite.core.training import streams
from ablation_suite.core.training.first_step import first_step
from ablation_suite.core.training.session import set_up

pytestmark = pytest.mark.usefixtures("one_thread")

PARTS = """
import torch
from torch import nn
from torch.nn import functional


def plain(logits, targets, smoothing=0.0):
    return functional.cross_entropy(logits, targets, label_smoothing=smoothing)


class Pulled(nn.Module):
    def __init__(self, class_sizes, num_classes):
        super().__init__()
        assert len(class_sizes) == num_classes
        self.register_buffer("weights", torch.ones(num_classes))

    def forward(self, logits, features, targets):
        return functional.cross_entropy(logits, targets, self.weights) + 0.0 * features.mean()


class Centres(nn.Module):
    def __init__(self, num_classes, num_features):
        super().__init__()
        self.centres = nn.Parameter(torch.randn(num_classes, num_features))

    def forward(self, logits, features, targets):
        distance = (features - self.centres[targets]).square().sum(1).mean()
        return functional.cross_entropy(logits, targets) + 0.01 * distance


class Same:
    def __init__(self):
        self.num_draws = 3

    def __call__(self, images, draws):
        assert draws.shape == (len(images), 3) and draws.max() < 1
        return images


def same(image):
    return image


def unmixed(images, labels):
    return images, labels


def constant(step, num_steps, steps_per_epoch, factor=1.0):
    assert 0 <= step < num_steps
    return factor


class Head(nn.Module):
    def __init__(self, num_inputs, num_classes):
        super().__init__()
        self.linear = nn.Linear(num_inputs, num_classes)
        nn.init.zeros_(self.linear.bias)

    def forward(self, features):
        return self.linear(features)


class Identity(nn.Module):
    def forward(self, features):
        return features


class Net(nn.Module):
    def __init__(self, width: int = 8, dropout: float = 0.0, maps: bool = True):
        super().__init__()
        self.conv = nn.Conv2d(3, width, 3, padding=1)
        self.norm = nn.BatchNorm2d(width)
        self.drop = nn.Dropout(dropout)
        self.maps = maps

    def forward(self, images):
        maps = self.drop(self.norm(self.conv(images)).relu())
        return maps if self.maps else maps.mean((2, 3))
"""


@pytest.fixture
def config(tmp_path, make_config):
    """A small config with changes by dotted path, beside which a file `parts.py` lies."""
    (tmp_path / "parts.py").write_text(PARTS)

    def make(**changes) -> RunConfig:
        plain = make_config().model_dump(mode="json")
        for path, value in changes.items():
            *parents, last = path.split(".")
            place = plain
            for parent in parents:
                place = place[parent]
            place[last] = value
        return validate(RunConfig, Document(data=plain, source=f"{tmp_path}/spec.yaml:1"))

    return make


@pytest.mark.parametrize(
    "changes",
    [
        {"loss": "parts.py:plain"},
        {"loss": "parts.py:Pulled"},
        {"augment": "parts.py:Same"},
        {"augment": "parts.py:same"},
        {"mix": "parts.py:unmixed"},
        {"schedule": "parts.py:constant"},
        {"model.encoding": "parts.py:Identity"},
        {"model.head": "parts.py:Head"},
        {"optimizer": {"name": "torch.optim:Adam", "lr": 3e-3, "fused": True}},
    ],
    ids=str,
)
def test_an_own_part_that_does_what_ours_does_takes_the_same_step(changes, config, digits, runtime):
    """To the bit: loss, initial values and values after the step, also with a moving average and pieces."""
    settings = {"accumulate": 2, "ema_decay": 0.5}
    own, ours = (first_step(each, digits, runtime) for each in (config(**changes, **settings), config(**settings)))
    assert (own.order, own.initial, own.loss, own.after) == (ours.order, ours.initial, ours.loss, ours.after)


def test_a_map_is_pooled_as_features_are_that_the_module_pools_itself(config, digits, runtime):
    """Both forms of an own backbone take the same step, and dropout is a function of (seed, epoch, step)."""
    for dropout in (0.0, 0.5):
        backbones = [{"name": "parts.py:Net", "maps": maps, "dropout": dropout} for maps in (True, False)]
        maps, features, again = (
            first_step(config(**{"model.backbone": each}), digits, runtime) for each in (*backbones, backbones[0])
        )
        assert maps == again
        assert maps.initial == features.initial
        assert maps.loss == pytest.approx(features.loss, rel=1e-6)
    other = first_step(config(**{"model.backbone": backbones[0]}, seed=1), digits, runtime)
    assert other.loss != maps.loss


def test_pooling_and_bf16_and_compiling_are_a_runs_own_affair(config, digits, runtime):
    """GeM and max pool an own map; bf16 autocasts its products; what is compiled is its forward pass."""
    losses = {}
    for pooling in ("average", "max", "gem"):
        changed = config(**{"model.backbone": "parts.py:Net", "model.pooling": pooling, "precision": "bf16"})
        losses[pooling] = first_step(changed, digits, runtime).loss
    assert len(set(losses.values())) == 3
    with pytest.raises(OwnPartError, match="gives features, not a map that gem could pool"):
        first_step(
            config(**{"model.backbone": {"name": "parts.py:Net", "maps": False}, "model.pooling": "gem"}),
            digits,
            runtime,
        )


@pytest.mark.slow
def test_an_own_backbone_is_compiled_as_ours_is(config, digits, runtime, monkeypatch):
    """Its graph is found, forwards and backwards, and gives the same losses over a few steps within rounding.

    The code that is made of a graph is torch's own affair, and takes a minute.
    """
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager"))
    losses = []
    for choice in ("off", "on"):
        session = set_up(
            config(**{"model.backbone": "parts.py:Net"}), digits, runtime.model_copy(update={"compile": choice})
        )
        epoch, tally = session.draw(1), torch.zeros(3, 4, dtype=torch.float64)
        for at, (images, rows) in enumerate(session.feed.batches(epoch.views[:4])):
            session.step(epoch, at, images, rows, tally[:, at])
        losses.append(tally[0])
        assert session.parts.compiled == (("backbone",) if choice == "on" else ())
    torch.testing.assert_close(losses[0], losses[1], rtol=1e-4, atol=1e-4)


def test_the_parameters_of_a_loss_are_trained_and_saved_with_the_run(config, digits, runtime):
    """Drawn by name, moved by the step, in the state of the run, and none of the network."""
    session = set_up(config(loss="parts.py:Centres"), digits, runtime)
    (centres,) = session.parts.beside.parameters()
    torch.manual_seed(streams.key(0, "init", "loss.centres") & (2**63 - 1))
    assert torch.equal(centres, torch.randn(10, session.parts.network.num_features))
    before = centres.detach().clone()
    epoch = session.draw(1)
    for images, rows in session.feed.batches(epoch.views[:1]):
        session.step(epoch, 0, images, rows, torch.zeros(3, dtype=torch.float64))
    assert not torch.equal(centres, before)
    assert torch.equal(session.parts.state_dict()["beside"]["centres"], centres)
    assert not [name for name in session.parts.network.state_dict() if "centres" in name]


def test_a_transform_of_torchvision_changes_each_image_by_a_seed_of_its_own(config, digits, runtime):
    """What v2's transform itself gives for one image under that seed, whatever batch the image comes in."""
    settings = {"name": "torchvision.transforms.v2:RandomAffine", "degrees": 90}
    augment = build(config(augment=settings).augment)
    rows = augment.draw(0, 1, len(digits.splits["train"]))
    images = torch.from_numpy(np.ascontiguousarray(digits.splits["train"].images[np.arange(6)]))
    changed = augment(images, rows[:6])
    assert torch.equal(augment(images.flip(0), rows[:6].flip(0)).flip(0), changed)
    torch.manual_seed(int(rows[2, 0]))
    expected = v2.RandomAffine(90)(images[2].permute(2, 0, 1) * (1.0 / 255.0))
    assert torch.equal(changed[2], expected)
    assert not torch.equal(augment.draw(0, 2, 6), rows[:6])


def test_an_own_mixing_draws_by_the_step(config, digits, runtime):
    """torchvision's MixUp by its module gives soft labels, the same ones at the same step."""
    mix = build(config(mix={"name": "torchvision.transforms.v2:MixUp", "alpha": 0.5}).mix)
    images, labels = torch.rand(4, 3, 8, 8), torch.arange(4)
    first, again, other = (mix(images, labels, 10, streams.torch_generator(0, "mix", 1, step)) for step in (1, 1, 2))
    assert torch.equal(first[0], again[0])
    assert torch.equal(first[1], again[1])
    assert not torch.equal(first[0], other[0])
    assert first[1].shape == (4, 10)


def test_initial_values_of_an_own_module_are_drawn_by_name(config):
    """A wider head moves no tensor of the backbone, whose distributions are torch's own."""
    models = [
        config(**{"model.backbone": "parts.py:Net", **more}).model for more in ({}, {"model.head": "parts.py:Head"})
    ]
    one, other = (
        build_network(each, 10, seed, 8).backbone.state_dict() for each, seed in zip(models, (3, 3), strict=True)
    )
    assert all(torch.equal(one[name], other[name]) for name in one)
    torch.manual_seed(streams.key(3, "init", "backbone.conv.weight") & (2**63 - 1))
    reference = nn.Conv2d(3, 8, 3)
    assert torch.equal(one["conv.weight"], reference.weight)


def test_two_versions_of_a_file_and_of_what_it_imports_never_meet(tmp_path):
    """In one process, as in a warm worker; later imports inside functions find their own version too."""
    found = []
    for version in (1, 2):
        (tmp_path / "shared.py").write_text(f"VALUE = {version}")
        (tmp_path / "late.py").write_text(f"VALUE = {10 * version}")
        (tmp_path / "pkg").mkdir(exist_ok=True)
        (tmp_path / "pkg/inner.py").write_text("from .more import VALUE")
        (tmp_path / "pkg/more.py").write_text(f"VALUE = {100 * version}")
        text = "import shared\nimport pkg.inner\ndef value(logits):\n    from late import VALUE\n"
        (tmp_path / "part.py").write_text(text + "    return shared.VALUE + VALUE + pkg.inner.VALUE")
        config = validate(RunConfig, parse("loss: part.py:value", source=f"{tmp_path}/spec.yaml"))
        found.append(load(config.loss))
    assert [each(0) for each in found] == [111, 222]
    assert not {"shared", "late", "part", "pkg"} & sys.modules.keys()


BROKEN = {
    "prints": ("print('hello')\ndef bad(logits, targets): pass", "loss", "prints 'hello' when it is imported"),
    "raises at import": ("x = 1\nx / 0\ndef bad(): pass", "loss", "bad.py:2: bad.py:bad, imported: ZeroDivisionError"),
    "exits": ("import sys\nsys.exit(3)\ndef bad(): pass", "loss", "bad.py:2: bad.py:bad, imported: SystemExit: 3"),
    "lacks a package in use": (
        "def bad(logits, targets):\n    import no_such_package",
        "loss",
        "bad.py:2: ModuleNotFoundError: No module named 'no_such_package'",
    ),
    "raises when made": (
        "class bad:\n    def __init__(self):\n        {}['x']",
        "loss",
        "bad.py:3: bad.py:bad, made: KeyErr",
    ),
    "raises in a step": ("def bad(logits, targets):\n    return logits @ targets", "loss", "bad.py:2: RuntimeError: "),
    "gives no scalar": (
        "def bad(logits, targets):\n    return logits",
        "loss",
        "gives one number (a tensor without dim",
    ),
    "gives no gradient": ("def bad(logits, targets):\n    return logits.detach().mean()", "loss", "no gradient flows"),
    "takes other arguments": (
        "class bad:\n    def __call__(self): ...",
        "loss",
        "is to be called as (logits, targets) or",
    ),
    "is no module": ("def bad(): return 3", "model.backbone", "gives int; it should give a torch.nn.Module"),
    "raises in forward": (
        "from torch import nn\nclass bad(nn.Module):\n    def forward(self, images):\n        return images.reshape(7)",
        "model.backbone",
        "bad.py:4: bad.py:bad, called on (2, 3, 8, 8): RuntimeError",
    ),
    "has a wrong shape": (
        "from torch import nn\nclass bad(nn.Module):\n    def forward(self, images):\n        return images.mean()",
        "model.backbone",
        "gives () of float32 for (2, 3, 8, 8); it should give features (N, D), or a map of them (N, D, h, w)",
    ),
    "has a wrong head": (
        "from torch import nn\nclass bad(nn.Module):\n    def forward(self, features):\n        return features",
        "model.head",
        "logits for 10 classes",
    ),
    "seeds torch": (
        "import torch\nfrom torch import nn\nclass bad(nn.Linear):\n    def __init__(self, num_inputs, num_classes):\n"
        "        torch.manual_seed(0)\n        super().__init__(num_inputs, num_classes)",
        "model.head",
        "calls torch.manual_seed",
    ),
    "seeds torch in a step": (
        "import torch\ndef bad(logits, targets):\n    torch.manual_seed(0)\n    return logits.mean()",
        "loss",
        "calls torch.manual_seed",
    ),
    "draws from NumPy": (
        "import numpy as np\ndef bad(logits, targets):\n    return logits.mean() * np.random.rand()",
        "loss",
        "bad.py:bad: changes the global random state of NumPy's",
    ),
    "seeds Python": (
        "import random\nrandom.seed(0)\ndef bad(logits, targets):\n    return logits.mean()",
        "loss",
        "bad.py:bad: changes the global random state of Python's",
    ),
    "takes other threads": (
        "import torch\ntorch.set_num_threads(3)\ndef bad(logits, targets):\n    return logits.mean()",
        "loss",
        "bad.py:bad: changes torch's number of threads for the whole process",
    ),
    "rounds products in a step": (
        "import torch\ndef bad(logits, targets):\n    torch.set_float32_matmul_precision('high')\n"
        "    return logits.mean()",
        "loss",
        "bad.py:bad: changes the precision of products for the whole process",
    ),
    "has cuDNN search": (
        "import torch\ntorch.backends.cudnn.benchmark = True\ndef bad(logits, targets):\n    return logits.mean()",
        "loss",
        "bad.py:bad: changes cuDNN's search of kernels for the whole process",
    ),
    "takes any kernels": (
        "import torch\ndef bad(logits, targets):\n    torch.use_deterministic_algorithms(False)\n"
        "    return logits.mean()",
        "loss",
        "bad.py:bad: changes torch's choice of deterministic kernels for the whole process",
    ),
    "changes a shape": (
        "def bad(image):\n    return image[:, 1:]",
        "augment",
        "bad.py:bad: gives (3, 7, 8) of float32 for",
    ),
    "mixes no labels": ("def bad(images, labels):\n    return images", "mix", "a mixing gives images and labels"),
    "is no factor": ("def bad(step):\n    return 'x'", "schedule", "gives 'x' for step 0; a schedule gives a factor"),
    "is no optimizer": (
        "def bad(params, lr=1.0):\n    return list(params)",
        "optimizer",
        "give a torch.optim.Optimizer",
    ),
    "imports what is not there": (
        "from . import nothing\ndef bad(logits, targets): ...",
        "loss",
        "imported: ImportError: cannot import name 'nothing' from the part's own folder",
    ),
    "cannot be called": ("bad = 3", "loss", "is int, which cannot be called"),
}


def states() -> tuple:
    return random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()  # noqa: NPY002


@pytest.mark.parametrize("kind", BROKEN)
def test_what_is_wrong_with_a_part_is_one_line_with_the_users_own(kind, config, digits, runtime, tmp_path, monkeypatch):
    """Found by the first step; no traceback of ours, and no global random state is left as the part made it."""
    text, family, words = BROKEN[kind]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad.py").write_text(text)
    changed = config(**{family: "bad.py:bad"})
    before = states()
    with pytest.raises(Exception) as caught:  # noqa: PT011 (an error in the part's own code is told by its line)
        first_step(changed, digits, runtime)
    message = str(caught.value if isinstance(caught.value, OwnPartError) else told(caught.value))
    assert words in message
    assert "\n" not in message
    assert states() == before


def test_a_file_that_prints_is_told_to_each_part_that_imports_it(tmp_path):
    """The second part does not find it loaded, and silent."""
    (tmp_path / "loud.py").write_text("print('hello')")
    (tmp_path / "part.py").write_text("import loud\ndef one(logits, targets): ...\ndef two(logits, targets): ...\n")
    for name in ("one", "two"):
        part = validate(RunConfig, parse(f"loss: part.py:{name}", source=f"{tmp_path}/spec.yaml")).loss
        with pytest.raises(OwnPartError, match=f"part.py:{name}: prints 'hello' when it is imported"):
            load(part)


EXIT = "import os, sys\ndef bad(logits, targets):\n    {}"


@pytest.fixture
def signals():
    """The handlers of this process, which a test may change."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.fault(
    "own code that ends its process",
    injected="sys.exit(0) and KeyboardInterrupt in a step",
    promised="the run fails with the user's line, and its worker goes on",
)
@pytest.mark.usefixtures("signals")
def test_a_part_that_exits_fails_its_run_and_a_signal_ends_the_process_in_the_midst_of_one(
    config, make_folder, runtime, tmp_path, monkeypatch
):
    """Whoever trains in line is ended by Ctrl-C and SIGTERM; a worker's signals raise nothing."""
    monkeypatch.chdir(tmp_path)
    folders = {}
    for number, line in enumerate(
        ("sys.exit(0)", "raise KeyboardInterrupt", "os.kill(os.getpid(), 2)", "os.kill(os.getpid(), 15)")
    ):
        (tmp_path / "bad.py").write_text(EXIT.format(line))
        folders[line] = make_folder(config(loss="bad.py:bad", seed=number))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    assert work(folders["sys.exit(0)"], runtime, Datasets()) == BAD_CONFIG
    assert folders["sys.exit(0)"].failure()["message"] == "bad.py:3: SystemExit: 0"
    for line, error in (("os.kill(os.getpid(), 2)", KeyboardInterrupt), ("os.kill(os.getpid(), 15)", SystemExit)):
        with pytest.raises(error):
            work(folders[line], runtime, Datasets())
        assert folders[line].status() == "interrupted"
    stop_flag()
    assert work(folders["raise KeyboardInterrupt"], runtime, Datasets()) == BAD_CONFIG
    assert folders["raise KeyboardInterrupt"].failure()["message"] == "bad.py:3: KeyboardInterrupt"


DATA = """
from pathlib import Path
import numpy as np
from PIL import Image

class Birds:
    def __new__(cls, root: Path, scale: int = 1, split: float = None):
        names = sorted(root.glob("*.png"))
        train = [(Image.open(name), index % 2) for index, name in enumerate(names)]
        return {"train": train, "classes": ["crow", "jay"]}


def arrays(num_images: int = 12, wrong: str = ""):
    draws = np.random.default_rng(0)
    images = draws.integers(0, 256, (num_images, 4, 4), dtype=np.uint8)
    found = {"train": (images, np.arange(num_images) % 3), "val": (images, np.arange(num_images) % 3)}
    if wrong == "key":
        return {"train": (images, []), "training": images}
    if wrong == "labels":
        return {**found, "val": (images, [None] * num_images)}
    if wrong == "classes":
        return {**found, "classes": ["a"]}
    if wrong == "pixels":
        return {**found, "val": [(images[0].astype(float), 1)]}
    if wrong == "lengths":
        return {**found, "val": (images, [0])}
    if wrong == "random":
        np.random.shuffle(images)
    return found if wrong != "list" else [found]
"""


def source(text: str, folder: Path):
    (folder / "sets.py").write_text(DATA)
    data = validate(RunConfig, parse(f"data: {text}", source=f"{folder}/spec.yaml")).data
    return build(data, data_root=folder / "root", cache=folder / "cache")


def test_the_files_that_an_own_data_set_names_are_its_content(tmp_path):
    """Below the data root; another pixel is another fingerprint, and so is another argument; decoded as photos are."""
    from PIL import Image

    (tmp_path / "root/birds").mkdir(parents=True)
    for index in range(8):
        Image.new("RGB", (6, 6), (index, 0, 0)).save(tmp_path / f"root/birds/{index}.png")
    text = "{name: sets.py:Birds, root: birds, size: 3, split: 0.25}"
    first = source(text, tmp_path)
    found = first.load()
    assert found.classes == ("crow", "jay")
    assert {name: len(split) for name, split in found.splits.items()} == {"train": 6, "val": 2}
    assert found.splits["train"].images.shape == (6, 3, 3, 3)
    assert found.fingerprint == first.fingerprint() == source(text, tmp_path).fingerprint()
    assert source(text.replace("size", "scale: 2, size"), tmp_path).fingerprint() != found.fingerprint
    Image.new("RGB", (6, 6), (9, 9, 9)).save(tmp_path / "root/birds/0.png")
    assert source(text, tmp_path).fingerprint() != found.fingerprint
    with pytest.raises(DataError, match=r"data.root: no such file or folder 'nowhere'"):
        source("{name: sets.py:Birds, root: nowhere}", tmp_path).fingerprint()


def test_grey_arrays_are_a_data_set(tmp_path):
    """Grey becomes RGB, and classes without names go by their numbers."""
    found = source("{name: sets.py:arrays, size: 4}", tmp_path).load()
    images = np.random.default_rng(0).integers(0, 256, (12, 4, 4), dtype=np.uint8)
    assert found.classes == ("0", "1", "2")
    assert np.array_equal(found.splits["train"].images[np.arange(12)], np.repeat(images[..., None], 3, axis=3))
    assert found.splits["train"].labels.tolist() == [index % 3 for index in range(12)]


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ("key", "gives training; the keys are train, val, test and classes"),
        ("labels", "has training or validation images without a label"),
        ("classes", "names 1 classes, and has the label 2"),
        ("pixels", "val image 0 is unreadable: is float64"),
        ("lengths", "gives 12 images and 1 labels for a split"),
        ("random", "changes the global random state of NumPy's"),
        ("list", "gives list; it should give a mapping with train, val and test"),
    ],
)
def test_what_is_wrong_with_an_own_data_set_is_told(wrong, words, tmp_path):
    """One line, when it is loaded."""
    with pytest.raises((DataError, OwnPartError)) as error:
        source(f"{{name: sets.py:arrays, size: 4, wrong: {wrong}}}", tmp_path).load()
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_what_installed_modules_draw_when_they_are_imported_is_no_fault_of_the_part(tmp_path, monkeypatch):
    """From any of the three generators, which are given back, in a module that another one imports too."""
    draws = "import random, numpy, torch\nrandom.random()\nnumpy.random.rand()\ntorch.rand(())\n"
    (tmp_path / "drawing_outside.py").write_text(f"{draws}import drawing_inside\n")
    (tmp_path / "drawing_inside.py").write_text(draws)
    monkeypatch.syspath_prepend(tmp_path)
    torch.manual_seed(3)
    expected = torch.rand(())
    torch.manual_seed(3)
    before = random.getstate()
    with undisturbed("mine"):
        import_module("drawing_outside")
    assert random.getstate() == before
    assert torch.rand(()) == expected


def test_what_a_part_draws_beside_its_imports_is_its_own(tmp_path, monkeypatch):
    """An import gives back the state that it found, not that of the beginning."""
    (tmp_path / "harmless.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)

    def draw():
        with undisturbed("mine"):
            random.random()
            import_module("harmless")

    with pytest.raises(OwnPartError, match="mine: changes the global random state of Python's"):
        draw()
