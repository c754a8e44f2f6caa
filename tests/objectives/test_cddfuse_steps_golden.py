"""One training step of both CDDFuse phases against the authors' program, on crops of the sample pairs."""

import copy
from types import SimpleNamespace

import authors
import numpy as np
import pytest
import torch

from fusion.networks.learned.cddfuse import AUTHORS_PARTS, CDDFuse, _our_key
from fusion.objectives import CDDFuseFusion, CDDFuseReconstruction

STEPS = authors.numbers("cddfuse_steps")
PHASES = {"phase1": CDDFuseReconstruction, "phase2": CDDFuseFusion}


def norm(tensors):
    return sum(x.double().square().sum() for x in tensors).sqrt().item()


def take_step(phase, dtype):
    """A whole step as the authors take it: losses, gradients, each part clipped to 0.01, Adam at 1e-4."""
    cls = PHASES[phase]
    network = authors.load(CDDFuse(), "cddfuse").to(dtype).train()
    objective = cls(network=network, weights=cls.published)
    for name, part in network.named_children():
        part.requires_grad_(name in cls.trains)
    batch = {name: authors.batch()[name].to(dtype) for name in ("ir", "vis")}
    before, decoded = copy.deepcopy(network.state_dict()), []
    watch = network.decoder.register_forward_hook(lambda module, inputs, image: decoded.append(image.detach()))
    losses = objective(batch)
    watch.remove()
    losses["total"].backward()
    gradients = {name: p.grad.clone() for name, p in network.named_parameters() if p.grad is not None}
    for name in cls.trains:
        torch.nn.utils.clip_grad_norm_(getattr(network, name).parameters(), 0.01)
    clipped = {name: norm(p.grad for p in getattr(network, name).parameters()) for name in cls.trains}
    torch.optim.Adam([p for p in network.parameters() if p.requires_grad], lr=1e-4).step()
    change = {name: x - before[name] for name, x in network.state_dict().items()}
    with torch.no_grad():
        again = objective(batch)["total"].item()

    def of_part(tensors, part):
        return norm(x for name, x in tensors.items() if name.startswith(f"{part}."))

    return SimpleNamespace(
        losses={name: x.item() for name, x in losses.items()},
        norms={theirs: of_part(gradients, ours) for theirs, ours in AUTHORS_PARTS.items() if ours in cls.trains}
        | {"all": norm(gradients.values())},
        each={name: x.norm().item() for name, x in gradients.items()},
        clipped={theirs: clipped[ours] for theirs, ours in AUTHORS_PARTS.items() if ours in cls.trains},
        change={theirs: of_part(change, ours) for theirs, ours in AUTHORS_PARTS.items()},
        again=again,
        decoded=decoded[0].numpy(),
    )


@pytest.fixture(scope="module", params=PHASES)
def phase(request):
    return request.param


@pytest.fixture(scope="module")
def wide(phase):
    return take_step(phase, torch.float64)


@pytest.fixture(scope="module")
def single(phase):
    return take_step(phase, torch.float32)


def noise(key):
    """Relative: the authors' float32 against their float64, the worst of a group in either phase."""

    def of_phase(phase):
        one, other = (STEPS[phase][kind][key] for kind in ("float32", "float64"))
        pairs = zip(one.values(), other.values(), strict=True) if isinstance(one, dict) else [(one, other)]
        return max(abs(a / b - 1) for a, b in pairs if b)

    return max(map(of_phase, PHASES))


def same(found, exact, rel):
    assert found == {name: pytest.approx(x, rel=rel, abs=0) for name, x in exact.items()}


def test_the_noise_is_that_of_float32():
    limits = {
        "losses": 6e-6,
        "gradient_norm_before_clip": 1e-4,
        "gradient_norm_after_clip": 4e-6,
        "weight_change_norm": 4e-6,
        "total_after_one_step": 3e-6,
    }
    assert {key: noise(key) < limit for key, limit in limits.items()} == dict.fromkeys(STEPS["phase1"]["float32"], True)


def losses_of(phase, step):
    """Their names are ours; the terms of which theirs prints sums are recorded one by one."""
    exact = STEPS[phase]["float64"]["losses"]
    assert step.losses.keys() <= exact.keys()
    return step.losses, {name: exact[name] for name in step.losses}


def test_float64(phase, wide):
    exact = STEPS[phase]["float64"]
    same(*losses_of(phase, wide), rel=authors.EXACT)
    same(wide.norms, exact["gradient_norm_before_clip"], rel=authors.EXACT)
    same(wide.clipped, exact["gradient_norm_after_clip"], rel=authors.EXACT)
    same(wide.change, exact["weight_change_norm"], rel=authors.EXACT)
    assert wide.again == pytest.approx(exact["total_after_one_step"], rel=authors.EXACT, abs=0)


def test_float64_of_every_parameter(phase, wide):
    """Where a gradient is nothing but rounding, none was recorded."""
    exact = {
        f"{AUTHORS_PARTS[part]}.{_our_key(key)}": x
        for part, norms in STEPS[phase]["float64"]["parameter_gradient_norm_before_clip"].items()
        for key, x in norms.items()
    }
    assert len(exact) == {"phase1": 136, "phase2": 158}[phase]
    same({name: wide.each[name] for name in exact}, exact, rel=authors.EXACT)


def test_float32(phase, single):
    """What training really computes in."""
    exact, rel = STEPS[phase]["float64"], lambda key: authors.MARGIN * noise(key)
    same(*losses_of(phase, single), rel=rel("losses"))
    same(single.norms, exact["gradient_norm_before_clip"], rel=rel("gradient_norm_before_clip"))
    same(single.clipped, exact["gradient_norm_after_clip"], rel=rel("gradient_norm_after_clip"))
    same(single.change, exact["weight_change_norm"], rel=rel("weight_change_norm"))
    assert single.again == pytest.approx(exact["total_after_one_step"], rel=rel("total_after_one_step"))


def test_images_before_the_step(phase, wide):
    names = {"phase1": ("vis_hat", "ir_hat"), "phase2": ("fused",)}[phase]
    expected = np.concatenate([authors.arrays("cddfuse")[f"steps/{phase}/{name}"] for name in names])
    # Recorded in float32; the authors' noise on their raw output is 1.4e-6.
    np.testing.assert_allclose(wide.decoded[:, 0, ::3, ::3], expected, rtol=0, atol=3e-6)
