"""ULCNN (Guo et al. 2023, "Ultra Lite Convolutional Neural Network for Fast Automatic Modulation Classification in
Low-Resource Scenarios", IEEE Wireless Communications Letters).

A complex convolution, six units of separable convolution with channel shuffle and channel attention that halve the
length, and a linear layer on the sum of what the last three leave. The shuffle is over channels, as the paper says (in
the authors' code the axis it permutes is time), and a stride pads both ends alike.
"""

import torch
from torch import Tensor, nn

from edgeprune.models._frames import require_iq

COMPLEX_WIDTH = 16
WIDTH = 2 * COMPLEX_WIDTH
KERNEL = 5
UNITS = 6
SUMMED = 3
REDUCTION = 16


class ComplexConv1d(nn.Module):
    """A convolution of complex signals, the imaginary channels behind the real ones; the length stays."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int) -> None:
        super().__init__()
        self.real = nn.Parameter(torch.empty(out_channels, in_channels, kernel_size))
        self.imaginary = nn.Parameter(torch.empty(out_channels, in_channels, kernel_size))
        self.bias = nn.Parameter(torch.zeros(2 * out_channels))
        for weight in (self.real, self.imaginary):
            nn.init.normal_(weight, std=(2 * in_channels * kernel_size) ** -0.5)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, 2 C, L) to (N, 2 C', L)."""
        real_rows = torch.cat((self.real, -self.imaginary), dim=1)
        imaginary_rows = torch.cat((self.imaginary, self.real), dim=1)
        return nn.functional.conv1d(x, torch.cat((real_rows, imaginary_rows)), self.bias, padding="same")


class ComplexBatchNorm1d(nn.Module):
    """Batch normalization that whitens real against imaginary part (Trabelsi et al. 2018, section 3.5).

    A channel is centered, multiplied by the inverse square root of its 2x2 covariance, then by a learned symmetric 2x2
    matrix, and shifted. Covariances are kept as rows rr, ii, ri. Computes in float32 or wider.

    Args:
        channels: Complex channels C.
        eps: Added to the two variances.
        momentum: Share of the batch in the running statistics.
    """

    running_mean: Tensor
    running_covariance: Tensor

    def __init__(self, channels: int, eps: float = 1e-4, momentum: float = 0.1) -> None:
        super().__init__()
        self.eps = eps
        self.momentum = momentum
        white = torch.tensor([[0.5**0.5], [0.5**0.5], [0.0]])
        self.weight = nn.Parameter(white.repeat(1, channels))
        self.bias = nn.Parameter(torch.zeros(2, channels))
        self.register_buffer("running_mean", torch.zeros(2, channels))
        self.register_buffer("running_covariance", white.repeat(1, channels))

    def forward(self, x: Tensor) -> Tensor:
        """Normalize (N, 2 C, L), the imaginary channels behind the real ones."""
        real, imaginary = x.to(torch.promote_types(x.dtype, self.weight.dtype)).chunk(2, dim=1)
        if self.training:
            mean = torch.stack((real.mean(dim=(0, 2)), imaginary.mean(dim=(0, 2))))
            covariance = _covariance(real - mean[0, :, None], imaginary - mean[1, :, None])
            with torch.no_grad():
                self.running_mean.lerp_(mean.to(self.running_mean), self.momentum)
                self.running_covariance.lerp_(covariance.to(self.running_covariance), self.momentum)
        else:
            mean, covariance = self.running_mean, self.running_covariance
        real, imaginary = real - mean[0, :, None], imaginary - mean[1, :, None]
        (rr, ri), (ir, ii) = self._matrix(covariance)
        shift_real, shift_imaginary = self.bias[:, :, None].unbind()
        return torch.cat((rr * real + ri * imaginary + shift_real, ir * real + ii * imaginary + shift_imaginary), dim=1)

    def _matrix(self, covariance: Tensor) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
        """The learned matrix times the whitening one, four entries (C, 1); the root is that of a 2x2 in closed form."""
        rr, ii, ri = covariance[:, :, None].unbind()
        rr, ii = rr + self.eps, ii + self.eps
        root = torch.sqrt(rr * ii - ri * ri)
        scale = 1 / (root * torch.sqrt(rr + ii + 2 * root))
        white_rr, white_ii, white_ri = (ii + root) * scale, (rr + root) * scale, -ri * scale
        gain_rr, gain_ii, gain_ri = self.weight[:, :, None].unbind()
        return (
            (gain_rr * white_rr + gain_ri * white_ri, gain_rr * white_ri + gain_ri * white_ii),
            (gain_ri * white_rr + gain_ii * white_ri, gain_ri * white_ri + gain_ii * white_ii),
        )


def _covariance(real: Tensor, imaginary: Tensor) -> Tensor:
    """Rows rr, ii, ri (3, C) over frames and time, of centered parts (N, C, L)."""
    return torch.stack([(a * b).mean(dim=(0, 2)) for a, b in ((real, real), (imaginary, imaginary), (real, imaginary))])


class ShuffledSeparable(nn.Module):
    """A depthwise convolution of stride 2, a pointwise one, batch normalization, ReLU, and a shuffle of two groups."""

    def __init__(self) -> None:
        super().__init__()
        self.depthwise = nn.Conv1d(WIDTH, WIDTH, KERNEL, stride=2, padding=KERNEL // 2, groups=WIDTH, bias=False)
        self.pointwise = nn.Conv1d(WIDTH, WIDTH, 1)
        self.bn = nn.BatchNorm1d(WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, L) to (N, C, L/2), rounded up."""
        x = torch.relu(self.bn(self.pointwise(self.depthwise(x))))
        return torch.unflatten(x, 1, (2, -1)).transpose(1, 2).flatten(1, 2)


class ChannelAttention(nn.Module):
    """Weigh every channel by what two linear layers make of its mean and of its maximum (Woo et al. 2018)."""

    def __init__(self) -> None:
        super().__init__()
        self.weigh = nn.Sequential(
            nn.Linear(WIDTH, WIDTH // REDUCTION), nn.ReLU(), nn.Linear(WIDTH // REDUCTION, WIDTH)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Scale (N, C, L) by a number from 0 to 1 for each channel."""
        weights = torch.sigmoid(self.weigh(x.mean(dim=2)) + self.weigh(x.amax(dim=2)))
        return x * weights[:, :, None]


class ULCNN(nn.Module):
    """Complex stem, six units, one linear layer on the sum of the last three units' means over time.

    Args:
        classes: Number of outputs.
    """

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(ComplexConv1d(1, COMPLEX_WIDTH, KERNEL), ComplexBatchNorm1d(COMPLEX_WIDTH), nn.ReLU())
        units = [nn.Sequential(ShuffledSeparable(), ChannelAttention()) for _ in range(UNITS)]
        self.early = nn.Sequential(*units[:-SUMMED])
        self.summed = nn.ModuleList(units[-SUMMED:])
        self.fc = nn.Linear(WIDTH, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Classify frames (N, 2, L) into logits (N, classes)."""
        x = self.early(self.stem(x))
        means = []
        for unit in self.summed:
            x = unit(x)
            means.append(x.mean(dim=2))
        logits: Tensor = self.fc(torch.stack(means).sum(dim=0))
        return logits


class ULCNNFamily:
    """Builds the one ULCNN."""

    names = ("ulcnn",)

    def build(self, name: str, channels: int, length: int, classes: int) -> nn.Module:
        """Build it for frames (N, 2, length); any length works.

        Raises:
            ModelError: The frames do not have the two channels I and Q.
        """
        require_iq(name, channels, length)
        return ULCNN(classes)


family = ULCNNFamily()
