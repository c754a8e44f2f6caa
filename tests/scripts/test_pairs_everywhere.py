"""Every program pairs alike, shows how, keeps names apart, and says what looks wrong before it works."""

from __future__ import annotations

import csv
import importlib.util
import os
import shutil
import sys
from pathlib import Path

import cv2
import h5py
import numpy as np
import pytest

from fusion import images
from fusion.bulk import folder_run
from fusion.data.patch_data import PatchData

ROOT = Path(__file__).resolve().parents[2]
H, W = 60, 80


def program(path: str):
    spec = importlib.util.spec_from_file_location(f"everywhere_{Path(path).stem}", ROOT / path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


FUSE, SCORE, TEST = (program(p) for p in ("scripts/fuse.py", "scripts/score.py", "test.py"))
PATCHES, SALIENCY, CHECK, SPLIT = (
    program(f"scripts/{p}.py") for p in ("make_patches", "make_saliency", "check_pairs", "split_channels")
)


def scene(seed: int) -> np.ndarray:
    x = np.random.default_rng(seed).standard_normal((H, W)).astype(np.float32)
    return cv2.normalize(cv2.GaussianBlur(x, (0, 0), 3), None, 5, 250, cv2.NORM_MINMAX).astype(np.uint8)


def visible(seed: int) -> np.ndarray:
    return np.dstack([255 - scene(seed), scene(seed + 50), 200 - scene(seed) // 2])


# Where four pairs lie: infrared, visible, options, and the names that results take.
LAYOUTS = {
    "plain": ("ir/{1}.png", "vi/{1}.png", [], "{1}"),
    "prefixes": ("ir/IR{1}.png", "vi/VIS{1}.png", [], "{1}"),
    "nested": ("ir/{0}/{1}.png", "vi/{0}/{1}.png", [], "{0}/{1}"),
    "nested, of one name": ("ir/{1}/a.png", "vi/{1}/a.png", [], "{1}/a"),
    "a pattern": ("ir/x{1}y.png", "vi/{1}z.png", ["--match", "x*y=*z"], "{1}"),
}
KEYS = (("train", 1), ("train", 2), ("test", 3), ("test", 10))


@pytest.fixture(params=LAYOUTS)
def layout(request, tmp_path, monkeypatch):
    ir, vis, options, name = LAYOUTS[request.param]
    monkeypatch.chdir(tmp_path)
    for seed, key in enumerate(KEYS):
        images.write(ir.format(*key), scene(seed))
        images.write(vis.format(*key), visible(seed))
    shown = ir.replace("ir/", "", 1) != vis.replace("vi/", "", 1)
    return options, sorted(name.format(*key) for key in KEYS), shown


def write_config(more: str = "") -> None:
    sets = f"{{name: A, root: .{more}}}"
    Path("x.yml").write_text(
        f"out: results\nmodels: [{{name: average}}]\ndatasets: [{sets}]\nmetrics: {{names: [EN]}}\n"
    )


def below(folder: str, suffix: str = ".png") -> list[str]:
    return sorted(p.relative_to(folder).with_suffix("").as_posix() for p in Path(folder).rglob(f"*{suffix}"))


def test_every_program_pairs_alike(layout, capsys):
    options, names, shown = layout

    def run(main, *arguments):
        assert main([*arguments, *options]) == 0, capsys.readouterr()
        out = capsys.readouterr()
        assert (" pairs by the names '" in out.err + out.out) == shown
        return out

    fuse = ["ir", "vi", "-o", "out", "--model", "average"]
    assert run(FUSE.main, *fuse).out == "4 fused, 0 were there, 0 failed: out\n"
    assert below("out") == names
    assert run(FUSE.main, *fuse).out == "0 fused, 4 were there, 0 failed: out\n"
    run(SCORE.main, "--ir", "ir", "--vis", "vi", "--fused", "out", "--metrics", "EN", "--csv", "x.csv")
    with open("x.csv", encoding="utf-8") as file:
        assert sorted(row["image"] for row in csv.DictReader(file)) == names
    run(PATCHES.main, ".", "-o", "x.h5", "--size", "16", "--stride", "20")
    run(SALIENCY.main, ".", "-o", "mask")
    assert below("mask") == names
    assert "4 pairs: no problem" in run(CHECK.main, ".", "--no-shifts").out

    match = f", match: '{options[1]}'" if options else ""
    write_config(match)
    options = []  # in the config
    run(TEST.main, "-opt", "x.yml")
    assert below("results/A/average") == names
    for folder in ("ir", "vis"):
        assert below(f"results/index_files/A/{folder}") == names
    assert below("results/index_files/A/values", ".js") == names


@pytest.mark.parametrize("around", ["*_fused", "fused_*", "*_recover"])
def test_results_of_others(tmp_path, monkeypatch, capsys, around):
    monkeypatch.chdir(tmp_path)
    for n in range(3):
        images.write(f"ir/{n}.png", scene(n))
        images.write(f"vi/{n}.png", visible(n))
        images.write(f"out/{around.replace('*', str(n))}.png", scene(n + 9))
    folders = ["--ir", "ir", "--vis", "vi", "--fused", "out", "--metrics", "EN"]
    for more in ([], ["--match", f"*=*={around}"]):
        assert SCORE.main([*folders, *more]) == 0
        out = capsys.readouterr()
        assert out.out.startswith("3 of 3 pictures in out\n")
        assert f"3 results by the names '{around}': " in out.err


def test_a_number_and_a_pattern_for_match(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for n in range(2):
        for name in (f"ir/x{n}.png", f"vi/{n}.png", f"out/{n}.png"):
            images.write(name, scene(n) // 2 * 2 + len(name) % 2)
    folders = ["--ir", "ir", "--vis", "vi", "--fused", "out", "--metric", "SD"]
    assert SCORE.main([*folders, "--match", "46.0", "--match", "x*=*"]) == 0
    assert "46.0 agrees with no convention" in capsys.readouterr().out


# --- what looks wrong -----------------------------------------------------------------------------------------------


def raw(root: Path) -> None:
    for path in (root / "ir").iterdir():
        images.write(path, 7000 + 8 * images.read(path).astype(np.uint16))


def swapped(root: Path) -> None:
    for old, new in (("ir", "x"), ("vi", "ir"), ("x", "vi")):
        (root / old).rename(root / new)


def copies(root: Path) -> None:
    for path in (root / "vi").iterdir():
        shutil.copy(root / "ir" / path.name, path)


@pytest.fixture
def pairs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for n in range(3):
        images.write(f"ir/{n}.png", scene(n))
        images.write(f"vi/{n}.png", visible(n))
        images.write(f"out/{n}.png", scene(n + 9))
    write_config()
    return tmp_path


PROGRAMS = {
    "fuse": (FUSE.main, ["ir", "vi", "-o", "fused", "--model", "average"]),
    "one pair": (FUSE.main, ["ir/0.png", "vi/0.png", "-o", "fused/0.png", "--model", "average"]),
    "score": (SCORE.main, ["--ir", "ir", "--vis", "vi", "--fused", "out", "--metrics", "EN"]),
    "test": (TEST.main, ["-opt", "x.yml"]),
    "make_patches": (PATCHES.main, [".", "-o", "fused/x.h5", "--size", "16", "--stride", "20"]),
}


@pytest.mark.parametrize(("fault", "kind"), [(raw, "range"), (swapped, "swapped"), (copies, "copy")])
@pytest.mark.parametrize(("main", "arguments"), PROGRAMS.values(), ids=PROGRAMS)
def test_a_fault_is_said_and_is_an_error_when_strict(pairs, capsys, main, arguments, fault, kind):
    assert main([*arguments, "--strict"]) == 0, capsys.readouterr()
    assert "problem" not in "".join(capsys.readouterr())
    shutil.rmtree("fused", ignore_errors=True)
    fault(pairs)
    assert main([*arguments, "--strict"]) == 2
    *_, line = capsys.readouterr().err.splitlines()
    assert f"--strict: {kind}: " in line
    assert not Path("fused").exists()
    assert main(arguments) == 0
    # Of raw counts the reader says what it makes of them, and the doctor is silent.
    said = " of its 16 bits: " if kind == "range" else f"problem: {kind}: "
    assert "".join(capsys.readouterr()).count(said) == 1


def test_results_that_no_method_made(pairs, capsys):
    for n in range(3):
        images.write(f"out/{n}.png", scene(n) // 128)
    arguments = PROGRAMS["score"][1]
    assert SCORE.main([*arguments, "--strict"]) == 2
    assert "--strict: result: 0: the result holds 0 and 1 alone" in capsys.readouterr().err
    assert SCORE.main(arguments) == 0
    assert "note: problem: result: 0: the result holds 0 and 1 alone" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ["ir", "ir", "-o", "x"],
        ["ir", "ir/../ir", "-o", "x"],
        ["ir/0.png", "ir/0.png", "-o", "x.png"],
    ],
)
def test_one_source_given_twice_is_refused(pairs, capsys, arguments):
    assert FUSE.main([*arguments, "--model", "average"]) == 2
    assert "is given as infrared and as visible" in capsys.readouterr().err


@pytest.mark.parametrize(("ir", "vis", "fused"), [("ir", "ir", "out"), ("ir", "vi", "ir"), ("ir", "vi", "vi")])
def test_one_folder_given_twice_is_not_scored(pairs, capsys, ir, vis, fused):
    assert SCORE.main(["--ir", ir, "--vis", vis, "--fused", fused]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_published_row_of_more_pictures(pairs, capsys):
    arguments = ["--ir", "ir", "--vis", "vi", "--fused", "out", "--published", "TNO"]
    assert SCORE.main(arguments) == 0
    assert "note: the published row is of 25 pictures, 3 are here" in capsys.readouterr().err


@pytest.mark.parametrize("letter", ["a", "é", "字"])
def test_the_longest_names_that_a_disk_takes(pairs, capsys, letter):
    name = letter * ((255 - len(".png")) // len(letter.encode()))
    for side in ("ir", "vi"):
        shutil.copy(f"{side}/0.png", f"{side}/{name}.png")
    assert FUSE.main(["ir", "vi", "-o", "fused", "--model", "average"]) == 0
    capsys.readouterr()
    assert os.path.exists(f"fused/{name}.png")


def test_frames_follow_in_natural_order(pairs, capsys, monkeypatch):
    for n in range(3, 12):
        shutil.copy("ir/0.png", f"ir/{n}.png")
        shutil.copy("vi/0.png", f"vi/{n}.png")
    written = []
    real = folder_run.write
    monkeypatch.setattr(folder_run, "write", lambda path, image: written.append(path.stem) or real(path, image))
    assert FUSE.main(["ir", "vi", "-o", "fused", "--model", "average"]) == 0
    capsys.readouterr()
    assert written == [str(n) for n in range(12)]


# --- pictures of four channels --------------------------------------------------------------------------------------


def test_four_channels_become_two_folders(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("images/day").mkdir(parents=True)
    for n in range(2):
        four = np.dstack([visible(n), scene(n)])
        cv2.imwrite(f"images/day/{n}.png", cv2.cvtColor(four, cv2.COLOR_RGBA2BGRA))
    cv2.imwrite("images/day/2.png", np.dstack([visible(2), np.full((H, W), 255, np.uint8)]))  # transparency
    assert FUSE.main(["images", "images", "-o", "fused", "--model", "average"]) == 2
    assert "scripts/split_channels.py" in capsys.readouterr().err
    assert SPLIT.main(["images", "-o", "."]) == 1
    assert "2.png: expected a fourth channel" in capsys.readouterr().err
    assert below("ir") == below("vi") == ["day/0", "day/1"]
    np.testing.assert_array_equal(images.read("ir/day/1.png"), scene(1))
    np.testing.assert_array_equal(images.read("vi/day/1.png"), visible(1))


# --- patch files ----------------------------------------------------------------------------------------------------


def test_patches_of_equal_names_in_other_folders_are_told_apart(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for n, folder in enumerate(("a", "b")):
        images.write(f"ir/{folder}/0.png", scene(n))
        images.write(f"vi/{folder}/0.png", visible(n))
    assert PATCHES.main([".", "-o", "x.h5", "--size", "16", "--stride", "20"]) == 0
    capsys.readouterr()
    data = PatchData(path="x.h5")
    assert {data.name(i).split("@")[0] for i in range(len(data))} == {"a/0.png", "b/0.png"}


def test_numbers_with_leading_zeros_are_patches_too(tmp_path):
    for path, form in (("a.h5", "{}"), ("b.h5", "{:05}")):
        with h5py.File(tmp_path / path, "w") as file:
            for group in ("ir_patchs", "vis_patchs"):
                for n in range(12):
                    file[f"{group}/{form.format(n)}"] = np.full((1, 8, 8), n / 20, np.float32)
    plain, padded = (PatchData(path=str(tmp_path / path)) for path in ("a.h5", "b.h5"))
    assert [float(padded[i]["ir"].max()) for i in range(12)] == [float(plain[i]["ir"].max()) for i in range(12)]
    assert padded.name(11) == "b.h5[00011]"


def test_a_locked_file_is_called_locked(tmp_path, monkeypatch):
    path = tmp_path / "x.h5"

    def locked(*_, **__):
        raise OSError(
            "Unable to synchronously open file (unable to lock file, errno = 11, error message = 'Resource "
            "temporarily unavailable')"
        )

    monkeypatch.setattr(h5py, "File", locked)
    with pytest.raises(ValueError, match=r"x\.h5 is locked .*HDF5_USE_FILE_LOCKING=FALSE"):
        PatchData(path=str(path))
