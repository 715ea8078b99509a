"""EfficientNet-Lite0: a convolutional network that reads pictures on a CPU.

Tan and Le, "EfficientNet: rethinking model scaling for convolutional neural networks" (2019), in the Lite
form of its authors: no squeeze-and-excitation, ReLU6 throughout, stem and head of fixed width. 4.7 M
parameters, .4 G multiplications a picture of 224 x 224. We differ in where it ends: the mean over places of
the last layer, 1,280 numbers, comes out in place of the thousand classes. Names of the parameters are those
of the published weights, so that their file fits as it is.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

STAGES = (  # blocks, kernel, stride of the first, widening, channels out
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
STEM, WIDTH = 32, 1280
_EPSILON = 1e-3  # of the batch normalisation, as the weights were trained with


class _Same(nn.Conv2d):
    """A convolution padded as TensorFlow pads ("same"): with stride 2 more at the end than at the start."""

    def forward(self, x: Tensor) -> Tensor:
        kernel, stride = self.kernel_size[0], self.stride[0]
        if kernel > 1:
            (top, bottom), (left, right) = (_padding(int(size), kernel, stride) for size in x.shape[2:])
            x = functional.pad(x, [left, right, top, bottom])
        return super().forward(x)


def _padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """(before, after).

    >>> _padding(224, 3, 2), _padding(7, 5, 1)
    ((0, 1), (2, 2))
    """
    missing = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return missing // 2, missing - missing // 2


class Block(nn.Module):
    """Widen, look around in each channel, narrow (Sandler et al. 2018); added to its input where it can."""

    def __init__(self, inside: int, out: int, kernel: int, stride: int, widening: int) -> None:
        super().__init__()
        wide = inside * widening
        if widening > 1:
            self._expand_conv = nn.Conv2d(inside, wide, 1, bias=False)
            self._bn0 = nn.BatchNorm2d(wide, eps=_EPSILON)
        self._depthwise_conv = _Same(wide, wide, kernel, stride, groups=wide, bias=False)
        self._bn1 = nn.BatchNorm2d(wide, eps=_EPSILON)
        self._project_conv = nn.Conv2d(wide, out, 1, bias=False)
        self._bn2 = nn.BatchNorm2d(out, eps=_EPSILON)
        self.widens, self.adds = widening > 1, stride == 1 and inside == out

    def forward(self, x: Tensor) -> Tensor:
        """(n, inside, h, w) -> (n, out, h / stride, w / stride)."""
        y: Tensor = functional.relu6(self._bn0(self._expand_conv(x))) if self.widens else x
        y = functional.relu6(self._bn1(self._depthwise_conv(y)))
        y = self._bn2(self._project_conv(y))
        return x + y if self.adds else y


class EfficientNetLite0(nn.Module):
    """(n, 3, h, w) in about -1 to 1 -> (n, 1280), not negative."""

    def __init__(self) -> None:
        super().__init__()
        self._conv_stem = _Same(3, STEM, 3, 2, bias=False)
        self._bn0 = nn.BatchNorm2d(STEM, eps=_EPSILON)
        blocks, inside = [], STEM
        for count, kernel, stride, widening, out in STAGES:
            for place in range(count):
                blocks.append(Block(inside, out, kernel, 1 if place else stride, widening))
                inside = out
        self._blocks = nn.ModuleList(blocks)
        self._conv_head = nn.Conv2d(inside, WIDTH, 1, bias=False)
        self._bn1 = nn.BatchNorm2d(WIDTH, eps=_EPSILON)

    def forward(self, pictures: Tensor) -> Tensor:
        x: Tensor = functional.relu6(self._bn0(self._conv_stem(pictures)))
        for block in self._blocks:
            x = block(x)
        x = functional.relu6(self._bn1(self._conv_head(x)))
        return x.mean((2, 3))
