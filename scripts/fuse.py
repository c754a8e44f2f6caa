"""Fuse a pair of files, or the pairs of two folders.

    python scripts/fuse.py IR VIS -o OUT [--model cddfuse] [--weights FILE]
    python scripts/fuse.py ir/ vi/ -o fused/

OUT is a picture for a pair of files, a folder for two folders. Finished pictures of a folder run are kept: the same
command continues. Exit status: 0, 1 where a pair failed, 2 where nothing could start, 130 after Ctrl-C.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

import fusion
from fusion import images, infer
from fusion.memory import keep_freed_memory
from fusion.registry import UnknownName


def main(arguments: list[str] | None = None) -> int:
    args = parse(arguments)
    keep_freed_memory()
    try:
        pairs = find(args.ir, args.vis, args.out)
        network = load(args.model, args.weights)
    except (ValueError, UnknownName, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    failed = []
    try:
        for ir, vis, out in tqdm(pairs, unit="picture", disable=len(pairs) == 1):
            if out.exists() and len(pairs) > 1 and not args.fresh:
                continue
            try:
                images.write(out, fuse(network, ir, vis, args))
            except (ValueError, OSError) as error:
                failed.append(f"{ir.name}: {error}")
    except KeyboardInterrupt:
        print("interrupted: finished pictures are kept; the same command continues", file=sys.stderr)
        return 130
    for line in failed:
        print(f"error: {line}", file=sys.stderr)
    print(f"{len(pairs) - len(failed)} of {len(pairs)} fused: {args.out}")
    return 1 if failed else 0


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Fuse a pair of files, or the pairs of two folders.")
    parser.add_argument("ir", type=Path, metavar="IR", help="infrared (or CT, PET, SPECT) file or folder")
    parser.add_argument("vis", type=Path, metavar="VIS", help="visible (or MRI) file or folder")
    parser.add_argument("-o", "--out", type=Path, required=True, help="picture, or folder for two folders")
    parser.add_argument("--model", default="cddfuse", help="a registered network (default: %(default)s)")
    parser.add_argument("--weights", type=Path, help="ours or the authors'; default: models/MODEL_msrs.safetensors")
    parser.add_argument("--output", choices=("colour", "gray"), default="colour")
    parser.add_argument("--task", choices=("infrared-visible", "medical"), default="infrared-visible")
    parser.add_argument("--resize", choices=("ir", "vis"), help="bring this one to the size of the other")
    parser.add_argument("--fresh", action="store_true", help="make every picture again")
    return parser.parse_args(arguments)


def find(ir: Path, vis: Path, out: Path) -> list[tuple[Path, Path, Path]]:
    """(ir, vis, out) files. Raises ValueError where one is a file and the other a folder."""
    if ir.is_dir() != vis.is_dir():
        raise ValueError(f"{ir} and {vis}: expected two files or two folders")
    if not ir.is_dir():
        return [(ir, vis, out)]
    pairing = images.pair_folders(ir, vis)
    for line in pairing.report():
        print(f"note: {line}", file=sys.stderr)
    return [(pair.ir, pair.vis, out / f"{pair.name}.png") for pair in pairing.pairs]


def load(model: str, weights: Path | None):
    network = fusion.load(model)
    if weights is None and network.learned:
        weights = Path("models") / f"{model}_msrs.safetensors"
        if not weights.is_file():
            raise FileNotFoundError(f"{weights} is not there: --weights names a file (README, Weights)")
    return fusion.load(model, weights) if weights else network


def fuse(network, ir: Path, vis: Path, args: argparse.Namespace) -> np.ndarray:
    ir_image, vis_image = images.read(ir), images.read(vis)
    if args.resize == "ir":
        ir_image = resized(ir_image, vis_image)
    elif args.resize == "vis":
        vis_image = resized(vis_image, ir_image)
    return infer.fuse(network, ir_image, vis_image, output=args.output, task=args.task)


def resized(image: np.ndarray, like: np.ndarray) -> np.ndarray:
    h, w = like.shape[:2]
    shrinks = h * w < image.shape[0] * image.shape[1]
    return cv2.resize(image, (w, h), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)


if __name__ == "__main__":
    sys.exit(main())
