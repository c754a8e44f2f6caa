"""What every objective promises: a batch in, named scalar terms and their weighted total out.

An objective holds the network it trains and is the module that data-parallel training wraps. Compile the network (in
place: `network.compile()`, or its parts), not the objective.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar

import torch
import torch.distributed
from torch import Tensor, nn

from fusion.networks.base import Network
from fusion.registry import OBJECTIVES, did_you_mean

Batch = Mapping[str, Tensor]
"""`ir`, `vis` and, where an objective asks for it, `mask`: (B, 1, H, W) in [0, 1]. Other keys (`name`) are ignored."""


class Objective(nn.Module):
    """Base of all objectives. A subclass implements `terms` and, where it has more to show, `views`.

    network: what is trained, of class `network_class`.
    weights: one finite number for every name in `published`.
    Raises ValueError, in one line, for another network or another set of names.
    """

    network_class: ClassVar[type[Network]] = Network
    """The method that this objective can train."""

    published: ClassVar[dict[str, float]]
    """Term -> the weight its authors used. The names are the terms; the weights are only for reading."""

    trains: ClassVar[tuple[str, ...]]
    """The network's parts (names of its children) that take part; the others get no gradient."""

    batch_keys: ClassVar[tuple[str, ...]] = ("ir", "vis")
    """What a batch must hold."""

    def __init__(self, *, network: Network, weights: Mapping[str, float]):
        super().__init__()
        _check_network(type(self), network)
        _check_weights(type(self), weights)
        self.network = network
        self.weights = {term: float(weights[term]) for term in self.published}

    def terms(self, batch: Batch) -> dict[str, Tensor]:
        """Every term of `published` as a float32 scalar, unweighted."""
        raise NotImplementedError

    def views(self, batch: Batch) -> dict[str, Tensor]:
        """What to watch beside the sources, among it `fused`: (B, 1, H, W) each; `pictures` clamps them to [0, 1]."""
        return {"fused": self.network(batch["ir"], batch["vis"])}

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """`{"total": sum of weight * term, term: value, ...}`, scalars; the terms unweighted."""
        terms = self.terms(batch)
        return {"total": sum(self.weights[name] * value for name, value in terms.items()), **terms}

    @torch.no_grad()
    def pictures(self, batch: Batch) -> dict[str, Tensor]:
        """`ir`, `vis`, `fused` and what else the method can show, each (B, 1, H, W) float32 in [0, 1]."""
        was_training = self.training
        self.eval()
        try:
            shown = {"ir": batch["ir"], "vis": batch["vis"], **self.views(batch)}
        finally:
            self.train(was_training)
        return {name: image.float().clamp(0, 1) for name, image in shown.items()}


def averaged_over_processes(share: Tensor) -> Tensor:
    """The mean of a scalar over all processes, with the gradient of this process's own share.

    For a loss that is not a mean over samples, but a function of one: data-parallel training averages the gradients of
    the processes, which is the gradient of the joined batch where each process evaluates the outer function at the
    joined batch's mean and differentiates its own share of it. All processes must call this alike. Without processes
    it is the identity.
    """
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return share
    mean = share.detach().clone()
    torch.distributed.all_reduce(mean)
    return mean / torch.distributed.get_world_size() + (share - share.detach())


def _check_network(cls: type[Objective], network: Network) -> None:
    if isinstance(network, cls.network_class) and network.learned:
        return
    fitting = [
        name for name, other in OBJECTIVES.items() if network.learned and isinstance(network, other.network_class)
    ]
    remedy = (
        f"choose an objective of {type(network).__name__}: {', '.join(fitting)}" if fitting else "it has no objective"
    )
    raise ValueError(
        f"{cls.__name__} trains {cls.network_class.__name__}, but the network is {type(network).__name__}: {remedy}"
    )


def _check_weights(cls: type[Objective], weights: Mapping[str, float]) -> None:
    """Terms and weights must be the same set, and every weight a finite number."""
    terms = ", ".join(cls.published)
    for name, weight in weights.items():
        if name not in cls.published:
            hint = did_you_mean(str(name), cls.published)
            raise ValueError(f"{cls.__name__} has no term '{name}' to weigh. Terms: {terms}.{hint}")
        number = isinstance(weight, (int, float)) and not isinstance(weight, bool)
        if not number or not math.isfinite(weight):
            raise ValueError(f"weight of term '{name}' is {weight!r}, expected a finite number")
    if missing := [name for name in cls.published if name not in weights]:
        lacking = ", ".join(f"'{name}' (published: {cls.published[name]:g})" for name in missing)
        raise ValueError(f"{cls.__name__} needs a weight for every term. Missing: {lacking}. Terms: {terms}")
