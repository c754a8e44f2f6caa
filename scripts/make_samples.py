"""Renders the sample pairs of test_img/sample.

Outside pictures may not be committed, so these are our own: sample_scenes/ holds the scenes and the renderer.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # runs from a checkout, installed or not

from fusion.terminal import need_opencv

if __name__ == "__main__":
    need_opencv()  # or end in one line

import cv2
import numpy as np
from sample_scenes.canvas import Scene
from sample_scenes.scenes import SCENES
from sample_scenes.sensors import infrared, visible

DEFAULT = Path(__file__).resolve().parents[1] / "test_img" / "sample"


def render(name):
    """The pair called `name`: infrared (H, W) uint8 or uint16, visible (H, W) or (H, W, 3) RGB uint8."""
    draw, view = SCENES[name]
    scene = Scene(view, np.random.default_rng(int(name[:2])))
    draw(scene)
    return infrared(scene), visible(scene)


def write(path, image):
    """Saves RGB or gray as PNG; OSError when that fails (OpenCV itself only returns False)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    ok, data = cv2.imencode(".png", image if image.ndim == 2 else image[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 9])
    if not ok:
        raise OSError(f"{path}: OpenCV cannot encode {image.shape} {image.dtype} as PNG")
    path.write_bytes(data.tobytes())


def main(argv=None):
    """Writes OUT/ir/NAME.png and OUT/vi/NAME.png; returns the exit status."""
    parser = argparse.ArgumentParser(description="Render the sample pairs (infrared and visible) of test_img/sample.")
    parser.add_argument(
        "-o", "--out", type=Path, default=DEFAULT, help="folder for ir/ and vi/ (default: test_img/sample)"
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"only these of {', '.join(SCENES)}")
    options = parser.parse_args(argv)
    if unknown := [name for name in options.names if name not in SCENES]:
        print(f"No scene named '{unknown[0]}'. Known: {', '.join(SCENES)}", file=sys.stderr)
        return 2
    try:
        for name in options.names or SCENES:
            for folder, image in zip(("ir", "vi"), render(name), strict=True):
                write(options.out / folder / f"{name}.png", image)
    except OSError as error:
        print(f"cannot write the pairs: {error}. Choose another folder with -o", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
