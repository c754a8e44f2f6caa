"""Write the saliency mask of every pair of a folder, an 8-bit PNG with the pair's name.

    python scripts/make_saliency.py data/M3FD -o data/M3FD/mask

ROOT holds ir/ and vi/ (or vis/). The folder data set takes masks from ROOT/mask and computes them where there are
none (fusion/data/folder.py); files are for looking at, for editing, and for other programs.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # runs from a checkout, installed or not

from fusion.terminal import need_opencv

if __name__ == "__main__":
    need_opencv()  # or end in one line

from tqdm import tqdm

from fusion import images
from fusion.data.saliency import saliency_mask
from fusion.pairing import find_pairs
from fusion.terminal import forgive_encodings


def arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("root", type=Path, help="folder with ir/ and vi/ (or vis/)")
    parser.add_argument("--ir", default="ir", help="folder of the infrared pictures in ROOT (ir)")
    parser.add_argument("--vis", default="vi", help="folder of the visible pictures in ROOT (vi, or vis)")
    parser.add_argument("--match", metavar="IR*=VIS*", help="how the names of partners differ, * being what they share")
    parser.add_argument("-o", "--out", type=Path, required=True, help="folder for the masks")
    return parser.parse_args(argv)


def make(args: argparse.Namespace) -> None:
    found = find_pairs(args.root, args.ir, args.vis, args.match)
    for line in found.examples():
        print(line, file=sys.stderr)
    for line in found.report():
        print(f"left out: {line}", file=sys.stderr)
    of_ir, of_vis = images.ranges_of(found.pairs)
    for pair in tqdm(found.pairs, unit="pair", disable=None):
        try:
            mask = saliency_mask(vis=images.read(pair.vis, of_vis), ir=images.read(pair.ir, of_ir))
        except ValueError as error:
            raise ValueError(f"{pair.name}: {error}") from error
        images.write(args.out / f"{pair.name}.png", images.to_uint8(mask))
    print(f"{args.out}: {len(found.pairs)} masks")


def main(argv: list[str] | None = None) -> int:
    forgive_encodings()
    args = arguments(argv)
    try:
        make(args)
    except (ValueError, OSError) as error:
        print(f"make_saliency: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("make_saliency: interrupted; the masks written so far are whole", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
