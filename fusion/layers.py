"""Operators whose backward pass is written by hand, because autograd's keeps and moves several times the memory.

Gated feed-forward and attention over channels are Restormer's (Zamir et al., CVPR 2022) and CDDFuse's, half instance
norm is HINet's (Chen et al., CVPR Workshops 2021) and SHIP's. Each computes what a plain expression computes. Tracing
(`torch.compile`, ONNX) and inference see the plain expressions, which a compiler fuses by itself.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable


def by_hand(x: Tensor) -> bool:
    """Whether this call shall take the hand-written way: it is recorded for a backward pass and nobody traces it."""
    traced = torch.compiler.is_compiling() or torch.jit.is_tracing()
    return torch.is_grad_enabled() and x.requires_grad and not traced


# --- gelu(gate) * value ---------------------------------------------------------------------------------------------


def gated_gelu(x: Tensor) -> Tensor:
    """gelu(first half) * second half of the last axis, exact gelu: (..., 2c) -> (..., c)."""
    if by_hand(x):
        return _GatedGELU.apply(x)
    gate, value = x.chunk(2, dim=-1)
    return F.gelu(gate) * value


class _GatedGELU(torch.autograd.Function):
    """Keeps its input only; gelu(gate) is computed again, piece by piece so that temporaries stay in the cache."""

    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        gate, value = x.chunk(2, dim=-1)
        return F.gelu(gate).mul_(value)

    @staticmethod
    @once_differentiable
    def backward(ctx, upstream: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        gradient = torch.empty_like(x)
        for part, up, out in zip(*(pieces(t) for t in (x, upstream, gradient)), strict=True):
            gate, value = (half.contiguous() for half in part.chunk(2, dim=-1))
            to_gate = torch.ops.aten.gelu_backward(up * value, gate)
            torch.cat((to_gate, up * F.gelu(gate)), dim=-1, out=out)
        return gradient


def pieces(x: Tensor) -> tuple[Tensor, ...]:
    """On a CPU, x (..., c) as chunks of rows that fit its cache; elsewhere x itself."""
    return x.flatten(0, -2).split(2048) if x.device.type == "cpu" else (x,)


# --- attention over channels ----------------------------------------------------------------------------------------


def attend_channels(qkv: Tensor, temperature: Tensor, project: Tensor, residual: Tensor) -> Tensor:
    """residual + project(softmax(cos(q, k) * temperature) v): attention over channels, in bfloat16.

    qkv: (b, n, 3c) for n pixels. temperature: (heads, 1, 1). project: (c, c) weight of the output projection.
    residual: (b, n, c). Returns (b, n, c).

    Cosines come from the Gram matrix of q and k as they are, so no normalised copy of either exists. Bfloat16 only:
    sums of squares overflow float16, and in float32 the published order of sums matters.
    """
    return _AttendChannels.apply(qkv, temperature, project, residual)


class _AttendChannels(torch.autograd.Function):
    """Keeps qkv and c x c matrices. d[q, k] = [q, k] M with one 2c x 2c matrix M per image."""

    @staticmethod
    def forward(ctx, qkv: Tensor, temperature: Tensor, project: Tensor, residual: Tensor) -> Tensor:
        q, k, v = qkv.chunk(3, dim=-1)
        gram, squares = _wide(outer(q, k)), sum_of_squares(qkv[..., : -v.shape[-1]])
        *small, matrix = _attention_matrix(gram, squares, temperature, project)
        matrix = matrix.to(qkv.dtype)
        ctx.save_for_backward(qkv, matrix, squares, temperature, project, *small)
        return torch.baddbmm(residual.to(qkv.dtype), v, matrix)

    @staticmethod
    @once_differentiable
    def backward(ctx, upstream: Tensor) -> tuple[Tensor, ...]:
        qkv, matrix, *small = ctx.saved_tensors
        c = upstream.shape[-1]
        v = qkv[..., 2 * c :]
        mixing, to_temperature, to_project = _from_attention_matrix(_wide(outer(v, upstream)), *small)
        gradient = torch.empty_like(qkv)
        torch.bmm(qkv[..., : 2 * c], mixing.to(qkv.dtype), out=gradient[..., : 2 * c])
        torch.bmm(upstream, matrix.mT, out=gradient[..., 2 * c :])
        return gradient, to_temperature, to_project, upstream


def outer(a: Tensor, b: Tensor) -> Tensor:
    """a^T b of each image: (b, n, i), (b, n, j) -> (b, i, j). On a CPU the batched product would copy both first."""
    return torch.stack([x.t() @ y for x, y in zip(a, b, strict=True)]) if a.device.type == "cpu" else a.mT @ b


def sum_of_squares(x: Tensor) -> Tensor:
    """Over the pixels of each image, in float32: (b, n, c) -> (b, c)."""
    if x.device.type != "cpu":
        return torch.linalg.vector_norm(x, dim=1, dtype=torch.promote_types(x.dtype, torch.float32)).square()
    return torch.stack([sum((_wide(rows) ** 2).sum(0) for rows in image.split(1024)) for image in x])


LEAST = 1e-24
"""Of a sum of squares; what is smaller counts as this."""


def _blocks(x: Tensor, heads: int) -> Tensor:
    """A view of the heads' blocks on the diagonal: (b, c, c) -> (b, heads, c / heads, c / heads)."""
    return x.unflatten(1, (heads, -1)).unflatten(3, (heads, -1)).diagonal(dim1=1, dim2=3).permute(0, 3, 1, 2)


def _by_head(project: Tensor, heads: int) -> Tensor:
    """A view of the output projection: (c, heads * i) -> (heads, i, c)."""
    return project.t().unflatten(0, (heads, -1))


def _attention_matrix(gram: Tensor, squares: Tensor, temperature: Tensor, project: Tensor) -> tuple[Tensor, ...]:
    """1 / (|q| |k|), cosines and their softmax, (b, heads, c / heads, c / heads) each, and what v is multiplied with,
    softmax times the output projection, (b, c, c); all float32.

    gram: q^T k, (b, c, c), of which only the heads' blocks on the diagonal count. squares: |q|^2 and |k|^2, (b, 2c).
    """
    b, c, _ = gram.shape
    heads = len(temperature)
    with torch.autocast(gram.device.type, enabled=False):
        of_q, of_k = squares.clamp(min=LEAST).rsqrt().unflatten(1, (2, heads, -1)).unbind(1)
        scale = of_q[..., None] * of_k[..., None, :]
        cosines = _blocks(gram, heads) * scale
        attention = (cosines * temperature).softmax(dim=-1)
        matrix = (attention.mT @ _by_head(project, heads)).view(b, c, c)
    return scale, cosines, attention, matrix


def _from_attention_matrix(
    upstream: Tensor,
    squares: Tensor,
    temperature: Tensor,
    project: Tensor,
    scale: Tensor,
    cosines: Tensor,
    attention: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """From the gradient of `_attention_matrix`'s matrix: what [q, k] is multiplied with to be its gradient,
    (b, 2c, 2c), and the gradients of temperature and project.

    With S the gradient before the softmax and t the temperature: dG = S t / (|q| |k|), and d|q|^2 = -(rows' sums of
    S t cos) / (2 |q|^2), likewise for k by columns; |q|^2 counts twice in q's gradient.
    """
    b, c, _ = upstream.shape
    heads = len(temperature)
    with torch.autocast(upstream.device.type, enabled=False):
        upstream = upstream.view(b, heads, c // heads, c)
        to_project = (attention @ upstream).sum(0).view(c, c).t()
        to_attention = _by_head(project, heads) @ upstream.mT
        to_scores = torch.ops.aten._softmax_backward_data(to_attention, attention, -1, attention.dtype)
        shares = to_scores * cosines
        to_temperature = shares.sum((0, 2, 3)).view_as(temperature)
        shares, to_cosines = shares * temperature, to_scores * temperature
        sums = torch.cat((shares.sum(-1), shares.sum(-2)), dim=1).view(b, 2 * c)
        mixing = upstream.new_zeros(b, 2 * c, 2 * c)
        counted = F.threshold(squares, LEAST, math.inf)  # what counts as LEAST has no gradient
        mixing.diagonal(dim1=1, dim2=2).addcdiv_(sums, counted, value=-1)
        to_gram = mixing[:, :c, c:]
        torch.mul(to_cosines, scale, out=_blocks(to_gram, heads))
        mixing[:, c:, :c] = to_gram.mT
    return mixing, to_temperature, to_project


# --- reflected border -----------------------------------------------------------------------------------------------


def reflected(x: Tensor) -> Tensor:
    """(b, h, w, c) -> (b, h + 2, w + 2, c), a border of one pixel without repeating the edge."""
    return _Reflected.apply(x)


class _Reflected(torch.autograd.Function):
    """Stays in the order of its input; the gradient of the border is added by slices, in a fixed order."""

    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        b, h, w, c = x.shape
        out = x.new_empty(b, h + 2, w + 2, c)
        out[:, 1:-1, 1:-1] = x
        out[:, 0, 1:-1], out[:, -1, 1:-1] = x[:, 1], x[:, -2]
        out[:, :, 0], out[:, :, -1] = out[:, :, 2], out[:, :, -3]
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx, upstream: Tensor) -> Tensor:
        gradient = upstream[:, :, 1:-1].clone(memory_format=torch.contiguous_format)
        gradient[:, :, 1] += upstream[:, :, 0]
        gradient[:, :, -2] += upstream[:, :, -1]
        inner = gradient[:, 1:-1]
        inner[:, 1] += gradient[:, 0]
        inner[:, -2] += gradient[:, -1]
        return inner


# --- instance norm of half the channels -----------------------------------------------------------------------------


def half_instance_norm(x: Tensor, weight: Tensor, bias: Tensor, eps: float = 1e-5) -> Tensor:
    """Instance norm of the first channels, as many as `weight` has; the others pass. (b, c, h, w) in and out.

    On a CPU, a split, a norm and a concatenation leave channels_last and are copied back at every later step; the
    hand-written way stays in it. On a GPU those copies are cheaper than its launches (24 norms in a step of SHIP: 2,640
    launches as they are, 3,400 with a norm of elementary operators).
    """
    if by_hand(x) and x.device.type == "cpu" and x.is_contiguous(memory_format=torch.channels_last):
        return _HalfInstanceNorm.apply(x, weight, bias, eps)
    first, second = x.split((len(weight), x.shape[1] - len(weight)), dim=1)
    return torch.cat((F.instance_norm(first, weight=weight, bias=bias, eps=eps), second), dim=1)


class _HalfInstanceNorm(torch.autograd.Function):
    """One image after the other, all channels alike, in float32: those that pass have weight 1 for what they are.

    With z = (x - mean) / std: d/dx = weight / std * (up - average(up) - z * average(up * z)).
    """

    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
        rows = x.permute(0, 2, 3, 1).flatten(1, 2)
        others = rows.shape[-1] - len(weight)
        weight, bias = F.pad(_wide(weight), (0, others)), F.pad(_wide(bias), (0, others))
        passes = torch.ones_like(weight)
        passes[: len(weight) - others] = 0
        out, means, scales = torch.empty_like(rows), [], []
        for image, to in zip(rows, out, strict=True):
            image = _wide(image)
            mean = image.sum(0) / len(image)
            variance = (image - mean).square_().sum(0) / len(image)
            means.append(mean)
            scales.append(torch.rsqrt(variance + eps))
            scale = weight * scales[-1]
            to.copy_(torch.addcmul(bias - mean * scale, image, scale + passes))
        ctx.save_for_backward(rows, torch.stack(means), torch.stack(scales), weight, passes)
        return out.unflatten(1, x.shape[2:]).permute(0, 3, 1, 2)

    @staticmethod
    @once_differentiable
    def backward(ctx, upstream: Tensor) -> tuple[Tensor | None, ...]:
        rows, means, scales, weight, passes = ctx.saved_tensors
        size, normed = upstream.shape[2:], int((passes == 0).sum())
        upstream = upstream.permute(0, 2, 3, 1).flatten(1, 2)
        gradient, to_weight, to_bias = torch.empty_like(upstream), 0, 0
        for image, up, to, mean, scale in zip(rows, upstream, gradient, means, scales, strict=True):
            z, up = (_wide(image) - mean).mul_(scale), _wide(up)
            sum_up, sum_up_z = up.sum(0), (up * z).sum(0)
            to_weight, to_bias = to_weight + sum_up_z, to_bias + sum_up
            scale = weight * scale
            to.copy_((up * (scale + passes)).addcmul_(z, -scale * sum_up_z / len(up)).sub_(scale * sum_up / len(up)))
        gradient = gradient.unflatten(1, size).permute(0, 3, 1, 2)
        return gradient, to_weight[:normed], to_bias[:normed], None


def _wide(x: Tensor) -> Tensor:
    return x if x.dtype == torch.float64 else x.float()
