"""Cut the pairs of a folder into the h5 file that training reads.

    python scripts/make_patches.py data/MSRS/train -o data/msrs_128.h5

ROOT holds ir/ and vi/ (or vis/). The rules are the CDDFuse authors' (fusion/data/patches.py). The file is written
whole or not at all, and not again while folder and options stay as they were.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # runs from a checkout, installed or not

from fusion.terminal import need_opencv

if __name__ == "__main__":
    need_opencv()  # or end in one line

from tqdm import tqdm

from fusion.data import doctor, patches
from fusion.pairing import find_pairs
from fusion.reading import once
from fusion.terminal import forgive_encodings


def arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("root", type=Path, help="folder with ir/ and vi/ (or vis/)")
    parser.add_argument("--ir", default="ir", help="folder of the infrared pictures in ROOT (ir)")
    parser.add_argument("--vis", default="vi", help="folder of the visible pictures in ROOT (vi, or vis)")
    parser.add_argument("--match", metavar="IR*=VIS*", help="how the names of partners differ, * being what they share")
    parser.add_argument("-o", "--out", type=Path, required=True, help="the h5 file to write")
    parser.add_argument("--size", type=int, default=128, help="side of a patch in pixels (128)")
    parser.add_argument("--stride", type=int, default=200, help="pixels from patch to patch (200)")
    parser.add_argument("--workers", type=int, default=min(os.cpu_count() or 1, 8), help="threads that read and cut")
    parser.add_argument("--layout", choices=("stacked", "authors"), default="stacked", help="layout of the file")
    parser.add_argument("--drop-black", action="store_true", help="drop black patches, which the authors keep")
    parser.add_argument("--strict", action="store_true", help="what looks wrong with the pairs is an error")
    parser.add_argument(
        "--range", default="auto", metavar="IR[,VIS]", help="what becomes black and white, as in scripts/fuse.py (auto)"
    )
    parser.add_argument("--force", action="store_true", help="write even if up to date, or over a file of others")
    return parser.parse_args(argv)


def make(args: argparse.Namespace) -> None:
    options = patches.Options(args.size, args.stride, args.drop_black, args.layout, args.range)
    found = find_pairs(args.root, args.ir, args.vis, args.match)
    for line in found.examples():
        print(line, file=sys.stderr)
    for line in found.report():
        print(f"left out: {line}", file=sys.stderr)
    if args.out.exists() and not args.force:
        stored = patches.stored_fingerprint(args.out)
        if stored == patches.fingerprint(found.pairs, options):
            print(f"{args.out} is up to date: nothing to do (--force writes it again)")
            return
        if stored is None:
            raise ValueError(f"{args.out} exists and is no whole file of make_patches: --force replaces it")
    lines = doctor.quick_check(found.pairs, without=["unreadable", "size", *["range"] * (args.range != "auto")])
    for line in doctor.refuse(lines, args.strict):
        print(line, file=sys.stderr)
    start = time.perf_counter()
    with tqdm(total=len(found.pairs), unit="pair", disable=None) as bar:
        done = patches.write_patches(found.pairs, args.out, options, workers=args.workers, progress=bar.update)
    seconds = time.perf_counter() - start
    if done.too_small:
        few = ", ".join(done.too_small[:5]) + (", ..." if len(done.too_small) > 5 else "")
        print(f"smaller than a patch: {len(done.too_small)} pairs ({few})", file=sys.stderr)
    print(
        f"{args.out}: {done.pairs} pairs, {done.kept} patches kept, {done.dropped} dropped, "
        f"{done.file_bytes / 1e6:.1f} MB, {seconds:.1f} s"
    )


def main(argv: list[str] | None = None) -> int:
    forgive_encodings()
    args = arguments(argv)
    warnings.showwarning = once(lambda text: tqdm.write(f"note: {text}", file=sys.stderr))
    try:
        make(args)
    except (ValueError, OSError) as error:
        print(f"make_patches: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"make_patches: interrupted, {args.out} is as it was", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
