"""What is minimised? Menu of the losses."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from ablation_suite.core.config.menu import Entry, tagged


class CrossEntropy(Entry):
    """Cross-entropy of the logits."""

    builds = "ablation_suite.core.losses.cross_entropy:CrossEntropy"
    name: Literal["cross_entropy"] = "cross_entropy"
    label_smoothing: float = Field(0.0, ge=0.0, lt=1.0)
    """Share of the target that is spread evenly over all classes (Szegedy et al. 2016)."""


class Contrastive(Entry):
    """Cross-entropy of both images of a pair plus a cosine embedding loss of their features.

    Each image is paired, with probability `positive_fraction`, with another image of its class, else with one of
    another class. The run sees two images for every one that plain cross-entropy sees.
    """

    builds = "ablation_suite.core.losses.contrastive:Contrastive"
    name: Literal["contrastive"] = "contrastive"
    weight: float = Field(15.0, ge=0.0)
    """Factor of the cosine embedding loss; 0 leaves pairs without a pull on them."""
    margin: float = Field(0.2, ge=-1.0, le=1.0)
    """Cosine similarity below which a pair of different classes costs nothing."""
    positive_fraction: float = Field(0.5, ge=0.0, le=1.0)
    """Probability that the partner is of the same class."""
    label_smoothing: float = Field(0.0, ge=0.0, lt=1.0)
    """Share of the target that is spread evenly over all classes."""


Loss = tagged(CrossEntropy, Contrastive)
