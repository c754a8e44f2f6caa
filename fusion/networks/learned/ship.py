"""SHIP: high-order interaction of infrared and visible features, over space and over channels.

Zheng et al., "Probing Synergistic High-Order Interaction in Infrared and Visible Image Fusion", CVPR 2024. Same
function as the authors' released program, to float32 rounding. What differs: each central-difference block is
multiplied out into one 3x3 kernel, and the invertible 1x1 convolution's LU factors into one matrix, before they meet
the picture.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fusion.inference import choice
from fusion.inference.ship import ship_form
from fusion.inference.tiles import Tiled
from fusion.layers import half_instance_norm
from fusion.networks.base import About, Convention, Network, count
from fusion.registry import NETWORKS


def conv3x3(inputs: int, outputs: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, padding=1)


def refresh(channels: int) -> nn.Sequential:
    """3x3 convolution, ReLU, 3x3 convolution."""
    return nn.Sequential(conv3x3(channels, channels), nn.ReLU(), conv3x3(channels, channels))


class PixelNorm(nn.LayerNorm):
    """Layer norm over the channels of each pixel; (b, c, h, w) in and out. No copies when x is channels_last."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class CentralDifference(nn.Module):
    """Central-difference cross convolution: a `+`-shaped and an `x`-shaped kernel, blended, plus the identity.

    From each response `THETA` times (the sum of its taps) applied to the centre pixel is subtracted. All of it is
    linear, so it is one 3x3 kernel. The authors leave the blend's parameter uninitialised; here it starts at 0.
    """

    THETA = 0.8
    PLUS = ((0, 1), (1, 0), (1, 1), (1, 2), (2, 1))
    DIAGONAL = ((0, 0), (0, 2), (1, 1), (2, 0), (2, 2))

    def __init__(self, *, channels: int):
        super().__init__()
        self.mix = nn.Parameter(torch.zeros(1))
        self.plus = nn.Parameter(torch.empty(channels, channels, 5))
        self.diagonal = nn.Parameter(torch.empty(channels, channels, 5))
        for taps in (self.plus, self.diagonal):
            nn.init.kaiming_uniform_(taps, a=5**0.5)
        for name, places in (("on_plus", self.PLUS), ("on_diagonal", self.DIAGONAL)):
            self.register_buffer(name, torch.tensor([3 * y + x for y, x in places]), persistent=False)

    def kernel(self) -> Tensor:
        """(c, c, 3, 3), the identity included."""
        share = torch.sigmoid(self.mix)
        identity = torch.eye(self.plus.shape[0], device=self.plus.device, dtype=self.plus.dtype)
        kernel = F.pad(identity[:, :, None, None], (1, 1, 1, 1))
        for taps, places, part in ((self.plus, self.on_plus, share), (self.diagonal, self.on_diagonal, 1 - share)):
            full = taps.new_zeros(*taps.shape[:2], 9)
            full = full.index_copy(2, places, taps)
            centre = F.pad(self.THETA * taps.sum(2, keepdim=True), (4, 4))
            kernel = kernel + part * (full - centre).unflatten(2, (3, 3))
        return kernel

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.kernel(), padding=1)


class EdgeBlock(nn.Module):
    """3x3 convolution, then refresh(x) + central difference(x)."""

    def __init__(self, *, channels: int):
        super().__init__()
        self.conv = conv3x3(channels, channels)
        self.refresh = refresh(channels)
        self.difference = CentralDifference(channels=channels)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        return self.refresh(x) + self.difference(x)


def circular_convolution(a: Tensor, b: Tensor) -> Tensor:
    """(b, c, h, w) each and back: the picture continues at its opposite edge. At least in float32, also under autocast:
    cuFFT refuses bfloat16, and sums over a picture overflow float16."""
    a, b = (x.float() if x.dtype in (torch.bfloat16, torch.float16) else x for x in (a, b))  # one alone may be
    if torch.compiler.is_exporting():  # onnxruntime cannot run one-sided transforms of variable sizes
        return torch.fft.ifft2(torch.fft.fft2(a) * torch.fft.fft2(b)).real
    return torch.fft.irfft2(torch.fft.rfft2(a) * torch.fft.rfft2(b), s=a.shape[-2:])


class SpatialInteraction(nn.Module):
    """Orders 1 to 4 of interaction between pixels; the first is the circular convolution of the two feature maps."""

    def __init__(self, *, channels: int):
        super().__init__()
        self.norms = nn.ModuleList(PixelNorm(channels) for _ in range(4))
        self.fused = nn.ModuleList(refresh(channels) for _ in range(3))
        self.infrared = nn.ModuleList(refresh(channels) for _ in range(3))

    def forward(self, vis: Tensor, ir: Tensor) -> tuple[Tensor, Tensor]:
        """(b, c, h, w) each -> the new visible and infrared features."""
        high = self.norms[0](circular_convolution(vis, ir)) * ir
        for norm, refresh_high, refresh_ir in zip(self.norms[1:], self.fused, self.infrared, strict=True):
            ir = refresh_ir(ir)
            high = norm(refresh_high(high)) * ir
        return high + vis, ir


class ChannelInteraction(nn.Module):
    """Orders 1 to 4 of interaction between channels, from weights made of pooled features."""

    def __init__(self, *, channels: int):
        super().__init__()
        both = 2 * channels
        self.mixers = nn.ModuleList(
            nn.Sequential(nn.Conv2d(both, channels, 1), nn.ReLU(), nn.Conv2d(channels, both, 1)) for _ in range(4)
        )
        self.refreshes = nn.ModuleList(refresh(both) for _ in range(3))
        self.invertible = InvertibleBlock(channels=both, split=channels)
        self.project = nn.Conv2d(both, channels, 1)

    def forward(self, vis: Tensor, ir: Tensor) -> tuple[Tensor, Tensor]:
        """(b, c, h, w) each -> the new visible features, and the infrared ones as they were."""
        features = torch.cat((vis, ir), dim=1)
        weights = self.mixers[0](features.mean(dim=(2, 3), keepdim=True)).softmax(dim=1)
        high = features * weights
        for mixer, refresh_high in zip(self.mixers[1:], self.refreshes, strict=True):
            weights = mixer(weights).softmax(dim=1)
            high = refresh_high(high) * weights
        return self.project(self.invertible(high)) + vis, ir


class InvertibleConvolution(nn.Module):
    """1x1 convolution with an LU-parametrised matrix (Glow), which cannot become singular."""

    def __init__(self, *, channels: int):
        super().__init__()
        orthogonal = torch.linalg.qr(torch.randn(channels, channels))[0]
        p, lower, upper = torch.linalg.lu(orthogonal)
        self.register_buffer("p", p)
        self.register_buffer("sign_s", upper.diagonal().sign())
        self.lower = nn.Parameter(lower)
        self.upper = nn.Parameter(upper.triu(1))
        self.log_s = nn.Parameter(upper.diagonal().abs().log())

    def matrix(self) -> Tensor:
        """(c, c) = P (tril(L, -1) + I) (triu(U, 1) + diag(sign_s exp(log_s)))"""
        identity = torch.eye(len(self.p), device=self.p.device, dtype=self.p.dtype)
        upper = self.upper.triu(1) + torch.diag(self.sign_s * self.log_s.exp())
        return self.p @ (self.lower.tril(-1) + identity) @ upper

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.matrix()[:, :, None, None])


class HalfNorm(nn.InstanceNorm2d):
    """Instance norm of the first half of the channels; the others pass."""

    def __init__(self, channels: int):
        super().__init__(channels // 2, affine=True)

    def forward(self, x: Tensor) -> Tensor:
        return half_instance_norm(x, self.weight, self.bias, self.eps)


class DenseUnit(nn.Module):
    """Two 3x3 convolutions, the first half-normalised, leaky ReLU 0.1 after each, plus a 1x1 convolution of x."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.conv1 = conv3x3(inputs, outputs)
        self.norm = HalfNorm(outputs)
        self.conv2 = conv3x3(outputs, outputs)
        self.skip = nn.Conv2d(inputs, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = F.leaky_relu(self.norm(self.conv1(x)), 0.1)
        return F.leaky_relu(self.conv2(y), 0.1) + self.skip(x)


class DenseBlock(nn.Module):
    """Two dense units and a 3x3 convolution of [x, x1, x2], leaky ReLU 0.2 after each. Starts near zero."""

    GROWTH = 16

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.unit1 = DenseUnit(inputs, self.GROWTH)
        self.unit2 = DenseUnit(self.GROWTH, self.GROWTH)
        self.conv = conv3x3(inputs + 2 * self.GROWTH, outputs)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.xavier_normal_(module.weight)
                module.weight.data.mul_(0.1)
                nn.init.zeros_(module.bias)

    def forward(self, x: Tensor) -> Tensor:
        x1 = F.leaky_relu(self.unit1(x), 0.2)
        x2 = F.leaky_relu(self.unit2(x1), 0.2)
        return F.leaky_relu(self.conv(torch.cat((x, x1, x2), dim=1)), 0.2)


class InvertibleBlock(nn.Module):
    """Invertible 1x1 convolution, then an affine coupling of the first `split` channels with the others."""

    CLAMP = 0.8

    def __init__(self, *, channels: int, split: int):
        super().__init__()
        self.split = (split, channels - split)
        self.convolution = InvertibleConvolution(channels=channels)
        self.f = DenseBlock(self.split[1], self.split[0])
        self.g = DenseBlock(self.split[0], self.split[1])
        self.h = DenseBlock(self.split[0], self.split[1])

    def forward(self, x: Tensor) -> Tensor:
        x1, x2 = self.convolution(x).split(self.split, dim=1)
        y1 = x1 + self.f(x2)
        scale = self.CLAMP * (2 * torch.sigmoid(self.h(y1)) - 1)
        return torch.cat((y1, x2 * scale.exp() + self.g(y1)), dim=1)


class PooledLayer(nn.Module):
    """x + z * y with pooled features y and gates z made of them: one constant per channel is added."""

    def __init__(self, *, channels: int):
        super().__init__()
        self.refresh = refresh(channels)
        self.gate = nn.Sequential(
            nn.Conv2d(channels, channels // 4, 1), nn.ReLU(), nn.Conv2d(channels // 4, channels, 1), nn.Sigmoid()
        )

    def forward(self, x: Tensor) -> Tensor:
        y = self.refresh(x).mean(dim=(2, 3), keepdim=True)
        return x + self.gate(y) * y


@NETWORKS.register("ship")
class SHIP(Network):
    """The whole network.

    channels: features per image; the published network has 16 (547,509 parameters).
    interactions: how often the two images' features meet; published: 3.
    """

    convention = Convention(infrared="first")
    about = About(
        paper="Zheng et al.: Probing Synergistic High-Order Interaction in Infrared and Visible Image Fusion, CVPR",
        year=2024,
        licence="none stated",
        weights="zheng980629/SHIP: pretrained_model/SHIP_model.pth",
    )
    blocks = (EdgeBlock, SpatialInteraction, ChannelInteraction, InvertibleBlock)

    def __init__(self, *, channels: int = 16, interactions: int = 3):
        super().__init__()
        total = interactions * channels
        self.visible, self.infrared = (
            nn.Sequential(nn.Conv2d(1, channels, 1), EdgeBlock(channels=channels), EdgeBlock(channels=channels))
            for _ in range(2)
        )
        self.spatial = nn.ModuleList(SpatialInteraction(channels=channels) for _ in range(interactions))
        self.channel = nn.ModuleList(ChannelInteraction(channels=channels) for _ in range(interactions))
        self.invertible = InvertibleBlock(channels=total, split=total // 2)
        self.project = nn.Conv2d(total, channels, 1)
        self.refine = nn.Sequential(
            conv3x3(channels, channels),
            PooledLayer(channels=channels),
            PooledLayer(channels=channels),
            conv3x3(channels, 1),
        )
        # Not the authors': the clamped output has no gradient outside [0, 1], and there, with PyTorch's own bias, a
        # whole untrained picture can lie (seed 10 of the published options does so here) and stay for ever.
        nn.init.constant_(self.refine[-1].bias, 0.5)

    def raw(self, ir: Tensor, vis: Tensor) -> Tensor:
        v, i = self.visible(vis), self.infrared(ir)
        orders = []
        for spatial, channel in zip(self.spatial, self.channel, strict=True):
            v, i = channel(*spatial(v, i))
            orders.append(v)
        return self.refine(self.project(self.invertible(torch.cat(orders, dim=1))))

    bounded = True

    def bf16_pays(self) -> bool:
        return choice.bf16_pays("ship")

    def inference_form(self, dtype: torch.dtype, max_memory: int | None) -> Callable[[Tensor, Tensor], Tensor]:
        """Exact where the whole picture fits into `max_memory`, else in overlapping tiles, which warns of its error:
        the product of whole spectra and all pooled statistics become the tile's."""
        form = ship_form(self, dtype if self.place.is_cuda or self.bf16_pays() else torch.float32)
        if max_memory is None:
            return form
        return Tiled(form, memory=form.memory, max_memory=max_memory)

    @classmethod
    def from_authors(cls, checkpoint: dict) -> dict[str, Tensor]:
        if not any("interaction1" in str(key) for key in checkpoint):
            raise ValueError("expected SHIP's keys, as interaction1.spatial....")
        # Their cross kernels are (out, in, 1, 5).
        return {_our_key(k): v.flatten(2) if v.shape[2:] == (1, 5) else v for k, v in checkpoint.items()}

    @classmethod
    def sizes(cls, state: dict[str, Tensor]) -> dict[str, int]:
        return {"channels": state["visible.0.weight"].shape[0], "interactions": count(state, r"spatial\.(\d+)\.")}


def _less_one(template: str):
    """Their blocks count from 1, our module lists from 0: a replacement that fills in the group `n` less one."""
    return lambda match: template.format(**(match.groupdict() | {"n": int(match["n"]) - 1}))


AUTHORS_KEYS = [
    (r"^module\.", ""),
    (r"^vis\.", "visible."),
    (r"^inf\.", "infrared."),
    (r"^(visible|infrared)\.conv\.", r"\1.0."),
    (r"\bblock([12])\.", r"\1."),
    (r"\.process\.(weight|bias)", r".conv.\1"),
    (r"\bRes\.", "refresh."),
    (r"CDC\.HP_branch", "difference.mix"),
    (r"CDC\.h_conv\.conv\.weight", "difference.plus"),
    (r"CDC\.d_conv\.conv\.weight", "difference.diagonal"),
    (r"interaction(?P<n>\d)\.(?P<kind>spatial|channel)", _less_one("{kind}.{n}")),
    (r"(?<=channel\.\d\.)reflashFused(?P<n>\d)", _less_one("refreshes.{n}")),
    (r"reflashFused(?P<n>\d)", _less_one("fused.{n}")),
    (r"reflashInfrared(?P<n>\d)", _less_one("infrared.{n}")),
    (r"norm(?P<n>\d)\.body", _less_one("norms.{n}")),
    (r"reflashChaAtten(\d)", r"mixers.\1"),
    (r"chaAtten", "mixers.0"),
    (r"postprocess\.0\.", "invertible."),
    (r"postprocess\.1\.", "project."),
    (r"invconv\.", "convolution."),
    (r"invertible\.([FGH])\.", lambda match: match[0].lower()),
    (r"\.conv([12])\.(identity|conv_1|conv_2|norm)", r".unit\1.\2"),
    (r"\.conv3\.", ".conv."),
    (r"\.identity\.", ".skip."),
    (r"\.conv_([12])\.", r".conv\1."),
    (r"reconstruction\.conv_in", "refine.0"),
    (r"reconstruction\.process\.0", "refine.1"),
    (r"reconstruction\.process\.1", "refine.2"),
    (r"reconstruction\.conv_last", "refine.3"),
    (r"(refine\.\d)\.conv_du\.", r"\1.gate."),
    (r"(refine\.\d)\.process\.", r"\1.refresh."),
]


def _our_key(key: str) -> str:
    for theirs, ours in AUTHORS_KEYS:
        key = re.sub(theirs, ours, key)
    return key
