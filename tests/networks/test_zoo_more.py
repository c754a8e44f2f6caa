"""Learned methods of other authors: raw output, finished pictures and recognition from the released files.

The reference arrays were made by independent programs from the authors' weights.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest
import torch

from fusion import build, infer, weights

SCENES = ("TNO_07", "RoadScene_FLIR_06974")


@dataclass(frozen=True)
class Case:
    """One released file. tolerance: of the raw output, on [0, 1]."""

    method: str
    file: str
    scenes: tuple[str, ...] = SCENES
    options: dict = field(default_factory=dict)
    tolerance: float = 1e-5


CASES = [
    Case("seafusion", "SeAFusion.pth"),
]


def arrays(shared, case: Case, scene: str) -> dict[str, np.ndarray]:
    with np.load(shared / "golden/zoo" / case.method / "raw.npz") as every:
        return {key.rpartition("/")[2]: every[key] for key in every.files if key.startswith(f"{scene}/")}


def sources(golden: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """The pair as files hold it, in colour where there is a coloured one."""
    return tuple(next(golden[key] for key in (f"{p}_rgb8", f"{p}8") if key in golden) for p in ("ir", "vis"))


def planes(golden: dict[str, np.ndarray]) -> tuple[torch.Tensor, torch.Tensor]:
    return tuple(torch.from_numpy(golden[key])[None, None] for key in ("in_ir", "in_vis"))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.file)
def test_the_released_file(case, shared):
    """Its method and options are found in it; raw output and finished pictures are the reference's."""
    path = shared / "golden/zoo" / case.method / case.file
    assert weights.identify(path) == (case.method, case.options)
    network = build.network(case.method, path).eval()
    for scene in case.scenes:
        golden = arrays(shared, case, scene)
        with torch.inference_mode():
            raw = network.raw(*planes(golden))[0, 0].numpy()
        assert np.abs(raw - golden["raw"]).max() <= case.tolerance, scene
        for key, output in (("picture", "gray"), ("picture_rgb", "colour")):
            if key in golden:
                compare(network, golden, key, output, scene)


def compare(network, golden, key, output, scene):
    """At most one level, in at most 0.1 % of the values."""
    task = "medical" if scene.startswith("MRI") else "infrared-visible"
    picture = infer.fuse(network, *sources(golden), output=output, task=task)
    expected = golden[key]
    if picture.ndim < expected.ndim:  # a gray picture saved with three channels
        picture = np.repeat(picture[..., None], 3, axis=2)
    difference = np.abs(picture.astype(int) - expected)
    assert difference.max() <= 1, (scene, key)
    assert (difference > 0).mean() <= 1e-3, (scene, key)
