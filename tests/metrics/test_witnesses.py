"""Every metric of every profile against something that is not ours, and the table says against what.

An independent library wherever one has the formula; else a plain transcription of the paper, window by window or pixel
by pixel, with numpy's or scipy's own statistics. Outputs of authors' programs are in test_metric_golden.py and
test_conventions.py.
"""

import functools
import math

import cv2
import numpy as np
import piq
import pytest
import torch
from numpy.lib.stride_tricks import sliding_window_view
from scipy import fft, ndimage, special, stats
from skimage.metrics import mean_squared_error, peak_signal_noise_ratio, structural_similarity
from sklearn.metrics import mutual_info_score, normalized_mutual_info_score

from fusion.metrics import evaluate
from fusion.registry import METRICS

WITNESSES = {}  # "profile/name" -> (who, function of (fused, ir, vis), relative tolerance)


def witness(*keys, by, rel=1e-11):
    def register(function):
        for key in keys:
            assert key not in WITNESSES
            WITNESSES[key] = (by, function, rel)
        return function

    return register


@functools.cache
def scene(h=192, w=208):
    """(fused, ir, vis): whole grey levels, structure on several scales, a flat area in each source, a shared one."""
    random = np.random.default_rng((h, w))

    def picture(*sigmas):
        layers = [cv2.GaussianBlur(random.standard_normal((h, w)), (0, 0), s) * s for s in sigmas]
        plane = sum(layers) + 0.05 * random.standard_normal((h, w))
        return np.rint((plane - plane.min()) * (250.0 / np.ptp(plane)))

    ir, vis = picture(12.0, 3.0), picture(8.0, 2.0, 1.0)
    ir[: h // 4, : w // 4] = 0
    vis[h // 8 : h // 3, : w // 3] = 131
    vis[-h // 3 :, -w // 3 :] = np.rint(0.9 * ir[-h // 3 :, -w // 3 :] + 9)
    return np.rint(0.4 * ir + 0.6 * vis), ir, vis


def both(function):
    """function(source, fused) for each source: [value with ir, value with vis]."""
    return lambda f, a, b: [function(a, f), function(b, f)]


@pytest.mark.parametrize("key", METRICS)
def test_agrees_with_its_witness(key):
    assert key in WITNESSES, f"{key} has no witness that is not ours: add one to this file"
    who, function, rel = WITNESSES[key]
    profile, name = key.split("/")
    value = evaluate(*scene(), profile=profile, names=[name])[name]
    assert value == pytest.approx(float(function(*scene())), rel=rel), f"{key} against {who}"


def test_no_witness_of_what_is_gone():
    assert set(WITNESSES) == set(METRICS)


# --- one picture ------------------------------------------------------------------------------------------------------


def histogram(image):
    return np.histogram(image, bins=256, range=(-0.5, 255.5))[0] / image.size


@witness("cddfuse/EN", "matlab/EN", "vifb/EN", "strict/EN", by="scipy.stats.entropy")
def en(f, a, b):
    return stats.entropy(histogram(f), base=2)


@witness("cddfuse/SD", "matlab/SD", "vifb/SD", "strict/SD", by="scipy.ndimage.standard_deviation")
def sd(f, a, b):
    return ndimage.standard_deviation(f)


def steps(image):
    """Forward differences across and down, (H, W) each; 0 in the last column or row."""
    return [ndimage.correlate1d(image, [0, -1, 1], axis, mode="nearest") for axis in (1, 0)]


@witness("cddfuse/SF", by="scipy.ndimage.correlate1d")
def sf(f, a, b):
    h, w = f.shape
    dx, dy = steps(f)
    return math.sqrt((dx**2).sum() / (h * (w - 1)) + (dy**2).sum() / ((h - 1) * w))


@witness("vifb/SF", "strict/SF", by="scipy.ndimage.correlate1d")
def sf_canonical(f, a, b):
    return math.sqrt(sum((d**2).mean() for d in steps(f)))


@witness("cddfuse/AG", "vifb/AG", by="numpy.gradient")
def ag(f, a, b):
    return np.sqrt(sum(g**2 for g in np.gradient(f)) / 2).mean()


@witness("strict/AG", by="scipy.ndimage.correlate1d")
def ag_canonical(f, a, b):
    dx, dy = steps(f)
    return np.sqrt((dx**2 + dy**2) / 2)[:-1, :-1].mean()


def strength(image):
    return np.hypot(*(ndimage.sobel(image, axis, mode="nearest") for axis in (0, 1)))


@witness("vifb/EI", "strict/EI", by="scipy.ndimage.sobel")
def ei(f, a, b):
    return strength(f).mean()


# --- information ------------------------------------------------------------------------------------------------------


@witness("cddfuse/MI", by="sklearn.metrics.mutual_info_score")
def mi(f, a, b):
    return sum(both(lambda s, f: mutual_info_score(s.ravel(), f.ravel()))(f, a, b))


@witness("matlab/MI", "strict/MI", by="sklearn.metrics.mutual_info_score")
def mi_bits(f, a, b):
    return mi(f, a, b) / math.log(2)


@witness("strict/NMI", by="sklearn.metrics.normalized_mutual_info_score")
def nmi(f, a, b):
    return sum(both(lambda s, f: normalized_mutual_info_score(s.ravel(), f.ravel()))(f, a, b))


def relative_entropies(f, a, b):
    return np.array(both(lambda s, f: special.rel_entr(histogram(s), histogram(f)))(f, a, b)) / 2 / math.log(2)


@witness("strict/CE", by="scipy.special.rel_entr")
def ce(f, a, b):
    return relative_entropies(f, a, b).sum()


@witness("vifb/CE", by="scipy.special.rel_entr")
def ce_of_common_levels(f, a, b):
    terms = relative_entropies(f, a, b)
    return terms[np.isfinite(terms)].sum()


# --- errors and correlations ------------------------------------------------------------------------------------------


@witness("cddfuse/MSE", "strict/MSE", by="skimage.metrics.mean_squared_error")
def mse(f, a, b):
    return np.mean(both(mean_squared_error)(f, a, b))


@witness("strict/RMSE", by="skimage.metrics.mean_squared_error")
def rmse(f, a, b):
    return np.mean(np.sqrt(both(mean_squared_error)(f, a, b)))


@witness("vifb/RMSE", by="skimage.metrics.mean_squared_error")
def rmse_unit(f, a, b):
    return rmse(f / 255, a / 255, b / 255)


def psnr(f, a, b, peak):
    """One PSNR of both sources side by side: their errors are averaged."""
    return peak_signal_noise_ratio(np.hstack([a, b]), np.hstack([f, f]), data_range=peak)


@witness("cddfuse/PSNR", by="skimage.metrics.peak_signal_noise_ratio")
def psnr_of_maximum(f, a, b):
    return psnr(f, a, b, peak=f.max())


@witness("strict/PSNR", by="skimage.metrics.peak_signal_noise_ratio")
def psnr_true(f, a, b):
    return psnr(f, a, b, peak=255)


@witness("matlab/PSNR", by="skimage.metrics.peak_signal_noise_ratio")
def psnr_mixed(f, a, b):
    return psnr(f / 255, a / 255, b / 255, peak=255)


@witness("vifb/PSNR", by="skimage.metrics.mean_squared_error, and 57 to 59 dB in the benchmark's table")
def psnr_of_root(f, a, b):
    return 10 * math.log10(255**2 / rmse_unit(f, a, b))


def r(x, y):
    return stats.pearsonr(x.ravel(), y.ravel()).statistic


@witness("cddfuse/CC", "strict/CC", by="scipy.stats.pearsonr")
def cc(f, a, b):
    return (r(a, f) + r(b, f)) / 2


@witness("cddfuse/SCD", "strict/SCD", by="scipy.stats.pearsonr")
def scd(f, a, b):
    return r(a, f - b) + r(b, f - a)


# --- structure --------------------------------------------------------------------------------------------------------

WANG = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}


def skimage_ssim(**options):
    return lambda f, a, b: sum(both(functools.partial(structural_similarity, **options))(f, a, b))


# 1e-8: scikit-image subtracts rounded means of squares, which shows next to constants as small as 4e-4
witness("cddfuse/SSIM", by="skimage.metrics.structural_similarity", rel=1e-8)(skimage_ssim(data_range=2))
witness("vifb/SSIM", by="skimage.metrics.structural_similarity")(skimage_ssim(data_range=255, **WANG))


@witness("matlab/SSIM", by="skimage.metrics.structural_similarity", rel=1e-8)
def ssim_range_1(f, a, b):
    return skimage_ssim(data_range=1, **WANG)(f, a, b) / 2


@witness("strict/SSIM", by="skimage.metrics.structural_similarity")
def ssim_canonical(f, a, b):
    return skimage_ssim(data_range=255, **WANG)(f, a, b) / 2


def in_torch(function, **options):
    def measure(s, f):
        f, s = (torch.from_numpy(image)[None, None] for image in (f, s))
        return float(function(f, s, **options))

    return lambda f, a, b: np.mean(both(measure)(f, a, b))


witness("strict/MS-SSIM", by="piq.multi_scale_ssim")(in_torch(piq.multi_scale_ssim, data_range=255.0))

# 1e-6: piq's thresholds for flat areas are other ones
vif = in_torch(piq.vif_p, data_range=255.0)
witness("strict/VIF", by="piq.vif_p", rel=1e-6)(vif)
witness("cddfuse/VIF", by="piq.vif_p", rel=1e-6)(lambda f, a, b: 2 * vif(f, a, b))


@witness("matlab/VIF", by="piq.vif_p", rel=1e-6)
def vif_scaled(f, a, b):
    # piq brings every picture to 0..255 first: more noise there is less range
    return 2 * in_torch(piq.vif_p, data_range=255.0, sigma_n_sq=2 * 255.0**2)(f, a, b)


# --- edges ------------------------------------------------------------------------------------------------------------


def sigmoids(g, a):
    return 0.9994 / (1 + math.exp(-15 * (g - 0.5))) * 0.9879 / (1 + math.exp(-22 * (a - 0.8)))


@functools.cache
def edge_balance(mode, canonical):
    """Pixel by pixel: (kept, lost, invented) of `scene()`, each per sum of the source's edge strengths."""

    def edges(image):
        sx, sy = (ndimage.sobel(image, axis, mode=mode).ravel() for axis in (1, 0))
        if not canonical:
            sx = -sx  # spec/metrics.md: left - right
        return [(math.hypot(x, y), math.atan(y / x) if x else math.pi / 2) for x, y in zip(sx, sy, strict=True)]

    f, a, b = (edges(image) for image in scene())
    kept = lost = invented = total = 0.0
    for (gf, af), *sources in zip(f, a, b, strict=True):
        for gs, angle in sources:
            g = (1.0 if canonical else gf) if gf == gs else min(gf, gs) / max(gf, gs)
            turn = abs(angle - af) / (math.pi / 2)
            q = sigmoids(g, abs(1 - turn) if canonical else 1 - turn)
            kept, total = kept + q * gs, total + gs
            if gf > max(s[0] for s in sources):
                invented += (1 - q) * gs
            else:
                lost += (1 - q) * gs
    return kept / total, lost / total, invented / total


@witness("cddfuse/Qabf", by="spec/metrics.md, pixel by pixel")
def qabf(f, a, b):
    return edge_balance("constant", False)[0]


@witness("vifb/Qabf", "strict/Qabf", by="Xydeas and Petrovic 2000, pixel by pixel")
def qabf_canonical(f, a, b):
    return edge_balance("nearest", True)[0]


@witness("strict/Labf", by="Petrovic and Xydeas 2005, pixel by pixel")
def labf(f, a, b):
    return edge_balance("nearest", True)[1]


@witness("strict/Nabf", by="Shreyamsha Kumar 2013, pixel by pixel")
def nabf(f, a, b):
    return edge_balance("nearest", True)[2]


# --- windows weighted by what the sources show ------------------------------------------------------------------------


def windows(image, size):
    return sliding_window_view(image, (size, size)).reshape(-1, size * size)


def covariance(x, y):
    return ((x - x.mean(1, keepdims=True)) * (y - y.mean(1, keepdims=True))).mean(1)


def q0(x, y):
    """Wang and Bovik's index per window; a factor that would be 0/0 is 1."""
    with np.errstate(invalid="ignore"):
        mx, my = x.mean(1), y.mean(1)
        luminance = np.nan_to_num(2 * mx * my / (mx**2 + my**2), nan=1.0)
        return luminance * np.nan_to_num(2 * covariance(x, y) / (x.var(1) + y.var(1)), nan=1.0)


def share(a, b):
    with np.errstate(invalid="ignore"):
        return np.nan_to_num(a.var(1) / (a.var(1) + b.var(1)), nan=0.5)


@witness("strict/QW", by="Piella and Heijmans 2003, window by window")
def qw(f, a, b):
    f, a, b = (windows(image, 8) for image in (f, a, b))
    local = share(a, b) * q0(a, f) + (1 - share(a, b)) * q0(b, f)
    return np.average(local, weights=np.maximum(a.var(1), b.var(1)))


@witness("strict/QE", by="Piella and Heijmans 2003, window by window")
def qe(f, a, b):
    return qw(f, a, b) * qw(*(strength(image) for image in (f, a, b)))


@witness("strict/QY", by="Yang et al. 2008, with the SSIM maps of scikit-image")
def qy(f, a, b):
    def similarity(x, y):
        options = {"data_range": 255, "win_size": 7, "use_sample_covariance": False, "full": True}
        return structural_similarity(x, y, **options)[1][3:-3, 3:-3].ravel()

    of_a, of_b, alike = similarity(a, f), similarity(b, f), similarity(a, b)
    weight = share(windows(a, 7), windows(b, 7))
    assert 0.01 < (alike >= 0.75).mean() < 0.99  # both cases occur
    return np.where(alike >= 0.75, weight * of_a + (1 - weight) * of_b, np.maximum(of_a, of_b)).mean()


# --- contrast sensitivity ---------------------------------------------------------------------------------------------


def stretched(image):
    return np.rint((image - image.min()) / np.ptp(image) * 255)


def seen(image, degrees, sensitivity):
    """Through the full complex Fourier transform."""
    h, w = image.shape
    v, u = np.meshgrid(fft.fftfreq(h) * h / degrees, fft.fftfreq(w) * w / degrees, indexing="ij")
    return fft.ifft2(fft.fft2(image) * sensitivity(np.sqrt(u**2 + v**2))).real


@witness("vifb/QCB", by="Chen and Blum 2009, with scipy's filters, and 0.41 to 0.53 in the benchmark's table")
def qcb(f, a, b):
    def masked(image):
        image = seen(
            stretched(image), 15, lambda r: np.exp(-((r / 15.387) ** 2)) - 0.7622 * np.exp(-((r / 1.3456) ** 2))
        )
        narrow, wide = (ndimage.gaussian_filter(image, s, mode="constant", radius=15) for s in (2, 4))
        c = np.abs(narrow / wide - 1)
        return c**3 / (c**2 + 1e-4)

    f, a, b = (masked(image) for image in (f, a, b))
    weight = a**2 / (a**2 + b**2)
    kept = [np.minimum(s, f) / np.maximum(s, f) for s in (a, b)]
    return (weight * kept[0] + (1 - weight) * kept[1]).mean()


@witness("vifb/QCV", by="Chen and Varshney 2007, block by block, and 500 to 1600 in the benchmark's table")
def qcv(f, a, b):
    f, a, b = (stretched(image) for image in (f, a, b))
    total = weights = 0.0
    for s in (a, b):
        difference = seen(s - f, 4, lambda r: 2.6 * (0.0192 + 0.144 * r) * np.exp(-((0.144 * r) ** 1.1)))
        edges = strength(s)
        for y in range(0, f.shape[0], 16):
            for x in range(0, f.shape[1], 16):
                block = np.s_[y : y + 16, x : x + 16]
                salience = (edges[block] ** 5).sum()
                total, weights = total + salience * (difference[block] ** 2).mean(), weights + salience
    return total / weights
