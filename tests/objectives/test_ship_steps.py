"""SHIP's objective: its options and what it needs. Against the authors' program: `test_ship_steps_golden.py`."""

import pytest
import torch

from fusion.networks.learned.ship import SHIP
from fusion.objectives import SHIPObjective


def small(**options):
    torch.manual_seed(0)
    network = SHIP(channels=4, interactions=2)
    return SHIPObjective(network=network, weights=SHIPObjective.published, **options)


def test_the_mask_option_changes_the_mask_term_alone():
    generator = torch.Generator().manual_seed(1)
    sample = {name: torch.rand((2, 1, 16, 16), generator=generator) for name in ("ir", "vis", "mask")}
    program, weighted = (small(mask=mask)(sample) for mask in ("program", "weighted"))
    assert program["mask"] != weighted["mask"]
    assert all(program[term] == weighted[term] for term in ("intensity", "gradient"))


def test_an_unknown_mask_option_is_refused():
    with pytest.raises(
        ValueError, match=r"mask must be program or weighted, got 'wieghted'\. Did you mean 'weighted'\?"
    ):
        small(mask="wieghted")


def test_a_batch_without_a_mask_is_refused():
    pair = {name: torch.rand(1, 1, 16, 16) for name in ("ir", "vis")}
    with pytest.raises(ValueError, match="no 'mask', which SHIP's loss needs: make masks with"):
        small()(pair)


def test_all_of_the_network_is_trained():
    assert [name for name, _ in small().network.named_children()] == list(SHIPObjective.trains)
