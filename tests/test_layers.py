"""Operators with a backward pass of their own against the plain expressions, forwards and backwards, in float64."""

import pytest
import torch
import torch.nn.functional as F
from torch.autograd import gradcheck

from fusion import layers
from fusion.networks.learned.cddfuse import ChannelAttention, PairedFeedForward


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


@pytest.mark.parametrize("shape", [(2, 3, 5, 8), (3000, 4)])
def test_gated_gelu(shape):
    x = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    gate, value = x.chunk(2, dim=-1)
    expected = F.gelu(gate) * value
    result = layers.gated_gelu(x)
    assert torch.allclose(result, expected, rtol=0, atol=1e-14)
    direction = torch.randn_like(result)
    ours, theirs = (torch.autograd.grad(y, x, direction)[0] for y in (result, expected))
    assert torch.allclose(ours, theirs, rtol=0, atol=1e-14)


def attention(qkv, temperature, project, residual):
    """As published: normalised first, multiplied by the projection last."""
    heads = len(temperature)
    q, k, v = (t.unflatten(-1, (heads, -1)).permute(0, 2, 3, 1) for t in qkv.chunk(3, dim=-1))
    scores = (F.normalize(q, dim=-1) @ F.normalize(k, dim=-1).mT * temperature).softmax(dim=-1)
    return residual + (scores @ v).flatten(1, 2).mT @ project.T


def test_attend_channels():
    b, n, c, heads = 2, 30, 8, 2
    shapes = ((b, n, 3 * c), (heads, 1, 1), (c, c), (b, n, c))
    inputs = [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes]
    result, expected = layers.attend_channels(*inputs), attention(*inputs)
    assert torch.allclose(result, expected, rtol=0, atol=1e-12)
    direction = torch.randn_like(result)
    for ours, theirs in zip(*(torch.autograd.grad(y, inputs, direction) for y in (result, expected)), strict=True):
        assert torch.allclose(ours, theirs, rtol=0, atol=1e-12)


def test_gradient_of_the_attention_matrix():
    """The closed form against autograd's, also where a norm is too small to count."""
    b, c, heads = 2, 8, 2
    gram, squares = torch.randn(b, c, c, dtype=torch.float64), torch.rand(b, 2 * c, dtype=torch.float64) + 1
    squares[0, 3] = squares[1, 12] = 0
    gram[0, 3], gram[1, :, 4] = 0, 0
    others = torch.rand(heads, 1, 1, dtype=torch.float64), torch.randn(c, c, dtype=torch.float64)
    inputs = [x.requires_grad_() for x in (gram, squares, *others)]
    *kept, matrix = layers._attention_matrix(*inputs)
    direction = torch.randn_like(matrix)
    to_gram, to_squares, *expected = torch.autograd.grad(matrix, inputs, direction, retain_graph=True)
    # Of q^T k and the squares: [dq, dk] = [q, k] times this.
    mixing = torch.diag_embed(2 * to_squares)
    mixing[:, :c, c:], mixing[:, c:, :c] = to_gram, to_gram.mT
    with torch.no_grad():
        found = layers._from_attention_matrix(direction, *inputs[1:], *kept)
    for ours, theirs in zip(found, (mixing, *expected), strict=True):
        assert torch.allclose(ours, theirs, rtol=1e-12, atol=1e-12)


def test_attention_in_bf16_is_about_that_in_float32():
    """The hand-written way is taken for bfloat16 alone; its error is of bfloat16's size, 2^-8 of the result."""
    block = ChannelAttention(dim=16, heads=4, groups=48)
    x = torch.randn(2, 12, 12, 16)
    found = {}
    for dtype in (torch.float32, torch.bfloat16):
        block.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=dtype == torch.bfloat16):
            y = block(x.to(dtype), residual=x.to(dtype))
        y.float().square().sum().backward()
        found[dtype] = [y.detach().float(), *(p.grad.clone() for p in block.parameters())]
    for exact, rounded in zip(*found.values(), strict=True):
        assert (exact - rounded).norm() < 0.02 * exact.norm()


def test_pairs_of_channels_as_depth_wise_convolutions():
    block = PairedFeedForward(dim=6, hidden=6).double()
    x = torch.randn(2, 5, 7, 6, dtype=torch.float64, requires_grad=True)
    result, expected = block(x), super(PairedFeedForward, block).forward(x)
    assert torch.allclose(result, expected, rtol=0, atol=1e-13)
    direction, inputs = torch.randn_like(result), [x, *block.parameters()]
    for ours, theirs in zip(*(torch.autograd.grad(y, inputs, direction) for y in (result, expected)), strict=True):
        assert torch.allclose(ours, theirs, rtol=0, atol=1e-12)


def test_a_constant_plane_has_a_gradient():
    """MSRS holds black patches: q and k vanish, and nothing may divide by their norms."""
    qkv = torch.zeros(1, 9, 24, dtype=torch.bfloat16, requires_grad=True)
    project = torch.randn(8, 8, requires_grad=True)
    out = layers.attend_channels(qkv, torch.ones(2, 1, 1), project, torch.ones(1, 9, 8, dtype=torch.bfloat16))
    out.sum().backward()
    assert out.isfinite().all()
    assert qkv.grad.isfinite().all()


@pytest.mark.parametrize(("channels", "normed"), [(8, 4), (5, 2), (6, 5)])
def test_half_instance_norm(channels, normed):
    x = torch.randn(2, channels, 5, 7, dtype=torch.float64).to(memory_format=torch.channels_last).requires_grad_()
    weight, bias = torch.randn(2, normed, dtype=torch.float64).unbind()
    inputs = [x, weight.requires_grad_(), bias.requires_grad_()]
    result = layers.half_instance_norm(*inputs)
    assert result.is_contiguous(memory_format=torch.channels_last)
    expected = torch.cat((F.instance_norm(x[:, :normed], weight=weight, bias=bias), x[:, normed:]), dim=1)
    assert torch.allclose(result, expected, rtol=0, atol=1e-12)
    direction = torch.randn_like(result)
    for ours, theirs in zip(*(torch.autograd.grad(y, inputs, direction) for y in (result, expected)), strict=True):
        assert torch.allclose(ours, theirs, rtol=0, atol=1e-12)


@pytest.mark.parametrize("size", [(2, 2), (2, 5), (3, 3), (6, 4)])
def test_reflected_border(size):
    x = torch.randn(2, *size, 3, dtype=torch.float64, requires_grad=True)
    result, expected = layers.reflected(x), F.pad(x.movedim(-1, 1), (1, 1, 1, 1), mode="reflect").movedim(1, -1)
    assert torch.equal(result, expected)
    direction = torch.randn_like(result)
    ours, theirs = (torch.autograd.grad(y, x, direction)[0] for y in (result, expected))
    assert torch.allclose(ours, theirs, rtol=0, atol=1e-14)


def test_gradients_are_derivatives():
    x = torch.randn(1, 4, 3, 3, dtype=torch.float64).to(memory_format=torch.channels_last).requires_grad_()
    weight, bias = torch.randn(2, 2, dtype=torch.float64).unbind()
    assert gradcheck(layers.half_instance_norm, (x, weight.requires_grad_(), bias.requires_grad_()))
    assert gradcheck(layers.gated_gelu, (torch.randn(6, 4, dtype=torch.float64, requires_grad=True),))


def test_inference_takes_the_plain_way():
    x = torch.randn(2, 8)
    with torch.no_grad():
        assert not layers.by_hand(x.requires_grad_())
    assert layers.by_hand(x)
    assert not layers.by_hand(x.detach())
