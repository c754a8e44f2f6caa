"""DICOM and NIfTI, made here: rescaling, window, polarity and orientation as the files say; volumes refused."""

from __future__ import annotations

import gzip
import io

import numpy as np
import pytest

from fusion.reading import set_range
from tests.reading.made import heat, read, scene


def dicom(values: np.ndarray, **tags) -> bytes:
    pydicom = pytest.importorskip("pydicom")
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage, generate_uid

    file = Dataset()
    file.file_meta = FileMetaDataset()
    file.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    file.file_meta.MediaStorageSOPClassUID = file.SOPClassUID = SecondaryCaptureImageStorage
    file.file_meta.MediaStorageSOPInstanceUID = file.SOPInstanceUID = generate_uid()
    colours = values.ndim == 3 and values.shape[-1] == 3
    file.Rows, file.Columns = values.shape[-3:-1] if colours else values.shape[-2:]
    file.SamplesPerPixel = 3 if colours else 1
    file.PhotometricInterpretation = "RGB" if colours else "MONOCHROME2"
    if colours:
        file.PlanarConfiguration = 0
    file.BitsAllocated = file.BitsStored = 8 * values.itemsize
    file.HighBit = file.BitsStored - 1
    file.PixelRepresentation = int(values.dtype.kind == "i")
    file.PixelData = values.tobytes()
    for name, value in tags.items():
        setattr(file, name, value)
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, file, enforce_file_format=True)
    return buffer.getvalue()


def test_the_window_decides(tmp_path):
    stored = (heat().astype(np.int16) * 8 - 40).astype(np.int16)
    data = dicom(stored, RescaleSlope=2, RescaleIntercept=-1000, WindowCenter=100, WindowWidth=401)
    image, notes = read(tmp_path / "x.dcm", data)
    units = stored * 2.0 - 1000
    # PS3.3 C.11.2.1.2: black up to c - 0.5 - (w - 1) / 2, white above c - 0.5 + (w - 1) / 2.
    expected = np.clip((units - (100 - 0.5)) / 400 + 0.5, 0, 1) * 65535
    np.testing.assert_allclose(image, expected, atol=0.51)
    assert len(notes) == 1
    assert "x.dcm is shown in its own window, -100.5 to 299.5: --range LOW..HIGH" in notes[0]
    image, _ = read(tmp_path / "x.dcm", data, "-1080..3000")
    np.testing.assert_allclose(image, np.clip((units + 1080) / 4080, 0, 1) * 65535, atol=0.51)


def test_slices_with_windows_of_their_own_share_one_range(tmp_path):
    for i in range(2):
        data = dicom(heat().astype(np.int16) * 4, WindowCenter=100 + 200 * i, WindowWidth=201)
        (tmp_path / f"{i}.dcm").write_bytes(data)
    assert set_range(sorted(tmp_path.iterdir())) == (-0.5, 399.5, True)


def test_without_a_window_from_lowest_to_highest(tmp_path):
    stored = heat().astype(np.int16) * 4 - 100
    image, notes = read(tmp_path / "x.dcm", dicom(stored))
    np.testing.assert_allclose(image, heat() * 257.0, atol=0.51)
    assert "no range of their own" in notes[0]


@pytest.mark.parametrize("window", [{}, {"WindowCenter": 127.5 + 0.5, "WindowWidth": 256}])
def test_inverted_gray(tmp_path, window):
    data = dicom(255 - heat(), PhotometricInterpretation="MONOCHROME1", **window)
    np.testing.assert_allclose(read(tmp_path / "x.dcm", data, "auto")[0], heat() * 257.0, atol=0.51)


def test_colour(tmp_path):
    np.testing.assert_array_equal(read(tmp_path / "x.dcm", dicom(scene()))[0], scene())


def test_several_frames_are_refused(tmp_path):
    data = dicom(np.stack([heat()] * 4), NumberOfFrames=4)
    with pytest.raises(ValueError, match=r"x\.dcm holds 4 frames: expected one slice"):
        read(tmp_path / "x.dcm", data)


def test_no_dicom_after_all(tmp_path):
    with pytest.raises(ValueError, match=r"x\.dcm cannot be decoded as DICOM"):
        read(tmp_path / "x.dcm", dicom(heat())[:600])


def nifti(values: np.ndarray, affine=None) -> bytes:
    nibabel = pytest.importorskip("nibabel")
    return nibabel.Nifti1Image(values, np.eye(4) if affine is None else affine).to_bytes()


@pytest.mark.parametrize("packed", [False, True])
def test_a_slice_as_radiologists_see_it(tmp_path, packed):
    """Axes: x to the patient's left, y to the back -> stored (x, y); front is up, the patient's right on the left."""
    shown = heat()
    to_right_and_front = shown[::-1, ::-1].swapaxes(0, 1)  # RAS: x grows to the right, y to the front
    data = nifti(np.ascontiguousarray(to_right_and_front)[..., None])
    path = tmp_path / ("x.nii.gz" if packed else "x.nii")
    np.testing.assert_array_equal(read(path, gzip.compress(data) if packed else data)[0], shown)
    to_left = np.diag([-1.0, 1, 1, 1])  # the same slice, stored from right to left
    data = nifti(np.ascontiguousarray(to_right_and_front[::-1])[..., None], to_left)
    np.testing.assert_array_equal(read(path, gzip.compress(data) if packed else data)[0], shown)


def test_counts_are_stretched(tmp_path):
    values = (heat().swapaxes(0, 1).astype(np.float32) * 3 - 50)[..., None]
    image, notes = read(tmp_path / "x.nii", nifti(np.ascontiguousarray(values[::-1, ::-1])))
    np.testing.assert_allclose(image, heat() * 257.0, atol=0.51)
    assert "no range of their own" in notes[0]


def test_a_volume_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"x\.nii is a volume of 9x8x7: expected one slice"):
        read(tmp_path / "x.nii", nifti(np.zeros((9, 8, 7), np.int16)))


@pytest.mark.parametrize(("name", "module"), [("x.dcm", "pydicom"), ("x.nii", "nibabel")])
def test_without_the_extra_it_is_named(tmp_path, monkeypatch, name, module):
    data = dicom(heat()) if name == "x.dcm" else nifti(heat())
    monkeypatch.setitem(__import__("sys").modules, module, None)
    with pytest.raises(ValueError, match=rf"needs {module}: pip install -e '\.\[medical\]'"):
        read(tmp_path / name, data)
