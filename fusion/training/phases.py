"""The plan of a run, as values: its phases, how often something is due, and who judges the network.

A phase says which parts learn what, for how long. CDDFuse has two, SHIP one.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from torch import nn


@dataclass(frozen=True)
class Phase:
    """Steps up to `end` (not included), counted from the start of the run.

    objective: a module from batch to `{"total", term, ...}` that holds the network as `network`.
    trains: names of the network's children that learn; the others are frozen.
    clip: largest L2 norm of each part's gradient, infinite for no limit.
    """

    name: str
    end: int
    objective: nn.Module
    trains: tuple[str, ...]
    clip: float = math.inf


def trained_steps(phases: list[Phase]) -> dict[str, int]:
    """Part -> how many steps it learns in all phases together."""
    steps: dict[str, int] = {}
    start = 0
    for phase in phases:
        for part in phase.trains:
            steps[part] = steps.get(part, 0) + phase.end - start
        start = phase.end
    return steps


@dataclass(frozen=True)
class Every:
    """How often, in steps; 0: at the end only."""

    log: int = 50
    save: int = 1000
    validate: int = 0


@dataclass(frozen=True)
class Judge:
    """Validation as the trainer sees it.

    measure: network -> {metric: value}, called in one process only. by, higher_is_better: what `best.pt` is best by.
    """

    measure: Callable[[nn.Module], dict[str, float]]
    by: str
    higher_is_better: bool

    def prefers(self, new: float, old: float | None) -> bool:
        return math.isfinite(new) and (old is None or (new > old if self.higher_is_better else new < old))
