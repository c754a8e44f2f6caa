"""Scoring one picture with the 12 metrics of `cddfuse`: one pass of ours against the plain way, in one process each.

The plain way is what evaluation scripts do: scikit-learn for mutual information, scipy's two-dimensional convolution
for VIF and Qabf, scikit-image for SSIM, numpy for the rest; every metric for itself, formulas from spec/metrics.md.
Both score the same picture in turns; the table has the medians and how far the two are apart. Both are timed by the
process's own processor seconds as well, which a busy machine disturbs less.
"""

from __future__ import annotations

import argparse
import math
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from fusion.metrics import evaluate, profile, profiles

SIDES = ("fused", "ir", "vis")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--size", default="768x576", help="width x height of the picture (768x576)")
    parser.add_argument("--rounds", type=int, default=7, help="rounds, of which the median counts (7)")
    parser.add_argument("--threads", type=int, default=1, help="OpenCV threads; the plain way has one (1)")
    parser.add_argument("--memory", action="store_true", help=argparse.SUPPRESS)  # in a process of its own


def run(args: argparse.Namespace) -> dict[str, float]:
    """Measure, print, and return the ratios by metric, `all` among them, and `memory` in MB."""
    width, height = (int(n) for n in args.size.split("x"))
    fused, ir, vis = scene(height, width)
    if args.memory:
        evaluate(fused, ir, vis)
        return {}
    cv2.setNumThreads(args.threads)
    ours: dict[str, Callable] = {
        name: lambda name=name: evaluate(fused, ir, vis, names=[name])[name] for name in profile("cddfuse")
    }
    plain = plain_metrics()
    theirs = {name: lambda name=name: plain[name](fused, ir, vis) for name in ours}
    theirs["all"] = lambda: {name: measure(fused, ir, vis) for name, measure in plain.items()}
    ours["all"] = lambda: evaluate(fused, ir, vis)
    print(f"{args.size} pixels, median of {args.rounds} rounds in turns, one process each, {args.threads} thread(s)")
    print(f"{'':6s} {'plain':>10s} {'ours':>9s} {'ratio':>7s} {'(cpu)':>7s}   largest relative difference")
    ratios = {}
    for name in ours:
        rounds = args.rounds if name == "all" else max(3, args.rounds // 2)
        slow, fast = in_turns(theirs[name], ours[name], rounds)
        ratios[name] = slow.wall / fast.wall
        apart = _apart(slow.value, fast.value)
        print(
            f"{name:6s} {slow.wall * 1e3:7.1f} ms {fast.wall * 1e3:6.2f} ms {ratios[name]:6.1f}x "
            f"{slow.cpu / fast.cpu:6.1f}x   {apart:.0e}"
        )
    for name in profiles():
        _, fast = in_turns(lambda: None, lambda name=name: evaluate(fused, ir, vis, name), args.rounds)
        print(f"profile {name}: {len(profile(name))} metrics in {fast.wall * 1e3:.0f} ms")
    _, fast = in_turns(lambda: None, lambda: evaluate(fused, ir, vis, "all"), args.rounds)
    print(f"profile all: {len(profile('all'))} metrics in {fast.wall * 1e3:.0f} ms")
    ratios["memory"] = peak_memory(args.size)
    print(f"peak memory of a process that imports, and scores one picture: {ratios['memory']:.0f} MB")
    return ratios


class Timed:
    """What a function returned, and the medians of its seconds."""

    def __init__(self):
        self.walls: list[float] = []
        self.cpus: list[float] = []
        self.value = None

    def run(self, function: Callable) -> None:
        wall, cpu = time.perf_counter(), time.process_time()
        self.value = function()
        self.walls.append(time.perf_counter() - wall)
        self.cpus.append(time.process_time() - cpu)

    @property
    def wall(self) -> float:
        return statistics.median(self.walls)

    @property
    def cpu(self) -> float:
        return statistics.median(self.cpus)


def in_turns(first: Callable, second: Callable, rounds: int) -> tuple[Timed, Timed]:
    a, b = Timed(), Timed()
    for _ in range(rounds):
        a.run(first)
        b.run(second)
    return a, b


def _apart(theirs, ours) -> float:
    if isinstance(theirs, dict):
        return max(_apart(theirs[name], ours[name]) for name in theirs)
    return abs(theirs - ours) / abs(theirs)


def peak_memory(size: str) -> float:
    """MB of a fresh process that scores one picture; nan where the system does not tell (it has no /proc)."""
    if not Path("/proc/self/status").exists():
        return math.nan
    root = Path(__file__).resolve().parents[2]
    code = (
        "import sys; sys.path[:0] = sys.argv[1:3]\n"
        "import argparse; from benchmarks import metrics\n"
        "metrics.run(argparse.Namespace(size=sys.argv[3], memory=True))\n"
        # Not getrusage: it starts from what the parent had.
        "print(next(line for line in open('/proc/self/status') if line.startswith('VmHWM')).split()[1])"
    )
    command = [sys.executable, "-c", code, str(root), str(root / "scripts"), size]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout) / 1024


def scene(h: int, w: int) -> list[np.ndarray]:
    """(fused, ir, vis) of whole grey levels with structure on several scales and some noise, the same every time."""
    random = np.random.default_rng(0)

    def blotches(*sigmas: float) -> np.ndarray:
        layers = [cv2.GaussianBlur(random.standard_normal((h, w)), (0, 0), sigma) * sigma for sigma in sigmas]
        return sum(layers) + 0.05 * random.standard_normal((h, w))

    ir, vis = blotches(20.0, 4.0), blotches(10.0, 2.0, 1.0)
    pictures = [(0.4 * ir + 0.6 * vis), ir, vis]
    return [np.rint((p - p.min()) * (255.0 / np.ptp(p))) for p in pictures]


# --- the plain way ----------------------------------------------------------------------------------------------------


def plain_metrics() -> dict[str, Callable[[np.ndarray, np.ndarray, np.ndarray], float]]:
    """Name -> function of (fused, ir, vis); imported here, because a process that only scores does without."""
    from scipy.signal import convolve2d
    from skimage.metrics import structural_similarity
    from sklearn.metrics import mutual_info_score

    def en(f, a, b):
        h = np.bincount(f.astype(np.uint8).ravel(), minlength=256) / f.size
        return -sum(p * math.log2(p) for p in h if p > 0)

    def sf(f, a, b):
        return math.sqrt(np.mean(np.diff(f, axis=0) ** 2) + np.mean(np.diff(f, axis=1) ** 2))

    def ag(f, a, b):
        gy, gx = np.gradient(f)
        return np.mean(np.sqrt((gx**2 + gy**2) / 2))

    def mse(f, a, b):
        return (np.mean((a - f) ** 2) + np.mean((b - f) ** 2)) / 2

    def pearson(x, y):
        return np.corrcoef(x.ravel(), y.ravel())[0, 1]

    def mi(f, a, b):
        return sum(mutual_info_score(f.ravel().astype(int), s.ravel().astype(int)) for s in (a, b))

    def vif(f, a, b):
        return plain_vif(a, f, convolve2d) + plain_vif(b, f, convolve2d)

    def qabf(f, a, b):
        return plain_qabf(f, a, b, convolve2d)

    def ssim(f, a, b):
        return sum(structural_similarity(f, s, data_range=2.0) for s in (a, b))

    return {
        "EN": en,
        "SD": lambda f, a, b: np.std(f),
        "SF": sf,
        "MI": mi,
        "SCD": lambda f, a, b: pearson(a, f - b) + pearson(b, f - a),
        "VIF": vif,
        "Qabf": qabf,
        "SSIM": ssim,
        "AG": ag,
        "MSE": mse,
        "CC": lambda f, a, b: (pearson(a, f) + pearson(b, f)) / 2,
        "PSNR": lambda f, a, b: 10 * math.log10(f.max() ** 2 / mse(f, a, b)),
    }


def plain_vif(reference: np.ndarray, image: np.ndarray, convolve2d: Callable, eps: float = 1e-10) -> float:
    num = den = 0.0
    for scale, n in enumerate((17, 9, 5, 3)):
        y, x = np.mgrid[:n, :n] - n // 2
        window = np.exp(-(x * x + y * y) / (2 * (n / 5) ** 2))
        window /= window.sum()

        def mean(i, window=window):
            return convolve2d(i, window, mode="valid")

        if scale:
            reference, image = mean(reference)[::2, ::2], mean(image)[::2, ::2]
        m1, m2 = mean(reference), mean(image)
        v1 = np.maximum(mean(reference**2) - m1**2, 0)
        v2 = np.maximum(mean(image**2) - m2**2, 0)
        c = mean(reference * image) - m1 * m2
        g = c / (v1 + eps)
        s2 = v2 - g * c
        low = v1 < eps
        g[low], s2[low], v1[low] = 0, v2[low], 0
        low = v2 < eps
        g[low], s2[low] = 0, 0
        low = g < 0
        s2[low], g[low] = v2[low], 0
        s2[s2 <= eps] = eps
        num += np.log10(1 + g * g * v1 / (s2 + 2)).sum()
        den += np.log10(1 + v1 / 2).sum()
    return num / den


def plain_qabf(fused: np.ndarray, ir: np.ndarray, vis: np.ndarray, convolve2d: Callable) -> float:
    across = np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]], float)  # convolution mirrors it: left - right

    def edges(image):
        sx, sy = convolve2d(image, across, mode="same"), convolve2d(image, -across.T, mode="same")
        with np.errstate(divide="ignore", invalid="ignore"):
            angle = np.where(sx == 0, math.pi / 2, np.arctan(sy / sx))
        return np.sqrt(sx**2 + sy**2), angle

    strength, angle = edges(fused)
    num = den = 0.0
    for source in (ir, vis):
        source_strength, source_angle = edges(source)
        with np.errstate(divide="ignore", invalid="ignore"):
            g = np.where(strength > source_strength, source_strength / strength, strength / source_strength)
        g = np.where(strength == source_strength, strength, g)
        a = 1 - np.abs(source_angle - angle) / (math.pi / 2)
        q = 0.9994 / (1 + np.exp(-15 * (g - 0.5))) * 0.9879 / (1 + np.exp(-22 * (a - 0.8)))
        num += (q * source_strength).sum()
        den += source_strength.sum()
    return num / den
