"""Learning rates as tables: rate[t] for a part's t-th trained step.

Any schedule of torch or timm, by its class name, is run once on a stand-in optimizer and written down. So a part's
rate is a function of its own count alone: parts may start at different steps, and resuming needs no schedule state.
"""

from __future__ import annotations

import inspect
import math
from typing import Any

import timm.scheduler
import torch
from torch.optim import lr_scheduler

from fusion.registry import RATES

for _name in ("StepLR", "MultiStepLR", "ExponentialLR", "CosineAnnealingLR", "ConstantLR", "LinearLR", "PolynomialLR"):
    RATES.register(_name)(getattr(lr_scheduler, _name))
for _name in ("CosineLRScheduler", "TanhLRScheduler", "PolyLRScheduler"):
    RATES.register(_name)(getattr(timm.scheduler, _name))

WHOLE_LENGTH = ("T_max", "t_initial", "total_iters")
"""Arguments that mean "to the end"; where a config leaves them out they are the part's whole length."""


def check(name: str, options: dict[str, Any]) -> None:
    """Raise UnknownName or ValueError unless a schedule `name` takes `options`."""
    length = {key: 1 for key in _length_arguments(name) if key not in options}
    RATES.check(name, {"optimizer": None, **length, **options})


def tabulate(
    name: str, *, lr: float, steps: int, per_unit: float = 1, options: dict, floor: float = 0, warmup: int = 0
) -> list[float]:
    """The rate of each of `steps` steps.

    lr: the first rate. per_unit: steps per unit that the schedule's options count, e.g. per epoch. floor: no rate is
    lower. warmup: steps over which the rate rises linearly to the schedule's.
    """
    check(name, options)
    units = max(1, math.ceil(steps / per_unit))
    options = {**{key: units for key in _length_arguments(name) if key not in options}, **options}
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=lr)
    schedule = RATES[name](optimizer, **options)
    by_unit = []
    for unit in range(units):
        by_unit.append(max(optimizer.param_groups[0]["lr"], floor))
        optimizer.step()
        if isinstance(schedule, timm.scheduler.scheduler.Scheduler):
            schedule.step(unit + 1)
        else:
            schedule.step()
    return [by_unit[min(int(t / per_unit), units - 1)] * min(1.0, (t + 1) / (warmup + 1)) for t in range(steps)]


def _length_arguments(name: str) -> list[str]:
    # ConstantLR and LinearLR give total_iters a default, and a meaning of their own.
    parameters = inspect.signature(RATES[name]).parameters
    return [key for key in WHOLE_LENGTH if key in parameters and parameters[key].default is inspect.Parameter.empty]
