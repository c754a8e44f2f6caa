"""The rule-based methods against planes of independent float64 programs and against VIFB's published pictures."""

import json

import cv2
import numpy as np
import pytest

from fusion import build, images, infer, metrics
from fusion.pairing import pair_folders

EXACT = ("adf", "dwt", "fpde", "gff", "hmsd_gf", "lp", "mgff", "rp", "tif", "vsmwls")

SHARE_THAT_MAY_DIFFER = {
    "dtcwt": 1e-3,  # sums that end halfway between two levels
    "gtf": 1e-2,  # conjugate gradients that stop early: rounding decides when
}


def sources(shared, pair):
    folder = shared / "golden/zoo/classical/sources"
    return images.read(folder / f"{pair}_ir.png"), images.read(folder / f"{pair}_vi.png")


def green(vis):
    return vis[..., 1].copy() if vis.ndim == 3 else vis


def test_planes(shared):
    for method in (*EXACT, *SHARE_THAT_MAY_DIFFER):
        network = build.network(method)
        pictures = sorted((shared / "golden/zoo/classical/plane" / method.upper()).iterdir())
        assert len(pictures) in (2, 5)
        for picture in pictures:
            ir, vis = sources(shared, picture.stem)
            difference = np.abs(infer.fuse(network, ir, green(vis)).astype(int) - images.read(picture))
            assert difference.max() <= (method in SHARE_THAT_MAY_DIFFER), picture
            assert (difference > 0).mean() <= SHARE_THAT_MAY_DIFFER.get(method, 0), picture


def test_published_pictures(shared):
    """VIFB fused R, G and B one by one and saved as JPEG: equal in every sample."""
    for method in ("adf", "fpde", "hmsd_gf", "mgff", "tif", "vsmwls"):
        network = build.network(method)
        pictures = sorted((shared / "golden/zoo/classical/vifb").glob(f"*_{method.upper()}.jpg"))
        assert pictures
        for picture in pictures:
            ir, vis = sources(shared, picture.stem.removesuffix(f"_{method.upper()}"))
            planes = np.moveaxis(vis if vis.ndim == 3 else np.repeat(vis[..., None], 3, axis=2), 2, 0)
            fused = np.stack([infer.fuse(network, ir, np.ascontiguousarray(plane)) for plane in planes], axis=2)
            saved = cv2.imencode(".jpg", fused[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 75])[1]
            assert np.array_equal(cv2.imdecode(saved, cv2.IMREAD_COLOR)[..., ::-1], images.read(picture)), picture


@pytest.mark.parametrize("method", ["dtcwt", "dwt", "gtf", "lp", "rp", "vsmwls"])
@pytest.mark.parametrize("shape", [(17, 18), (64, 61), (99, 130)])
def test_a_picture_fused_with_itself_stays(method, shape):
    """So do its transforms and their inverses agree, at sides of every remainder."""
    picture = np.random.default_rng(0).integers(1, 256, shape, dtype=np.uint8)
    assert np.array_equal(infer.fuse(build.network(method), picture, picture), picture)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("method", [*EXACT, *SHARE_THAT_MAY_DIFFER])
def test_scores_on_tno(method, shared):
    """The means over 25 pairs that the independent programs give, to the digits that are known."""
    expected = json.loads((shared / "golden/zoo/classical/scores.json").read_text())["scores"][method.upper()]
    network, chosen, rows = build.network(method), metrics.select("cddfuse", list(expected)), []
    for pair in pair_folders(shared / "data/TNO/ir", shared / "data/TNO/vi").pairs:
        ir, vis = images.read(pair.ir), images.read(pair.vis)
        fused = infer.fuse(network, ir, vis, output="gray")
        planes = [images.grey_levels(picture) for picture in (fused, ir, vis)]
        rows.append([metric(*planes) for metric in chosen.values()])
    # They are written with four decimals or six digits; where single pixels differ by a level, the third one moves.
    tolerance = 2e-3 if method in SHARE_THAT_MAY_DIFFER else 5e-6
    means = dict(zip(chosen, np.mean(rows, axis=0), strict=True))
    off = {n: (means[n], value) for n, value in expected.items() if abs(means[n] - value) > 5e-5 + tolerance * value}
    assert not off
