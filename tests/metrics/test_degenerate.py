"""Pictures without contrast, equal pictures, and sizes below a window, in every profile: the value that the formula has
there, or nan where it has none, never a warning. Worked out by hand; the cddfuse column is also in the authors' own
output (test_metric_golden.py)."""

import math
import warnings

import numpy as np
import pytest

from fusion.metrics import evaluate, profile
from fusion.metrics.edges import BEST, BEST_STRICT
from fusion.registry import METRICS

nan, inf = math.nan, math.inf
N = 180
NOISE = np.random.default_rng(0).integers(0, 256, (N, N)).astype(float)
OTHER = np.random.default_rng(1).integers(0, 256, (N, N)).astype(float)


def flat(level):
    return np.full((N, N), float(level))


def scores(*pictures):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return evaluate(*pictures, profile="all")


def by_name(values):
    """{name: {value of every profile}}"""
    found = {}
    for key, value in values.items():
        found.setdefault(key.split("/")[1], {})[key.split("/")[0]] = value
    return found


def test_three_equal_pictures():
    v = by_name(scores(NOISE, NOISE, NOISE))
    entropy = v["EN"]["strict"]
    expected = {
        "SSIM": {"cddfuse": 2, "matlab": 1, "vifb": 2, "strict": 1},
        "VIF": {"cddfuse": 2, "matlab": 2, "strict": 1},
        "MI": {"cddfuse": 2 * entropy * math.log(2), "matlab": 2 * entropy, "strict": 2 * entropy},
        "NMI": {"strict": 2},
        "CE": {"vifb": 0, "strict": 0},
        "MSE": {"cddfuse": 0, "strict": 0},
        "RMSE": {"vifb": 0, "strict": 0},
        "PSNR": dict.fromkeys(("cddfuse", "matlab", "vifb", "strict"), inf),
        "CC": {"cddfuse": 1, "strict": 1},
        "SCD": {"cddfuse": nan, "strict": nan},
        "Qabf": {"cddfuse": BEST, "vifb": BEST_STRICT, "strict": BEST_STRICT},
        "Labf": {"strict": 1 - BEST_STRICT},
        "Nabf": {"strict": 0},
        "QCB": {"vifb": 1},
        "QCV": {"vifb": 0},
    }
    expected |= {name: {"strict": 1} for name in ("MS-SSIM", "QY", "QW", "QE")}
    for name, of_profiles in expected.items():
        # 1e-8: the least noise that VIF assumes
        assert v[name] == pytest.approx(of_profiles, rel=1e-8, abs=1e-12, nan_ok=True), name


@pytest.mark.parametrize("level", [0, 1, 128, 255])
def test_a_constant_fused_picture(level):
    v = by_name(scores(flat(level), NOISE, OTHER))
    for name in ("EN", "SD", "SF", "AG", "EI", "MI", "NMI", "VIF"):
        assert set(v[name].values()) == {0.0}, name
    assert all(math.isnan(x) for x in v["CC"].values())
    assert v["Nabf"]["strict"] == 0
    assert v["CE"]["strict"] == inf
    for name in ("SSIM", "MS-SSIM", "QW", "QE", "QY", "Qabf", "QCB", "QCV", "PSNR", "MSE", "RMSE", "SCD"):
        assert all(math.isfinite(x) for x in v[name].values()) or (level, name) == (0, "PSNR"), name
    assert v["QW"]["strict"] == pytest.approx(0, abs=1e-9)


def test_a_constant_source():
    v = by_name(scores(NOISE, NOISE, flat(60)))
    assert all(math.isnan(x) for name in ("CC", "SCD") for x in v[name].values())
    assert v["VIF"] == pytest.approx({"cddfuse": 2, "matlab": 2, "strict": 1})  # what holds nothing is kept whole
    assert v["QW"]["strict"] == pytest.approx(1)  # all weight is on the source that has contrast
    assert v["QE"]["strict"] == pytest.approx(1)


def test_all_constant():
    v = by_name(scores(flat(10), flat(10), flat(10)))
    expected = {name: {"strict": 1} for name in ("MS-SSIM", "QY", "QW", "QE")}
    expected |= {"SSIM": {"cddfuse": 2, "matlab": 1, "vifb": 2, "strict": 1}, "QCB": {"vifb": 1}}
    expected |= {"Qabf": {"cddfuse": BEST, "vifb": nan, "strict": nan}, "QCV": {"vifb": nan}}
    expected |= {name: {"strict": nan} for name in ("Labf", "Nabf", "NMI")}
    for name, of_profiles in expected.items():
        assert v[name] == pytest.approx(of_profiles, rel=1e-9, nan_ok=True), name


def test_all_black():
    v = by_name(scores(flat(0), flat(0), flat(0)))
    assert math.isnan(v["PSNR"]["cddfuse"])  # the peak is 0 as well
    assert v["PSNR"]["strict"] == inf
    assert v["QW"]["strict"] == 1


def test_one_level_each():
    """One-level histograms tell nothing, at any level."""
    v = by_name(scores(flat(3), flat(100), flat(200)))
    assert set(v["MI"].values()) == {0.0}
    assert math.isnan(v["NMI"]["strict"])
    assert v["CE"] == {"vifb": 0.0, "strict": inf}


def test_fractions_and_levels_outside_the_range_are_no_accident():
    shifted = scores(NOISE + 0.3, NOISE, OTHER)
    assert shifted["strict/EN"] == scores(NOISE, NOISE, OTHER)["strict/EN"]  # rounded
    assert shifted["strict/MI"] == scores(NOISE, NOISE, OTHER)["strict/MI"]  # levels of their own, as many
    assert all(math.isfinite(value) for key, value in scores(1.5 * NOISE, NOISE, OTHER).items() if "CE" not in key)


@pytest.mark.parametrize("name", ["cddfuse", "matlab", "vifb", "strict"])
def test_pictures_below_a_window_are_refused_by_name_and_size(name):
    for key, m in profile(name).items():
        if m.smallest > 1:
            n = m.smallest - 1
            with pytest.raises(
                ValueError, match=rf"^{key} needs at least {m.smallest}x{m.smallest} pixels, got {n}x{n}"
            ):
                m(NOISE[:n, :n], NOISE[:n, :n], OTHER[:n, :n])


def test_a_single_pixel():
    """What can be said of it is said, without a warning."""
    pixel = np.array([[7.0]])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for m in METRICS.values():
            if m.smallest == 1:
                m(pixel, pixel + 1, pixel + 2)
