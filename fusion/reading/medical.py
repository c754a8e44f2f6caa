"""DICOM by pydicom and NIfTI by nibabel, which `pip install '.[medical]'` brings: one slice a file.

What DICOM says of its own display is obeyed: rescaling, the first window, inverted gray, palettes. NIfTI says nothing
of it; slices are shown as radiologists see them, the patient's right on the left side.
"""

from __future__ import annotations

import gzip
from io import BytesIO
from pathlib import Path

import numpy as np

from fusion.reading.samples import Samples, of_bits, of_type

EXTRA = "pip install -e '.[medical]'"


def dicom(data: bytes, path: str | Path) -> Samples:
    """One frame; counts in the units of the file's rescaling, black to white over its first window."""
    try:
        import pydicom
        from pydicom.pixels import apply_modality_lut
    except ImportError:
        raise ValueError(f"{path} is DICOM, which needs pydicom: {EXTRA}") from None
    try:
        file = pydicom.dcmread(BytesIO(data), force=False)
        values = file.pixel_array
    except Exception as error:  # pydicom raises what its decoders raise
        reason = " ".join(str(error).split())[:100]
        raise ValueError(f"{path} cannot be decoded as DICOM: {reason}") from None
    frames = int(file.get("NumberOfFrames", 1) or 1)
    if frames > 1:
        raise ValueError(f"{path} holds {frames} frames: expected one slice; save the one you mean as a file")
    if file.get("SamplesPerPixel", 1) == 3 or file.PhotometricInterpretation == "PALETTE COLOR":
        return of_type(_coloured(file, values))
    values = apply_modality_lut(values, file)
    window = _window(file)
    if file.PhotometricInterpretation == "MONOCHROME1":
        values = -values.astype(np.float64)
        window = (-window[1], -window[0]) if window else None
    notes = []
    if window:
        text = f"is shown in its own window, {window[0]:g} to {window[1]:g}: --range LOW..HIGH sets another"
        notes.append(("window", text))
    return Samples(np.ascontiguousarray(values), window, notes)


def _coloured(file, values: np.ndarray) -> np.ndarray:
    from pydicom.pixels import apply_color_lut, convert_color_space

    if file.PhotometricInterpretation == "PALETTE COLOR":
        colours = apply_color_lut(values, file)
        return colours if colours.dtype == np.uint8 else (colours >> 8).astype(np.uint8)
    if file.PhotometricInterpretation.startswith("YBR"):
        values = convert_color_space(values, file.PhotometricInterpretation, "RGB", per_frame=True)
    return of_bits(values, int(file.BitsStored))


def _window(file) -> tuple[float, float] | None:
    """The first window, (lowest, highest) in rescaled counts (PS3.3 C.11.2.1.2); None where there is none."""
    centre, width = (file.get(name) for name in ("WindowCenter", "WindowWidth"))
    if centre in (None, "") or width in (None, ""):
        return None
    centre, width = (float(x[0] if hasattr(x, "__len__") and not isinstance(x, str) else x) for x in (centre, width))
    return (centre - 0.5 - (width - 1) / 2, centre - 0.5 + (width - 1) / 2) if width > 1 else None


def nifti(data: bytes, path: str | Path) -> Samples:
    """One slice, rescaled as the file says; rows from front to back, columns from the patient's right to left."""
    try:
        import nibabel
    except ImportError:
        raise ValueError(f"{path} is NIfTI, which needs nibabel: {EXTRA}") from None
    try:
        plain = gzip.decompress(data) if data.startswith(b"\x1f\x8b") else data
        image = nibabel.Nifti1Image.from_bytes(plain)
        values = np.asanyarray(nibabel.as_closest_canonical(image).dataobj)
    except Exception as error:
        reason = " ".join(str(error).split())[:100]
        raise ValueError(f"{path} cannot be decoded as NIfTI: {reason}") from None
    if values.dtype.names:  # RGB24
        values = np.stack([values[name] for name in ("R", "G", "B")], axis=-1)
    shape = values.shape
    flat = values.reshape([n for n in shape if n != 1] or [1])
    if flat.ndim != 2 and not (flat.ndim == 3 and flat.shape[2] == 3 and values.dtype == np.uint8):
        size = "x".join(map(str, shape))
        raise ValueError(f"{path} is a volume of {size}: expected one slice; save the one you mean as a file")
    return of_type(np.ascontiguousarray(flat.swapaxes(0, 1)[::-1, ::-1]))
