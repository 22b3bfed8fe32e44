"""What can change the numbers of a run? Everything on this page, and nothing else; it is hashed whole."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from ablation_suite.core.augment import Augment, NoAugment
from ablation_suite.core.config.menu import Entry, Frozen, later
from ablation_suite.core.config.own import Own
from ablation_suite.core.config.paths import typed
from ablation_suite.core.config.schema import Document, Fault, SchemaError, load
from ablation_suite.core.data import Data, Digits
from ablation_suite.core.losses import CrossEntropy, Loss
from ablation_suite.core.mix import Mix, NoMix
from ablation_suite.core.models import Model
from ablation_suite.core.optim import Adam, Constant, Optimizer, Schedule


class EarlyStopping(Frozen):
    """When a run ends before its last epoch."""

    patience: int = Field(ge=1)
    """Epochs without a better validation accuracy after which no further one is trained."""


class SWA(Frozen):
    """How the weights of the last epochs are averaged (Izmailov et al. 2018)."""

    start_epoch: int = Field(ge=1)
    """First epoch, from 1 on, whose last weights are part of the average."""
    lr: float | None = Field(None, gt=0.0)
    """Constant learning rate from that epoch on; null follows the schedule."""


class RunConfig(Frozen):
    """One training run as a paper's method section would state it."""

    data: Data = Digits()  # type: ignore[valid-type]
    """The images, their split and their size."""
    augment: Augment = NoAugment()  # type: ignore[valid-type]
    """Random changes of each training image."""
    mix: Mix = NoMix()  # type: ignore[valid-type]
    """Mixing of training images and their labels."""
    model: Model = Model()
    """The network."""
    loss: Loss = CrossEntropy()  # type: ignore[valid-type]
    """What is minimised."""
    optimizer: Optimizer = Adam()  # type: ignore[valid-type]
    """How the weights move."""
    schedule: Schedule = Constant()  # type: ignore[valid-type]
    """How the learning rate moves."""
    epochs: int = Field(10, ge=1)
    """Passes over the training images."""
    batch_size: int = Field(64, ge=1)
    """Training images per optimizer step (pairs, for a loss of pairs)."""
    accumulate: int = Field(1, ge=1)
    """Pieces in which the gradient of a batch is computed; equals the whole batch where there is no batch norm."""
    clip_norm: float | None = Field(None, gt=0.0)
    """Largest norm of the gradient; null does not clip."""
    ema_decay: float | None = Field(None, gt=0.0, lt=1.0)
    """Decay per step of an exponential moving average of the weights, which is then what is evaluated."""
    swa: SWA | None = later(None)
    """Equal average of the weights at the ends of the last epochs, which is then what is evaluated; null for none."""
    head_lr_factor: float = later(1.0, gt=0.0)
    """Factor of the learning rate of the head and its encoding, as in fine-tuning."""
    layer_decay: float | None = later(None, gt=0.0, le=1.0)
    """Factor of the learning rate from each layer of the backbone to the one before; the head has 1, null is none."""
    precision: Literal["float32", "tf32", "bf16", "fp16"] = "float32"
    """Arithmetic of the forward pass: autocast for bf16 and fp16 (with a scaler); tf32 rounds products only."""
    selection: Literal["best", "last"] = "best"
    """Which epoch's weights are kept: the best validation accuracy (the first of equals), or the last."""
    early_stopping: EarlyStopping | None = None
    """End when the validation accuracy rises no more; null trains all epochs. The schedule is that of all epochs."""
    seed: int = Field(0, ge=0)
    """The one seed that every random stream is derived from."""

    @model_validator(mode="after")
    def _the_loss_takes_what_is_mixed(self) -> RunConfig:
        if self.mix.name != "none" and not (self.loss.takes_mixed_labels and self.loss.num_views == 1):
            raise ValueError(f"mix needs a loss of single images; the {self.loss.name} loss compares whole images")
        return self

    @model_validator(mode="after")
    def _one_average_and_in_time(self) -> RunConfig:
        if self.swa is None:
            return self
        if self.ema_decay is not None:
            raise ValueError("swa and ema_decay are two averages of the weights, and one is evaluated; take one")
        if self.swa.start_epoch > self.epochs:
            raise ValueError(f"swa.start_epoch {self.swa.start_epoch} comes after the last of {self.epochs} epochs")
        return self

    @model_validator(mode="after")
    def _the_optimizer_can_step(self) -> RunConfig:
        if self.optimizer.name == "sam" and self.precision == "fp16":
            raise ValueError(
                "optimizer: sam takes its gradient twice, which fp16's scaler does not; take precision=bf16"
            )
        if self.optimizer.name == "muon" and self.model.freeze == "backbone":
            raise ValueError("optimizer: muon moves the backbone's matrices, and model.freeze=backbone keeps them all")
        return self

    @model_validator(mode="after")
    def _the_best_epoch_is_known(self) -> RunConfig:
        if self.early_stopping is not None and self.selection != "best":
            raise ValueError("early_stopping waits for a better epoch, which selection=last does not keep; take best")
        return self

    @property
    def train_size(self) -> int:
        """Height and width of the images that the network is trained on."""
        crop = getattr(self.augment, "crop", None)  # not every augmentation cuts
        return (crop and crop.size) or self.data.size

    @model_validator(mode="after")
    def _images_fit_what_is_done_to_them(self) -> RunConfig:
        misfit = getattr(self.augment, "misfit", None)
        if misfit is not None and (fault := misfit(self.data.size)):
            raise ValueError(f"augment: {fault}")
        size = self.model.backbone.image_size
        evaluated = getattr(self.data, "evaluated_size", self.data.size)
        if size is not None and {self.train_size, evaluated} != {size}:
            where = "data.size" if self.train_size == self.data.size else "the augmentation's crop to size"
            where = "data.eval_crop" if self.train_size == size else where
            raise ValueError(f"{self.model.backbone.name} takes images of {size} pixels only; set {where}={size}")
        least = self.model.backbone.smallest_image
        if min(self.train_size, evaluated) < least:
            raise ValueError(
                f"{self.model.backbone.name} takes images from {least} pixels on, and gets some of "
                f"{min(self.train_size, evaluated)}; set another data.size"
            )
        return self

    @model_validator(mode="after")
    def _the_warm_up_ends(self) -> RunConfig:
        warmup = getattr(self.schedule, "warmup_epochs", 0.0)  # not every schedule has one, and an own one anything
        if not isinstance(self.schedule, Own) and warmup > self.epochs:
            raise ValueError(f"schedule.warmup_epochs {warmup:g} is longer than the run of epochs {self.epochs}")
        return self


def with_setting(document: Document, path: str, value: Document) -> Document:
    """The document of a RunConfig with the subtree at a dotted path replaced.

    A menu entry that the document leaves to its default is named first, so that `model.head.dropout` can be set where
    no head stands.
    """
    steps = path.split(".")
    default: Any = RunConfig()
    for length in range(1, len(steps)):
        default = getattr(default, steps[length - 1], None)
        if isinstance(default, Entry) and not document.has(tuple(steps[:length])):
            name = Document(data={"name": default.name}, source=value.where(()))
            document = document.replaced(tuple(steps[:length]), name)
    return document.replaced(tuple(steps), value)


def load_base(document: Document, name: str) -> Document:
    """The base that a spec or a sweep names, from the folder of its file; SchemaError where it cannot be read."""
    place = Path(document.source).parent / typed(name)
    if not place.exists():
        raise SchemaError([Fault(document.where(("base",)), "base", f"no such file: {place}")])
    return load(place)


def with_settings(document: Document, settings: Iterable[tuple[str, Document]]) -> Document:
    """The document with several subtrees replaced, an entry before the settings inside it, whose values thus stay."""
    for path, value in sorted(settings, key=lambda setting: setting[0].count(".")):
        document = with_setting(document, path, value)
    return document
