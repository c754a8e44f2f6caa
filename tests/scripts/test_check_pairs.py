"""scripts/check_pairs.py from its command line: table, exit status, aligned copies, originals untouched."""

import csv
import hashlib
import importlib.util
from pathlib import Path

import cv2
import numpy as np
import pytest

from fusion import images
from fusion.data.alignment import Alignment
from fusion.data.registration import estimate_shift
from fusion.data.view_fit import Evidence

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "check_pairs.py"
H, W = 160, 200


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("check_pairs", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def scene(seed):
    """(H, W) uint8"""
    x = np.random.default_rng(seed).standard_normal((H + 40, W + 40)).astype(np.float32)
    return cv2.normalize(cv2.GaussianBlur(x, (0, 0), 3), None, 10, 240, cv2.NORM_MINMAX).astype(np.uint8)


@pytest.fixture
def root(tmp_path):
    """Twelve pairs of one scene each, the visible one coloured; pair `05` is 13 pixels apart."""
    for n in range(12):
        x = scene(n)
        top, left = (8, 15) if n == 5 else (20, 20)
        colour = np.dstack([x, x // 2, x // 3])[top : top + H, left : left + W]
        images.write(tmp_path / "root" / "ir" / f"{n:02}.png", 255 - x[20 : 20 + H, 20 : 20 + W])
        images.write(tmp_path / "root" / "vis" / f"{n:02}.png", np.ascontiguousarray(colour))
    return tmp_path / "root"


@pytest.fixture
def few(root):
    """`root` with four of its pairs: aligning takes its time."""
    keep(root, "02", "03", "05", "07")
    return root


def keep(root, *names):
    for path in [*(root / "ir").iterdir(), *(root / "vis").iterdir()]:
        if path.stem not in names:
            path.unlink()


@pytest.fixture
def lie_right(script, monkeypatch):
    """For tests of what becomes of aligned pairs, of which none is looked at here."""
    found = Alignment(np.eye(3), 0.5, 0.5, "none", Evidence(agreeing=9, areas=9, error=0.0))
    monkeypatch.setattr(script.alignment, "find_alignment", lambda *_: found)


@pytest.fixture
def run(script, capsys):
    def run(*arguments):
        status = script.main([str(a) for a in arguments])
        out = capsys.readouterr()
        return status, out.out, out.err

    return run


def hashes(folder):
    return {p.relative_to(folder): hashlib.sha256(p.read_bytes()).digest() for p in folder.rglob("*") if p.is_file()}


def test_a_problem_is_a_row_and_status_1(run, root):
    before = hashes(root)
    status, out, err = run(root)
    assert (status, err) == (1, "")
    rows = [line.split() for line in out.splitlines()]
    assert rows[0] == ["check", "pair", "what"]
    assert rows[1][:3] == ["problem", "shift", "05"]
    assert "13.0 pixels apart (vis 12.0 down, 5.0 right)" in out
    assert out.splitlines()[-1] == "12 pairs: 1 problem, 0 notes"
    assert hashes(root) == before


def test_sound_pairs_are_status_0(run, root):
    for side in ("ir", "vis"):
        (root / side / "05.png").unlink()
    assert run(root) == (0, "11 pairs: no problem, 0 notes\n", "")
    assert run(root, "--workers", "3", "--ir", "ir", "--vis", "vis") == (0, "11 pairs: no problem, 0 notes\n", "")


def test_notes_are_no_problem(run, root):
    assert run(root, "--no-shifts")[0] == 0
    (root / "ir" / "readme.txt").write_text("x")
    status, out, _ = run(root, "--no-shifts")
    assert status == 0
    assert out.splitlines()[-1] == "12 pairs: no problem, 1 note"


def test_many_of_a_kind_are_cut_short(run, root):
    for path in (root / "ir").iterdir():
        images.write(path, np.zeros((H, W), np.uint8))
    status, out, _ = run(root)
    assert status == 1
    assert "and 2 more (--all)" in out
    assert out.count("is black") == 10
    assert run(root, "--all")[1].count("is black") == 12


def test_against_another_set(run, root, tmp_path):
    for side, folder in (("ir", "ir"), ("vis", "vi")):
        images.write(tmp_path / "train" / folder / "x.png", images.read(root / side / "03.png"))
    status, out, _ = run(root, "--no-shifts", "--against", tmp_path / "train")
    assert status == 1
    assert f"shows the same as x in {tmp_path / 'train'}" in out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["{root}/nowhere"], "is not a folder"),
        (["{root}", "--vis", "visible"], "expected"),
        (["{root}", "--against", "{root}"], "is ROOT itself"),
        (["{root}", "--workers", "0"], "at least 1 worker"),
        (["{root}", "--align", "{root}"], "is ROOT or holds it"),
        (["{root}", "--align", "{root}/.."], "is ROOT or holds it"),
        (["{root}", "--align", "{root}/ir"], "lies among the originals in"),
        (["{root}", "--align", "{root}/vis/new"], "lies among the originals in"),
    ],
)
def test_what_cannot_run_is_one_line_and_status_2(run, root, arguments, words):
    before = hashes(root)
    status, out, err = run(*(a.format(root=root) for a in arguments))
    assert (status, out) == (2, "")
    assert err.startswith("check_pairs: ")
    assert err.count("\n") == 1
    assert words in err
    assert hashes(root) == before


def test_ctrl_c_is_status_130(run, root, script, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(script.doctor, "examine", interrupted)
    assert run(root) == (130, "", "check_pairs: interrupted\n")


def test_aligned_copies(run, upright_views, few, tmp_path):
    keep(few, "03", "05", "07")
    (few / "ir" / "07.png").write_bytes(b"broken")
    before = hashes(few)
    out = tmp_path / "aligned"
    status, text, _ = run(few, "--align", out)
    assert status == 1
    assert "2 pairs (" in text
    assert "1 left out" in text
    assert hashes(few) == before
    assert sorted(p.name for p in out.iterdir()) == ["alignment.csv", "ir", "vis"]
    ir, vis = images.read(out / "ir" / "05.png"), images.read(out / "vis" / "05.png")
    assert ir.ndim == 2
    assert vis.ndim == 3
    assert ir.shape == vis.shape[:2]
    assert np.abs(np.array(ir.shape) - (H - 12, W - 5)).max() <= 2  # what is filled whole, to a fraction of a pixel
    assert estimate_shift(ir, vis).pixels < 0.3
    rows = {row["name"]: row for row in csv.DictReader((out / "alignment.csv").open())}
    assert len(rows) == 2
    assert rows["05"]["model"] != "none"
    assert float(rows["05"]["agreement_after"]) > float(rows["05"]["agreement_before"]) + 0.3
    assert rows["03"]["model"] == "none"
    np.testing.assert_array_equal(images.read(out / "ir" / "03.png"), images.read(few / "ir" / "03.png"))
    assert run(out, "--no-shifts")[0] == 0


def test_pairs_of_two_sizes_are_brought_to_one(run, upright_views, few, tmp_path):
    images.write(few / "ir" / "02.png", cv2.resize(images.read(few / "ir" / "02.png"), (W // 2, H // 2)))
    keep(few, "02")
    run(few, "--align", tmp_path / "aligned")
    ir, vis = (images.read(tmp_path / "aligned" / side / "02.png") for side in ("ir", "vis"))
    assert ir.shape == vis.shape[:2]


def test_what_cannot_be_aligned_is_named_and_left_out(run, upright_views, few, tmp_path):
    (few / "vis/02.png").write_bytes((few / "vis/03.png").read_bytes())  # a wrong partner
    keep(few, "02", "05")
    status, out, _ = run(few, "--no-shifts", "--align", tmp_path / "aligned")
    assert status == 1
    assert "problem  align  02  could not be aligned surely (" in out
    assert not (tmp_path / "aligned" / "ir" / "02.png").exists()
    assert "1 pair (" in out
    assert "1 left out" in out
    rows = {row["name"]: row for row in csv.DictReader((tmp_path / "aligned" / "alignment.csv").open())}
    assert [name for name, row in rows.items() if row["model"] == "unsure"] == ["02"]


def test_another_field_of_view_is_aligned(run, upright_views, tmp_path):
    """The infrared camera sees the middle 70 % with other pixels, as FLIR's ADAS set."""
    x = cv2.resize(scene(3), (400, 320), interpolation=cv2.INTER_CUBIC)
    images.write(tmp_path / "root" / "vi" / "a.png", np.dstack([x, x // 2, x // 3]))
    part = cv2.resize(255 - x[48:272, 60:340], (420, 336), interpolation=cv2.INTER_CUBIC)
    images.write(tmp_path / "root" / "ir" / "a.png", part)
    run(tmp_path / "root", "--no-shifts", "--align", tmp_path / "aligned")
    ir, vis = (images.read(tmp_path / "aligned" / side / "a.png") for side in ("ir", "vi"))
    assert ir.shape == vis.shape[:2]
    assert np.abs(np.array(ir.shape) - (224, 280)).max() <= 3
    assert np.corrcoef(ir[8:-8, 8:-8].ravel(), vis[8:-8, 8:-8, 0].ravel())[0, 1] < -0.95


@pytest.mark.parametrize(("ir", "vis"), [("infrared/train", "visible/train"), ("a", "b/a"), ("x/y/ir", "x/y/vi")])
def test_folders_of_one_name_do_not_meet_in_the_copies(run, lie_right, root, tmp_path, ir, vis):
    """LLVIP: both halves are called `train`."""
    for side, there in (("ir", ir), ("vis", vis)):
        for name in ("00", "01"):
            images.write(tmp_path / "set" / there / f"{name}.png", images.read(root / side / f"{name}.png"))
    run(tmp_path / "set", "--ir", ir, "--vis", vis, "--no-shifts", "--align", tmp_path / "out")
    for name in ("00", "01"):
        assert images.read(tmp_path / "out" / ir / f"{name}.png").ndim == 2
        assert images.read(tmp_path / "out" / vis / f"{name}.png").ndim == 3


def test_one_folder_for_both_is_refused(run, root, tmp_path):
    status, _, err = run(root, "--ir", "ir", "--vis", "ir", "--no-shifts", "--align", tmp_path / "out")
    assert status == 2
    assert "is given as infrared and as visible" in err


def test_jpeg_is_not_lost_to_twice(run, lie_right, few, tmp_path):
    images.write(few / "ir" / "02.jpg", images.read(few / "ir" / "02.png"))
    (few / "ir" / "02.png").unlink()
    run(few, "--align", tmp_path / "aligned")
    assert (tmp_path / "aligned" / "ir" / "02.png").is_file()


def test_a_full_disk_while_aligning_is_one_line(run, lie_right, few, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(f"cannot write {tmp_path / 'aligned'}: No space left on device")

    monkeypatch.setattr(images, "write", full)
    status, _, err = run(few, "--align", tmp_path / "aligned")
    assert status == 2
    assert err.count("\n") == 1
    assert "No space left on device" in err
