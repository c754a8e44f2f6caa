"""What programs say of pairs before they start: each planted fault, in real pairs too; nothing of sound ones."""

import time

import cv2
import numpy as np
import pytest

from fusion import images
from fusion.data import doctor
from fusion.data.doctor import check_results, examine, quick_check, refuse
from fusion.data.partners import LOW, Sketch, judge, shown_share
from fusion.data.picture_facts import facts
from fusion.pairing import Folders, Pair, find_pairs, pair_folders

H, W = 192, 256


def scene(seed, h=H, w=W):
    """Blobs and edges of their own for each seed, (h, w) uint8."""
    random = np.random.default_rng(seed)
    x = cv2.GaussianBlur(random.standard_normal((h, w)).astype(np.float32), (0, 0), 6)
    x = cv2.normalize(x, None, 20, 220, cv2.NORM_MINMAX)
    for _ in range(12):
        y0, x0 = random.integers(0, h - 20), random.integers(0, w - 30)
        cv2.rectangle(x, (int(x0), int(y0)), (int(x0) + 25, int(y0) + 15), float(random.integers(20, 230)), -1)
    return x.astype(np.uint8)


def coloured(grey):
    """As a visible picture of the scene: other brightness, weak colours that do not follow it."""
    h, w = grey.shape
    tint = cv2.resize(np.random.default_rng(int(grey[0, 0])).uniform(-25, 25, (6, 8, 3)).astype(np.float32), (w, h))
    return np.clip(200 - 0.6 * grey[..., None].astype(np.float32) + tint, 0, 255).astype(np.uint8)


@pytest.fixture
def root(tmp_path):
    """Six sound pairs, `0` to `5`: edges at the same places."""
    for n in range(6):
        images.write(tmp_path / "ir" / f"{n}.png", scene(n))
        images.write(tmp_path / "vi" / f"{n}.png", coloured(scene(n)))
    return tmp_path


def change(root, side, function):
    for path in sorted((root / side).iterdir()):
        images.write(path, function(images.read(path)))


def checks(root, task="infrared-visible"):
    """The kinds of findings, in order."""
    return problems_in(quick_check(find_pairs(root).pairs, task))


def problems_in(lines):
    assert all("\n" not in line for line in lines)
    return [line.split(": ")[1] for line in lines if line.startswith("problem: ")]


def test_sound_pairs(root):
    assert quick_check(find_pairs(root).pairs) == []


# --- the range in use -----------------------------------------------------------------------------------------------

RAW = {
    "14 bits, counts of a FLIR core": lambda x: 7000 + 8 * x,
    "bright counts": lambda x: 51241 + 4 * x,
    "14 bits in 16": lambda x: 64 * x,
    "12 bits in 16": lambda x: 16 * x,
    "10 bits in 16": lambda x: 4 * x,
    "centikelvin": lambda x: 29000 + 6 * x,
}
FULL = {
    "all 16 bits": lambda x: 257 * x,
    "noisy, all 16 bits": lambda x: 250 * x + 77,
    "eight bits times 256": lambda x: 256 * x,
    "a dim picture of eight bits": lambda x: 257 * (x // 4 + 20),
}


@pytest.mark.parametrize("side", ["ir", "vi"])
@pytest.mark.parametrize("counts", RAW.values(), ids=RAW)
def test_raw_counts(root, side, counts):
    change(root, side, lambda x: counts(x.astype(np.uint16)))
    line, other = quick_check(find_pairs(root).pairs)
    assert problems_in([line, other]) == ["range"]
    assert "--range" in line
    assert line.endswith("(and 5 more like it)")
    assert {f.check for f in examine(Folders.of(root), shifts=False).problems} == {"range"}


@pytest.mark.parametrize("values", FULL.values(), ids=FULL)
def test_full_ranges(root, values):
    change(root, "ir", lambda x: values(x.astype(np.uint16)))
    assert checks(root) == []


def test_the_share_is_high_minus_low():
    grey = np.linspace(7000, 9040, H * W).astype(np.uint16).reshape(H, W)
    assert facts(grey).used == pytest.approx(2040 / 65535, rel=0.01)  # a thousandth at either end is left out
    assert facts((grey // 64).astype(np.uint8)).used == pytest.approx(32 / 255, rel=0.05)


# --- colours --------------------------------------------------------------------------------------------------------


def ironbow(grey):
    stops = np.array([[0, 0, 10], [80, 0, 140], [190, 30, 120], [240, 110, 20], [255, 200, 40], [255, 255, 240]], float)
    table = np.stack([np.interp(np.arange(256), np.linspace(0, 255, 6), c) for c in stops.T], 1)
    return np.rint(table).astype(np.uint8)[grey]


PALETTES = {"ironbow": ironbow} | {
    name: lambda x, n=number: np.ascontiguousarray(cv2.applyColorMap(x, n)[..., ::-1])
    for name, number in (("jet", 2), ("rainbow", 4), ("hot", 11), ("magma", 13), ("inferno", 14), ("turbo", 20))
}


@pytest.mark.parametrize("vis", [coloured, lambda x: 255 - x], ids=["coloured", "gray"])
@pytest.mark.parametrize("palette", PALETTES.values(), ids=PALETTES)
def test_false_colours_are_no_swapped_folders(root, palette, vis):
    for n in range(6):
        images.write(root / "ir" / f"{n}.png", palette(scene(n)))
        images.write(root / "vi" / f"{n}.png", vis(scene(n)))
    lines = quick_check(find_pairs(root).pairs)
    assert problems_in(lines) == ["colour"]
    assert "ir is in false colours" in lines[0]


def test_swapped_folders(root):
    (root / "ir").rename(root / "x")
    (root / "vi").rename(root / "ir")
    (root / "x").rename(root / "vi")
    assert checks(root) == ["swapped"]


def test_pet_without_its_task(root):
    disc = np.hypot(*np.mgrid[-1 : 1 : H * 1j, -1 : 1 : W * 1j]) < 0.7
    for n in range(6):
        warm = np.stack([scene(n), scene(n) // 2, 255 - scene(n + 9)], 2)
        images.write(root / "ir" / f"{n}.png", warm * disc[..., None].astype(np.uint8))
        images.write(root / "vi" / f"{n}.png", scene(n + 20) * disc.astype(np.uint8))
    assert checks(root) == ["medical"]
    assert "--task medical" in quick_check(find_pairs(root).pairs)[0]
    assert checks(root, "medical") == []


# --- the same, blank, bordered --------------------------------------------------------------------------------------


def test_the_same_pictures_under_other_names(root, tmp_path):
    for n in range(6):
        images.write(tmp_path / "again" / f"{n}_vis.png", scene(n))
    lines = quick_check(pair_folders(root / "ir", tmp_path / "again").pairs)
    assert lines[0] == "problem: copy: 0: ir and vis are the same picture (and 5 more like it)"


def test_white_borders(root):
    for side in ("ir", "vi"):
        change(root, side, lambda x: cv2.copyMakeBorder(x, 40, 40, 50, 50, cv2.BORDER_CONSTANT, value=[255] * 3))
    assert checks(root) == ["border", "border"]
    assert "ir has a white border of 50 pixels: cut it off" in quick_check(find_pairs(root).pairs)[0]


def test_a_white_sky_is_no_border(root):
    change(root, "vi", lambda x: np.concatenate([np.full_like(x[:40], 255), x[40:]]))
    assert checks(root) == []


def test_another_shape(root):
    change(root, "vi", lambda x: cv2.resize(x, (W * 4 // 3, H)))
    assert checks(root) == ["size"]
    assert "another shape: resizing would squeeze it" in quick_check(find_pairs(root).pairs)[0]
    assert quick_check(find_pairs(root).pairs, without=["size"]) == []


# --- partners and views ---------------------------------------------------------------------------------------------


def shuffle(root, order):
    pictures = [images.read(root / "vi" / f"{n}.png") for n in range(6)]
    for n, other in enumerate(order):
        images.write(root / "vi" / f"{n}.png", pictures[other])


@pytest.mark.parametrize(
    "order",
    [
        [3, 0, 4, 5, 1, 2],
        pytest.param([1, 2, 3, 4, 5, 0], marks=pytest.mark.slow),
        pytest.param([5, 4, 3, 2, 1, 0], marks=pytest.mark.slow),
    ],
)
def test_shuffled_names(root, order):
    shuffle(root, order)
    assert checks(root) == ["partners"]
    named = {f.pair: f.text for f in examine(Folders.of(root)).problems if f.check == "partners" and f.pair}
    truth = {str(n): str(order.index(n)) for n in range(6)}
    assert named
    assert all(f"visible picture {truth[n]}: wrong partners" in text for n, text in named.items())


def test_two_names_changed_places(root):
    shuffle(root, [0, 4, 2, 3, 1, 5])
    found = {(f.check, f.pair) for f in examine(Folders.of(root)).problems}
    assert found == {("partners", "1"), ("partners", "4")}


SHARES, PLACES = (0.55, 0.7, 0.8), ((0.5, 0.5), (0.1, 0.9), (1, 0.4))
# Each share of each side once, each place twice; all of all with the slow ones: a search each.
VIEWS = [
    pytest.param(side, share, *place, marks=[] if (i + j + k) % 3 == 0 else pytest.mark.slow)
    for i, side in enumerate(("ir", "vi"))
    for j, share in enumerate(SHARES)
    for k, place in enumerate(PLACES)
]


@pytest.mark.parametrize(("narrow", "share", "right", "down"), VIEWS)
def test_another_field_of_view(root, narrow, share, right, down):
    """In the middle, or anywhere in the wider one."""
    y, x = round(H * (1 - share) * down), round(W * (1 - share) * right)
    h, w = round(H * share), round(W * share)
    change(root, narrow, lambda p: cv2.resize(p[y : y + h, x : x + w], (W, H), interpolation=cv2.INTER_CUBIC))
    lines = quick_check(find_pairs(root).pairs)
    assert problems_in(lines) == ["view"]
    line = lines[0]
    assert f"{'ir' if narrow == 'ir' else 'vis'} shows about " in line
    assert abs(int(line.split("shows about ")[1].split("%")[0]) / 100 - share) <= 0.05
    assert "--align" in line
    first = find_pairs(root).pairs[:1]
    assert [line.split(": ")[1] for line in quick_check(first) if "hint" not in line] in ([], ["view"])


def test_shuffled_names_of_another_field_of_view_are_wrong_partners(root):
    shuffle(root, [1, 2, 3, 4, 5, 0])
    change(root, "ir", lambda p: cv2.resize(p[20 : 20 + 7 * H // 10, 9 : 9 + 7 * W // 10], (W, H)))
    assert checks(root) == ["partners"]


def test_small_pictures_are_not_judged(root):
    for side in ("ir", "vi"):
        change(root, side, lambda x: x[:100])
    shuffle(root, [1, 2, 3, 4, 5, 0])
    assert checks(root) == []


# --- results --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda x: x * 0, "is black"),
        (lambda x: (x > 127).astype(np.uint8), "holds 0 and 1 alone"),
        (lambda x: (x > 127).astype(np.uint16), "holds 0 and 1 alone"),
        (lambda x: x * 0 + 90, "is constant"),
        (lambda x: x.astype(np.uint16), "uses 0.3% of its 16 bits"),
    ],
)
def test_results_that_no_method_made(tmp_path, make, words):
    for n in range(3):
        images.write(tmp_path / f"{n}.png", make(scene(n)))
    (line,) = check_results({str(n): tmp_path / f"{n}.png" for n in range(3)})
    assert line.startswith("problem: result: 0: the result ")
    assert words in line
    assert line.endswith("(and 2 more like it)")


def test_sound_results(tmp_path):
    images.write(tmp_path / "0.png", coloured(scene(0)))
    (tmp_path / "1.png").write_bytes(b"broken")  # whoever reads it next says so
    assert check_results({str(n): tmp_path / f"{n}.png" for n in range(2)}) == []


def test_strict_refuses_problems_alone():
    refuse(["problem: x"], strict=False)
    refuse(["3 pairs by the names ...", "hint: ..."], strict=True)
    with pytest.raises(ValueError, match=r"^--strict: range: a: b \(and 1 more\); nothing was done$"):
        refuse(["problem: range: a: b", "hint: x", "problem: size: c"], strict=True)
    with pytest.raises(ValueError, match=r"^--strict: validation: TNO: view: c; nothing"):
        refuse(["validation: TNO: problem: view: c"], strict=True)


def test_raw_counts_are_left_to_the_reader_who_says_what_it_made_of_them():
    raw, size = "problem: range: 1: ir uses 3% of its 16 bits", "problem: size: 1: ir is 2x2 but vis is 3x3"
    assert refuse([raw, "hint: x"], strict=False) == []
    assert refuse([raw, f"validation: TNO: {raw}", size, "hint: x"], strict=False) == [size, "hint: x"]


# --- real pairs -----------------------------------------------------------------------------------------------------

SETS = {
    "TNO": ("ir", "vi", "infrared-visible"),
    "RoadScene": ("ir", "vi", "infrared-visible"),
    "MSRS/test": ("ir", "vi", "infrared-visible"),
    "MSRS/train": ("ir", "vi", "infrared-visible"),
    "MRI_CT": ("CT", "MRI", "medical"),
    "MRI_PET": ("PET", "MRI", "medical"),
    "MRI_SPECT": ("SPECT", "MRI", "medical"),
    "medical_train/MRI_CT": ("CT", "MRI", "medical"),
    "medical_train/MRI_PET": ("PET", "MRI", "medical"),
    "medical_train/MRI_SPECT": ("SPECT", "MRI", "medical"),
}


@pytest.mark.shared
def test_untouched_sets_in_windows_of_every_size(shared):
    for name, (ir, vis, task) in SETS.items():
        pairs = find_pairs(shared / "data" / name, ir, vis).pairs
        assert quick_check(pairs, task) == [], name
        for number, window in enumerate((1, 2, 3, 5)):
            start = len(pairs) * number // 4
            assert quick_check(pairs[start : start + window], task) == [], name


def test_our_samples(root):
    folder = images.Path(__file__).resolve().parents[2] / "test_img" / "sample"
    assert quick_check(find_pairs(folder).pairs) == []
    assert examine(Folders.of(folder), workers=2).problems == []


@pytest.mark.shared
def test_shuffled_and_narrowed_real_pairs(shared):
    for name, kinds in (("TNO", {"partners", "size"}), ("RoadScene", {"size"}), ("MSRS/test", {"partners"})):
        assert_shuffled_and_narrowed_are_found(shared, name, kinds)


def assert_shuffled_and_narrowed_are_found(shared, name, kinds):
    pairs = find_pairs(shared / "data" / name).pairs[::3][:16]
    wrong = [Pair(a.name, a.ir, b.vis) for a, b in zip(pairs, pairs[1:] + pairs[:1], strict=True)]
    assert {line.split(": ")[1] for line in quick_check(wrong) if "hint" not in line} == kinds, name
    found, tried = 0, 0
    for pair in pairs[:8]:
        ir, vis = images.read(pair.ir), images.read(pair.vis)
        if Sketch.of(ir, vis).margin < 2.5:
            continue  # nobody could tell in this one
        h, w = ir.shape[:2]
        narrowed = Sketch.of(ir[round(0.15 * h) : round(0.85 * h), round(0.15 * w) : round(0.85 * w)], vis)
        tried += 1
        share = shown_share(narrowed) if narrowed.margin < LOW else None
        found += share is not None and abs(share - 0.7) <= 0.05
    print(f"{name}: the view of {found} of {tried} single pairs is found")
    assert found >= tried / 2, name


@pytest.mark.shared
def test_a_hundred_pairs_take_about_a_second(shared):
    """A bound far above what it takes (0.6 s on two cores): only a check that reads everything would fail."""
    pairs = find_pairs(shared / "data" / "MSRS" / "train").pairs[:100]
    read = []
    real = images.read
    doctor.images.read, start = lambda path: read.append(path) or real(path), time.perf_counter()
    try:
        quick_check(pairs)
    finally:
        doctor.images.read = real
    print(f"{time.perf_counter() - start:.2f} s")
    assert len(read) == 2 * doctor.MOST_LOOKED_AT


def test_judging_nothing():
    assert judge({}) == ([], False, {}, {})
