"""The twelve metrics against the authors' evaluator: the sample pairs, degenerate pictures, small sizes."""

import csv

import authors
import numpy as np
import pytest

from fusion.metrics import evaluate, profile

ROWS = {row.pop("picture"): row for row in csv.DictReader((authors.FOLDER / "metrics.csv").open())}
PAIRS = {  # whole 8-bit levels
    "average": lambda ir, vis: (ir + vis + 1) // 2,
    "maximum": np.maximum,
}
EDGES = {  # (fused, ir, vis) of three noise pictures
    "random": lambda f, a, b: (f, a, b),
    "F=A=B": lambda f, a, b: (a, a, a),
    "F=A": lambda f, a, b: (a, a, b),
    "F=B": lambda f, a, b: (b, a, b),
    "F constant 128": lambda f, a, b: (np.full_like(f, 128), a, b),
    "A constant 0": lambda f, a, b: (f, np.zeros_like(a), b),
    "A constant 128 and B constant 3": lambda f, a, b: (f, np.full_like(a, 128), np.full_like(b, 3)),
    "all constant 10": lambda f, a, b: (np.full_like(f, 10),) * 3,
    "all zero": lambda f, a, b: (np.zeros_like(f),) * 3,
    "constant 10 and 20 and 30": lambda f, a, b: tuple(np.full_like(f, level) for level in (10, 20, 30)),
    "F = f + 0.3": lambda f, a, b: (f + np.float32(0.3), a, b),
    "F = 1.5 f": lambda f, a, b: (f * np.float32(1.5), a, b),
    "F = 255 - a and A = B = a": lambda f, a, b: (255 - a, a, a),
}

# Ours is float64, so that what differs is the authors' float32 (1.2e-7 per operation, over sums of 77,000 pixels);
# their EN and MI are float64.
TOLERANCE = dict.fromkeys(profile("cddfuse"), 2e-6) | {"EN": 1e-12, "MI": 1e-12}
# Their SSIM constants 4e-4 and 3.6e-3 stand next to squares up to 65025, which float32 holds to 4e-3.
TOLERANCE["SSIM"] = 5e-5


def triple(name):
    """(fused, ir, vis), float32 as the evaluator gets them."""
    kind, case = name.split("/", 1)
    if case in PAIRS:
        ir, vis = authors.levels(kind)
        return tuple(x.astype(np.float32) for x in (PAIRS[case](ir, vis), ir, vis))
    h, w = (64, 80) if kind == "edge" else map(int, case.split("x"))
    f, a, b = (np.floor(128 * (authors.noise(f"edge {x}", h * w) + 1)).reshape(h, w).astype(np.float32) for x in "fab")
    return EDGES[case](f, a, b) if kind == "edge" else (f, a, b)


def test_every_row_is_tested():
    kinds = [name.split("/")[0] for name in ROWS]
    assert (len(ROWS), kinds.count("edge"), kinds.count("size")) == (38, len(EDGES), 9)
    assert set(ROWS["edge/random"]) == {name.replace("VIF", "VIFF") for name in profile("cddfuse")}


@pytest.mark.parametrize("row", ROWS)
@pytest.mark.filterwarnings("error")
def test_value_of_the_authors(row):
    pictures, theirs = triple(row), ROWS[row]
    small = min(pictures[0].shape) < 41
    names = [name for name in profile("cddfuse") if not (small and name == "VIF")]
    if small:  # theirs raises, or gives a number without meaning
        h, w = pictures[0].shape
        with pytest.raises(ValueError, match=f"^VIF needs at least 41x41 pixels, got {h}x{w}: "):
            evaluate(*pictures, names=["VIF"])
    found = evaluate(*pictures, names=names)
    wanted = {}
    for name in names:
        rel = TOLERANCE[name]
        if name == "Qabf" and row == "edge/F = f + 0.3":
            # In their float32, differences of equal neighbours are not 0 but +-1e-5, and the angle jumps to +-pi/2.
            rel = 2e-3
        # abs: next to a value of 1 in VIF's and SSIM's sum, and of noise without correlation, float32 ends here.
        wanted[name] = pytest.approx(
            float(theirs[name.replace("VIF", "VIFF")]), rel=rel, abs=3e-9 if name != "SSIM" else 2e-7, nan_ok=True
        )
    assert found == wanted
