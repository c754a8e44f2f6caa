"""How far two float32 computations of one network may lie apart, whatever the processor.

A float32 result is the float64 result of slightly other weights and pixels: each sum of n products rounds its terms by
about sqrt(n) units of 2^-24, in an order that the processor, the library and the number of threads choose. `noise` is
how far the float64 result moves where every weight and every pixel moves by up to one such unit: what the network makes
of rounding. The longest sums here have 9 * 64 products, whose root is 24; LONGEST leaves room for the other operators.
"""

from __future__ import annotations

import copy

import torch
from torch.overrides import TorchFunctionMode

UNIT = 2.0**-24
LONGEST = 48


class ChannelsFirst(TorchFunctionMode):
    """Of what PyTorch convolves in float64, for which it has plain loops: with pixels first they take up to twice as
    long. Not for gradients, which came out wrong (docs/LOG.md)."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        if function in (torch.conv2d, torch.nn.functional.conv2d) and args[0].dtype == torch.float64:
            args = (args[0].contiguous(), args[1].contiguous(), *args[2:])
        return function(*args, **(kwargs or {}))


def exact(network, ir, vis):
    """The network's raw output in float64."""
    with torch.inference_mode(), ChannelsFirst():
        return copy.deepcopy(network).double().raw(ir.double(), vis.double())


def tolerance(network, ir, vis, reference=None) -> float:
    """Of one float32 result against `exact`, which may be given; twice that of two against each other."""
    generator = torch.Generator().manual_seed(0)

    def moved(x):
        return x.double() * (1 + UNIT * (2 * torch.rand(x.shape, generator=generator, dtype=torch.float64) - 1))

    reference, noise = exact(network, ir, vis) if reference is None else reference, UNIT
    for _ in range(3):
        other = copy.deepcopy(network).double()
        with torch.inference_mode(), ChannelsFirst():
            for p in other.parameters():
                p.copy_(moved(p))
            noise = max(noise, (other.raw(moved(ir), moved(vis)) - reference).abs().max().item())
    return LONGEST * noise


def assert_within(result, network, ir, vis, reference=None):
    """`result` is the network's float32 output but for rounding."""
    reference = exact(network, ir, vis) if reference is None else reference
    difference, allowed = (result - reference).abs().max().item(), tolerance(network, ir, vis, reference)
    assert difference <= allowed, f"{difference:.2e} apart, rounding explains {allowed:.2e}"
