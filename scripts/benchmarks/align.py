"""How well pairs are aligned: real pairs, the infrared picture warped by a known similarity, and what is found.

Shifts of up to 40 pixels, scales of 0.7 to 1.4 and rotations of up to 5 degrees, about the middle, on a black canvas
of the same size. The error is the mean distance between where the found and the true map put the corners of the
visible picture, in pixels of the infrared one. Real pairs are not exactly registered themselves (those of MSRS differ
by about 1 % in scale, 4 to 5 pixels at the corners), so the truth is the planted warp after what is found for the
untouched pair; the error against the planted warp alone is printed beside it. Wrong partners are tried as well: none
may be sure.
"""

from __future__ import annotations

import argparse
import math
import time
from pathlib import Path

import cv2
import numpy as np

from fusion import images
from fusion.data.alignment import MODELS, Alignment, find_alignment
from fusion.data.folder import find_pairs
from fusion.data.view_search import corner_error

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
            planted = _planted(ir.shape, [args.seed, number])
            warped = cv2.warpPerspective(ir, planted, ir.shape[1::-1], flags=cv2.INTER_LINEAR)
            own = find_alignment(ir, vis, args.model)
            start = time.thread_time()
            found = find_alignment(warped, vis, args.model)
            seconds = time.thread_time() - start
            rows.append((*_errors(found, own, planted, vis), found.sure, own.sure, seconds))
            print(
                f"{pair.name}: error {rows[-1][0]:.2f} ({rows[-1][1]:.2f} against the warp alone); {found.text}",
                flush=True,
            )
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


def _errors(found: Alignment, own: Alignment, planted: np.ndarray, vis: np.ndarray) -> tuple[float, float]:
    """Against the planted warp after the pair's own alignment, and against the warp alone."""
    truth = planted @ own.matrix if own.sure else planted
    return tuple(corner_error(found.matrix, true, *vis.shape[:2]) for true in (truth, planted))


def _summary(rows: np.ndarray, strangers: list[bool]) -> dict[str, float]:
    error, alone, sure, _, seconds = rows.T
    missed = error > CLOSE
    close, close_alone = f"{(~missed).mean():.1%}", f"{(alone <= CLOSE).mean():.1%}"
    right_of_sure = (error[sure > 0] <= CLOSE).mean()
    print(f"{len(rows)} pairs, {np.median(seconds):.1f} s of one core in the median, {seconds.max():.1f} s at most")
    print(f"within {CLOSE:g} pixels: {close} (against the planted warp alone: {close_alone})")
    print(f"error in the median {np.median(error):.2f}; sure: {sure.mean():.1%}, of these within: {right_of_sure:.1%}")
    print(f"of the {missed.sum()} others: {int((missed & (sure == 0)).sum())} reported as unsure")
    if strangers:
        print(f"wrong partners: {sum(strangers)} of {len(strangers)} sure")
    return {"within": float((~missed).mean()), "sure": float(sure.mean())}
