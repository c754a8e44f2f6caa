"""What every metric promises, whatever its formula. Metrics come from the registry: a new one is covered without new
code here, except for its direction, which a person must state twice."""

import warnings

import numpy as np
import pytest

from fusion.metrics import Metric, evaluate, metric, profile, profiles, select
from fusion.metrics.windows import bands
from fusion.registry import METRICS, UnknownName

TABLE = ["EN", "SD", "SF", "MI", "SCD", "VIF", "Qabf", "SSIM"]  # the columns of the CDDFuse tables
OTHERS = ["AG", "MSE", "CC", "PSNR"]
LOWER_IS_BETTER = {"cddfuse/MSE"}
HIGHER_IS_BETTER = {f"cddfuse/{name}" for name in TABLE + OTHERS} - LOWER_IS_BETTER


def pictures(h, w, seed=0):
    """Three unrelated noise pictures of whole grey levels."""
    return [np.random.default_rng((seed, i)).integers(0, 256, (h, w)).astype(np.float64) for i in range(3)]


@pytest.fixture
def registry():
    before = dict(METRICS)
    yield METRICS
    METRICS.clear()
    METRICS.update(before)


every_metric = pytest.mark.parametrize("m", METRICS.values(), ids=list(METRICS))


def test_cddfuse_lists_the_published_columns_first():
    assert list(profile("cddfuse")) == TABLE + OTHERS


@every_metric
def test_direction(m):
    assert m.higher_is_better is (True if m.key in HIGHER_IS_BETTER else False if m.key in LOWER_IS_BETTER else None)


@pytest.mark.parametrize("m", [m for m in METRICS.values() if m.higher_is_better is not None], ids=lambda m: m.key)
def test_direction_agrees_with_behaviour(m):
    ir, vis, noise = pictures(128, 128)
    if m(noise, ir, vis) == m(noise, noise, noise):  # looks at the fused picture alone: more contrast is better
        good, bad = noise, np.rint(96 + noise / 4)
    else:
        ir, vis, bad = (i // 16 * 16 for i in (ir, vis, noise))  # few levels: MI needs many pixels for each
        good = (ir + vis) / 2
    assert (m(good, ir, vis) > m(bad, ir, vis)) is m.higher_is_better


@every_metric
def test_documented(m):
    lines = m.function.__doc__.splitlines()
    assert len(lines) >= 3, "formula, units, range; then the source and what differs"
    assert any(year in m.source for year in map(str, range(1990, 2030)))
    assert m.range[0] < m.range[1]


@every_metric
def test_values_lie_in_the_declared_range(m):
    for seed in range(5):
        fused, ir, vis = pictures(48, 64, seed)
        for triple in ((fused, ir, vis), (ir, ir, ir), (255 - ir, ir, ir), (np.rint(fused / 9), ir, vis)):
            value = m(*triple)
            # 1e-9: correlations and SSIM of equal pictures are 1 only up to rounding; nan: SCD with fused == source
            assert m.range[0] - 1e-9 <= value <= m.range[1] + 1e-9 or (m.name == "SCD" and np.isnan(value))


@every_metric
def test_smallest_side_works_and_one_less_is_refused(m):
    n = m.smallest
    for h, w in ((n, n), (n, n + 9), (n + 9, n)):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            value = m(*pictures(h, w))
        assert isinstance(value, float)
        assert np.isfinite(value) or n == 1  # a single pixel has no correlation
    if n > 1:
        with pytest.raises(ValueError, match=rf"^{m.name} needs at least {n}x{n} pixels, got {n + 9}x{n - 1}: .+$"):
            m(*pictures(n + 9, n - 1))


@every_metric
def test_any_dtype_and_memory_order_gives_the_same_and_inputs_stay_as_they_are(m):
    images = pictures(50, 60)
    expected = m(*images)
    for change in (
        lambda i: i.astype(np.uint8),
        lambda i: i.astype(np.float32),
        lambda i: np.asfortranarray(i),
        lambda i: np.repeat(i, 2, axis=1)[:, ::2],
    ):
        changed = [change(i) for i in images]
        copies = [i.copy() for i in changed]
        assert m(*changed) == expected
        for image, copy in zip(changed, copies, strict=True):
            np.testing.assert_array_equal(image, copy)


@every_metric
def test_wrong_pictures_are_refused(m):
    a, b, c = pictures(48, 64)
    with pytest.raises(ValueError, match=r"^fused is 48x64 but vis is 47x64: .*one size first$"):
        m(a, b, c[1:])
    with pytest.raises(ValueError, match=r"^ir has shape \(48, 64, 3\), expected \(H, W\): convert it to luminance"):
        m(a, np.stack([b] * 3, axis=-1), c)
    with pytest.raises(ValueError, match=r"^fused has shape \(\), expected"):
        m(3.0, b, c)
    c[5, 5] = np.nan
    with pytest.raises(ValueError, match=r"^vis holds NaN"):
        m(a, b, c)


def test_evaluate_is_every_metric_called_alone():
    images = pictures(50, 60)
    assert evaluate(*images) == {name: m(*images) for name, m in profile("cddfuse").items()}


def test_evaluate_keeps_the_order_of_names_and_takes_a_single_one():
    images = pictures(20, 20)  # too small for VIF, which is not asked for
    assert list(evaluate(*images, names=["SSIM", "EN"])) == ["SSIM", "EN"]
    assert list(evaluate(*images, names="EN")) == ["EN"]
    with pytest.raises(ValueError, match="VIF needs at least 41x41 pixels, got 20x20"):
        evaluate(*images)


def test_unknown_names_are_refused_with_a_hint():
    with pytest.raises(UnknownName, match=r"No metric profile named 'cdfuse'. Known: cddfuse.* Did you mean 'cddfuse'"):
        profile("cdfuse")
    with pytest.raises(UnknownName, match=r"'ssim' in profile 'cddfuse'. Known: EN, SD,.* Did you mean 'SSIM'\?$"):
        select("cddfuse", ["EN", "ssim"])
    with pytest.raises(UnknownName, match="No metric named 'XYZ'"):
        evaluate(*pictures(8, 8), names=["XYZ"])


def test_a_profile_is_made_of_decorated_functions_alone(registry):
    @metric("B", profile="mine", higher_is_better=None, source="nobody 2020")
    @metric("A", profile="mine", higher_is_better=False, source="nobody 2020", column=1, smallest=3)
    def brightness(fused, ir, vis):
        return fused.mean()

    assert profiles() == ["cddfuse", "mine"]
    assert list(profile("mine")) == ["A", "B"]  # columns of the table first
    assert isinstance(registry["mine/A"], Metric)
    assert evaluate(*[np.full((3, 3), 7, np.uint8)] * 3, profile="mine") == {"A": 7.0, "B": 7.0}
    with pytest.raises(ValueError, match="metric 'mine/A' is registered twice"):
        metric("A", profile="mine", higher_is_better=True, source="")(brightness)
    with pytest.raises(TypeError, match="colunm"):
        metric("C", profile="mine", higher_is_better=True, source="", colunm=1)(brightness)


@pytest.mark.parametrize("h", [7, 8, 69, 70, 71, 134, 200])
def test_bands_hold_every_window_once(h):
    rows = np.arange(h)[:, None]
    windows = [tuple(b[i : i + 7, 0]) for (b,) in bands(rows, window=7) for i in range(len(b) - 6)]
    assert windows == [tuple(range(top, top + 7)) for top in range(h - 6)]
