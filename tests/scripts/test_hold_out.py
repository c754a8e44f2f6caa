"""scripts/hold_out.py from its command line."""

import importlib.util
from pathlib import Path

import cv2
import numpy as np
import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "hold_out.py"
MEDICAL = ("MRI_CT", "CT"), ("MRI_PET", "PET"), ("MRI_SPECT", "SPECT")


@pytest.fixture
def run(tmp_path, capsys):
    """Run the script -> status, stdout, stderr."""
    spec = importlib.util.spec_from_file_location("hold_out", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    def run(*argv):
        status = module.main([*map(str, argv), "-o", str(tmp_path / "out")])
        return status, *capsys.readouterr()

    return run


def fill(root, names, ir="ir", vis="vi"):
    for i, name in enumerate(names):
        for side in (ir, vis):
            (root / side).mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(root / side / f"{name}.png"), np.full((8, 8), i, np.uint8))
    return root


def names(folder):
    found = [{path.stem for path in (folder / side).iterdir()} for side in ("ir", "vi")]
    assert found[0] == found[1]
    return found[0]


def test_every_ninth_from_the_fifth_of_all_roots_together(run, tmp_path):
    every = [f"{i:03}" for i in range(30)]
    a, b = fill(tmp_path / "a", every[::2]), fill(tmp_path / "b", every[1::2])
    assert run(a, b)[:2] == (0, f"{tmp_path / 'out'}: 27 pairs to train on, 3 held out\n")
    assert names(tmp_path / "out" / "validation") == set(every[4::9])
    assert names(tmp_path / "out" / "train") == set(every) - set(every[4::9])


def test_equal_names_of_two_roots_get_the_roots_name(run, tmp_path):
    a, b = fill(tmp_path / "a", ["x", "y"]), fill(tmp_path / "b", ["x", "z"])
    run(a, b)
    assert names(tmp_path / "out" / "train") == {"a_x", "b_x", "y", "z"}


def test_whole_patients_are_held_out_of_all_roots(run, tmp_path):
    ct = fill(tmp_path / "MRI_CT", ["3001", "3002", "20001", "20002"], "CT", "MRI")
    pet = fill(tmp_path / "MRI_PET", ["20001", "25001", "25007"], "PET", "MRI")
    assert run(f"{ct}:CT:MRI", f"{pet}:PET:MRI", "--patients", "--first", "2")[0] == 0
    assert names(tmp_path / "out" / "validation") == {"MRI_CT_20001", "20002", "MRI_PET_20001", "25001", "25007"}
    assert names(tmp_path / "out" / "train") == {"3001", "3002"}


def test_patients_that_are_left_out_are_in_no_part(run, tmp_path):
    spect = fill(tmp_path / "MRI_SPECT", ["3001", "20002", "21001", "21002"], "SPECT", "MRI")
    assert run(f"{spect}:SPECT:MRI", "--patients", "--first", "2", "--leave-out", "21")[0] == 0
    assert names(tmp_path / "out" / "validation") == {"20002"}
    assert names(tmp_path / "out" / "train") == {"3001"}


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--patients"], "x: expected a patient's number"),
        (["--leave-out", "21"], "x: expected a patient's number"),
        (["--first", "10"], "--first 10: expected 1 to --every 9"),
        (["--first", "0"], "--first 0: expected 1"),
    ],
)
def test_what_cannot_be_divided_is_refused_in_one_line(run, tmp_path, more, said):
    status, _, error = run(fill(tmp_path / "a", ["x"]), *more)
    assert status == 2
    assert said in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_part_that_is_there_is_left_as_it_is(run, tmp_path):
    (tmp_path / "out" / "train").mkdir(parents=True)
    status, _, error = run(fill(tmp_path / "a", ["x"]))
    assert status == 2
    assert "is there already" in error
    assert not list((tmp_path / "out" / "train").iterdir())


def test_a_root_is_named_with_both_folders_or_none(run, tmp_path):
    assert run(f"{tmp_path}:CT")[0] == 2


def test_no_medical_patient_is_in_both_parts(run, shared, tmp_path):
    """Of the medical training pairs, by patient; all three kinds are in both parts."""
    root = shared / "data" / "medical_train"
    if not root.is_dir():
        pytest.skip("no medical training pairs")
    status, out, _ = run(
        *(f"{root / kind}:{ir}:MRI" for kind, ir in MEDICAL), "--patients", "--first", "2", "--leave-out", "21"
    )
    assert (status, out) == (0, f"{tmp_path / 'out'}: 564 pairs to train on, 130 held out\n")
    parts = {part: list((tmp_path / "out" / part / "ir").iterdir()) for part in ("train", "validation")}
    patients = {part: {p.stem.split("_")[-1][:-3] for p in paths} for part, paths in parts.items()}
    assert not patients["train"] & patients["validation"]
    for paths in parts.values():
        assert {p.resolve().parent.name for p in paths} == {ir for _, ir in MEDICAL}
