"""Compiled loops one by one, against float64; products with the vector lengths of other processors, too."""

from __future__ import annotations

import importlib
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.special import erf

pytest.importorskip("numba")
import llvmlite.binding

from fusion.inference import loops
from fusion.inference.loops import cddfuse, compiler, products, rows, scalars, winograd  # noqa: F401

if not compiler.USABLE:
    pytest.skip("this processor has no fused multiply-add", allow_module_level=True)

needs_bfloat16 = pytest.mark.skipif(not compiler.BFLOAT16, reason="this processor does not multiply bfloat16")
KINDS = [False, pytest.param(True, marks=needs_bfloat16)]


def random(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape, np.float32)


def widened(x: np.ndarray) -> np.ndarray:
    """bfloat16, as uint16 -> float64"""
    return (x.astype(np.uint32) << 16).view(np.float32).astype(np.float64)


UNIT = 2.0**-24


def rounding(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The most that a @ b in float32 can err, in any order of its sums (Higham, 2002, section 3.5)."""
    return a.shape[1] * UNIT * (np.abs(a).astype(np.float64) @ np.abs(b))


FEATURES = {16: {"avx512f": True, "fma": True}, 8: {"avx2": True, "fma": True}, 4: {"fma": True}}


@pytest.fixture(scope="module", params=[None, 8, 4])
def kind(request):
    """The loops as they are here and made for processors with other vectors (which this one can run, only slower)."""
    names = ("cddfuse", "compiler", "products", "registers", "rows", "scalars", "winograd")
    if request.param in (None, compiler.LANES):
        yield loops
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(llvmlite.binding, "get_host_cpu_features", lambda: FEATURES[request.param])
        for name in names:
            patch.setattr(loops, name, getattr(loops, name))  # importing sets it anew
            patch.delitem(sys.modules, f"{loops.__name__}.{name}")
        made = SimpleNamespace(**{name: importlib.import_module(f"{loops.__name__}.{name}") for name in names})
        assert request.param == made.compiler.LANES
        yield made


@pytest.mark.parametrize(
    ("said", "expected"),
    [("+avx2,+fma", {"avx2": True, "fma": True}), ("+avx512f,-avx512bf16", {"avx512f": True, "avx512bf16": False})],
)
def test_numba_is_told_of_another_processor(monkeypatch, said, expected):
    monkeypatch.setattr(compiler.config, "CPU_FEATURES", said)
    assert compiler.features() == expected
    monkeypatch.setattr(compiler.config, "CPU_FEATURES", None)
    assert compiler.features()["fma"]


@pytest.mark.parametrize("w", [1, 2, 8, 9, 31])
@pytest.mark.parametrize(("k", "n"), [(32, 64), (64, 32)])
def test_product(kind, w, k, n):
    a, b, out = random(w, k), random(k, n), np.full((w, n), np.nan, np.float32)
    kind.products.dot(a, b, out)
    assert (np.abs(out - a.astype(np.float64) @ b) <= rounding(a, b)).all()


@needs_bfloat16
@pytest.mark.parametrize("w", [1, 8, 31])
def test_product_of_bfloat16(w):
    a, b, out = random(w, 64), random(64, 32), np.full((w, 32), np.nan, np.float32)
    a16, b16 = products.rounded(a), products.rounded(b)
    products.dot(a16, products.factor(b, True), out)
    assert (np.abs(out - widened(a16) @ widened(b16)) <= rounding(widened(a16), widened(b16))).all()


def test_sums_over_a_row(kind):
    w, c = 1100, 64  # three chunks, the last one shorter
    q, k = random(w, c), 3 * random(w, c)[::-1].copy()
    blocks, squares = np.zeros((c // kind.cddfuse.BLOCK, kind.cddfuse.BLOCK, kind.cddfuse.BLOCK)), np.zeros((2, c))
    for _ in range(2):
        kind.cddfuse.gather(q, k, np.empty((kind.cddfuse.BLOCK, kind.cddfuse.BLOCK), np.float32), blocks, squares)
    full = 2 * q.astype(np.float64).T @ k
    for n, found in enumerate(blocks):
        part = slice(n * kind.cddfuse.BLOCK, (n + 1) * kind.cddfuse.BLOCK)
        allowed = 2 * rounding(q.T, k)[part, part] * 512 / w  # float32 within chunks of 512, float64 across
        assert (np.abs(found - full[part, part]) <= allowed).all()
    np.testing.assert_allclose(
        squares, 2 * np.stack([(x.astype(np.float64) ** 2).sum(0) for x in (q, k)]), rtol=512 * UNIT
    )


def test_bfloat16_is_the_nearest():
    if not compiler.BFLOAT16:
        pytest.skip("this processor does not round to bfloat16")
    x = np.concatenate([random(1000) * 10.0**n for n in range(-20, 20, 4)] + [np.float32([0, 1.00390625, 1.01171875])])
    x = x.astype(np.float32)[None]
    expected = torch.from_numpy(x).bfloat16().view(torch.uint16).numpy()
    np.testing.assert_array_equal(products.rounded(x), expected)
    back = np.empty_like(x)
    rows.convert(products.rounded(x), back)
    np.testing.assert_array_equal(back, widened(products.rounded(x)))


@needs_bfloat16
def test_maps_of_bfloat16_are_read_and_written_as_such():
    x, y, weight, bias = random(9, 64), random(2, 9, 64)[1], random(64), random(2, 64)[1]
    stored = products.rounded(x)
    expected, normed = np.empty_like(x), np.empty_like(x)
    rows.norm(widened(stored).astype(np.float32), weight, bias, np.float32(1e-5), expected)
    rows.norm(stored, weight, bias, np.float32(1e-5), normed)
    np.testing.assert_array_equal(normed, expected)
    total = widened(stored) + y
    rows.add(stored, y)
    np.testing.assert_allclose(widened(stored), total, rtol=2**-8, atol=UNIT * np.abs(total).max())


@compiler.loop
def each_gelu(x, out):
    for i in range(len(x)):
        out[i] = scalars.gelu(x[i])


@compiler.loop
def each_exp(x, out):
    for i in range(len(x)):
        out[i] = scalars.exp(x[i])


def test_gelu():
    x = np.linspace(-12, 12, 200_001, dtype=np.float32)
    out = np.empty_like(x)
    each_gelu(x, out)
    exact = x.astype(np.float64) * 0.5 * (1 + erf(x.astype(np.float64) / 2**0.5))
    # Half of x times 1 + erf, a quotient of two polynomials of six steps each, every one rounded.
    assert (np.abs(out - exact) <= 8 * UNIT * (1 + np.abs(x))).all()


def test_exp():
    x = np.linspace(-86, 87, 200_001, dtype=np.float32)
    out = np.empty_like(x)
    each_exp(x, out)
    # Six steps, the smaller terms rounding less; and the argument's own reduction, off by a unit of ln 2.
    np.testing.assert_allclose(out, np.exp(x.astype(np.float64)), rtol=16 * UNIT)


@pytest.mark.parametrize("function", [each_gelu, each_exp])
def test_nan_stays(function):
    x = np.float32([np.nan, 1])
    function(x, x)
    assert np.isnan(x).tolist() == [True, False]


@pytest.mark.parametrize("bfloat16", KINDS)
def test_norm(bfloat16):
    x, weight, bias = 3 * random(9, 64) + 5, random(64), random(2, 64)[1]
    out = np.empty((9, 64), np.uint16 if bfloat16 else np.float32)
    rows.norm(x, weight, bias, np.float32(1e-5), out)
    wide = (torch.from_numpy(v).double() for v in (x, weight, bias))
    given, weight, bias = wide
    expected = F.layer_norm(given, (64,), weight, bias, 1e-5).numpy()
    # 64 values of up to 14 are summed in float32 and divided by their deviation, about 3, as are their differences.
    atol = 2e-2 if bfloat16 else 64 * UNIT * np.abs(x).max() / 3
    np.testing.assert_allclose(widened(out) if bfloat16 else out, expected, atol=atol)


def test_what_is_kept_goes_by_all_sources(tmp_path, monkeypatch):
    """A function compiled once is loaded the second time, and compiled anew after a change in another file."""
    (tmp_path / "kept.py").write_text(
        "from fusion.inference.loops.compiler import loop\n\n\n@loop\ndef twice(x):\n    return 2 * x\n"
    )
    monkeypatch.syspath_prepend(tmp_path)

    def compiled() -> bool:
        sys.modules.pop("kept", None)
        twice = importlib.import_module("kept").twice
        assert twice(3) == 6
        return bool(twice.stats.cache_misses)

    assert [compiled(), compiled()] == [True, False]
    monkeypatch.setattr("fusion.inference.loops.compiler.MADE_OF", "something else")
    assert [compiled(), compiled()] == [True, False]


def test_the_digest_sees_every_file_of_the_folder(tmp_path):
    (tmp_path / "a.py").write_text("1")
    one = compiler.digest(tmp_path)
    (tmp_path / "b.py").write_text("2")
    assert compiler.digest(tmp_path) != one


@pytest.mark.parametrize(
    ("chosen", "found"),
    [("", {}), ("+avx2,+fma,-avx512f", {"avx2": True, "fma": True, "avx512f": False})],
)
def test_loops_are_made_for_the_processor_that_numba_compiles_for(monkeypatch, chosen, found):
    """NUMBA_CPU_NAME=generic sets no features at all: vectors of 16 and fused products would be made in software."""
    monkeypatch.setattr(compiler.config, "CPU_FEATURES", chosen)
    assert compiler.features() == found
    monkeypatch.setattr(compiler.config, "CPU_FEATURES", None)
    assert compiler.features() == llvmlite.binding.get_host_cpu_features()
