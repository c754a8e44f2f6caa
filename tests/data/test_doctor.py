"""The pair doctor: every planted fault is found, where and as what it was planted, and nothing else is."""

import shutil

import cv2
import numpy as np
import pytest

from fusion import images
from fusion.data import doctor
from fusion.data.doctor import Folders, examine, quick_check
from fusion.data.findings import Finding
from fusion.data.folder import find_pairs
from fusion.data.picture_facts import COPY, candidates, facts, file_size, similarity
from fusion.data.placement import misregistrations

H, W = 96, 128


def picture(seed, colour=False):
    """Blobs of their own for each seed: (H, W) or (H, W, 3) uint8."""
    random = np.random.default_rng(seed)
    x = cv2.GaussianBlur(random.standard_normal((H, W, 3)).astype(np.float32), (0, 0), 5)
    x = cv2.normalize(x, None, 10, 240, cv2.NORM_MINMAX).astype(np.uint8)
    return x if colour else np.ascontiguousarray(x[..., 0])


@pytest.fixture
def root(tmp_path):
    """Six sound pairs, `0` to `5`: gray infrared, coloured visible."""
    for n in range(6):
        images.write(tmp_path / "ir" / f"{n}.png", picture(n))
        images.write(tmp_path / "vi" / f"{n}.png", picture(50 + n, colour=True))
    return tmp_path


def problems(root, **options):
    """{(check, pair)} of the problems."""
    found = examine(Folders.of(root), **{"shifts": False, **options})
    return {(f.check, f.pair) for f in found.problems}


def notes(root, **options):
    found = examine(Folders.of(root), **{"shifts": False, **options})
    return [f for f in found.findings if f.level == "note"]


# --- one fault each -------------------------------------------------------------------------------------------------


def test_sound_pairs_have_no_findings(root):
    assert examine(Folders.of(root), shifts=False).findings == []


def test_a_file_without_partner(root):
    (root / "ir" / "2.png").unlink()
    (root / "vi" / "4.png").unlink()
    assert problems(root) == {("names", "2"), ("names", "4")}


def test_names_that_never_agree(root):
    for path in (root / "vi").iterdir():
        path.rename(path.with_stem(f"vis_{path.stem}_x" if path.stem != "3" else "other"))
    found = examine(Folders.of(root), shifts=False)
    assert found.patients == []
    assert "have no name in common" in found.findings[0].text
    assert "--match '*=vis_*_x' would pair 5 of 6" in found.findings[0].text


def test_a_name_that_stands_twice(root):
    shutil.copy(root / "vi" / "3.png", root / "vi" / "3.jpg")
    assert problems(root) == {("names", "3")}


def test_other_files_are_a_note(root):
    (root / "ir" / "Thumbs.db").write_text("x")
    (root / "ir" / ".hidden").write_text("x")
    assert [(n.check, n.pair) for n in notes(root)] == [("names", "")]
    assert "Thumbs.db" in notes(root)[0].text


@pytest.mark.parametrize("content", [b"", b"no picture", None])
def test_a_file_that_cannot_be_read(root, content):
    path = root / "ir" / "1.png"
    path.write_bytes(path.read_bytes()[:2000] if content is None else content)
    assert problems(root) == {("unreadable", "1")}


def test_two_sizes(root):
    images.write(root / "vi" / "3.png", picture(9, colour=True)[:, :100])
    assert problems(root) == {("size", "3")}
    (finding,) = examine(Folders.of(root), shifts=False).problems
    assert finding.text.startswith("ir is 96x128 but vis is 96x100")


@pytest.mark.parametrize(
    ("check", "change"),
    [
        ("black", lambda x: x // 80),
        ("constant", lambda x: np.full_like(x, 77) + x // 100),
        ("saturated", lambda x: cv2.convertScaleAbs(x, alpha=3)),
        ("saturated", lambda x: np.full_like(x, 255)),
    ],
)
@pytest.mark.parametrize("side", ["ir", "vi"])
def test_a_picture_that_shows_nothing(root, side, check, change):
    path = root / side / "5.png"
    images.write(path, change(images.read(path)))
    assert (check, "5") in problems(root)
    assert {pair for _, pair in problems(root)} == {"5"}


def test_sixteen_bits_that_hold_twelve(root):
    images.write(root / "ir" / "2.png", picture(2).astype(np.uint16) * 16)
    assert problems(root) == {("range", "2")}
    images.write(root / "ir" / "2.png", picture(2).astype(np.uint16) * 256)
    assert problems(root) == set()


def swap(root, *names):
    for name in names:
        ir, vis = root / "ir" / f"{name}.png", root / "vi" / f"{name}.png"
        ir.rename(root / "x")
        vis.rename(ir)
        (root / "x").rename(vis)


def test_swapped_folders(root):
    swap(root, *range(6))
    assert problems(root) == {("swapped", "")}
    assert problems(root, task="medical") == set()  # PET and SPECT are coloured


def test_a_swapped_pair(root):
    swap(root, 3)
    assert problems(root) == {("swapped", "3")}


def test_a_second_visible_picture_in_place_of_infrared(root):
    images.write(root / "ir" / "3.png", picture(99, colour=True))
    assert problems(root) == {("colour", "3")}


def test_medical_folders_the_wrong_way_round(root):
    assert problems(root, task="medical") == {("swapped", "")}


def test_gray_visible_pictures_are_a_note(root):
    for n in range(6):
        images.write(root / "vi" / f"{n}.png", np.dstack([picture(50 + n)] * 3))
    assert problems(root) == set()
    assert [(n.check, n.text[:22]) for n in notes(root)] == [
        ("colour", "vis is gray everywhere"),
        ("set", "vis: 6 of 6 pictures a"),
    ]


def test_gray_jpeg_is_not_coloured(root):
    for n in range(6):
        rgb = np.dstack([picture(n)] * 3)
        images.write(root / "ir" / f"{n}.jpg", rgb)
        (root / "ir" / f"{n}.png").unlink()
    assert problems(root) == set()


def copy_of(path, target, how):
    image = images.read(path)
    if how == "jpeg":
        image = cv2.imdecode(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 50])[1], cv2.IMREAD_UNCHANGED)
    elif how == "half":
        image = cv2.resize(image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    elif how == "brighter":
        image = cv2.convertScaleAbs(image, alpha=1.05, beta=3)
    images.write(target, image)


@pytest.mark.parametrize("how", ["bytes", "jpeg", "half", "brighter"])
def test_a_pair_that_comes_twice(root, how):
    for side in ("ir", "vi"):
        copy_of(root / side / "1.png", root / side / "9.png", how)
    assert problems(root) == {("duplicate", "1")}


def test_half_a_pair_that_comes_twice(root):
    shutil.copy(root / "ir" / "1.png", root / "ir" / "4.png")
    assert problems(root) == {("duplicate", "1")}
    for n in range(6):
        images.write(root / "vi" / f"{n}.png", picture(50 + n))
    assert problems(root, task="medical") == set()  # a note: MRI_PET is made so
    assert ("duplicate", "") in {(n.check, n.pair) for n in notes(root, task="medical")}


def test_one_picture_as_both(root):
    images.write(root / "ir" / "3.png", (images.luminance(images.read(root / "vi" / "3.png")) * 255).astype(np.uint8))
    assert problems(root) == {("copy", "3")}


def test_black_pictures_are_not_called_duplicates(root):
    for n in (1, 2, 3):
        images.write(root / "ir" / f"{n}.png", np.zeros((H, W), np.uint8))
    assert problems(root) == {("black", "1"), ("black", "2"), ("black", "3")}


def test_a_leak_between_two_sets(root, tmp_path):
    other = tmp_path / "train{x}"
    for side, seed in (("ir", 0), ("vis", 50)):
        images.write(other / side / "a.png", picture(seed + 20, colour=side == "vis"))
        copy_of(root / side[:2] / "3.png", other / side / "b.png", "jpeg")
    assert problems(root, against=Folders.of(other)) == {("leak", "3")}
    (leak,) = examine(Folders.of(root), against=Folders.of(other), shifts=False).problems
    assert leak.text == f"shows the same as b in {other}"


def test_workers_change_nothing(root):
    swap(root, 3)
    one, three = (examine(Folders.of(root), workers=n) for n in (1, 3))
    assert one.findings == three.findings


def test_progress_is_told_of_every_pair(root):
    calls = []
    (root / "ir" / "0.png").unlink()
    examine(Folders.of(root), shifts=False, progress=lambda: calls.append(1))
    assert len(calls) == doctor.count(Folders.of(root)) == 6


def test_a_folder_that_is_not_there(root):
    with pytest.raises(ValueError, match=r"nowhere is not a folder.*--ir"):
        Folders.of(root, "nowhere")
    (root / "empty").mkdir()
    with pytest.raises(ValueError, match="holds no pictures"):
        examine(Folders.of(root, "empty"))


def test_vis_stands_in_for_vi(root):
    (root / "vi").rename(root / "vis")
    assert Folders.of(root).vis == root / "vis"


# --- the look of a picture ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp", ".webp", ".tif"])
@pytest.mark.parametrize("shape", [(37, 53), (64, 20, 3)])
def test_file_size_without_decoding(tmp_path, suffix, shape):
    images.write(tmp_path / f"a{suffix}", np.full(shape, 90, np.uint8))
    assert file_size(tmp_path / f"a{suffix}") == shape[:2]


def test_file_size_of_a_jpeg_with_a_long_preface(tmp_path):
    images.write(tmp_path / "a.jpg", np.full((37, 53), 90, np.uint8))
    data = (tmp_path / "a.jpg").read_bytes()
    thumbnail = b"\xff\xc0\x00\x11\x08\x00\x01\x00\x01"  # a frame header that is a comment's text
    preface = b"\xff\xff\xfe" + (len(thumbnail) + 2).to_bytes(2, "big") + thumbnail
    (tmp_path / "b.jpg").write_bytes(data[:2] + preface + data[2:])
    assert file_size(tmp_path / "b.jpg") == (37, 53)


@pytest.mark.parametrize("content", [b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0\x00\x10", b"BM", b"text"])
def test_file_size_of_nonsense(tmp_path, content):
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.png"):
        file_size(tmp_path / "a.png")


def test_candidates_find_what_comparing_all_finds():
    known = [facts(picture(n)) for n in range(40)]
    assert set(candidates(known, known)) >= {(i, i) for i in range(40)}
    for i in range(40):
        for j in range(i):
            if similarity(known[i], known[j]) >= COPY:
                assert (i, j) in candidates(known, known)


# --- quick_check ----------------------------------------------------------------------------------------------------


def test_quick_check_of_sound_pairs_is_silent(root):
    assert quick_check(find_pairs(root).pairs) == []
    assert quick_check([]) == []


def test_quick_check_finds_every_size_and_samples_the_rest(root):
    images.write(root / "vi" / "1.png", picture(9, colour=True)[:, :100])
    images.write(root / "ir" / "0.png", np.zeros((H, W), np.uint8))
    lines = quick_check(find_pairs(root).pairs)
    assert [line.split(":")[:3] for line in lines[:2]] == [["problem", " size", " 1"], ["problem", " black", " 0"]]
    assert lines[2] == (
        f"hint: python scripts/check_pairs.py {root} --ir ir --vis vi --task infrared-visible looks at every pair"
    )


def test_quick_check_knows_swapped_folders(root):
    swap(root, *range(6))
    assert quick_check(find_pairs(root).pairs)[0].startswith("problem: swapped: ir is coloured in 6 of 6 pairs")
    assert quick_check(find_pairs(root).pairs, task="medical") == []


def test_quick_check_outlives_bad_files_and_stays_short(root):
    for path in (root / "ir").iterdir():
        path.write_bytes(b"nonsense")
    lines = quick_check(find_pairs(root).pairs)
    assert len(lines) == 2  # one for all of a kind, and the hint
    assert lines[0].endswith("(and 5 more like it)")
    assert all("\n" not in line for line in lines)


# --- real pairs -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def forty(shared, tmp_path_factory):
    """A folder of 40 real MSRS pairs with one of each fault, and another set that shares one pair with it."""
    root, other = tmp_path_factory.mktemp("forty"), tmp_path_factory.mktemp("other")
    pairs = find_pairs(shared / "data" / "MSRS" / "test").pairs[:40]
    for pair in pairs:
        for side, path in (("ir", pair.ir), ("vi", pair.vis)):
            (root / side).mkdir(exist_ok=True)
            shutil.copy(path, root / side / path.name)
    names = [pair.name for pair in pairs]

    def ir(n):
        return root / "ir" / f"{names[n]}.png"

    def vi(n):
        return root / "vi" / f"{names[n]}.png"

    ir(1).unlink()
    images.write(vi(3), cv2.resize(images.read(vi(3)), (320, 240)))
    ir(5).write_bytes(ir(5).read_bytes()[:50_000])
    swap(root, names[7])
    images.write(vi(9), np.zeros_like(images.read(vi(9))))
    images.write(ir(11), np.full_like(images.read(ir(11)), 120))
    images.write(vi(13), cv2.convertScaleAbs(images.read(vi(13)), alpha=4))
    copy_of(ir(15), root / "ir" / "again.png", "jpeg")
    copy_of(vi(15), root / "vi" / "again.png", "jpeg")
    images.write(ir(17), np.roll(images.read(ir(17)), (9, -12), (0, 1)))
    for side, path in (("ir", ir(19)), ("vi", vi(19))):
        copy_of(path, other / side / "elsewhere.png", "half")
        copy_of(shared / "data" / "MSRS" / "train" / side / "00001D.png", other / side / "00001D.png", "bytes")
    planted = {
        "names": 1, "size": 3, "unreadable": 5, "swapped": 7, "black": 9, "constant": 11, "saturated": 13,
        "shift": 17, "leak": 19,
    }  # fmt: skip
    return root, other, {(check, names[n]) for check, n in planted.items()} | {("duplicate", names[15])}


@pytest.mark.shared
def test_one_of_each_among_forty_real_pairs(forty):
    root, other, planted = forty
    found = examine(Folders.of(root), against=Folders.of(other))
    assert {(f.check, f.pair) for f in found.problems} == planted
    assert len(found.problems) == len(planted)
    (shift,) = [f for f in found.problems if f.check == "shift"]
    assert "15." in shift.text or "14." in shift.text  # 15 planted; the pair's own offset is below one


@pytest.mark.shared
def test_untouched_sets_raise_no_alarm(shared):
    for name, odd in (("TNO", {"colour", "set"}), ("RoadScene", {"set"}), ("MSRS/test", set())):
        found = examine(Folders.of(shared / "data" / name), shifts=name != "MSRS/test")  # MSRS: the next test
        assert found.problems == [], name
        assert odd <= {f.check for f in found.findings}, name


@pytest.mark.slow
@pytest.mark.shared
def test_untouched_sets_raise_no_alarm_to_the_last_check(shared):
    data = shared / "data"
    train = Folders.of(data / "MSRS" / "train")
    for name in ("TNO", "RoadScene", "MSRS/test", "MSRS/train"):
        against = train if name == "MSRS/test" else None
        assert examine(Folders.of(data / name), against=against).problems == []
        assert quick_check(find_pairs(data / name).pairs) == []
    for name in ("CT", "PET", "SPECT"):
        folders = Folders.of(data / f"MRI_{name}", name, "MRI")
        assert examine(folders, task="medical").problems == []


@pytest.mark.slow
@pytest.mark.shared
def test_planted_shifts_become_problems(shared):
    """Most become problems; the rest are unsure (or, of 8 pixels, partly undone by the pair's own offset)."""
    pairs = find_pairs(shared / "data" / "MSRS" / "test").pairs
    for pixels, least in ((8, 0.7), (15, 0.8)):
        flagged = 0
        for pair in pairs:
            ir, vis = images.read(pair.ir)[pixels:], images.read(pair.vis)[:-pixels]
            patient = doctor.Patient(pair.name, {})
            patient.facts = {"ir": facts(ir), "vis": facts(vis)}
            patient.shift = doctor.estimate_shift(ir, vis)
            flagged += any(f.level == "problem" for f in misregistrations([patient]))
        print(f"{pixels} pixels: {flagged} of {len(pairs)} pairs become problems")
        assert flagged / len(pairs) >= least


def test_a_finding_reads_as_a_line():
    assert str(Finding("note", "set", "", "two sizes")) == "note: set: two sizes"
    assert str(Finding("problem", "size", "01", "too large")) == "problem: size: 01: too large"
