"""What every metric promises, whatever its formula. Metrics come from the registry: a new one is covered without new
code here, except for its direction, which a person must state twice, and its witness (test_witnesses.py)."""

import warnings

import numpy as np
import pytest

from fusion.metrics import LEFT_OUT, Metric, Scene, evaluate, metric, profile, profiles, select, shared
from fusion.metrics.arrays import bands
from fusion.registry import METRICS, UnknownName

TABLE = ["EN", "SD", "SF", "MI", "SCD", "VIF", "Qabf", "SSIM"]  # the columns of the CDDFuse tables
OTHERS = ["AG", "MSE", "CC", "PSNR"]
PROFILES = {
    "cddfuse": TABLE + OTHERS,
    "matlab": ["EN", "SD", "MI", "VIF", "SSIM", "PSNR"],
    "vifb": ["EN", "SD", "SF", "Qabf", "SSIM", "AG", "PSNR", "EI", "CE", "RMSE", "QCB", "QCV"],
    "strict": [*TABLE, *OTHERS, "EI", "CE", "NMI", "RMSE", "MS-SSIM", "Nabf", "Labf", "QY", "QW", "QE"],
}
LOWER_IS_BETTER = {"MSE", "RMSE", "CE", "Labf", "Nabf", "QCV"}


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


def test_profiles_list_the_published_columns_first():
    assert {name: list(profile(name)) for name in profiles()} == PROFILES
    assert list(profile("all")) == [f"{name}/{m}" for name in profiles() for m in PROFILES[name]]


@every_metric
def test_direction(m):
    assert m.higher_is_better is (m.name not in LOWER_IS_BETTER)


def alone(m):
    """Whether a metric looks at the fused picture alone: then more contrast is better."""
    return m.name in ("EN", "SD", "SF", "AG", "EI")


@every_metric
def test_direction_agrees_with_behaviour(m):
    ir, vis, noise = pictures(192, 192)
    if alone(m):
        good, bad = noise, np.rint(96 + noise / 4)
    elif m.name == "CE":  # of histograms: good is one like the sources', wherever the pixels are
        good, bad = noise, np.where(vis < 128, 0, noise)
    else:
        ir, vis, bad = (i // 16 * 16 for i in (ir, vis, noise))  # few levels: MI needs many pixels for each
        good = (ir + vis) / 2
    if m.name == "Labf":  # edges that are stronger than the sources' are invented, not lost
        bad = bad / 16
    assert (m(good, ir, vis) > m(bad, ir, vis)) is m.higher_is_better


@every_metric
def test_what_looks_at_the_fused_picture_alone(m):
    n = max(m.smallest, 48)
    f, a, b = pictures(n, n)
    assert (m(f, a, b) == m(f, b // 2, a // 3)) is alone(m)


@every_metric
def test_documented(m):
    lines = m.function.__doc__.splitlines()
    assert len(lines) >= 3, "formula, units, range; then the source and what differs"
    assert any(year in m.source for year in map(str, range(1990, 2030)))
    assert m.range[0] < m.range[1]
    assert m.column is not None  # side by side, the rows of all profiles stand in one order


@every_metric
def test_values_lie_in_the_declared_range(m):
    n = max(m.smallest, 48)
    for seed in range(3):
        fused, ir, vis = pictures(n, n + 16, seed)
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
    images = pictures(max(50, m.smallest), max(60, m.smallest))
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
    with pytest.raises(ValueError, match=r"^ir has shape \(0, 64\), expected"):
        m(a, b[:0], c)
    with pytest.raises(ValueError, match=r"^ir has levels up to 65535, expected luminance in 0..255: bring 16-bit .*"):
        m(a, np.full((48, 64), 65535, np.uint16), c)
    c[5, 5] = np.nan
    with pytest.raises(ValueError, match=r"^vis holds NaN"):
        m(a, b, c)


def test_evaluate_is_every_metric_called_alone_in_any_order():
    """What metrics share is the same, whoever asks for it first."""
    images = pictures(176, 180)
    values = evaluate(*images, profile="all")
    assert values == {key: m(*images) for key, m in METRICS.items()} | values
    assert evaluate(*images, profile="all", names=list(METRICS)[::-1]) == values


def test_what_is_shared_is_computed_once_per_scene():
    calls = []

    @shared
    def count(scene, place):
        calls.append(place)
        return len(calls)

    scene = Scene(*pictures(8, 8))
    assert [count(scene, "ir"), count(scene, "ir"), count(scene, "vis"), count(Scene(*pictures(8, 8)), "ir")] == [
        1,
        1,
        2,
        3,
    ]


def test_evaluate_keeps_the_order_of_names_and_takes_a_single_one():
    images = pictures(20, 20)  # too small for VIF, which is not asked for
    assert list(evaluate(*images, names=["SSIM", "EN"])) == ["SSIM", "EN"]
    assert list(evaluate(*images, names="EN")) == ["EN"]
    with pytest.raises(ValueError, match="VIF needs at least 41x41 pixels, got 20x20"):
        evaluate(*images)


def test_unknown_names_are_refused_with_a_hint():
    with pytest.raises(
        UnknownName, match=r"No metric profile named 'cdfuse'. Known: cddfuse.*all. Did you mean 'cddfuse'"
    ):
        profile("cdfuse")
    with pytest.raises(UnknownName, match=r"'ssim' in profile 'cddfuse'. Known: EN, SD,.* Did you mean 'SSIM'\?$"):
        select("cddfuse", ["EN", "ssim"])
    with pytest.raises(UnknownName, match="No metric named 'XYZ'"):
        evaluate(*pictures(8, 8), names=["XYZ"])
    with pytest.raises(UnknownName, match=r"'SSIN' in profile 'all'. Known: cddfuse/EN"):
        select("all", ["SSIN"])


@pytest.mark.parametrize("key", LEFT_OUT)
def test_what_is_left_out_says_why(key):
    assert key not in METRICS
    profile_name, name = key.split("/")
    for where, what in ((profile_name, name), ("all", key)):
        with pytest.raises(UnknownName) as refused:
            select(where, [what])
        assert LEFT_OUT[key] in str(refused.value)


def test_a_profile_is_made_of_decorated_functions_alone(registry):
    @metric("B", profile=("mine", "yours"), higher_is_better=None, source="nobody 2020")
    @metric("A", profile="mine", higher_is_better=False, source="nobody 2020", column=1, smallest=3)
    def brightness(scene):
        return scene.fused.mean()

    assert {"mine", "yours"} <= set(profiles())
    assert list(profile("mine")) == ["A", "B"]  # columns of the table first
    assert isinstance(registry["mine/A"], Metric)
    assert evaluate(*[np.full((3, 3), 7, np.uint8)] * 3, profile="mine") == {"A": 7.0, "B": 7.0}
    with pytest.raises(ValueError, match="metric 'mine/A' is registered twice"):
        metric("A", profile="mine", higher_is_better=True, source="")(brightness)
    with pytest.raises(TypeError, match="colunm"):
        metric("C", profile="mine", higher_is_better=True, source="", colunm=1)(brightness)


@pytest.mark.parametrize("h", [7, 8, 101, 102, 103, 198, 300])
def test_bands_hold_every_window_once(h):
    rows = np.arange(h)[:, None]
    windows = [tuple(b[i : i + 7, 0]) for (b,) in bands(rows, window=7) for i in range(len(b) - 6)]
    assert windows == [tuple(range(top, top + 7)) for top in range(h - 6)]
