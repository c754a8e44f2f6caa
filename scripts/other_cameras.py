"""How methods score on pictures that another camera might have taken of the same scenes.

    python scripts/other_cameras.py data/MSRS/validation cddfuse=models/cddfuse_msrs.safetensors swift=...

Each pair of ROOT (ir/ and vi/) is changed in several ways, fused and scored against what the network saw. Prints a
table of means of profile `cddfuse`, a line for each way and method, and what of VIF and Qabf belongs to the infrared
source. Seeded, so every method sees the same pictures. `--only '*N' --ways 'as it is'`: the nights of MSRS.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from fnmatch import fnmatch
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # runs from a checkout, installed or not

from fusion.terminal import need_opencv

if __name__ == "__main__":
    need_opencv()  # or end in one line

import numpy as np
from tqdm import tqdm

import fusion
from fusion import images, infer, metrics
from fusion.data.folder import find_pairs
from fusion.data.sampler import Tone
from fusion.pairing import Pair
from fusion.terminal import forgive_encodings

Change = Callable[[np.ndarray, np.random.Generator], np.ndarray]
"""Of a plane (H, W) in [0, 1]; what leaves the range is clipped afterwards."""


def noisy(plane: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """A sensor's noise, 8 grey levels."""
    return plane + random.normal(0, 8 / 255, plane.shape)


def striped(plane: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """The fixed pattern of an uncooled infrared sensor: every column has an offset of its own, 5 grey levels."""
    return plane + random.normal(0, 5 / 255, plane.shape[1])


def toned(**tone: float) -> Change:
    return lambda plane, _: Tone(**tone).of(plane.astype(np.float32))


def same(plane: np.ndarray, _: np.random.Generator) -> np.ndarray:
    return plane


WAYS: dict[str, tuple[Change, Change]] = {
    "as it is": (same, same),
    "gamma 2": (toned(gamma=2.0), toned(gamma=2.0)),
    "gamma 1/2": (toned(gamma=0.5), toned(gamma=0.5)),
    "black-hot": (toned(inverted=True), same),
    "noise": (noisy, noisy),
    "stripes": (striped, same),
    "low contrast": (toned(gain=0.4, offset=0.3), toned(gain=0.4, offset=0.3)),
    "over-exposure": (same, toned(gain=1.8)),
}
"""Name -> what happens to ir and to vis."""


def levels(plane: np.ndarray) -> np.ndarray:
    return np.round(np.clip(plane, 0, 1) * 255).astype(np.uint8)


def infrared(scene: metrics.Scene) -> list[float]:
    """The infrared source's part of VIF and of Qabf."""
    strengths = []
    for image in (scene.fused, scene.ir, scene.vis):
        strengths.append(metrics.edges.edges_inside(np.pad(image, 1)))
    fused, ir, vis = strengths
    kept = metrics.edges.raw_preservation(*fused, *ir) * ir[0]
    return [metrics.vif.of_scene(scene)[metrics.vif.UNIT][0], float(kept.sum() / (ir[0].sum() + vis[0].sum()))]


def scores(form, pairs: list[Pair], way: str, names: list[str]) -> list[float]:
    """Means over `pairs` changed in one way, of the metrics called `names` and of `infrared`."""
    chosen = metrics.select("cddfuse", names)
    values = []
    for number, pair in enumerate(pairs):
        random = np.random.default_rng([number, list(WAYS).index(way)])
        planes = [images.luminance(images.read(path)) for path in (pair.ir, pair.vis)]
        ir, vis = (levels(change(plane, random)) for change, plane in zip(WAYS[way], planes, strict=True))
        fused = infer.fuse(form, ir, vis, output="gray")
        scene = metrics.Scene(fused, ir, vis)
        values.append([*(metric.measure(scene) for metric in chosen.values()), *infrared(scene)])
    return np.mean(values, axis=0).tolist()


def arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("root", type=Path, help="folder with ir/ and vi/")
    parser.add_argument(
        "methods", nargs="+", metavar="METHOD[=WEIGHTS]", help="networks to compare, the first one with"
    )
    parser.add_argument("--limit", type=int, help="so many pairs, evenly spread")
    parser.add_argument("--only", default="*", help="pairs whose names match, e.g. '*N'")
    parser.add_argument("--ways", default=",".join(WAYS), help="of " + ", ".join(WAYS))
    parser.add_argument("--metrics", default="VIF,Qabf,SSIM", help="of profile cddfuse (VIF,Qabf,SSIM)")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    forgive_encodings()
    args = arguments(argv)
    names, ways = args.metrics.split(","), args.ways.split(",")
    try:
        metrics.select("cddfuse", names)
        forms = {text: fusion.load(*text.split("=", 1)).form() for text in args.methods}
        pairs = [pair for pair in find_pairs(args.root).pairs if fnmatch(pair.name, args.only)]
        if not pairs or not set(ways) <= set(WAYS):
            raise ValueError(f"expected names in {args.root} that match {args.only}, and ways out of {', '.join(WAYS)}")
    except (ValueError, OSError, LookupError) as error:
        print(f"other_cameras: {error}", file=sys.stderr)
        return 2
    if args.limit:
        pairs = [pairs[int(i)] for i in np.linspace(0, len(pairs) - 1, min(args.limit, len(pairs)))]
    width = max(map(len, args.methods))
    print(f"{'':14} {'':{width}} " + " ".join(f"{name:>7}" for name in [*names, "VIF_ir", "Qabf_ir"]))
    for way in tqdm(ways, unit="way", disable=None):
        for text, form in forms.items():
            means = scores(form, pairs, way, names)
            tqdm.write(f"{way:14} {text:{width}} " + " ".join(f"{mean:7.3f}" for mean in means))
    return 0


if __name__ == "__main__":
    sys.exit(main())
