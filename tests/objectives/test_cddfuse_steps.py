"""One training step of each CDDFuse phase against the authors' program; and what the skip image changes."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from fusion.networks.learned.cddfuse import AUTHORS_PARTS, CDDFuse, _our_key
from fusion.objectives import CDDFuseFusion, CDDFuseReconstruction

PHASES = {
    "phase1_perturbed": (
        CDDFuseReconstruction,
        {
            "ssim_vis": "ssim_V",
            "mse_vis": "mse_V",
            "ssim_ir": "ssim_I",
            "mse_ir": "mse_I",
            "decomposition": "loss_decomp",
            "gradient": "Gradient_loss",
            "total": "total",
        },
    ),
    "phase2_perturbed": (
        CDDFuseFusion,
        {"intensity": "loss_in", "gradient": "loss_grad", "decomposition": "loss_decomp", "total": "total"},
    ),
}


def authors_state(path):
    return CDDFuse.from_authors(torch.load(path, weights_only=True))


def norm(parameters):
    return sum(p.grad.double().square().sum() for p in parameters).sqrt().item()


def batch(folder):
    return {name: torch.from_numpy(np.load(folder / f"batch_{name}.npy")) for name in ("ir", "vis")}


@pytest.fixture(scope="module", params=PHASES)
def step(request, shared):
    """A whole step as the authors take it: losses, gradients, clip each part to 0.01, Adam at 1e-4."""
    folder = shared / "golden/cddfuse/train"
    cls, names = PHASES[request.param]
    network = CDDFuse()
    network.load_state_dict(authors_state(folder.parent / "official_format_seed0_perturbed.pth"))
    objective = cls(network=network, weights=cls.published)
    for name, part in network.named_children():
        part.requires_grad_(name in cls.trains)
    decoded = []
    watch = network.decoder.register_forward_hook(lambda module, inputs, image: decoded.append(image.detach()))
    losses = objective(batch(folder))
    watch.remove()
    losses["total"].backward()
    parts = {name: list(getattr(network, name).parameters()) for name in cls.trains}
    before = {name: norm(parameters) for name, parameters in parts.items()}
    each = {name: p.grad.norm().item() for name, p in network.named_parameters() if p.grad is not None}
    for parameters in parts.values():
        torch.nn.utils.clip_grad_norm_(parameters, 0.01)
    after = {name: norm(parameters) for name, parameters in parts.items()}
    torch.optim.Adam([p for p in network.parameters() if p.requires_grad], lr=1e-4).step()
    return SimpleNamespace(
        golden=json.loads((folder / "steps.json").read_text())[request.param],
        expected=authors_state(folder / f"{request.param}_after_step.pth"),
        names=names,
        losses={name: x.item() for name, x in losses.items()},
        norms={"gradient_norm_before_clip": before, "gradient_norm_after_clip": after},
        each=each,
        state=network.state_dict(),
        decoded=decoded[0],
        outputs=dict(np.load(folder / f"{request.param}_outputs.npz")),
    )


# Measured on the machine of the golden data, and with its AVX2 code: terms 6e-7 and 1e-6, norms per part 1.4e-6 and
# 1.5e-5, per parameter 4.5e-5 both, weights within 1e-6 for all but 1e-6 and 4e-5 of the elements, 9e-6 for all.


@pytest.mark.shared
def test_every_term(step):
    assert step.losses.keys() == step.names.keys()
    for ours, theirs in step.names.items():
        assert step.losses[ours] == pytest.approx(step.golden["losses"][theirs], rel=1e-5), ours


@pytest.mark.shared
@pytest.mark.parametrize("moment", ["gradient_norm_before_clip", "gradient_norm_after_clip"])
def test_gradient_norms_of_parts(step, moment):
    expected = {AUTHORS_PARTS[part]: x for part, x in step.golden[moment].items() if x is not None}
    assert step.norms[moment] == pytest.approx(expected, rel=1e-4)


@pytest.mark.shared
def test_gradient_norms_of_parameters(step):
    expected = {
        f"{AUTHORS_PARTS[part]}.{_our_key(key)}": x
        for part, parameters in step.golden["per_parameter_gradient_norm"].items()
        for key, x in parameters.items()
        if x is not None
    }
    assert step.each == pytest.approx(expected, rel=2e-4)


@pytest.mark.shared
def test_weights_after_the_step(step):
    assert step.state.keys() == step.expected.keys()
    off = torch.cat([(x - step.expected[name]).abs().flatten() for name, x in step.state.items()])
    assert (off <= 1e-6).double().mean() >= 0.999
    assert off.max() <= 2e-4  # Adam's first step is a sign: where a gradient is rounding noise, it may point either way


@pytest.mark.shared
def test_images_before_the_step(step):
    expected = np.concatenate(list(step.outputs.values()))  # phase I: vis_hat, ir_hat
    np.testing.assert_allclose(step.decoded.numpy(), expected, rtol=0, atol=5e-6)  # 8e-7 here


# --- without reference data


def small(cls, skip="vis"):
    torch.manual_seed(0)
    return cls(network=CDDFuse(dim=8, heads=2, blocks=1, skip=skip), weights=cls.published)


@pytest.fixture
def pair():
    generator = torch.Generator().manual_seed(1)
    return {name: torch.rand((2, 1, 16, 20), generator=generator) for name in ("ir", "vis")}


@pytest.mark.parametrize("skip", ["vis", "sum", "none"])
def test_phase_two_fuses_as_the_network_does(skip, pair):
    shown = small(CDDFuseFusion, skip).pictures(pair)
    with torch.no_grad():
        fused = small(CDDFuseFusion, skip).network(**pair)
    torch.testing.assert_close(shown["fused"], fused, rtol=0, atol=0)


@pytest.mark.parametrize("skip", ["vis", "sum", "none"])
def test_phase_one_restores_each_image_alone(skip, pair):
    """One joined batch through the shared parts is the same as one image after the other."""
    objective = small(CDDFuseReconstruction, skip)
    shown = objective.pictures(pair)
    network = objective.network
    for name in ("vis", "ir"):
        with torch.no_grad():
            base, detail, _ = network.encoder(pair[name])
            alone = network.decoder(None if skip == "none" else pair[name], base, detail)
        torch.testing.assert_close(shown[f"{name}_hat"], alone, rtol=0, atol=1e-6)


@pytest.mark.parametrize("cls", [CDDFuseReconstruction, CDDFuseFusion])
def test_features_are_shown_from_black_to_white(cls, pair):
    shown = small(cls).pictures(pair)
    for name in ("base", "detail"):
        assert shown[name].amin(dim=(1, 2, 3)).tolist() == [0, 0]
        assert shown[name].amax(dim=(1, 2, 3)).tolist() == [1, 1]
