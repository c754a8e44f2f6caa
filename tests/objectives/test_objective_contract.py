"""What every objective promises. Objectives come from the registry: a new one is covered without new code here."""

import math

import pytest
import torch

import fusion.networks
import fusion.objectives  # noqa: F401 -- registers the objectives
from fusion.networks import SHIP, Average, CDDFuse, Network, Swift
from fusion.registry import OBJECTIVES

SMALL = {CDDFuse: {"dim": 8, "heads": 2, "blocks": 1}, SHIP: {"channels": 4, "interactions": 2}}
ANY = {Network: Swift}  # what stands for all networks
every_objective = pytest.mark.parametrize("name", list(OBJECTIVES))


@pytest.fixture(autouse=True)
def one_thread():
    """Small tensors: a second thread gains nothing here, and on a busy machine the two wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def build(name, weights=None, **options):
    cls = OBJECTIVES[name]
    torch.manual_seed(0)
    network_class = ANY.get(cls.network_class, cls.network_class)
    network = network_class(**SMALL.get(network_class, {}), **options)
    return OBJECTIVES.build(name, {"network": network, "weights": cls.published if weights is None else weights})


def batch(size=48, level=None):
    generator = torch.Generator().manual_seed(1)
    planes = [torch.rand((2, 1, size, size), generator=generator) for _ in range(3)]
    if level is not None:
        planes = [torch.full_like(p, level) for p in planes]
    return dict(zip(("ir", "vis", "mask"), planes, strict=True)) | {"name": ["a", "b"]}


def choose_parts(objective):
    for name, part in objective.network.named_children():
        part.requires_grad_(name in objective.trains)


def refusal(*arguments, **options):
    with pytest.raises(ValueError, match=r"\S") as refused:
        build(*arguments, **options)
    assert "\n" not in str(refused.value)
    return str(refused.value)


@every_objective
def test_terms_and_weights_are_one_set_and_total_is_their_weighted_sum(name):
    weights = {term: 0.5 + i for i, term in enumerate(OBJECTIVES[name].published)}
    losses = build(name, weights)(batch())
    assert losses.keys() == {"total", *weights}
    assert all(x.shape == () and x.dtype == torch.float32 for x in losses.values())
    expected = sum(weights[term] * losses[term].item() for term in weights)
    assert losses["total"].item() == pytest.approx(expected, rel=1e-6)


@every_objective
def test_a_weight_too_few_or_too_many_is_refused(name):
    published = OBJECTIVES[name].published
    term = next(iter(published))
    message = refusal(name, {k: v for k, v in published.items() if k != term})
    assert f"Missing: '{term}' (published: {published[term]:g})" in message
    message = refusal(name, published | {term + "s": 1})
    assert f"no term '{term}s'" in message
    assert f"Did you mean '{term}'?" in message
    assert ", ".join(published) in message


@every_objective
@pytest.mark.parametrize("weight", [math.nan, math.inf, "5", True, None])
def test_a_weight_is_a_finite_number(name, weight):
    term = next(iter(OBJECTIVES[name].published))
    assert "expected a finite number" in refusal(name, OBJECTIVES[name].published | {term: weight})


@every_objective
def test_another_network_is_refused(name):
    cls = OBJECTIVES[name]
    with pytest.raises(ValueError, match=f"trains {cls.network_class.__name__}, but the network is Average") as refused:
        cls(network=Average(), weights=cls.published)
    assert "\n" not in str(refused.value)


def test_the_refusal_names_the_objectives_that_fit():
    with pytest.raises(ValueError, match=r"choose an objective of SHIP: scores, ship$"):
        OBJECTIVES["cddfuse_fusion"](network=SHIP(channels=4), weights={})


@every_objective
def test_exactly_the_parts_it_trains_get_gradients(name):
    objective = build(name)
    children = [part for part, _ in objective.network.named_children()]
    assert set(objective.trains) <= set(children)
    choose_parts(objective)
    objective(batch())["total"].backward()
    for parameter_name, parameter in objective.network.named_parameters():
        assert (parameter.grad is not None) is (parameter_name.split(".")[0] in objective.trains), parameter_name


@every_objective
def test_bf16_autocast_gives_finite_float32_terms_and_gradients(name):
    objective = build(name)
    choose_parts(objective)
    plain = objective(batch())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        losses = objective(batch())
    losses["total"].backward()
    for term, x in losses.items():
        assert x.dtype == torch.float32
        assert x.item() == pytest.approx(plain[term].item(), rel=0.1, abs=0.02)  # bfloat16 keeps 8 bits
    gradients = [p.grad for p in objective.parameters() if p.grad is not None]
    assert all(g.isfinite().all() for g in gradients)


@every_objective
@pytest.mark.parametrize("level", [0.0, 0.5, 1.0])
def test_constant_pictures_give_finite_terms_and_gradients(name, level):
    objective = build(name)
    choose_parts(objective)
    losses = objective(batch(level=level))
    losses["total"].backward()
    assert all(x.isfinite() for x in losses.values())
    for parameter_name, parameter in objective.named_parameters():
        assert parameter.grad is None or parameter.grad.isfinite().all(), parameter_name


@every_objective
def test_pictures(name):
    objective = build(name)
    objective.train()
    given = batch()
    shown = objective.pictures(given)
    assert {"ir", "vis", "fused"} <= shown.keys()
    assert objective.training
    for picture in shown.values():
        assert picture.shape == given["ir"].shape
        assert picture.dtype == torch.float32
        assert not picture.requires_grad
        assert 0 <= picture.min() <= picture.max() <= 1
    torch.testing.assert_close(shown["fused"], objective.network(given["ir"], given["vis"]).detach())


@every_objective
def test_state_is_the_networks_alone(name):
    objective = build(name)
    assert {f"network.{key}" for key in objective.network.state_dict()} == set(objective.state_dict())
