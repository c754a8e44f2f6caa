"""Data: patch files, folders of pairs, saliency masks, and which samples make a batch. One import a file."""

from fusion.data import folder, patch_data, patches, saliency, sampler

__all__ = ["folder", "patch_data", "patches", "saliency", "sampler"]
