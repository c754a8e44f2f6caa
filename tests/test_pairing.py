"""Pairs as data sets name them: nested folders, prefixes and suffixes, Unicode forms, natural order, patterns."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest

from fusion.names import Rule, certain_rule, natural
from fusion.pairing import Folders, Pair, Pairing, find_pairs, find_results, pair_folders


@pytest.fixture
def tree(tmp_path):
    """Makes empty files, for pairing looks at names alone; returns their folder."""

    def make(*names: str) -> Path:
        for name in names:
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"")
        return tmp_path

    return make


@pytest.fixture
def folders(tree, tmp_path):
    def make(ir: str, vis: str) -> tuple[Path, Path]:
        for side, names in (("ir", ir), ("vi", vis)):
            (tmp_path / side).mkdir()
            tree(*(f"{side}/{name}" for name in names.split()))
        return tmp_path / "ir", tmp_path / "vi"

    return make


def one_line(caught) -> str:
    assert "\n" not in str(caught.value)
    return str(caught.value)


def named(pairing: Pairing) -> dict[str, tuple[str, str]]:
    return {p.name: (p.ir.name, p.vis.name) for p in pairing.pairs}


# --- equal names ----------------------------------------------------------------------------------------------------


def test_pairs_by_stem_whatever_the_extension(folders):
    ir, vis = folders("b.png a.TIF c.d.bmp 10.jpg", "a.jpeg b.png c.d.webp 10.JPG")
    pairing = pair_folders(str(ir), vis)
    assert [p.name for p in pairing.pairs] == ["10", "a", "b", "c.d"]
    assert pairing.pairs[1] == Pair("a", ir / "a.TIF", vis / "a.jpeg")
    assert pairing.report() == []


def test_a_link_that_leads_nowhere_is_no_less_a_picture(folders):
    ir, vis = folders("a.png", "a.png b.png")
    (ir / "b.png").symlink_to(ir / "gone" / "b.png")
    assert [p.name for p in pair_folders(ir, vis).pairs] == ["a", "b"]  # whoever reads it says what is wrong


@pytest.mark.parametrize(
    ("name", "content", "what"),
    [
        ("a.heic", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "; a.heic is HEIC: save it as PNG"),
        ("a.gif", b"GIF89a", "; a.gif is a GIF, whose frames are read as a video"),
        ("a.mp4", b"\0\0\0\x18ftypisom", "; a.mp4 is a video"),
        ("a.csv", b"1,2", ", found a.csv"),
    ],
)
def test_a_folder_of_something_else_says_what(folders, name, content, what):
    ir, vis = folders("a.png", "")
    (vis / name).write_bytes(content)
    with pytest.raises(ValueError, match=r"holds no pictures: expected png, .* files") as caught:
        pair_folders(ir, vis)
    assert str(caught.value).endswith(f" files{what}")


def test_what_has_no_partner_is_reported(folders):
    ir, vis = folders("a.png b.png d.png", "a.png c.png")
    pairing = pair_folders(ir, vis)
    assert [p.name for p in pairing.pairs] == ["a"]
    assert pairing.report() == [
        f"{ir / 'b.png'} has no visible partner",
        f"{ir / 'd.png'} has no visible partner",
        f"{vis / 'c.png'} has no infrared partner",
    ]


def test_hidden_files_other_files_and_folders_are_overlooked(folders):
    ir, vis = folders("a.png ._a.png .a.123.part.png Thumbs.db a.txt a.json", "a.png")
    (ir / "b.png").mkdir()
    assert pair_folders(ir, vis) == Pairing([Pair("a", ir / "a.png", vis / "a.png")])


@pytest.mark.parametrize(
    ("ir", "vis", "expected"),
    [
        ("a.png a.jpg", "a.png", "{ir} holds a.jpg and a.png: one picture per name, please"),
        ("a.png", "a.png a.PNG", "{vis} holds a.PNG and a.png: one picture per name, please"),
        ("", "a.png", "{ir} holds no pictures: expected png, tif, tiff, bmp, webp, jpg, jpeg files"),
        ("a.png", "a.txt", "{vis} holds no pictures: expected png, tif, tiff, bmp, webp, jpg, jpeg files, found a.txt"),
        (
            "a.png b.png",
            "c.png d.png",
            "{ir} and {vis} have no name in common (for example a.png and c.png): partners carry the same stem; "
            "--match 'IR*=VIS*' says how names differ",
        ),
        (
            "IR1.png IR2.png",
            "VIS1.png",
            "{ir} and {vis} have no name in common (for example IR1.png and VIS1.png): partners carry the same stem; "
            "--match 'IR*=VIS*' would pair 1 of 2",
        ),
    ],
)
def test_folders_that_cannot_be_paired(folders, ir, vis, expected):
    ir, vis = folders(ir, vis)
    with pytest.raises(ValueError) as caught:  # noqa: PT011 -- below
        pair_folders(ir, vis)
    assert one_line(caught) == expected.format(ir=ir, vis=vis)


def test_a_missing_folder(folders, tmp_path):
    ir, _ = folders("a.png", "a.png")
    for wrong in (tmp_path / "nowhere", ir / "a.png"):
        with pytest.raises(ValueError, match=r"is not a folder \(looked in") as caught:
            pair_folders(ir, wrong)
        assert one_line(caught) == f"{wrong} is not a folder (looked in {wrong.parent})"


def test_frames_are_in_natural_order(folders):
    names = [f"frame{i}" for i in range(1, 13)]
    ir, vis = folders(" ".join(f"{n}.png" for n in names), " ".join(f"{n}.jpg" for n in names))
    assert [p.name for p in pair_folders(ir, vis).pairs] == names


def test_natural_order():
    names = ["a1b2", "a1b10", "a2b1", "a10", "b", "b1"]
    assert sorted(["b1", "a10", "b", "a2b1", "a1b10", "a1b2"], key=natural) == names


@pytest.mark.parametrize("name", ["Straße_é0", "カメラ_ガ1", "Ångström3"])
@pytest.mark.parametrize("forms", [("NFD", "NFC"), ("NFC", "NFD"), ("NFD", "NFD")])
def test_unicode_forms_are_one_name(folders, name, forms):
    ir, vis = (unicodedata.normalize(form, name) for form in forms)
    pairing = pair_folders(*folders(f"{ir}.png", f"{vis}.png"))
    assert [p.name for p in pairing.pairs] == [unicodedata.normalize("NFC", name)]
    assert pairing.pairs[0].ir.is_file()
    assert pairing.examples() == []


def test_two_forms_in_one_folder_are_one_name_twice(folders):
    ir, vis = folders(" ".join(unicodedata.normalize(form, "é.png") for form in ("NFC", "NFD")), "é.png")
    with pytest.raises(ValueError, match="one picture per name"):
        pair_folders(ir, vis)


# --- one rule for all -----------------------------------------------------------------------------------------------

NUMBERS = ("001", "002", "010", "011")
RULES = {
    "prefixes": ("IR{}", "VIS{}", "{}"),
    "suffixes": ("{}_ir", "{}_rgb", "{}"),
    "FLIR ADAS": ("FLIR_{}", "FLIR_{}_RGB", "FLIR_{}"),
    "DJI": ("DJI_20230101_{}_T", "DJI_20230101_{}_W", "DJI_20230101_{}"),
    "VEDAI": ("{}_ir", "{}_co", "{}"),
    "letters": ("{}R", "{}V", "{}"),
    "both ends": ("ir_{}_left", "rgb_{}_right", "{}"),
    "within": ("day_ir_{}", "day_vis_{}", "day_{}"),
    "cameras": ("cam0_{}", "cam1_{}", "{}"),
    "any words": ("foo-{}", "bar-{}", "{}"),
    "one side only": ("{}", "{}-visible", "{}"),
    "folders too": ("train/IR{}", "train/VIS{}", "train/{}"),
    "KAIST": ("set00/V{}/lwir/I0", "set00/V{}/visible/I0", "set00/V{}/I0"),
}


@pytest.mark.parametrize(("ir", "vis", "name"), RULES.values(), ids=RULES)
def test_a_rule_that_pairs_all_is_recognised_and_shown(tree, ir, vis, name):
    root = tree(*(f"a/{ir.format(n)}.png" for n in NUMBERS), *(f"b/{vis.format(n)}.jpg" for n in NUMBERS))
    pairing = pair_folders(root / "a", root / "b")
    assert [(p.name, p.ir, p.vis) for p in pairing.pairs] == [
        (name.format(n), root / "a" / f"{ir.format(n)}.png", root / "b" / f"{vis.format(n)}.jpg") for n in NUMBERS
    ]
    assert pairing.report() == []
    (line,) = pairing.examples()
    assert line.startswith(f"4 pairs by the names '{pairing.rule}': ")
    assert line.count(" with ") == 3
    assert named(pair_folders(root / "a", root / "b", pairing.rule)) == named(pairing)  # the same, written by hand


@pytest.mark.parametrize("ends", [("_ir", "_vis"), ("_T", "_W"), ("_thermal", "_RGB"), ("", "_rgb")])
def test_a_single_pair_is_recognised_by_words_that_are_known(folders, ends):
    ir, vis = folders(*(f"scene{end}.png" for end in ends))
    assert [p.name for p in pair_folders(ir, vis).pairs] == ["scene"]


UNSURE = {
    "other numbers": (["IR001", "IR002"], ["VIS011", "VIS012"]),
    "leading zeros": (["0", "1", "2"], ["0000", "0001", "0002"]),
    "case alone": (["IMG_0", "IMG_1", "IMG_2"], ["img_0", "img_1", "img_2"]),
    "a longer number": (["1", "2", "3"], ["11", "12", "13"]),
    "one is missing": (["IR1", "IR2", "IR3", "IR4"], ["VIS1", "VIS2", "VIS3"]),
    "a single pair of any words": (["cat"], ["car"]),
    "a single pair of two numbers": (["ir_5"], ["vis_7"]),
    "two cameras, one pair": (["cam0_1"], ["cam1_1"]),
    "nothing in common": (["a", "b", "c"], ["x", "y", "z"]),
}


@pytest.mark.parametrize(("ir", "vis"), UNSURE.values(), ids=UNSURE)
def test_what_is_not_certain_is_refused(folders, ir, vis):
    assert certain_rule(ir, vis) is None
    with pytest.raises(ValueError, match=r"have no name in common .* --match '.*=.*'"):
        pair_folders(*folders(" ".join(f"{n}.png" for n in ir), " ".join(f"{n}.png" for n in vis)))


# --- patterns -------------------------------------------------------------------------------------------------------


def test_a_pattern_pairs_what_it_fits(folders):
    ir, vis = folders("IR1.png IR2.png IR10.png", "VIS2.png VIS1.png other.png")
    pairing = pair_folders(ir, vis, "IR*=VIS*")
    assert named(pairing) == {"1": ("IR1.png", "VIS1.png"), "2": ("IR2.png", "VIS2.png")}
    assert (pairing.only_ir, pairing.only_vis) == ([ir / "IR10.png"], [vis / "other.png"])


def test_a_pattern_parts_one_folder(tree):
    root = tree("d/000_ir.png", "d/000_vis.png", "d/001_ir.png", "d/001_vis.png", "d/notes.png")
    pairing = pair_folders(root / "d", root / "d", "*_ir=*_vis")
    assert named(pairing) == {f"00{i}": (f"00{i}_ir.png", f"00{i}_vis.png") for i in range(2)}
    assert pairing.only_ir == [root / "d" / "notes.png"]
    assert pairing.only_vis == []


@pytest.mark.parametrize(
    ("names", "remedy"),
    [
        (["000_ir.png", "000_vis.png"], "--match '*_ir=*_vis'"),
        (["DJI_1_T.png", "DJI_1_W.png"], "--match '*_T=*_W'"),
        (["V0/lwir/1.png", "V0/visible/1.png"], "--match '*/lwir/*=*/visible/*'"),
        (["a.png", "b.png"], "--match 'IR*=VIS*'"),
    ],
)
def test_one_folder_given_twice_is_refused_with_the_pattern(tree, names, remedy):
    root = tree(*(f"d/{name}" for name in names))
    with pytest.raises(ValueError, match="is given as infrared and as visible") as caught:
        pair_folders(root / "d", root / "d" / ".." / "d")
    assert remedy in one_line(caught)


@pytest.mark.parametrize("match", ["IR*", "IR=VIS", "*_*=*", "a*=b*=c*", ""])
def test_patterns_that_say_nothing(match):
    with pytest.raises(ValueError, match="expected two sides with equally many"):
        Rule.of(match)


def test_a_pattern_that_pairs_nothing(folders):
    ir, vis = folders("a_1.png b_1.png", "a.png b.png")
    with pytest.raises(ValueError, match=r"match 'x\*=y\*' pairs nothing in"):
        pair_folders(ir, vis, "x*=y*")
    assert named(pair_folders(ir, vis, "*_1=*")) == {"a": ("a_1.png", "a.png"), "b": ("b_1.png", "b.png")}


def test_a_pattern_that_takes_two_files_for_one_scene(folders):
    with pytest.raises(ValueError, match="takes a-b_c and a_b-c for one scene, a_b_c"):
        pair_folders(*folders("a-b_c.png a_b-c.png", "a-b_c.png"), "*-*=*-*")


# --- data sets as they are downloaded -------------------------------------------------------------------------------

LAYOUTS = {
    "LLVIP": ("infrared/{}/0.jpg", "visible/{}/0.jpg", {"ir": "infrared", "vis": "visible"}, "{}/0"),
    "LLVIP, found": ("infrared/{}/0.jpg", "visible/{}/0.jpg", {}, "{}/0"),
    "M3FD": ("Ir/{}.png", "Vis/{}.png", {}, "{}"),
    "FMB": ("{}/Infrared/0.png", "{}/Visible/0.png", {}, "{}/0"),
    "MSRS, both halves": ("{}/ir/0.png", "{}/vi/0.png", {}, "{}/0"),
    "KAIST": ("set00/{}/lwir/I0.jpg", "set00/{}/visible/I0.jpg", {"ir": "lwir", "vis": "visible"}, "set00/{}/I0"),
    "KAIST, found": ("set00/{}/lwir/I0.jpg", "set00/{}/visible/I0.jpg", {}, "set00/{}/I0"),
    "thermal and rgb": ("thermal/{}.png", "rgb/{}.png", {}, "{}"),
    "one half": ("infrared/x/{}.jpg", "visible/x/{}.jpg", {"ir": "infrared/x", "vis": "visible/x"}, "{}"),
}


@pytest.mark.parametrize(("ir", "vis", "options", "name"), LAYOUTS.values(), ids=LAYOUTS)
def test_layouts(tree, ir, vis, options, name):
    root = tree(*(file.format(part) for file in (ir, vis) for part in ("train", "test")))
    pairing = find_pairs(root, **options)
    assert [(p.name, p.ir, p.vis) for p in pairing.pairs] == [
        (name.format(part), root / ir.format(part), root / vis.format(part)) for part in ("test", "train")
    ]
    assert pairing.report() == []


def test_folders_of_no_usual_name_are_asked_for(tree):
    root = tree("a/0.png", "b/0.png")
    with pytest.raises(ValueError, match=r"ir is not a folder: .* \(--ir, --vis\); it holds a, b"):
        find_pairs(root)
    assert len(find_pairs(root, "a", "b").pairs) == 1
    tree("thermal/0.png", "lwir/0.png")  # which of the two?
    with pytest.raises(ValueError, match="ir is not a folder"):
        find_pairs(root)


def test_vis_stands_in_for_vi(tree):
    root = tree("ir/a.png", "vis/a.png")
    assert Folders.of(root).vis == root / "vis"


def test_links_that_lead_back_end(tree):
    root = tree("ir/x/a.png", "vi/x/a.png")
    (root / "ir" / "x" / "loop").symlink_to(root / "ir")
    assert [p.name for p in find_pairs(root).pairs] == ["x/a"]


# --- results --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("around", "scenes"),
    [("*", "ab"), ("*_fused", "ab"), ("fused_*", "ab"), ("*_recover", "ab"), ("out-*-x", "ab"), ("*_fused", "b")],
)
def test_results_are_known_by_what_is_around_their_names(tree, around, scenes):
    root = tree(*(f"{side}/{n}.png" for side in ("ir", "vi") for n in "ab"))
    tree(*(f"out/{around.replace('*', n)}.png" for n in scenes))
    found, rule = find_results(root / "out", pair_folders(root / "ir", root / "vi"))
    assert rule == ("" if around == "*" else around)
    assert found == {n: root / "out" / f"{around.replace('*', n)}.png" for n in scenes}
    assert find_results(root / "out", pair_folders(root / "ir", root / "vi"), around)[0] == found


@pytest.mark.parametrize("of", ["FLIR_{}", "FLIR_{}_RGB", "FLIR_{}_RGB_fused", "fused_FLIR_{}"])
def test_results_named_like_either_source(tree, of):
    root = tree(*(f"{side}/FLIR_{n}{end}.jpg" for n in NUMBERS for side, end in (("ir", ""), ("vi", "_RGB"))))
    tree(*(f"out/{of.format(n)}.png" for n in NUMBERS))
    found, _ = find_results(root / "out", pair_folders(root / "ir", root / "vi"))
    assert found == {f"FLIR_{n}": root / "out" / f"{of.format(n)}.png" for n in NUMBERS}


def test_results_of_no_known_name_are_asked_for(tree):
    root = tree("ir/a.png", "vi/a.png", "out/x1.png", "out/a7_2.png")
    with pytest.raises(ValueError, match=r"no name in common .* --match '\*=\*=\*_fused'"):
        find_results(root / "out", pair_folders(root / "ir", root / "vi"))
