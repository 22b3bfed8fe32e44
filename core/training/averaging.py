"""What belongs to an average of weights? Batch norm's statistics, found anew in one pass over the training images."""

from __future__ import annotations

from typing import cast

import torch
from torch import nn

from ablation_suite.core.models.network import Network
from ablation_suite.core.training.device import autocast
from ablation_suite.core.training.session import Session

Norm = nn.modules.batchnorm._BatchNorm


def add_epoch(session: Session, epoch: int) -> None:
    """Take the weights at the end of an epoch into the equal average, and give it the statistics that belong to it.

    As `torch.optim.swa_utils.update_bn`, on the images of the epoch as it saw them, but for mixing and for dropout:
    each norm averages over batches what it sees. A frozen part keeps its statistics.
    """
    parts = session.parts
    parts.update_average()
    assert parts.averaged is not None
    network = cast(Network, parts.averaged.module)
    network.train()
    norms = [each for each in network.modules() if isinstance(each, Norm) and each.training]
    network.eval()
    if not norms:
        return
    momenta = [each.momentum for each in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.train()
        norm.momentum = None  # the mean over all batches
    drawn = session.draw(epoch)
    num_views = parts.loss.num_views
    with torch.no_grad():
        for at, (images, rows) in enumerate(session.feed.batches(drawn.views)):
            size = len(rows) // num_views
            inputs = parts.augment(images[:size], drawn.draws_of(at, rows)[:size])
            with autocast(session.device, session.config.precision):
                network(inputs)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    network.train()
