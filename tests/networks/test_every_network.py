"""What every registered network promises; a new network is tested here without a new line."""

import pickle

import pytest
import torch
from torch import nn

import fusion.networks  # noqa: F401 -- registers the networks
from fusion import build, weights
from fusion.networks.base import Network, folded
from fusion.registry import NETWORKS

SIZES = [(32, 32), (31, 33), (47, 49), (33, 100)]


@pytest.fixture(params=sorted(NETWORKS))
def network(request) -> Network:
    torch.manual_seed(0)
    return build.network(request.param)


def sizes(network):
    """The odd sizes, moved up where the method needs more pixels."""
    lift = max(0, network.min_size - 31)
    return [(network.min_size, network.min_size), *((h + lift, w + lift) for h, w in SIZES)]


def test_keeps_the_contract_at_any_size(network):
    for h, w in sizes(network):
        ir, vis = torch.rand(2, 1, 1, h, w)
        with torch.inference_mode():
            fused = network(ir, vis)
        assert fused.shape == (1, 1, h, w)
        assert fused.dtype == torch.float32
        assert fused.isfinite().all()
        assert fused.min() >= 0
        assert fused.max() <= 1


def test_is_a_function_of_its_input(network):
    n = max(64, network.min_size)
    ir, vis = torch.rand(2, 1, 1, n, n + 1)
    before = ir.clone(), vis.clone()
    with torch.inference_mode():
        first, second = network(ir, vis), network(ir, vis)
    assert torch.equal(first, second)
    assert torch.equal(ir, before[0])
    assert torch.equal(vis, before[1])
    with torch.inference_mode():
        assert not torch.equal(network(ir, 1 - vis), first)
        assert not torch.equal(network(1 - ir, vis), first)


def test_a_batch_equals_single_images(network):
    n = max(24, network.min_size)
    # In float64, because a batch may sum in another order.
    network, (ir, vis) = network.double(), torch.rand(2, 2, 1, n, n, dtype=torch.float64)
    with torch.inference_mode():
        each = torch.cat([network(i[None], v[None]) for i, v in zip(ir, vis, strict=True)])
        torch.testing.assert_close(network(ir, vis), each, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("ir_level", "vis_level"), [(0.0, 0.0), (1.0, 1.0), (0.5, 0.25), (0.0, 1.0)])
def test_constant_images(network, ir_level, vis_level):
    n = max(32, network.min_size)
    with torch.inference_mode():
        fused = network(torch.full((1, 1, n, n), ir_level), torch.full((1, 1, n, n), vis_level))
    assert fused.isfinite().all()


def test_gradients_reach_every_weight(network):
    """With a random direction, so that no weight's gradient vanishes by symmetry."""
    if not network.learned:
        assert list(network.parameters()) == []
        return
    ir, vis = torch.rand(2, 1, 1, 33, 35)
    raw = network.raw(ir, vis)
    (raw * torch.randn_like(raw)).sum().backward()
    without = [k for k, p in network.named_parameters() if p.grad is None or not p.grad.isfinite().all()]
    assert without == []
    silent = [k for k, p in network.named_parameters() if not p.grad.any()]
    assert silent == []


def test_parts_are_named_children(network):
    """Training freezes, clips and schedules by part: every weight belongs to one."""
    in_parts = sum(p.numel() for part in network.children() for p in part.parameters())
    assert in_parts == sum(p.numel() for p in network.parameters())


def norms_of(network) -> list[nn.BatchNorm2d]:
    return [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]


def test_without_its_batch_norms(network):
    """Norms inside the convolutions are the same function: float64, with statistics as training leaves them."""
    if network.inference_form.__func__ is not Network.inference_form:
        return  # it has a form of its own
    for norm in norms_of(network.double()):
        for values, (low, high) in zip(
            (norm.running_mean, norm.running_var, norm.weight.data, norm.bias.data),
            ((-0.2, 0.2), (0.5, 2), (0.5, 1.5), (-0.2, 0.2)),
            strict=True,
        ):
            values.uniform_(low, high)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    other = folded(network.train())
    assert norms_of(other) == []
    assert network.training
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    ir, vis = torch.rand(2, 1, 1, 33, 35, dtype=torch.float64)
    with torch.inference_mode():
        torch.testing.assert_close(other.raw(ir, vis), network.eval().raw(ir, vis), rtol=0, atol=1e-12)


def test_goes_to_another_process(network):
    """As `costs` sends it."""
    again = pickle.loads(pickle.dumps(network))
    for key, value in network.state_dict().items():
        assert torch.equal(value, again.state_dict()[key]), key


def test_norms_by_the_pictures_own_statistics_stay():
    network = build.network("tardal", options={"statistics": "picture"})
    assert len(norms_of(folded(network))) == len(norms_of(network)) == 6


def test_save_and_load(network, tmp_path, request):
    name = request.node.callspec.params["network"]
    weights.save(tmp_path / "w.safetensors", network, name=name)
    if not network.learned:
        with pytest.raises(ValueError, match="rule-based and takes no weights"):
            build.network(name, tmp_path / "w.safetensors")
        return
    torch.manual_seed(1)
    loaded = build.network(name, tmp_path / "w.safetensors")
    for key, value in network.state_dict().items():
        assert torch.equal(value, loaded.state_dict()[key]), key


def test_its_state_dict_says_what_it_is(network, request):
    """Of which network and with which options, by keys and shapes alone."""
    if not network.learned:
        assert weights.recognised(network.state_dict()) == {}
        return
    name = request.node.callspec.params["network"]
    found = weights.recognised(network.state_dict())
    assert list(found) == [name]
    again = build.network(name, options=found[name])
    assert {k: v.shape for k, v in again.state_dict().items()} == {k: v.shape for k, v in network.state_dict().items()}
