"""CDDFuse on real pairs against the outputs of the authors' program, made with a checkpoint of random weights in their
format (on the sample pairs: `test_cddfuse_golden.py`); and its options."""

import numpy as np
import pytest
import torch

from fusion import weights
from fusion.networks.learned.cddfuse import CDDFuse

# Two float32 results of one function: 15 times what the authors' own float32 lies from their float64 on crops of the
# sample pairs (`test_cddfuse_golden.py`), 1.4e-6. A scan's background is constant, and long float32 sums over it leave
# the authors' own arrays 2.9e-5 from the float64 result: there, 15 times that.
TOLERANCE = {"IVF": 2e-5, "MIF": 4.3e-4}

JOBS = {
    "TNO_07_IVF": "vis",
    "MRI_CT_11_MIF_sum": "sum",
    "MRI_CT_11_MIF_none": "none",
    "TNO_19_IVF": "vis",
    "RoadScene_FLIR_06974_IVF": "vis",
}
QUICK = ("TNO_07_IVF", "MRI_CT_11_MIF_sum", "MRI_CT_11_MIF_none")


@pytest.fixture(scope="module")
def checkpoint(shared):
    return shared / "golden/cddfuse/official_format_seed0_perturbed.pth"


def load(checkpoint, **options) -> CDDFuse:
    network = CDDFuse(**options).eval()
    weights.load(network, checkpoint)
    return network


def planes(arrays, *names):
    return (torch.from_numpy(arrays[name])[None, None] for name in names)


def test_published_size():
    network = CDDFuse()
    assert sum(p.numel() for p in network.parameters()) == 1_188_272
    sizes = {name: sum(p.numel() for p in part.parameters()) for name, part in network.named_children()}
    assert sizes == {"encoder": 599_144, "decoder": 207_936, "base_fusion": 363_016, "detail_fusion": 18_176}


@pytest.mark.parametrize("jobs", [QUICK, pytest.param([*JOBS.keys() - QUICK], marks=pytest.mark.slow)])
def test_raw_output(jobs, checkpoint, shared):
    arrays = np.load(shared / "golden/cddfuse/infer.npz")
    for job in jobs:
        ir, vis, expected = planes(arrays, f"{job}/in_ir", f"{job}/in_vis", f"{job}/raw")
        with torch.inference_mode():
            raw = load(checkpoint, skip=JOBS[job]).raw(ir, vis)
        assert (raw - expected).abs().max() < TOLERANCE["MIF" if "MIF" in job else "IVF"], job


@pytest.mark.slow
def test_float64_is_as_far_from_the_recorded_scan_as_their_float32_is(checkpoint, shared):
    """No processor moves either."""
    arrays = np.load(shared / "golden/cddfuse/infer.npz")
    ir, vis, expected = planes(arrays, *(f"MRI_CT_11_MIF_none/{name}" for name in ("in_ir", "in_vis", "raw")))
    with torch.inference_mode():
        raw = load(checkpoint, skip="none").double().raw(ir.double(), vis.double())
    assert (raw - expected).abs().max() < 3e-5


def test_skip_acts():
    torch.manual_seed(0)
    network = CDDFuse(dim=16, blocks=1).double().eval()
    ir, vis = torch.rand(2, 1, 1, 24, 24, dtype=torch.float64)
    outputs = {}
    for network.skip in ("vis", "sum", "none"):
        with torch.inference_mode():
            outputs[network.skip] = network.raw(ir, vis).logit()
    assert torch.allclose(outputs["vis"] - outputs["none"], vis, rtol=0, atol=1e-12)
    assert torch.allclose(outputs["sum"] - outputs["none"], vis + ir, rtol=0, atol=1e-12)


@pytest.mark.parametrize("options", [{"dim": 12, "heads": 8}, {"dim": 9, "heads": 3}, {"skip": "ir"}])
def test_refuses_impossible_options(options):
    with pytest.raises(ValueError, match="must be"):
        CDDFuse(**options)
