"""Fixtures of the training tests: every test starts without accelerate's state, which lives as long as the process."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from accelerate.state import AcceleratorState, PartialState

HERE = Path(__file__).resolve().parent


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


@pytest.fixture
def scenario() -> Callable[..., subprocess.CompletedProcess]:
    """Run a scenario of tiny.py in a process of its own, under torchrun where `processes` are asked for."""

    def run(name: str, folder: Path, processes: int = 1) -> subprocess.CompletedProcess:
        run_all = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
        torchrun = run_all if processes > 1 else []
        paths = [str(HERE.parents[1]), os.environ.get("PYTHONPATH", "")]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths)), "OMP_NUM_THREADS": "1"}
        command = [sys.executable, *torchrun, str(HERE / "tiny.py"), name, str(folder)]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)

    return run
