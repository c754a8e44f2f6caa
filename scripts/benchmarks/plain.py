"""CDDFuse and SHIP and their training steps as the papers describe them, with nothing done for speed: the baseline.

Channels before pixels (NCHW) throughout, one image after the other through shared parts, every operator a call of its
own. Same architectures, losses, clipping and optimizer as ours; weights are PyTorch's defaults, which costs no time.
Only `scripts/benchmark.py train` uses this file; its losses agree with ours to rounding (tests/scripts).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

EPS = torch.finfo(torch.float32).eps


# --- CDDFuse --------------------------------------------------------------------------------------------------------


def conv(inputs: int, outputs: int, size: int, groups: int = 1, bias: bool = False) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, size, padding=size // 2, groups=groups, bias=bias)


class Norm(nn.LayerNorm):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2).contiguous()


class Attention(nn.Module):
    def __init__(self, dim: int, heads: int, groups: int):
        super().__init__()
        self.heads = heads
        self.temperature = nn.Parameter(torch.ones(heads, 1, 1))
        self.qkv, self.local = conv(dim, 3 * dim, 1), conv(3 * dim, 3 * dim, 3, groups)
        self.project = conv(dim, dim, 1)

    def forward(self, x: Tensor) -> Tensor:
        b, c, h, w = x.shape
        q, k, v = (t.reshape(b, self.heads, c // self.heads, h * w) for t in self.local(self.qkv(x)).chunk(3, dim=1))
        q, k = F.normalize(q, dim=-1), F.normalize(k, dim=-1)
        attention = (q @ k.transpose(-2, -1) * self.temperature).softmax(dim=-1)
        return self.project((attention @ v).reshape(b, c, h, w))


class FeedForward(nn.Module):
    def __init__(self, dim: int, hidden: int, groups: int):
        super().__init__()
        self.expand, self.local = conv(dim, 2 * hidden, 1), conv(2 * hidden, 2 * hidden, 3, groups)
        self.project = conv(hidden, dim, 1)

    def forward(self, x: Tensor) -> Tensor:
        a, b = self.local(self.expand(x)).chunk(2, dim=1)
        return self.project(F.gelu(a) * b)


class Block(nn.Module):
    def __init__(self, dim: int, heads: int, hidden: int, attention_groups: int, groups: int):
        super().__init__()
        self.norm1, self.attention = Norm(dim), Attention(dim, heads, attention_groups)
        self.norm2, self.feed_forward = Norm(dim), FeedForward(dim, hidden, groups)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norm1(x))
        return x + self.feed_forward(self.norm2(x))


def restormer(dim: int) -> nn.Sequential:
    return nn.Sequential(*(Block(dim, 8, 2 * dim, 3 * dim, 4 * dim) for _ in range(4)))


class Inverted(nn.Sequential):
    def __init__(self, dim: int):
        local = nn.Conv2d(2 * dim, 2 * dim, 3, groups=2 * dim, bias=False)
        up, down = conv(dim, 2 * dim, 1), conv(2 * dim, dim, 1)
        super().__init__(up, nn.ReLU6(), nn.ReflectionPad2d(1), local, nn.ReLU6(), down)


class Node(nn.Module):
    def __init__(self, dim: int):
        super().__init__()
        self.mix = conv(dim, dim, 1, bias=True)
        self.phi, self.rho, self.eta = (Inverted(dim // 2) for _ in range(3))

    def forward(self, z: Tensor) -> Tensor:
        z1, z2 = self.mix(z).chunk(2, dim=1)
        z2 = z2 + self.phi(z1)
        z1 = z1 * torch.exp(self.rho(z2)) + self.eta(z2)
        return torch.cat((z1, z2), dim=1)


class Encoder(nn.Module):
    def __init__(self, dim: int = 64):
        super().__init__()
        self.embed, self.blocks = conv(1, dim, 3), restormer(dim)
        self.base, self.detail = Block(dim, 8, dim, 1, dim), nn.Sequential(*(Node(dim) for _ in range(3)))

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        shared = self.blocks(self.embed(image))
        return self.base(shared), self.detail(shared)


class Decoder(nn.Module):
    def __init__(self, dim: int = 64):
        super().__init__()
        self.reduce, self.blocks = conv(2 * dim, dim, 1), restormer(dim)
        self.head = nn.Sequential(conv(dim, dim // 2, 3), nn.LeakyReLU(0.01), conv(dim // 2, 1, 3))

    def forward(self, image: Tensor, base: Tensor, detail: Tensor) -> Tensor:
        features = self.blocks(self.reduce(torch.cat((base, detail), dim=1)))
        return torch.sigmoid(self.head(features) + image)


class CDDFuse(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder, self.decoder = Encoder(), Decoder()
        self.base_fusion, self.detail_fusion = Block(64, 8, 64, 1, 64), Node(64)

    def phase1(self, ir: Tensor, vis: Tensor) -> Tensor:
        (base_vis, detail_vis), (base_ir, detail_ir) = self.encoder(vis), self.encoder(ir)
        vis_hat, ir_hat = self.decoder(vis, base_vis, detail_vis), self.decoder(ir, base_ir, detail_ir)
        rebuilt = sum(5 * ssim_loss(x, y) + F.mse_loss(x, y) for x, y in ((vis, vis_hat), (ir, ir_hat)))
        gradients = F.l1_loss(spatial_gradient(vis_hat), spatial_gradient(vis))
        return rebuilt + 2 * decomposition(base_vis, base_ir, detail_vis, detail_ir) + 5 * gradients

    def phase2(self, ir: Tensor, vis: Tensor) -> Tensor:
        (base_vis, detail_vis), (base_ir, detail_ir) = self.encoder(vis), self.encoder(ir)
        fused = self.decoder(vis, self.base_fusion(base_ir + base_vis), self.detail_fusion(detail_ir + detail_vis))
        sources = F.l1_loss(torch.maximum(vis, ir), fused)
        gradients = F.l1_loss(torch.maximum(sobel(vis), sobel(ir)), sobel(fused))
        return sources + 10 * gradients + 2 * decomposition(base_vis, base_ir, detail_vis, detail_ir)


# --- losses ---------------------------------------------------------------------------------------------------------


def ssim_loss(x: Tensor, y: Tensor) -> Tensor:
    g = torch.exp(-((torch.arange(11, device=x.device, dtype=x.dtype) - 5) ** 2) / (2 * 1.5**2))
    window = (g[:, None] * g / g.sum() ** 2)[None, None]

    def blur(z: Tensor) -> Tensor:
        return F.conv2d(F.pad(z, (5, 5, 5, 5), mode="reflect"), window)

    mu_x, mu_y = blur(x), blur(y)
    var_x, var_y, cov = blur(x * x) - mu_x**2, blur(y * y) - mu_y**2, blur(x * y) - mu_x * mu_y
    c1, c2 = 0.01**2, 0.03**2
    ssim = (2 * mu_x * mu_y + c1) * (2 * cov + c2) / ((mu_x**2 + mu_y**2 + c1) * (var_x + var_y + c2))
    return (torch.clamp(1 - ssim, 0, 1) / 2).mean()


def correlation(a: Tensor, b: Tensor) -> Tensor:
    a, b = (x.flatten(2) - x.flatten(2).mean(dim=-1, keepdim=True) for x in (a, b))
    norms = torch.sqrt((a**2).sum(-1)) * torch.sqrt((b**2).sum(-1))
    return torch.clamp((a * b).sum(-1) / (EPS + norms), -1, 1).mean()


def decomposition(base_vis: Tensor, base_ir: Tensor, detail_vis: Tensor, detail_ir: Tensor) -> Tensor:
    return correlation(detail_vis, detail_ir) ** 2 / (1.01 + correlation(base_vis, base_ir))


def sobel_kernels(x: Tensor) -> Tensor:
    across = torch.tensor([[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]], device=x.device, dtype=x.dtype)
    return torch.stack((across, across.T))[:, None]


def spatial_gradient(x: Tensor) -> Tensor:
    return F.conv2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), sobel_kernels(x) / 8)


def sobel(x: Tensor) -> Tensor:
    return F.conv2d(x, sobel_kernels(x), padding=1).abs().sum(dim=1, keepdim=True)


# --- SHIP -----------------------------------------------------------------------------------------------------------


def refresh(dim: int) -> nn.Sequential:
    return nn.Sequential(conv(dim, dim, 3, bias=True), nn.ReLU(), conv(dim, dim, 3, bias=True))


class CrossDifference(nn.Module):
    PLUS, DIAGONAL = ((0, 1), (1, 0), (1, 1), (1, 2), (2, 1)), ((0, 0), (0, 2), (1, 1), (2, 0), (2, 2))

    def __init__(self, dim: int):
        super().__init__()
        self.mix = nn.Parameter(torch.zeros(1))
        self.plus, self.diagonal = (nn.Parameter(torch.randn(dim, dim, 5) / (5 * dim) ** 0.5) for _ in range(2))

    @staticmethod
    def response(x: Tensor, taps: Tensor, places: tuple) -> Tensor:
        kernel = taps.new_zeros(*taps.shape[:2], 3, 3)
        for i, (row, column) in enumerate(places):
            kernel[:, :, row, column] = taps[:, :, i]
        return F.conv2d(x, kernel, padding=1) - 0.8 * F.conv2d(x, taps.sum(2)[:, :, None, None])

    def forward(self, x: Tensor) -> Tensor:
        s = torch.sigmoid(self.mix)
        plus, diagonal = self.response(x, self.plus, self.PLUS), self.response(x, self.diagonal, self.DIAGONAL)
        return s * plus + (1 - s) * diagonal + x


class Edge(nn.Module):
    def __init__(self, dim: int):
        super().__init__()
        self.conv, self.refresh, self.difference = conv(dim, dim, 3, bias=True), refresh(dim), CrossDifference(dim)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        return self.refresh(x) + self.difference(x)


class Spatial(nn.Module):
    def __init__(self, dim: int):
        super().__init__()
        self.norms = nn.ModuleList(Norm(dim) for _ in range(4))
        self.fused, self.infrared = (nn.ModuleList(refresh(dim) for _ in range(3)) for _ in range(2))

    def forward(self, vis: Tensor, inf: Tensor) -> tuple[Tensor, Tensor]:
        high = self.norms[0](torch.fft.irfft2(torch.fft.rfft2(vis) * torch.fft.rfft2(inf), s=vis.shape[-2:])) * inf
        for i in range(3):
            inf = self.infrared[i](inf)
            high = self.norms[i + 1](self.fused[i](high)) * inf
        return high + vis, inf


class Unit(nn.Module):
    def __init__(self, inputs: int, outputs: int = 16):
        super().__init__()
        self.conv1, self.conv2 = conv(inputs, outputs, 3, bias=True), conv(outputs, outputs, 3, bias=True)
        self.norm, self.skip = nn.InstanceNorm2d(outputs // 2, affine=True), conv(inputs, outputs, 1, bias=True)

    def forward(self, x: Tensor) -> Tensor:
        first, second = self.conv1(x).chunk(2, dim=1)
        y = F.leaky_relu(torch.cat((self.norm(first), second), dim=1), 0.1)
        return F.leaky_relu(self.conv2(y), 0.1) + self.skip(x)


class Dense(nn.Module):
    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.unit1, self.unit2, self.conv = Unit(inputs), Unit(16), conv(inputs + 32, outputs, 3, bias=True)

    def forward(self, x: Tensor) -> Tensor:
        x1 = F.leaky_relu(self.unit1(x), 0.2)
        x2 = F.leaky_relu(self.unit2(x1), 0.2)
        return F.leaky_relu(self.conv(torch.cat((x, x1, x2), dim=1)), 0.2)


class Invertible(nn.Module):
    def __init__(self, dim: int):
        super().__init__()
        p, lower, upper = torch.linalg.lu(torch.linalg.qr(torch.randn(dim, dim))[0])
        self.register_buffer("p", p)
        self.register_buffer("sign", upper.diagonal().sign())
        self.lower, self.upper = nn.Parameter(lower), nn.Parameter(upper.triu(1))
        self.log_s = nn.Parameter(upper.diagonal().abs().log())
        self.f, self.g, self.h = (Dense(dim // 2, dim // 2) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        lower = self.lower.tril(-1) + torch.eye(len(self.p), device=x.device)
        matrix = self.p @ lower @ (self.upper.triu(1) + torch.diag(self.sign * self.log_s.exp()))
        x1, x2 = F.conv2d(x, matrix[:, :, None, None]).chunk(2, dim=1)
        y1 = x1 + self.f(x2)
        return torch.cat((y1, x2 * torch.exp(0.8 * (2 * torch.sigmoid(self.h(y1)) - 1)) + self.g(y1)), dim=1)


class Channel(nn.Module):
    def __init__(self, dim: int):
        super().__init__()
        self.mixers = nn.ModuleList(
            nn.Sequential(conv(2 * dim, dim, 1, bias=True), nn.ReLU(), conv(dim, 2 * dim, 1, bias=True))
            for _ in range(4)
        )
        self.refreshes = nn.ModuleList(refresh(2 * dim) for _ in range(3))
        self.invertible, self.project = Invertible(2 * dim), conv(2 * dim, dim, 1, bias=True)

    def forward(self, vis: Tensor, inf: Tensor) -> tuple[Tensor, Tensor]:
        features = torch.cat((vis, inf), dim=1)
        weight = F.softmax(self.mixers[0](F.adaptive_avg_pool2d(features, 1)), dim=1)
        high = features * weight
        for i in range(3):
            weight = F.softmax(self.mixers[i + 1](weight), dim=1)
            high = self.refreshes[i](high) * weight
        return self.project(self.invertible(high)) + vis, inf


class Pooled(nn.Module):
    def __init__(self, dim: int):
        super().__init__()
        gate = conv(dim, dim // 4, 1, bias=True), nn.ReLU(), conv(dim // 4, dim, 1, bias=True), nn.Sigmoid()
        self.refresh, self.gate = refresh(dim), nn.Sequential(*gate)

    def forward(self, x: Tensor) -> Tensor:
        y = F.adaptive_avg_pool2d(self.refresh(x), 1)
        return x + self.gate(y) * y


class SHIP(nn.Module):
    def __init__(self, dim: int = 16):
        super().__init__()
        self.visible, self.infrared = (
            nn.Sequential(conv(1, dim, 1, bias=True), Edge(dim), Edge(dim)) for _ in range(2)
        )
        self.spatial = nn.ModuleList(Spatial(dim) for _ in range(3))
        self.channel = nn.ModuleList(Channel(dim) for _ in range(3))
        self.invertible, self.project = Invertible(3 * dim), conv(3 * dim, dim, 1, bias=True)
        self.refine = nn.Sequential(conv(dim, dim, 3, bias=True), Pooled(dim), Pooled(dim), conv(dim, 1, 3, bias=True))

    def phase1(self, ir: Tensor, vis: Tensor, mask: Tensor) -> Tensor:
        v, i = self.visible(vis), self.infrared(ir)
        orders = []
        for spatial, channel in zip(self.spatial, self.channel, strict=True):
            v, i = channel(*spatial(v, i))
            orders.append(v)
        fused = self.refine(self.project(self.invertible(torch.cat(orders, dim=1)))).clamp(0, 1)
        rest = torch.where(mask == 1, 0.0, 1.0)
        masked = F.l1_loss(mask * vis, fused) + F.l1_loss(fused, rest * ir)
        gradients = F.l1_loss(sobel(fused), torch.maximum(sobel(vis), sobel(ir)))
        return 3 * masked + 10 * F.l1_loss(fused, torch.maximum(vis, ir)) + 10 * gradients
