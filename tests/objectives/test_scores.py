"""The objective `scores`: its terms are the metrics of the picture that would be saved, and it trains any network."""

import pytest
import torch

from fusion import images, infer
from fusion.data.folder import find_pairs
from fusion.metrics import evaluate
from fusion.networks import SHIP, CDDFuse, Swift
from fusion.objectives.scores import ScoresObjective, outside, saved

WEIGHTS = ScoresObjective.published


@pytest.fixture
def pair(root):
    """A sample pair as a batch of one, and its grey levels."""
    found = find_pairs(root / "test_img" / "sample").pairs[0]
    planes = [images.luminance(images.read(path)) for path in (found.ir, found.vis)]
    batch = {key: torch.from_numpy(plane)[None, None] for key, plane in zip(("ir", "vis"), planes, strict=True)}
    return batch, [images.grey_levels(images.read(path)) for path in (found.ir, found.vis)]


def test_the_terms_are_the_scores_of_the_picture_that_is_saved(pair):
    batch, levels = pair
    torch.manual_seed(0)
    network = Swift()
    terms = ScoresObjective(network=network, weights=WEIGHTS)(batch)
    fused = infer.fuse(network.eval(), *(plane.astype("uint8") for plane in levels), output="gray")
    scores = evaluate(fused, *levels, names=["SCD", "VIF", "SSIM"])
    assert 2 - terms["SCD"].item() == pytest.approx(scores["SCD"], abs=1e-3)
    assert 2 - terms["VIF"].item() == pytest.approx(scores["VIF"], rel=0.01)
    assert 2 - terms["SSIM"].item() == pytest.approx(scores["SSIM"], abs=1e-3)


def test_hinges_are_silent_once_there_is_enough(pair):
    batch, _ = pair
    torch.manual_seed(0)
    little = ScoresObjective(network=Swift(), weights=WEIGHTS, contrast=0.1, frequency=0.1, entropy=-8)(batch)
    much = ScoresObjective(network=Swift(), weights=WEIGHTS, contrast=9, frequency=9, entropy=8)(batch)
    for name in ("SD", "SF", "EN"):
        assert little[name] == 0
        assert much[name] > 0


def test_rounding_lets_gradients_pass_and_clamping_does_not():
    raw = torch.tensor([-0.5, 0.3, 0.5, 1.5]).reshape(1, 1, 2, 2).requires_grad_()
    levels = saved(raw)
    assert levels.flatten().tolist() == [0, 76, 128, 255]
    (gradient,) = torch.autograd.grad(levels.sum(), raw)
    assert gradient.flatten().tolist() == [0, 255, 255, 0]
    (gradient,) = torch.autograd.grad(outside(raw), raw)
    assert gradient.flatten().tolist() == [-0.25, 0, 0, 0.25]


@pytest.mark.parametrize(
    "network",
    [CDDFuse(dim=8, heads=2, blocks=1), SHIP(channels=4, interactions=2), Swift()],
    ids=lambda n: type(n).__name__,
)
def test_trains_any_learned_network(network):
    batch = dict(zip(("ir", "vis"), torch.rand(2, 2, 1, 48, 48), strict=True))
    objective = ScoresObjective(network=network, weights=WEIGHTS)
    assert objective.trains == tuple(name for name, _ in network.named_children())
    objective(batch)["total"].backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())
