"""The objective `scores`: its terms are the metrics of the picture that would be saved, and it trains any network."""

import numpy as np
import pytest
import torch

from fusion import images, infer
from fusion.data.folder import find_pairs
from fusion.metrics import evaluate
from fusion.networks import SHIP, CDDFuse, Swift
from fusion.objectives.scores import BRIGHT, DARK, WANTED, ScoresObjective, enough, outside, saved, scores

WEIGHTS = ScoresObjective.published


@pytest.fixture
def pair(root):
    """A sample pair as a batch of one, and its grey levels."""
    found = find_pairs(root / "test_img" / "sample").pairs[0]
    levels = [images.grey_levels(images.read(path)) for path in (found.ir, found.vis)]
    planes = [torch.from_numpy(plane).float()[None, None] / 255 for plane in levels]
    return dict(zip(("ir", "vis"), planes, strict=True)), levels


def test_the_scores_are_those_of_the_picture_that_is_saved(pair):
    batch, levels = pair
    torch.manual_seed(0)
    network = Swift().eval()
    with torch.no_grad():
        found = scores(saved(network.raw(**batch)), saved(batch["ir"]), saved(batch["vis"]))
    fused = infer.fuse(network, *(plane.astype("uint8") for plane in levels), output="gray")
    expected = evaluate(fused, *levels, names=["SD", "SF", "SCD", "VIF", "SSIM"])
    for name in ("SD", "SF", "SCD", "SSIM"):
        assert found[name].item() == pytest.approx(expected[name], abs=1e-3), name
    assert found["VIF"].item() == pytest.approx(expected["VIF"], rel=0.01)


def test_a_term_is_the_part_that_is_lacking(pair):
    batch, levels = pair
    torch.manual_seed(0)
    network = Swift().eval()
    twice = dict.fromkeys(WANTED, (2.0, 2.0))
    terms = ScoresObjective(network=network, weights=WEIGHTS, wanted=twice)(batch)
    fused = infer.fuse(network, *(plane.astype("uint8") for plane in levels), output="gray")
    simplest = np.maximum(*levels)
    for name in ("SD", "SF", "SSIM"):
        has, brightest = (evaluate(picture, *levels, names=[name])[name] for picture in (fused, simplest))
        assert terms[name].item() == pytest.approx(1 - has / (2 * brightest), abs=1e-4), name
    has = evaluate(fused, *levels, names=["SCD"])["SCD"]
    assert terms["SCD"].item() == pytest.approx(1 - has / 2, abs=1e-4)


def test_terms_are_silent_once_there_is_enough(pair):
    batch, _ = pair
    torch.manual_seed(0)
    network = Swift()
    low = {**dict.fromkeys(WANTED, (0.1, 0.1)), "EN": (-3, -3)}
    little = ScoresObjective(network=network, weights=WEIGHTS, wanted=low)(batch)
    much = ScoresObjective(network=network, weights=WEIGHTS, wanted=dict.fromkeys(WANTED, (9, 9)))(batch)
    assert all(little[name] == 0 and much[name] > 0 for name in WANTED)


def test_what_is_wanted_goes_from_dark_scenes_to_bright_ones():
    dark, between, bright = (torch.full((1, 1, 48, 48), level) for level in (DARK, (DARK + BRIGHT) / 2, BRIGHT))
    wanted = {**WANTED, "SCD": (1.0, 2.0)}
    asked = [enough(x, x, wanted)["SCD"].item() for x in (0 * dark, dark, between, bright)]
    assert asked == pytest.approx([1, 1, 1.5, 2])


def test_a_score_that_is_none_is_refused():
    with pytest.raises(ValueError, match=r"wanted: expected scores out of EN, .*, got Qabg\. Did you mean 'Qabf'\?"):
        ScoresObjective(network=Swift(), weights=WEIGHTS, wanted={"Qabg": (1, 1)})


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
