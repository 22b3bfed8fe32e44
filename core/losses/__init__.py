"""What is minimised? Menu of the losses."""

from __future__ import annotations

from typing import ClassVar, Literal, get_args

from pydantic import Field

from ablation_suite.core.config.menu import Entry, later, tagged
from ablation_suite.core.config.own import Own
from ablation_suite.core.models import Model, TorchvisionBackbone, TorchvisionClassifier


class LossEntry(Entry):
    """What the rest of the house has to know of a loss."""

    takes_mixed_labels: ClassVar[bool] = True
    """Whether it can be minimised for images that are blends of several classes; one of pairs never can."""
    weighs_classes: ClassVar[bool] = False
    """Whether it is built with the number of training images of each class."""

    @property
    def num_views(self) -> int:
        """Images that every training image brings: itself, and where the loss pairs images, its partner."""
        return 1

    @property
    def trains_beside(self) -> bool:
        """Whether it has weights of its own, which are trained with the network's and thrown away."""
        return False


class CrossEntropy(LossEntry):
    """Cross-entropy of the logits."""

    builds = "ablation_suite.core.losses.cross_entropy:CrossEntropyLoss"
    name: Literal["cross_entropy"] = "cross_entropy"
    label_smoothing: float = Field(0.0, ge=0.0, lt=1.0)
    """Share of the target that is spread evenly over all classes (Szegedy et al. 2016)."""


class Contrastive(LossEntry):
    """Cross-entropy of both images of a pair plus a cosine embedding loss of their features.

    Each image is paired, with probability `positive_fraction`, with another image of its class, else with one of
    another class. The run sees two images for every one that plain cross-entropy sees.
    """

    builds = "ablation_suite.core.losses.contrastive:ContrastiveLoss"
    name: Literal["contrastive"] = "contrastive"
    weight: float = Field(15.0, ge=0.0)
    """Factor of the cosine embedding loss; 0 leaves pairs without a pull on them."""
    margin: float = Field(0.2, ge=-1.0, le=1.0)
    """Cosine similarity below which a pair of different classes costs nothing."""
    positive_fraction: float = Field(0.5, ge=0.0, le=1.0)
    """Probability that the partner is of the same class."""
    views: Literal["separate", "joint"] = "separate"
    """`separate`: images and partners go through the network one after the other, each with a batch norm of its own;
    `joint`: in one batch of twice the size."""
    label_smoothing: float = Field(0.0, ge=0.0, lt=1.0)
    """Share of the target that is spread evenly over all classes."""

    @property
    def num_views(self) -> int:
        return 2


class ClassWeighted(LossEntry):
    """Cross-entropy in which rare classes count more, since each image is weighted by its class."""

    builds = "ablation_suite.core.losses.cross_entropy:ClassWeightedLoss"
    weighs_classes: ClassVar[bool] = True
    name: Literal["class_weighted"] = "class_weighted"
    weights: Literal["balanced", "effective_number"] = "balanced"
    """`balanced`: N / (K n) for a class of n images; `effective_number`: (1 - beta) / (1 - beta^n), scaled to a mean of
    1 over the classes (Cui et al. 2019)."""
    beta: float = Field(0.999, ge=0.0, lt=1.0)
    """Of the effective number: 0 weighs all classes alike, near 1 by their images."""
    label_smoothing: float = Field(0.0, ge=0.0, lt=1.0)
    """Share of the target that is spread evenly over all classes."""


class Focal(LossEntry):
    """Cross-entropy in which images that are classified well count less (Lin et al. 2017), over all classes."""

    builds = "ablation_suite.core.losses.cross_entropy:FocalLoss"
    name: Literal["focal"] = "focal"
    gamma: float = Field(2.0, ge=0.0)
    """Power of 1 - p, the probability that is missing; 0 is cross-entropy."""


class SupervisedContrastive(LossEntry):
    """Cross-entropy plus the supervised contrastive loss of the features of a batch (Khosla et al. 2020, eq. 2).

    Each image is pulled to all others of its class in the batch, or in its piece where `accumulate` cuts the batch.
    """

    builds = "ablation_suite.core.losses.contrastive:SupervisedContrastiveLoss"
    takes_mixed_labels: ClassVar[bool] = False
    name: Literal["supervised_contrastive"] = "supervised_contrastive"
    weight: float = Field(1.0, ge=0.0)
    """Factor of the contrastive loss."""
    temperature: float = Field(0.1, gt=0.0)
    """Divides the cosine similarities; the lower, the more the nearest images of other classes count."""
    label_smoothing: float = Field(0.0, ge=0.0, lt=1.0)
    """Share of the target that is spread evenly over all classes."""
    projection: Literal["none", "linear", "mlp"] = later("none")
    """What the features go through before they are compared, in training alone; `mlp` has a hidden layer of D units."""
    projection_dim: int = later(128, ge=1)
    """Outputs of the projection."""

    @property
    def trains_beside(self) -> bool:
        return self.projection != "none"


class OwnLoss(LossEntry, Own):
    """A loss of your own: called in every step, it gives one number to minimise.

    Called as loss(logits, targets), or as loss(logits, features, targets) where it takes three arguments: logits (N, K)
    and pooled features (N, D) of float32, and targets, which are classes (N,), or shares of classes (N, K) where images
    were mixed. It returns a scalar, the mean over the N images, through which gradients flow. It draws nothing at
    random. A module may have parameters, which are trained with the network's, thrown away, and seeded by name.
    With `pairs: true` every image comes with a partner, drawn anew in each epoch, and it is called as
    loss(logits, features, targets, partner_logits, partner_features, partner_targets), each of the N images in order.
    Given, where its arguments have these names: num_classes (K), num_features (D), and class_sizes, the training images
    of each class as an array (K,).
    """

    builds = "ablation_suite.core.losses.own:own_loss"
    given = ("num_classes", "num_features", "class_sizes")
    called = ("logits", "features", "targets", "partner_logits", "partner_features", "partner_targets")
    pairs: bool = later(False)
    """Whether every image comes with a partner, as it does for `contrastive`."""
    positive_fraction: float = later(0.5, ge=0.0, le=1.0)
    """Probability that the partner is of the same class."""
    views: Literal["separate", "joint"] = later("separate")
    """Whether images and partners go through the network one after the other, or in one batch of twice the size."""

    @property
    def num_views(self) -> int:
        return 2 if self.pairs else 1


class LogitAdjustment(LossEntry):
    """Cross-entropy of logits to which the logarithm of each class's share is added (Menon et al. 2021, eq. 10).

    What is evaluated are the logits without it, which are then right for classes that are all as frequent.
    """

    builds = "ablation_suite.core.losses.cross_entropy:LogitAdjustedLoss"
    weighs_classes: ClassVar[bool] = True
    name: Literal["logit_adjustment"] = "logit_adjustment"
    tau: float = Field(1.0, ge=0.0)
    """Factor of the logarithms; 0 is cross-entropy."""
    label_smoothing: float = Field(0.0, ge=0.0, lt=1.0)
    """Share of the target that is spread evenly over all classes."""


class BinaryCrossEntropy(LossEntry):
    """Each class by itself, yes or no, on smoothed targets (Wightman et al. 2021, "ResNet strikes back")."""

    builds = "ablation_suite.core.losses.cross_entropy:BinaryCrossEntropyLoss"
    name: Literal["binary_cross_entropy"] = "binary_cross_entropy"
    label_smoothing: float = Field(0.1, ge=0.0, lt=1.0)
    """Share of the target that is spread evenly over all classes."""
    target_threshold: float | None = Field(None, ge=0.0, lt=1.0)
    """Targets above it count as 1 and all others as 0, as for mixed images; null leaves them."""
    sum_classes: bool = False
    """Whether the classes are summed; else the mean over them is taken."""


class Triplet(LossEntry):
    """Cross-entropy plus the triplet loss of the features of a batch, by its hardest triplets (Hermans et al. 2017).

    Of each image, the farthest of its class should be nearer than the nearest of another class, by a margin.
    """

    builds = "ablation_suite.core.losses.contrastive:TripletLoss"
    takes_mixed_labels: ClassVar[bool] = False
    name: Literal["triplet"] = "triplet"
    weight: float = Field(1.0, ge=0.0)
    """Factor of the triplet loss."""
    margin: float = Field(0.3, ge=0.0)
    """How much nearer, as a Euclidean distance of features."""
    label_smoothing: float = Field(0.0, ge=0.0, lt=1.0)
    """Share of the target that is spread evenly over all classes."""


class Distillation(LossEntry):
    """Cross-entropy, and the divergence from what a teacher says of the same images (Hinton et al. 2015).

    The teacher sees the images as the network does, changed and mixed, and learns nothing.
    """

    builds = "ablation_suite.core.losses.cross_entropy:DistillationLoss"
    name: Literal["distillation"] = "distillation"
    teacher: str = Field(min_length=1)
    """The id or the folder of a finished run with these classes, or the name of a network of torchvision."""
    teacher_weights: str = "DEFAULT"
    """Of a network of torchvision: a name of published weights, or the path of a state dict with these classes."""
    teacher_sha256: str = ""
    """Of the teacher's weights: set by the suite when a run is planned."""
    temperature: float = Field(4.0, gt=0.0)
    """Divides the logits of both before they are compared."""
    weight: float = Field(0.9, ge=0.0, le=1.0)
    """Share of the loss that is the teacher's; the rest is the cross-entropy with the labels."""
    label_smoothing: float = Field(0.0, ge=0.0, lt=1.0)
    """Share of the target of the cross-entropy that is spread evenly over all classes."""

    @property
    def network(self) -> TorchvisionBackbone | TorchvisionClassifier | None:
        """The network of torchvision that teaches, or None where a run does."""
        for entry in (TorchvisionBackbone, TorchvisionClassifier):
            if self.teacher in get_args(entry.model_fields["name"].annotation):
                return entry(name=self.teacher)  # type: ignore[arg-type]
        return None

    @property
    def teacher_model(self) -> Model | None:
        """The network of torchvision with its weights, or None where a run teaches."""
        return None if self.network is None else Model(backbone=self.network, weights=self.teacher_weights)


Loss = tagged(
    CrossEntropy,
    Contrastive,
    ClassWeighted,
    Focal,
    SupervisedContrastive,
    LogitAdjustment,
    BinaryCrossEntropy,
    Triplet,
    Distillation,
    own=OwnLoss,
)
