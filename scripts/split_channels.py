"""Split pictures of four channels, colour and thermal in one file (MFNet), into the two folders that programs take.

    python scripts/split_channels.py MFNet/images -o MFNet

Writes OUT/ir/NAME.png (the fourth channel) and OUT/vi/NAME.png (the first three); NAME keeps the folders below IMAGES.
Files of another kind, and those whose fourth channel is plain transparency, are left out and said.
Exit status: 0, 1 where files were left out, 2 where nothing could be done, 130 after Ctrl-C.
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
from tqdm import tqdm

from fusion import images, pairing
from fusion.terminal import forgive_encodings


def main(argv: list[str] | None = None) -> int:
    forgive_encodings()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("images", type=Path, help="folder of four-channel pictures")
    parser.add_argument("-o", "--out", type=Path, required=True, help="folder that ir/ and vi/ are written to")
    args = parser.parse_args(argv)
    try:
        left_out = split(args.images, args.out)
    except (ValueError, OSError) as error:
        print(f"split_channels: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("split_channels: interrupted; the pictures written so far are whole", file=sys.stderr)
        return 130
    return 1 if left_out else 0


def split(folder: Path, out: Path) -> int:
    """Split every picture; returns how many were left out."""
    files, left_out = pairing.by_name(folder), 0
    for name, path in tqdm(files.items(), unit="picture", disable=None):
        bgrt = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_UNCHANGED)
        if bgrt is None or bgrt.ndim != 3 or bgrt.shape[2] != 4 or len(np.unique(bgrt[..., 3])) <= 2:
            left_out += 1
            print(f"left out: {path}: expected a fourth channel with a picture in it", file=sys.stderr)
            continue
        images.write(out / "ir" / f"{name}.png", np.ascontiguousarray(bgrt[..., 3]))
        images.write(out / "vi" / f"{name}.png", np.ascontiguousarray(bgrt[..., 2::-1]))
    print(f"{out}: {len(files) - left_out} pairs in ir/ and vi/, {left_out} left out")
    return left_out


if __name__ == "__main__":
    sys.exit(main())
