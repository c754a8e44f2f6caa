"""How much of a fused picture's gradient energy neither source explains: outlines, halos, ringing.

    python scripts/outlines.py --ir TNO/ir --vis TNO/vi --fused results/TNO/swift [--fused ANOTHER ...]

At every pixel the fused picture's gradient is compared with the stronger source gradient within one pixel, times the
picture's overall gain in contrast (at least 1). What goes beyond is squared, summed, and given in percent of all
gradient energy. A gain that is the same everywhere costs nothing; a contour where one source takes over from the other
does.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # runs from a checkout, installed or not

from fusion.terminal import need_opencv

if __name__ == "__main__":
    need_opencv()  # or end in one line

import cv2
import numpy as np

from fusion import images, pairing
from fusion.terminal import forgive_encodings


def main(arguments: list[str] | None = None) -> int:
    forgive_encodings()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ir", type=Path, required=True, help="folder of infrared pictures")
    parser.add_argument("--vis", type=Path, required=True, help="folder of visible pictures")
    parser.add_argument(
        "--fused", type=Path, required=True, action="append", help="folder of fused pictures; repeat it"
    )
    args = parser.parse_args(arguments)
    try:
        for folder in args.fused:
            found = shares(args.ir, args.vis, folder)
            worst = max(found, key=found.get)
            mean = np.mean(list(found.values()))
            print(f"{folder}: {mean:.2f} % over {len(found)} pictures; most in {worst}, {found[worst]:.2f} %")
    except (ValueError, OSError) as error:
        print(f"outlines: {error}", file=sys.stderr)
        return 2
    return 0


def shares(ir: Path, vis: Path, fused: Path) -> dict[str, float]:
    """Percent by picture name. Raises ValueError where a fused picture is missing or of another size."""
    results = {}
    of_fused = {path.stem: path for path in sorted(fused.iterdir()) if images.is_picture(path)}
    pairs = pairing.pair_folders(ir, vis).pairs
    of_ir, of_vis = images.ranges_of(pairs)
    for pair in pairs:
        if pair.name not in of_fused:
            raise ValueError(f"{fused} has no picture called {pair.name}: expected one for every pair")
        files = ((of_fused[pair.name], "full"), (pair.ir, of_ir), (pair.vis, of_vis))
        levels = [images.grey_levels(images.read(path, how)) for path, how in files]
        if len({x.shape for x in levels}) > 1:
            raise ValueError(f"{of_fused[pair.name]} has another size than its sources")
        results[pair.name] = 100 * unexplained(*levels)
    return results


def unexplained(fused: np.ndarray, ir: np.ndarray, vis: np.ndarray) -> float:
    """(H, W) each -> the share of `fused`'s gradient energy beyond that of the sources, 0 to 1."""
    gradient, stronger = magnitude(fused), np.maximum(magnitude(ir), magnitude(vis))
    gain = max(1.0, (gradient * stronger).sum() / max((stronger**2).sum(), 1e-12))
    nearby = cv2.dilate(stronger, np.ones((3, 3), np.uint8))  # a contour may move by a pixel
    beyond = (gradient - gain * nearby).clip(min=0)
    return float((beyond**2).sum() / max((gradient**2).sum(), 1e-12))


def magnitude(image: np.ndarray) -> np.ndarray:
    """Sobel gradient magnitude after a slight blur (sigma 0.7), which takes off single noisy pixels."""
    smooth = cv2.GaussianBlur(image, (0, 0), 0.7)
    return np.hypot(cv2.Sobel(smooth, cv2.CV_64F, 1, 0), cv2.Sobel(smooth, cv2.CV_64F, 0, 1))


if __name__ == "__main__":
    sys.exit(main())
