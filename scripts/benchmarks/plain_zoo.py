"""The learned methods of other authors as their programs run them: eager PyTorch, channels before pixels, one image
after the other through shared parts, batch norms by themselves.

Where our definition is that, layer by layer, it is its own baseline; what we have arranged otherwise is written out.
Those of TensorFlow are the same graph in PyTorch.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from benchmarks.plain import Block, conv
from torch import Tensor, nn

from fusion.networks.base import Network


def plain(name: str, network: Network) -> nn.Module:
    """What computes `raw` of `network` the plain way, with its weights."""
    return {"refusion": ReFusion, "didfuse": DIDFuse}.get(name, Defined)(network)


class Defined(nn.Module):
    def __init__(self, network: Network):
        super().__init__()
        self.network = network.eval()

    def forward(self, ir: Tensor, vis: Tensor) -> Tensor:
        return self.network.raw(ir, vis)


class DIDFuse(Defined):
    """One image after the other through the encoder; ours takes both as a batch."""

    def forward(self, ir: Tensor, vis: Tensor) -> Tensor:
        encoder, decoder = self.network.encoder, self.network.decoder
        return decoder(*(a + b for a, b in zip(encoder(ir), encoder(vis), strict=True)))


# --- ReFusion: 1x1 convolutions, where ours multiplies rows of channels ----------------------------------------------

HEADS = 8


def heads(x: Tensor) -> Tensor:
    return x.reshape(x.shape[0], HEADS, x.shape[1] // HEADS, -1)


class Spread(nn.Module):
    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.expand, self.local = conv(inputs, outputs, 1), conv(outputs, outputs, 3, outputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.local(self.expand(x))


class Side(nn.Module):
    def __init__(self, dim: int):
        super().__init__()
        self.temperature = nn.Parameter(torch.ones(HEADS, 1, 1))
        self.qkv, self.attended = Spread(dim, 3 * dim), conv(dim, dim, 1)
        self.value, self.project = Spread(dim, 4 * dim), conv(4 * dim, 2 * dim, 1)

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        q, k = F.normalize(heads(q), dim=-1), F.normalize(heads(k), dim=-1)
        attention = (q @ k.transpose(-2, -1) * self.temperature).softmax(dim=-1)
        return self.attended((attention @ heads(v)).reshape(v.shape))


class CrossFusion(nn.Module):
    def __init__(self, dim: int):
        super().__init__()
        self.infrared, self.visible, self.gates = Side(dim), Side(dim), Spread(2 * dim, 8 * dim)

    def forward(self, ir: Tensor, vis: Tensor) -> Tensor:
        (q_ir, k_ir, v_ir), (q_vis, k_vis, v_vis) = (
            side.qkv(x).chunk(3, dim=1) for side, x in ((self.infrared, ir), (self.visible, vis))
        )
        ir = ir + self.infrared.attend(q_vis, k_ir, v_ir)
        vis = vis + self.visible.attend(q_ir, k_vis, v_vis)
        both = torch.cat((ir, vis), dim=1)
        of_ir, of_vis = self.gates(both).chunk(2, dim=1)
        both = both + self.infrared.project(F.gelu(of_ir) * self.infrared.value(ir))
        return both + self.visible.project(F.gelu(of_vis) * self.visible.value(vis))


class Encoder(nn.Module):
    def __init__(self, dim: int):
        super().__init__()
        self.embed, self.blocks = conv(1, dim, 3), nn.Sequential(*(restormer(dim) for _ in range(2)))

    def forward(self, image: Tensor) -> Tensor:
        return self.blocks(self.embed(image))


def restormer(dim: int) -> Block:
    return Block(dim, HEADS, 2 * dim, 3 * dim, 4 * dim)


class ReFusion(nn.Module):
    def __init__(self, network: Network, dim: int = 16):
        super().__init__()
        self.infrared, self.visible, self.cross = Encoder(dim), Encoder(dim), CrossFusion(dim)
        self.decoder = nn.Sequential(*(restormer(2 * dim) for _ in range(2)))
        self.head = nn.Sequential(conv(2 * dim, dim, 3), nn.LeakyReLU(0.01), conv(dim, 1, 3))
        ours = network.state_dict()
        self.load_state_dict({key: ours[key].view(value.shape) for key, value in self.state_dict().items()})

    def forward(self, ir: Tensor, vis: Tensor) -> Tensor:
        return self.head(self.decoder(self.cross(self.infrared(ir), self.visible(vis)))).sigmoid()
