"""How well pairs are aligned: real pairs, the infrared picture warped by a known similarity, and what is found.

Shifts of up to 40 pixels, scales of 0.7 to 1.4 and rotations of up to 5 degrees, about the middle. The warped picture
is cut to the largest upright rectangle that the scene fills, as a camera's picture is: no border gives the warp away.
The error is the mean distance between where the found and the true map put the corners of the visible picture, in
pixels of the infrared one.

Real pairs are not exactly registered themselves: those of MSRS differ by about 1 % in scale, 4 to 5 pixels at the
corners, and by their lenses, and since near and far things differ, the best similarity depends on which part of the
scene is in view. So the truth is the planted warp after the untouched pair's own alignment *over the part that the
warped picture shows*, found from where the untouched pair lies. The same estimator finds both: a bias that it has in
both is not seen. Therefore three more errors are printed: against the planted warp after the alignment over the whole
pair, at the corners as before and as the mean over all that both pictures show, there with the bend of the lenses; and
against the planted warp alone. Wrong partners are tried as well: none may be sure.
"""

from __future__ import annotations

import argparse
import math
import time
from pathlib import Path

import cv2
import numpy as np

from fusion import images
from fusion.data.alignment import MODELS, find_alignment, overlap
from fusion.data.folder import find_pairs
from fusion.data.view_fit import evidence, fit
from fusion.data.view_search import Picture, corner_error, places
from fusion.images import luminance

SHIFT, SCALE, TURN = 40.0, (0.7, 1.4), 5.0
CLOSE = 2.0  # pixels


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--root", type=Path, action="append", required=True, help="a set of pairs; may be repeated")
    parser.add_argument("--pairs", type=int, default=30, help="of each set, evenly spread (30)")
    parser.add_argument("--half", type=int, choices=(0, 1), help="every second of them only: 0 was tuned on, 1 was not")
    parser.add_argument("--seed", type=int, default=0, help="of the warps (0)")
    parser.add_argument("--model", choices=MODELS, default="similarity")
    parser.add_argument("--wrong", action="store_true", help="also with another scene's visible picture")


def run(args: argparse.Namespace) -> dict[str, float]:
    """Measure, print, and return the shares."""
    rows, strangers = [], []
    for root in args.root:
        chosen = _chosen(root, args.pairs, args.half)
        for number, pair in enumerate(chosen):
            ir, vis = images.read(pair.ir), images.read(pair.vis)
            warped, planted = _warped(ir, _planted(ir.shape, [args.seed, number]))
            start = time.thread_time()
            found = find_alignment(warped, vis, args.model)
            seconds = time.thread_time() - start
            truths = _truths(ir, vis, planted, warped.shape)
            errors = [corner_error(found.matrix, truth, *vis.shape[:2]) for truth, _ in truths]
            errors.append(_where_both_show((found.matrix, found.bend), truths[1], warped.shape, vis.shape))
            rows.append((*errors, found.sure, seconds))
            said = "error {:.2f} (over the whole pair {:.2f}, warp alone {:.2f}; where both show {:.2f})".format(
                *errors
            )
            print(f"{pair.name}: {said}; {found.text}, expected error {found.evidence.error:.2f}", flush=True)
            if args.wrong:
                other = images.read(chosen[(number + len(chosen) // 2) % len(chosen)].vis)
                strangers.append(find_alignment(warped, other, args.model).sure)
    return _summary(np.array(rows, float), strangers)


def _chosen(root: Path, number: int, half: int | None) -> list[images.Pair]:
    pairs = find_pairs(root).pairs
    step = len(pairs) / number
    chosen = [pairs[int((i + 0.5) * step)] for i in range(number)]
    return chosen if half is None else chosen[half::2]


def _planted(shape: tuple[int, ...], seed: list[int]) -> np.ndarray:
    """(3, 3): a pixel of the infrared picture -> its place in the warped one."""
    random = np.random.default_rng(seed)
    scale = math.exp(random.uniform(*np.log(SCALE)))
    turn, way, shift = math.radians(random.uniform(-TURN, TURN)), random.uniform(0, 2 * math.pi), SHIFT
    shift *= math.sqrt(random.uniform())
    c, s = scale * math.cos(turn), scale * math.sin(turn)
    x, y = (shape[1] - 1) / 2, (shape[0] - 1) / 2
    dx, dy = x + shift * math.cos(way) - c * x + s * y, y + shift * math.sin(way) - s * x - c * y
    return np.array([[c, -s, dx], [s, c, dy], [0, 0, 1]])


def _warped(ir: np.ndarray, planted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The warped picture, cut to what the scene fills, and the map from the infrared picture to it."""
    h, w = ir.shape[:2]
    top, left, bottom, right = overlap((h, w), (h, w), np.linalg.inv(planted))
    warped = cv2.warpPerspective(ir, planted, (w, h), flags=cv2.INTER_LINEAR)[top:bottom, left:right]
    return warped, np.array([[1, 0, -left], [0, 1, -top], [0, 0, 1]]) @ planted


Map = tuple[np.ndarray, float]
"""A matrix and a bend, as in `Alignment`."""


def _truths(ir: np.ndarray, vis: np.ndarray, planted: np.ndarray, shape: tuple[int, ...]) -> list[Map]:
    """The planted warp after the pair's own alignment over what the warped picture shows, over all, and alone.

    shape: of the warped picture. An own alignment without evidence is not used.
    """
    pictures = Picture.of(luminance(ir)), Picture.of(luminance(vis))
    flags = cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP
    view = cv2.warpPerspective(np.full(shape[:2], 255, np.uint8), planted, ir.shape[1::-1], flags=flags)
    part = pictures[0]._replace(mask=cv2.min(pictures[0].mask, view))
    whole = _own(*pictures, (np.eye(3), 0.0))
    return [(planted @ matrix, bend) for matrix, bend in (_own(part, pictures[1], whole), whole, (np.eye(3), 0.0))]


def _own(ir: Picture, vis: Picture, start: Map) -> Map:
    matrix, _, _ = fit(ir, vis, start[0], 256, 4.0)
    matrix, _, _ = fit(ir, vis, matrix, 512, 4.0)
    matrix, bend, _ = fit(ir, vis, matrix, 512, 2.0, 5)
    return (matrix, bend) if evidence(ir, vis, matrix, bend).placed else start


def _where_both_show(found: Map, truth: Map, ir: tuple[int, ...], vis: tuple[int, ...]) -> float:
    """How far apart two maps put the visible pixels that the infrared picture shows, on average."""
    (x, y), (u, v) = (places(matrix, *vis[:2], bend) for matrix, bend in (found, truth))
    shown = (u >= 0) & (v >= 0) & (u <= ir[1] - 1) & (v <= ir[0] - 1)
    return float(np.hypot(x - u, y - v)[shown].mean())


def _summary(rows: np.ndarray, strangers: list[bool]) -> dict[str, float]:
    error, whole, alone, shown, sure, seconds = rows.T
    missed = error > CLOSE
    print(f"{len(rows)} pairs, {np.median(seconds):.1f} s of one core in the median, {seconds.max():.1f} s at most")
    print(f"within {CLOSE:g} pixels: {(~missed).mean():.1%}, the median error {np.median(error):.2f}")
    print(f"of the {missed.sum()} others: {int((missed & (sure == 0)).sum())} reported as unsure")
    print(f"sure: {sure.mean():.1%}, of these within: {(error[sure > 0] <= CLOSE).mean():.1%}")
    others = {
        "the pair's alignment over the whole": whole,
        "the same, where both pictures show the scene": shown,
        "the planted warp alone": alone,
    }
    for truth, other in others.items():
        beyond = other > CLOSE
        unsure = f"{int((sure[beyond] == 0).sum())} of the {beyond.sum()} others unsure"
        print(f"against {truth}: within {(~beyond).mean():.1%}, {unsure}; the median {np.median(other):.2f}")
    if strangers:
        print(f"wrong partners: {sum(strangers)} of {len(strangers)} sure")
    return {"within": float((~missed).mean()), "sure": float(sure.mean())}
