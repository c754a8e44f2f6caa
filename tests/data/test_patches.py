"""Cutting patches and writing them: the authors' patches, whole files only."""

import json
import os
import signal
from hashlib import sha256

import authors
import cv2
import h5py
import numpy as np
import pytest

from fusion.data import patches
from fusion.data.folder import find_pairs
from fusion.data.patches import Options, cut, grid, is_flat, write_patches
from tests.processes import run


@pytest.fixture
def pairs(tmp_path):
    """Five pairs of noise, 40x56, the visible in colour."""
    random = np.random.default_rng(0)
    for folder, shape in (("ir", (40, 56)), ("vi", (40, 56, 3))):
        (tmp_path / "root" / folder).mkdir(parents=True)
        for name in "abcde":
            pixels = random.integers(0, 256, shape, dtype=np.uint8)
            cv2.imwrite(str(tmp_path / "root" / folder / f"{name}.png"), pixels)
    return find_pairs(tmp_path / "root").pairs


SMALL = Options(size=16, stride=12)
GOLDEN = authors.numbers("patches")

# --- rules ----------------------------------------------------------------------------------------------------------


def test_grid_goes_row_by_row_and_keeps_whole_windows_only():
    assert grid(480, 640, 128, 200) == [(0, 0), (0, 200), (0, 400), (200, 0), (200, 200), (200, 400)]
    assert grid(128, 128, 128, 200) == [(0, 0)]
    assert grid(127, 640, 128, 200) == []


def test_low_contrast_is_a_tenth_between_the_percentiles():
    ramp = np.linspace(0, 1, 256, dtype=np.float32).reshape(16, 16)
    assert not is_flat(ramp)
    assert is_flat(0.5 + 0.05 * ramp)  # (.545 - .505) / .545 = .073
    assert not is_flat(0.5 + 0.10 * ramp)  # (.590 - .510) / .590 = .136


@pytest.mark.parametrize(("dark", "flat"), [(0.09, True), (0.11, False), (0.89, False), (0.91, True)])
def test_the_percentiles_are_the_10th_and_the_90th(dark, flat):
    patch = np.full((40, 40), 0.6, np.float32)
    patch.ravel()[: int(dark * patch.size)] = 0.5  # (.6 - .5) / .6 = .17 where the percentiles see both levels
    assert is_flat(patch) == flat


def test_black_is_kept_unless_asked():
    black = np.zeros((16, 16), np.float32)
    assert not is_flat(black)
    assert is_flat(black, drop_black=True)
    assert is_flat(np.full((16, 16), 0.5, np.float32))


# --- the authors' patches -------------------------------------------------------------------------------------------


def cut_samples(root, folder, **options):
    """The five sample pairs that the authors' program can read, as a patch file."""
    pairs = [p for p in find_pairs(root / "test_img/sample").pairs if p.name in GOLDEN["size64_stride50"]["windows"]]
    return write_patches(pairs, folder / "x.h5", Options(**options))


def test_patches_of_the_sample_pairs_are_the_authors(root, tmp_path):
    golden = GOLDEN["size64_stride50"]
    done = cut_samples(root, tmp_path, size=64, stride=50)
    assert (done.kept, done.dropped) == (101, len(golden["dropped"]))
    with h5py.File(tmp_path / "x.h5") as file:
        found = [
            [name.removesuffix(".png"), *corner.tolist(), sha256(ir).hexdigest(), sha256(vis).hexdigest()]
            for name, corner, ir, vis in zip(
                file["source"].asstr()[:], file["corner"][:], file["ir"][:], file["vis"][:], strict=True
            )
        ]
        assert found == golden["kept"]
        assert file.attrs["sha256"] == golden["sha256_of_all"]


@pytest.mark.parametrize("layout", ["stacked", "authors"])
def test_small_patches_of_the_sample_pairs_are_the_authors(root, tmp_path, layout):
    golden = GOLDEN["size24_stride24"]
    done = cut_samples(root, tmp_path, size=24, stride=24, layout=layout)
    assert (done.kept, done.dropped) == (golden["kept"], len(golden["dropped"]))
    with h5py.File(tmp_path / "x.h5") as file:
        assert file.attrs["sha256"] == golden["sha256_of_all"]


FLAT = {
    "all 0": lambda: np.zeros(4096),
    "all 0.5": lambda: np.full(4096, 0.5),
    "all 1": lambda: np.ones(4096),
    "400 of 4096 pixels are 1, the others 0": lambda: np.arange(4096) < 400,
    "420 of 4096 pixels are 1, the others 0": lambda: np.arange(4096) < 420,
    "half 1, half 0.91": lambda: np.where(np.arange(4096) < 2048, 1, 0.91),
    "half 1, half 0.89": lambda: np.where(np.arange(4096) < 2048, 1, 0.89),
}


@pytest.mark.parametrize("case", GOLDEN["is_low_contrast"])
def test_low_contrast_is_the_authors(case):
    assert is_flat(FLAT[case]().astype(np.float32).reshape(64, 64)) == GOLDEN["is_low_contrast"][case]


@pytest.mark.shared
def test_patches_are_the_authors(shared, tmp_path):
    for layout, workers in (("stacked", 2), ("authors", 1)):
        assert_patches_are_the_authors(shared, tmp_path / f"{layout}.h5", layout, workers)


def assert_patches_are_the_authors(shared, path, layout, workers):
    golden = shared / "golden" / "dataprocessing"
    recorded = json.loads((golden / "dataprocessing.json").read_text())["result"]
    done = write_patches(find_pairs(golden / "MSRS_train").pairs, path, Options(layout=layout), workers=workers)
    assert (done.pairs, done.kept, done.dropped) == (6, recorded["n_patches"], 1)
    with h5py.File(path) as ours, h5py.File(golden / "msrs6.h5") as theirs:
        for which, group in (("ir", "ir_patchs"), ("vis", "vis_patchs")):
            for number in range(done.kept):
                patch = ours[which][number] if layout == "stacked" else ours[group][str(number)][:]
                assert patch.dtype == np.float32, (layout, group, number)
                assert patch.tobytes() == theirs[group][str(number)][:].tobytes()
                noted = recorded["patches"][group].get(str(number))
                assert noted is None or sha256(patch).hexdigest() == noted["sha256"]
        if layout == "authors":
            assert set(ours) == set(theirs)


@pytest.mark.shared
def test_the_golden_black_patch_can_be_dropped(shared, tmp_path):
    pairs = find_pairs(shared / "golden" / "dataprocessing" / "MSRS_train").pairs
    done = write_patches(pairs, tmp_path / "x.h5", Options(drop_black=True))
    assert (done.kept, done.dropped) == (34, 2)


# --- the file -------------------------------------------------------------------------------------------------------


def test_stacked_layout(pairs, tmp_path):
    done = write_patches(pairs, tmp_path / "x.h5", SMALL)
    assert done.kept == 5 * len(grid(40, 56, 16, 12)) == 60
    with h5py.File(tmp_path / "x.h5") as file:
        assert file["ir"].shape == file["vis"].shape == (60, 1, 16, 16)
        assert file["ir"].chunks == (1, 1, 16, 16)
        assert file["source"].asstr()[12] == "b.png"
        assert file["corner"][13].tolist() == [0, 12]
        assert dict(file.attrs)["size"] == 16
        running = sha256()
        for ir, vis in zip(file["ir"], file["vis"], strict=True):
            running.update(ir.tobytes() + vis.tobytes())
        assert file.attrs["sha256"] == running.hexdigest()


@pytest.mark.parametrize("layout", ["stacked", "authors"])
def test_workers_change_nothing(pairs, tmp_path, layout):
    options = Options(size=16, stride=12, layout=layout)
    for workers in (1, 2):
        write_patches(pairs, tmp_path / f"{workers}.h5", options, workers=workers)
    assert (tmp_path / "1.h5").read_bytes() == (tmp_path / "2.h5").read_bytes()


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError, OSError(28, "No space left on device")])
def test_an_interrupted_run_leaves_the_old_file(pairs, tmp_path, error):
    path = tmp_path / "out" / "x.h5"
    path.parent.mkdir()
    path.write_bytes(b"the old file")
    calls = iter([None, None, error])

    def progress():
        if (now := next(calls)) is not None:
            raise now

    with pytest.raises(error if isinstance(error, type) else OSError):
        write_patches(pairs, path, SMALL, workers=2, progress=progress)
    assert path.read_bytes() == b"the old file"
    assert os.listdir(path.parent) == ["x.h5"]


def test_a_killed_run_leaves_the_old_file(pairs, tmp_path):
    (tmp_path / "x.h5").write_bytes(b"the old file")
    (tmp_path / "killed.py").write_text(
        "import os, signal, sys\n"
        "from fusion.data import folder, patches\n"
        "calls = iter(range(9))\n"
        "patches.write_patches(folder.find_pairs(sys.argv[1]).pairs, sys.argv[2], patches.Options(16, 12),\n"
        "    progress=lambda: next(calls) == 2 and os.kill(os.getpid(), signal.SIGKILL))\n"
    )
    killed = run(tmp_path, tmp_path / "killed.py", str(tmp_path / "root"), str(tmp_path / "x.h5"))
    assert killed.status == -signal.SIGKILL
    assert (tmp_path / "x.h5").read_bytes() == b"the old file"


def test_only_a_few_pictures_are_ahead_of_the_writer():
    read = []
    results = patches._in_order(lambda x: read.append(x) or x, range(100), workers=2)
    assert next(results) == 0
    assert len(read) <= 4
    assert list(results) == list(range(1, 100))


def test_pictures_that_are_too_small_are_counted(pairs, tmp_path):
    cv2.imwrite(str(pairs[1].ir), np.zeros((15, 90), np.uint8))
    cv2.imwrite(str(pairs[1].vis), np.zeros((15, 90), np.uint8))
    assert write_patches(pairs, tmp_path / "x.h5", SMALL).too_small == ["b.png"]


def test_a_file_without_patches_is_refused(pairs, tmp_path):
    with pytest.raises(ValueError, match="of 5 pairs 5 are smaller than 64x64"):
        write_patches(pairs, tmp_path / "x.h5", Options(size=64))
    assert not (tmp_path / "x.h5").exists()


def test_pairs_of_two_sizes_are_refused(pairs):
    cv2.imwrite(str(pairs[0].ir), np.zeros((20, 28), np.uint8))
    with pytest.raises(ValueError, match=r"a\.png is 20x28 but .*a\.png is 40x56"):
        cut(pairs[0], SMALL)


def test_a_missing_picture_is_not_called_a_full_disk(pairs, tmp_path):
    identity_needs = patches.fingerprint(pairs, SMALL)
    assert len(identity_needs) == 64
    pairs[2].ir.unlink()
    with pytest.raises(ValueError, match=r"cannot read .*c\.png: No such file"):
        cut(pairs[2], SMALL)


@pytest.mark.parametrize("wrong", [{"size": 0}, {"stride": 0}, {"layout": "heap"}])
def test_nonsense_options_are_refused(wrong):
    with pytest.raises(ValueError, match="expected"):
        Options(**wrong)


def test_fingerprint_follows_files_and_options(pairs):
    before = patches.fingerprint(pairs, SMALL)
    assert patches.fingerprint(pairs, SMALL) == before
    assert patches.fingerprint(pairs, Options(size=16, stride=13)) != before
    os.utime(pairs[0].vis, ns=(0, 0))
    assert patches.fingerprint(pairs, SMALL) != before
