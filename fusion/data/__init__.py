"""Data: patch files, folders of pairs, saliency masks, which samples make a batch; the pair doctor; downloads."""

from fusion.data import (
    alignment,
    diagnoses,
    doctor,
    download,
    folder,
    patch_data,
    patches,
    picture_facts,
    registration,
    saliency,
    sampler,
)

__all__ = [
    "alignment",
    "diagnoses",
    "doctor",
    "download",
    "folder",
    "patch_data",
    "patches",
    "picture_facts",
    "registration",
    "saliency",
    "sampler",
]
