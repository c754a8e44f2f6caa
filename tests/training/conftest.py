"""Fixtures of the training tests: every test starts without accelerate's state, which lives as long as the process."""

from __future__ import annotations

import pytest
import torch
from accelerate.state import AcceleratorState, PartialState


@pytest.fixture(autouse=True)
def fresh_accelerate():
    AcceleratorState._reset_state(True)
    PartialState._reset_state()


@pytest.fixture
def one_thread():
    """Sums in an order that does not depend on the machine, and no waiting for threads in small operators."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
