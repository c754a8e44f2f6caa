"""SFDFusion: convolutions, and a branch that fuses amplitudes and phases of the whole pictures' Fourier transforms.

"SFDFusion: An Efficient Spatial-Frequency Domain Fusion Network for Infrared and Visible Image Fusion", ECAI 2024.
Same function as the authors' released program, to float32 rounding; theirs fails at odd widths, because its inverse
transform is not told the size.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fusion.networks.base import About, Convention, Network, renamed
from fusion.networks.learned.blocks import LearnedSobel
from fusion.registry import NETWORKS


def conv3x3(inputs: int, outputs: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, padding=1)


class Branch(nn.Module):
    """What one image gives to the spatial branch: its features and both images' sum gated, and its gradient."""

    def __init__(self, *, channels: int):
        super().__init__()
        self.own = conv3x3(channels, channels)
        self.both = conv3x3(channels, channels)
        self.gradient = LearnedSobel(channels=channels)

    def forward(self, features: Tensor, total: Tensor) -> Tensor:
        gated = features * self.own(features).sigmoid() + total * self.both(total).sigmoid()
        return gated + self.gradient(features)


class Frequency(nn.Module):
    """Both spectra fused: amplitudes by two small convolutions, phases by two others."""

    EPSILON = 1e-8

    def __init__(self):
        super().__init__()
        self.amplitude, self.phase = (
            nn.Sequential(conv3x3(2, 1), nn.LeakyReLU(0.1), conv3x3(1, 1), nn.LeakyReLU(0.1)) for _ in range(2)
        )
        self.features = nn.Sequential(conv3x3(2, 4), nn.ReLU(), conv3x3(4, 8), nn.ReLU())

    def forward(self, ir: Tensor, vis: Tensor) -> Tensor:
        """(b, 1, h, w) each -> (b, 8, h, w)"""
        spectra = torch.fft.rfft2(torch.cat((ir, vis), dim=1))
        amplitude, phase = self.amplitude(spectra.abs()), self.phase(spectra.angle())
        real, imaginary = (amplitude * part + self.EPSILON for part in (phase.cos(), phase.sin()))
        picture = torch.fft.irfft2(torch.complex(real, imaginary), s=ir.shape[-2:]).abs()
        # The authors stack maximum and mean over one channel.
        return self.features(picture.expand(-1, 2, -1, -1))


@NETWORKS.register("sfdfusion")
class SFDFusion(Network):
    """The whole network, of one size (139,695 parameters)."""

    convention = Convention(infrared="rounded", stretch=True, quantise="truncate")
    about = About(
        paper="SFDFusion: An Efficient Spatial-Frequency Domain Fusion Network, ECAI",
        year=2024,
        licence="none stated",
        weights="lqz2/SFDFusion: models/model-1_1_10_1.pth",
    )

    def __init__(self):
        super().__init__()
        self.embed_ir, self.embed_vis = conv3x3(1, 8), conv3x3(1, 8)
        self.infrared, self.visible = Branch(channels=8), Branch(channels=8)
        self.frequency = Frequency()
        self.head = nn.Sequential(
            *(conv3x3(24, 32), nn.ReLU()),
            *(conv3x3(32, 128), nn.ReLU()),
            *(conv3x3(128, 64), nn.ReLU()),
            *(conv3x3(64, 32), nn.ReLU()),
            conv3x3(32, 1),
        )

    def raw(self, ir: Tensor, vis: Tensor) -> Tensor:
        of_ir, of_vis = F.relu(self.embed_ir(ir)), F.relu(self.embed_vis(vis))
        total = of_ir + of_vis
        features = self.infrared(of_ir, total), self.visible(of_vis, total), self.frequency(ir, vis)
        return self.head(torch.cat(features, dim=1)).tanh()

    @classmethod
    def from_authors(cls, checkpoint: dict) -> dict[str, Tensor]:
        if "dmrm.ir_embed.0.weight" not in checkpoint:
            raise ValueError("expected SFDFusion's keys, as dmrm.ir_embed.0.weight")
        return renamed(checkpoint, AUTHORS_KEYS)


AUTHORS_KEYS = [
    (r"^dmrm\.ir_embed\.0", "embed_ir"),
    (r"^dmrm\.vi_embed\.0", "embed_vis"),
    (r"^dmrm\.ir_", "infrared."),
    (r"^dmrm\.vi_", "visible."),
    (r"att1\.att\.0", "own"),
    (r"att2\.att\.0", "both"),
    (r"^dmrm\.grad_ir\.conv([xy])\.weight", r"infrared.gradient.k\1"),
    (r"^dmrm\.grad_vi\.conv([xy])\.weight", r"visible.gradient.k\1"),
    (r"^ff1\.conv1", "frequency.amplitude"),
    (r"^ff2\.conv1", "frequency.phase"),
    (r"^ifft\.conv1", "frequency.features"),
    (r"^fus_block\.encoder\.0", "head.0"),
    (r"^fus_block\.down_conv\.([0-3])\.0", lambda match: f"head.{2 * int(match[1]) + 2}"),
]
