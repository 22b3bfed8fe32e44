"""A backbone of my own: convolutions that halve the image, whose last map is pooled by `model.pooling`."""

from torch import Tensor, nn


class SmallNet(nn.Module):
    """Stages of convolution, batch norm and ReLU, each of twice the width of the one before."""

    def __init__(self, width: int = 16, stages: int = 2, dropout: float = 0.0):
        super().__init__()
        layers: list[nn.Module] = []
        channels = 3
        for stage in range(stages):
            wider = width * 2**stage
            layers += [nn.Conv2d(channels, wider, kernel_size=3, stride=2, padding=1, bias=False)]
            layers += [nn.BatchNorm2d(wider), nn.ReLU(inplace=True)]
            channels = wider
        self.layers = nn.Sequential(*layers)
        self.dropout = nn.Dropout2d(dropout)

    def forward(self, images: Tensor) -> Tensor:
        """Images (N, 3, H, W) to a map of features (N, D, h, w); features (N, D) would do as well."""
        return self.dropout(self.layers(images))
