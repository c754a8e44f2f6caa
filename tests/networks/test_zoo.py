"""Learned methods of other authors: raw output, finished pictures and recognition from the released files.

The reference arrays were made by independent programs from the authors' weights.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch

from fusion import build, images, infer, metrics, weights
from fusion.pairing import pair_folders

SCENES = ("TNO_07", "RoadScene_FLIR_06974")


@dataclass(frozen=True)
class Case:
    """One released file.

    options: what the file tells. stated: options that it cannot tell. scale: of the reference's numbers. signed: its
    raw output is on [-1, 1]. raw: which of its arrays is the raw output; one in colour belongs to the method's
    `channelwise`. pictures: array of a finished picture -> what makes it. tolerance: of the raw output, on [0, 1].
    """

    method: str
    file: str
    scenes: tuple[str, ...] = SCENES
    options: dict = field(default_factory=dict)
    stated: dict = field(default_factory=dict)
    scale: int = 1
    signed: bool = False
    raw: str = "raw"
    pictures: dict[str, str] = field(default_factory=lambda: {"picture": "gray", "picture_rgb": "colour"})
    tolerance: float = 1e-5


CASES = [
    Case("u2fusion", "model.ckpt.data-00000-of-00001"),
    Case("sdnet", "SDNet.model.data-00000-of-00001", signed=True),
    Case("tardal", "tardal.pt"),
    Case("tardal", "tardal.pt", stated={"statistics": "picture"}, raw="raw_batch_statistics", pictures={}),
    Case("tardal", "tardal+.pt", raw="raw_plus", pictures={}),
    Case("tardal", "tardal++.pt", raw="raw_plusplus", pictures={}),
    Case("reconet", "params.pth"),
    Case("didfuse", "Encoder.pkl"),
    Case("didfuse", "Decoder.pkl", stated={"merge": "average"}, raw="raw_average", pictures={}),
    Case("didfuse", "", stated={"merge": "l1"}, raw="raw_l1", pictures={}),
    Case("lrrnet", "final_lrr_net_lam2_1.5_wir_3.0_lam3_gram_2000_epoch_4_block_4.model"),
    Case("seafusion", "SeAFusion.pth"),
    Case("densefuse", "densefuse_gray.model", scale=255, pictures={"picture": "gray"}),
    Case("densefuse", "densefuse_rgb.model", SCENES[1:], {"channels": 3}, scale=255, raw="raw_rgb", pictures={}),
    Case("ifcnn", "IFCNN-MAX.pth"),
    Case("ifcnn", "IFCNN-SUM.pth", options={"rule": "sum"}, raw="raw_sum", pictures={"picture_sum": "gray"}),
    Case("ifcnn", "IFCNN-MEAN.pth", options={"rule": "mean"}, raw="raw_mean", pictures={"picture_mean": "gray"}),
    Case("mmdrfuse", "student.model"),
    Case("refusion", "ReFusion_IVIF.pth"),
    Case("refusion", "ReFusion_MIF.pth", ("MRI_PET_21",)),
    Case("sage", "checkpoints.pt"),
    Case("sfdfusion", "model-1_1_10_1.pth"),
]


def arrays(shared, case: Case, scene: str) -> dict[str, np.ndarray]:
    with np.load(shared / "golden/zoo" / case.method / "raw.npz") as every:
        return {key.rpartition("/")[2]: every[key] for key in every.files if key.startswith(f"{scene}/")}


def sources(golden: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """The pair as files hold it, in colour where there is a coloured one."""
    return tuple(next(golden[key] for key in (f"{p}_rgb8", f"{p}8") if key in golden) for p in ("ir", "vis"))


def raw_output(network, golden: dict[str, np.ndarray], case: Case) -> np.ndarray:
    """(h, w) or (3, h, w) on the reference's scale, from the planes that the reference was given."""
    ir, vis = (torch.from_numpy(golden[key] / np.float32(case.scale))[None, None] for key in ("in_ir", "in_vis"))
    with torch.inference_mode():
        if golden[case.raw].ndim == 2:
            raw = network.raw(ir, vis)[0, 0].numpy() * case.scale
            return 2 * raw - 1 if case.signed else raw
        if case.raw == "raw_rgb":
            vis = torch.from_numpy(golden["vis_rgb8"]).movedim(2, 0)[None] / 255
        return network.channelwise(*(x.expand(-1, 3, -1, -1) for x in (ir, vis)))[0].numpy() * case.scale


METHODS = sorted({case.method for case in CASES})


def test_released_files(shared):
    """Method and options are found in the file; raw output and finished pictures are the reference's."""
    for case in CASES:
        path = shared / "golden/zoo" / case.method / case.file
        assert weights.identify(path) == (case.method, case.options), case.file
        network = build.network(case.method, path, case.stated)
        for scene in case.scenes:
            golden = arrays(shared, case, scene)
            raw = raw_output(network, golden, case)
            assert np.abs(raw - golden[case.raw]).max() <= case.tolerance * case.scale, (case.file, scene)
            for key in case.pictures.keys() & golden.keys():
                compare(network, golden, key, case.pictures[key], scene)


def compare(network, golden, key, output, scene):
    """At most one level, in at most 0.1 % of the values."""
    ir, vis = sources(golden)
    if output == "colour" and not (images.is_coloured(ir) or images.is_coloured(vis)):
        return  # what is gray stays so here; SAGE's program would tint it
    task = "medical" if scene.startswith("MRI") else "infrared-visible"
    difference = np.abs(infer.fuse(network, ir, vis, output=output, task=task).astype(int) - golden[key])
    assert difference.max() <= 1, (scene, key)
    assert (difference > 0).mean() <= 1e-3, (scene, key)


def test_medical_pairs_of_u2fusion(shared):
    """Its authors put PET before MRI: the reference's output with infrared, which stands where PET does, first."""
    case = next(case for case in CASES if case.method == "u2fusion")
    network = build.network(case.method, shared / "golden/zoo" / case.method / case.file)
    for scene in case.scenes:
        golden = arrays(shared, case, scene)
        raw = infer.run(network, *infer.input_planes(network, *sources(golden), "medical"))
        assert np.abs(raw - golden["raw_swapped"]).max() <= case.tolerance, scene


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("method", METHODS)
def test_scores_on_tno(method, shared):
    """The means over 25 pairs of the reference's pictures, to its printed digits."""
    folder = shared / "golden/zoo" / method
    expected = json.loads((folder / "scores.json").read_text())
    network = build.network(method, next(folder / c.file for c in CASES if c.method == method))
    chosen, rows = metrics.select("cddfuse", list(expected["mean"])), []
    for pair in pair_folders(shared / "data/TNO/ir", shared / "data/TNO/vi").pairs:
        ir, vis = images.read(pair.ir), images.read(pair.vis)
        planes = [images.grey_levels(p) for p in (infer.fuse(network, ir, vis, output="gray"), ir, vis)]
        rows.append([metric(*planes) for metric in chosen.values()])
    means = dict(zip(chosen, np.mean(rows, axis=0), strict=True))
    # Half of the last digit that tables print: single pixels differ by a level.
    off = {n: (means[n], value) for n, value in expected["mean"].items() if abs(means[n] - value) > 5e-3}
    assert len(rows) == expected["pairs"]
    assert not off
