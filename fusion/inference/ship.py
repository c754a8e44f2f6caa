"""SHIP without gradients: channels_last throughout, constants multiplied out once, activations in place.

The same function as `fusion/networks/learned/ship.py`. Whole pictures only: the product of two spectra and every
mean run over the whole picture, so there is no exact way of cutting it (`tiles.py` is the approximate one). The
authors' program is slow beyond 0.5 megapixels because a map of 16 channels then passes 32 MB, which glibc takes from
the system anew, page by page, for every operator: `fusion.memory.keep_freed_memory` is what cures it.
"""

from __future__ import annotations

import copy
import re
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fusion.inference import bands
from fusion.inference.readiness import Meanwhile, ready

if TYPE_CHECKING:
    from fusion.inference.ship_bands import ShipInBands

PIXELS = 16384
"""Of a chunk in sums over the picture on a CPU: fits its cache."""


BEARS = re.compile(r"channel\.\d+\.(refreshes|invertible\.[gh])|spatial\.\d+\.fused")
"""The parts that bear bfloat16, with over half of the arithmetic (0.05 gray levels). The `f` of a channel interaction
does not: its instance norm enlarges rounding to 0.8 levels. With the last coupling or the infrared features in it, too,
MI, VIF and SF of TNO change in the second decimal."""


def rows(x: Tensor) -> Tensor:
    """(1, c, h, w) in channels_last -> (h * w, c), a view."""
    return x.permute(0, 2, 3, 1).view(-1, x.shape[1])


def chunks(x: Tensor) -> tuple[Tensor, ...]:
    """`rows`, in portions on a CPU; elsewhere whole, as every portion is a launch and sums are those of a tree."""
    return rows(x).split(PIXELS) if x.device.type == "cpu" else (rows(x),)


def refresh(layers: nn.Sequential, x: Tensor) -> Tensor:
    return layers[2](layers[0](x.to(layers[0].weight.dtype)).relu_()).to(x.dtype)


def mean(x: Tensor) -> Tensor:
    """Over pixels: (1, c, h, w) -> (1, c, 1, 1). Float32 within a chunk, float64 across."""
    total = sum(chunk.sum(0, dtype=torch.float32).double() for chunk in chunks(x))
    return (total / (x.shape[2] * x.shape[3])).to(x.dtype)[None, :, None, None]


def pooled_convolution(layer: nn.Conv2d, x: Tensor) -> Tensor:
    """mean(layer(x)) of a zero-padded 3x3 convolution, from sums of x: a tap misses one border row or column."""
    h, w = x.shape[2:]
    sums = [x.sum((2, 3), dtype=torch.float64)]
    edges = [(0, slice(None)), (-1, slice(None)), (slice(None), 0), (slice(None), -1)]
    top, bottom, left, right = (x[:, :, i, j].sum(2, dtype=torch.float64) for i, j in edges)
    corner = {(i, j): x[:, :, i, j].double() for i in (0, -1) for j in (0, -1)}
    taps = []
    for missing_row, row in ((-1, bottom), (None, 0), (0, top)):
        for missing_column, column in ((-1, right), (None, 0), (0, left)):
            both = corner[missing_row, missing_column] if None not in (missing_row, missing_column) else 0
            taps.append(sums[0] - row - column + both)
    taps = torch.stack(taps, dim=-1) / (h * w)
    pooled = torch.einsum("bit,oit->bo", taps, layer.weight.double().flatten(2)) + layer.bias.double()
    return pooled.to(x.dtype)[:, :, None, None]


class ShipForm(nn.Module):
    """The whole network.

    network: a `fusion.networks.learned.ship.SHIP`, whose weights are copied. dtype: of the parts in `BEARS`.
    """

    def __init__(self, network: nn.Module, *, dtype: torch.dtype = torch.float32):
        super().__init__()
        net = copy.deepcopy(network).requires_grad_(False)
        with torch.no_grad():
            kernels = {name: m.kernel() for name, m in net.named_modules() if hasattr(m, "diagonal")}
            matrices = {name: m.matrix()[:, :, None, None] for name, m in net.named_modules() if hasattr(m, "log_s")}
        net = net.float().to(memory_format=torch.channels_last)
        for name, value in {**kernels, **matrices}.items():
            net.get_submodule(name).folded = value.float().contiguous(memory_format=torch.channels_last)
        for name, part in net.named_modules():
            if BEARS.fullmatch(name):
                part.to(dtype=dtype)
        self.net, self.dtype = net, dtype

    def memory(self, h: int, w: int) -> int:
        """Bytes of tensors that one pair of h x w needs."""
        # Met to 2 % by the published network: 70 channels of a dense block and the sums around it, and the features of
        # all orders.
        channels, interactions = self.net.project.out_channels, len(self.net.spatial)
        return 4 * (70 + channels * (3 * interactions + 5)) * h * w

    def forward(self, ir: Tensor, vis: Tensor) -> Tensor:
        """ir, vis: (b, 1, h, w) in [0, 1]; returns the network's raw output, (b, 1, h, w) float32."""
        return torch.cat([self.one(i[None], v[None]) for i, v in zip(ir, vis, strict=True)])

    def one(self, ir: Tensor, vis: Tensor) -> Tensor:
        net = self.net
        v, i = self.extract(net.visible, vis), self.extract(net.infrared, ir)
        orders = []
        for spatial, channel in zip(net.spatial, net.channel, strict=True):
            high, i = self.spatial(spatial, v, i)
            v = self.channel(channel, high.add_(v), i)
            orders.append(v)
        x = self.invertible(net.invertible, torch.cat(orders, dim=1))
        del orders, v, i, high
        x = net.refine[0](net.project(x))
        for pooled in (net.refine[1], net.refine[2]):
            y = pooled_convolution(pooled.refresh[2], pooled.refresh[0](x).relu_())
            x += pooled.gate(y) * y
        return net.refine[3](x)

    def extract(self, layers: nn.Sequential, image: Tensor) -> Tensor:
        x = layers[0](image.float()).contiguous(memory_format=torch.channels_last)
        for edge in (layers[1], layers[2]):
            x = edge.conv(x)
            x = refresh(edge.refresh, x).add_(F.conv2d(x, edge.difference.folded, padding=1))
        return x

    def spatial(self, layers: nn.Module, vis: Tensor, ir: Tensor) -> tuple[Tensor, Tensor]:
        spectrum = torch.fft.rfft2(vis.contiguous())
        spectrum *= torch.fft.rfft2(ir.contiguous())
        high = torch.fft.irfft2(spectrum, s=vis.shape[-2:])
        del spectrum
        high = high.contiguous(memory_format=torch.channels_last)
        high = layer_norm(layers.norms[0], high).mul_(ir)
        for norm, fused, infrared in zip(layers.norms[1:], layers.fused, layers.infrared, strict=True):
            ir = refresh(infrared, ir)
            high = layer_norm(norm, refresh(fused, high)).mul_(ir)
        return high, ir

    def channel(self, layers: nn.Module, vis: Tensor, ir: Tensor) -> Tensor:
        high = torch.cat((vis, ir), dim=1)
        weights = layers.mixers[0](mean(high)).softmax(dim=1)
        high = (high * weights).to(self.dtype)
        for mixer, refresh_high in zip(layers.mixers[1:], layers.refreshes, strict=True):
            weights = mixer(weights).softmax(dim=1)
            high = refresh(refresh_high, high).mul_(weights.to(high.dtype))
        return layers.project(self.invertible(layers.invertible, high.float())).add_(vis)

    def invertible(self, block: nn.Module, x: Tensor) -> Tensor:
        x = F.conv2d(x, block.convolution.folded)
        x1, x2 = x.split(block.split, dim=1)
        x1 += dense(block.f, x2)
        y1 = x1.to(block.h.conv.weight.dtype)
        scale = dense(block.h, y1).float().sigmoid_().mul_(2).sub_(1).mul_(block.CLAMP).exp_()
        x2.mul_(scale).add_(dense(block.g, y1))
        return x


def layer_norm(norm: nn.LayerNorm, x: Tensor) -> Tensor:
    x = x.permute(0, 2, 3, 1)
    return F.layer_norm(x, norm.normalized_shape, norm.weight, norm.bias, norm.eps).permute(0, 3, 1, 2)


def dense(block: nn.Module, x: Tensor) -> Tensor:
    x = x.contiguous(memory_format=torch.channels_last)
    x1 = F.leaky_relu_(unit(block.unit1, x), 0.2)
    x2 = F.leaky_relu_(unit(block.unit2, x1), 0.2)
    return F.leaky_relu_(block.conv(torch.cat((x, x1, x2), dim=1)), 0.2)


def unit(layers: nn.Module, x: Tensor) -> Tensor:
    y = layers.conv1(x)
    half_norm_(y, layers.norm)
    y = F.leaky_relu_(layers.conv2(F.leaky_relu_(y, 0.1)), 0.1)
    return y.add_(layers.skip(x))


def half_norm_(x: Tensor, norm: nn.InstanceNorm2d) -> None:
    """Instance norm of the first half of the channels in place, all channels alike: the others have scale 1."""
    n = norm.num_features
    if x.device.type != "cpu":
        first = rows(x)[:, :n]
        variance, average = torch.var_mean(first.float(), dim=0, correction=0)
        scale = norm.weight.float() * torch.rsqrt(variance + norm.eps)
        first.copy_(torch.addcmul(norm.bias.float() - average * scale, first, scale))
        return
    average = mean(x).float().flatten()
    squares = sum((chunk.float() - average).square_().sum(0).double() for chunk in chunks(x))
    deviation = (squares / (x.shape[2] * x.shape[3]) + norm.eps).sqrt().float()
    scale, shift = torch.ones_like(deviation), torch.zeros_like(deviation)
    scale[:n] = norm.weight.float() / deviation[:n]
    shift[:n] = norm.bias.float() - average[:n] * scale[:n]
    for chunk in chunks(x):
        chunk.copy_(torch.addcmul(shift, chunk.float(), scale))


def ship_form(network: nn.Module, dtype: torch.dtype) -> ShipInBands | ShipForm | Meanwhile:
    """By compiled loops, where there are such for this network on this device; by PyTorch until they are ready."""
    if network.project.weight.device.type == "cpu" and bands.available():
        from fusion.inference.loops.compiler import BFLOAT16
        from fusion.inference.ship_bands import ShipInBands

        if ShipInBands.can(network):
            loops = ShipInBands(network, bears=BEARS.fullmatch, bfloat16=dtype == torch.bfloat16 and BFLOAT16)
            kind = "ship", loops.bfloat16, len(network.spatial)
            if ready(kind, loops.rehearse):
                return loops
            return Meanwhile(kind, loops, ShipForm(network, dtype=dtype))
    return ShipForm(network, dtype=dtype)
