"""A phase of training: which parts learn what, for how long. CDDFuse has two, SHIP one."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn


@dataclass(frozen=True)
class Phase:
    """Steps up to `end` (not included), counted from the start of the run.

    objective: a module from batch to `{"total", term, ...}` that holds the network.
    trains: names of the network's children that learn; the others are frozen.
    clip: largest L2 norm of each part's gradient, None for no limit.
    """

    name: str
    end: int
    objective: nn.Module
    trains: tuple[str, ...]
    clip: float | None = None


def trained_steps(phases: list[Phase]) -> dict[str, int]:
    """Part -> how many steps it learns in all phases together."""
    steps: dict[str, int] = {}
    start = 0
    for phase in phases:
        for part in phase.trains:
            steps[part] = steps.get(part, 0) + phase.end - start
        start = phase.end
    return steps
