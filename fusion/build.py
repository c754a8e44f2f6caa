"""Options -> objects: the one file that knows everyone.

Everything that can be wrong with a config is found here, before any work starts.
"""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass
from pathlib import Path

import torch

import fusion.metrics
import fusion.networks  # registers the networks
from fusion import weights
from fusion.images import ranges_of
from fusion.networks.base import Network, Speed
from fusion.onnx_file import OnnxNetwork
from fusion.options import DatasetOptions, ModelOptions, TestOptions
from fusion.pairing import Pairing, find_pairs
from fusion.reading import How
from fusion.registry import NETWORKS, UnknownName
from fusion.weight_files import files, is_onnx


def network(
    name: str,
    weight_file: str | Path | None = None,
    options: dict | None = None,
    task: str = "",
    *,
    speed: Speed = "exact",
    max_memory: int | str | None = None,
    device: str = "cpu",
) -> Network:
    """A registered network in evaluation mode, with the weights of `weight_file` where one is given; or an ONNX file.

    Options count in this order: those stated here, those written in the weight file, those that suit the task.
    speed, max_memory: how it fuses pictures (`Network.fuse_for_inference`); memory in bytes or as `3GiB`.
    device: where it stands, in words of the function `device`.
    Raises UnknownName, ValueError, FileNotFoundError, ImportError (an ONNX file without onnxruntime).
    """
    if name not in NETWORKS and (str(name).endswith(".onnx") or is_onnx(name)):
        if weight_file or options or max_memory or speed != "exact":
            raise ValueError(f"{name} has its weights and options inside, in float32: give none")
        return placed(OnnxNetwork(name), device)
    cls = NETWORKS[name]
    if weight_file and not cls.learned:
        raise ValueError(f"{name} is rule-based and takes no weights, but got {weight_file}")
    stated = weights.options_in(weight_file, name) if weight_file else {}
    all_options = {**cls.task_options.get(task, {}), **stated, **(options or {})}
    try:
        built = NETWORKS.build(name, all_options)
    except (RuntimeError, ArithmeticError) as error:  # sizes of 0 or less, mostly
        raise ValueError(f"network '{name}' cannot be built with {all_options}: {error}") from error
    if weight_file:
        weights.load(built, weight_file)
    built.speed, built.max_memory = speed, number_of_bytes(max_memory)
    built.check_inference(speed, built.max_memory)
    return placed(built.eval(), device)


def ready(
    name: str | None,
    given: str | Path | None = None,
    options: dict | None = None,
    task: str = "",
    **how,
) -> Network:
    """A network that fuses: `network` with the weights that `weights.chosen` finds, the shipped ones by default.

    given: a weight file, `none` for the untrained network, or None.
    Raises as `network` and `weights.chosen`.
    """
    name, file = weights.chosen(name, given, task)
    try:
        return network(name, file, options, task, **how)
    except ValueError as error:
        if given is None and file and options and "with these options" in str(error):
            raise ValueError(f"{error}: give weights of these sizes, or 'none' for the untrained network") from error
        raise


def row(options: ModelOptions, task: str = "") -> Network:
    """The network of a comparison's row; raises as `ready`."""
    how = {"speed": options.speed, "max_memory": options.max_memory}
    return ready(options.name, options.weights, options.options, task, **how)


def number_of_bytes(text: int | str | None) -> int | None:
    """`3GiB`, `500 MB`, `1e9` or a number -> bytes; ValueError for anything else."""
    if text is None:
        return None
    match = re.fullmatch(r"\s*([0-9.]+(?:e[0-9]+)?)\s*(?:([kMGT]i?)?B)?\s*", str(text), re.IGNORECASE)
    try:
        number, prefix = float(match[1]), (match[2] or "").lower()
    except (TypeError, ValueError):
        raise ValueError(f"max_memory must be bytes or like 3GiB, 500MB; got {text!r}") from None
    power = " kmgt".index(prefix[0]) if prefix else 0
    return int(number * (1024 if prefix.endswith("i") else 1000) ** power)


def device(name: str) -> torch.device:
    """`auto`, `cpu`, `cuda`, `cuda:1`, ... -> a device that is there; ValueError where it is not."""
    if name == "auto":
        if not torch.cuda.is_available():
            return torch.device("cpu")
        if reason := _unusable(torch.device("cuda")):
            warnings.warn(f"the GPU cannot be used ({reason}): the CPU is taken", stacklevel=2)
            return torch.device("cpu")
        return torch.device("cuda")
    try:
        chosen = torch.device(name)
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
    else:
        reason = _unusable(chosen)
    if reason:
        raise ValueError(f"device: '{name}' cannot be used here ({reason}); try auto or cpu")
    return chosen


def placed(network: Network, where: str) -> Network:
    """`network` on the device `where`; ValueError where it cannot stand there."""
    if not isinstance(network, OnnxNetwork):
        return network.to(device(where))
    if where not in ("auto", "cpu"):
        raise ValueError(
            f"device: an ONNX file runs on the CPU, not on '{where}'; take auto, cpu or the weights' own file"
        )
    return network


def _unusable(device: torch.device) -> str | None:
    """Why nothing can be computed on `device`; None where it can.

    A GPU can be there and yet be too old for the code in PyTorch's package: only an operation shows it.
    """
    if device.type == "cuda" and torch.cuda.is_available() and (device.index or 0) >= torch.cuda.device_count():
        return f"there are {torch.cuda.device_count()} GPUs"  # PyTorch would print a trace of its own first
    try:
        torch.ones(1, device=device).add(1).sum().item()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        return str(error).splitlines()[0]
    return None


@dataclass(frozen=True)
class DataSet:
    """A data set of a comparison and the pairs found in it."""

    options: DatasetOptions
    pairing: Pairing
    ranges: tuple[How, How] = ("auto", "auto")
    """What becomes black and white in all its infrared and visible pictures."""


@dataclass(frozen=True)
class Comparison:
    """What `test.py` will do, checked."""

    models: list[ModelOptions]
    skipped: dict[str, str]
    """Row -> why it is left out."""
    datasets: list[DataSet]
    metrics: dict


def comparison(options: TestOptions, config: str | Path = "config") -> Comparison:
    """Check every name, folder, weight file and metric of a test config. `config` is what messages call it."""
    metrics = fusion.metrics.select(options.metrics.profile, options.metrics.names)
    models, skipped = [], {}
    for i, model in enumerate(options.models):
        try:
            reason = _check_model(model)
        except (ValueError, UnknownName, OSError) as error:
            raise ValueError(f"{config}: models[{i}]: {error}") from error
        if reason:
            where = f" on {', '.join(model.datasets)}" if model.datasets else ""
            skipped[model.row + where] = reason
        else:
            models.append(model)
    if not models:
        raise ValueError(f"{config}: no model is left to run: {'; '.join(skipped.values())}")
    return Comparison(models, skipped, [_find(d, config) for d in options.datasets], metrics)


def _check_model(model: ModelOptions) -> str | None:
    """None where the model can run, the reason where it is optional and cannot; raises where it must and cannot."""
    NETWORKS.check(model.name, model.options)
    cls = NETWORKS[model.name]
    number_of_bytes(model.max_memory)
    if not cls.learned:
        row(model)
        return None
    if model.weights is not None and str(model.weights) != weights.NONE and not files(model.weights):
        fetched = cls.about and cls.about.weights
        remedy = f"python scripts/get_data.py {model.name} fetches the authors'" if fetched else "see README, Weights"
        where = model.weights.absolute().parent
        reason = f"weights of {model.name}: {model.weights} is not there (looked in {where}); {remedy}"
        if model.optional:
            return reason
        raise FileNotFoundError(reason)
    try:
        row(model)
    except FileNotFoundError as error:  # nothing shipped
        if model.optional:
            return str(error)
        raise
    return None


def _find(options: DatasetOptions, config: str | Path) -> DataSet:
    try:
        pairing = find_pairs(options.root, options.ir, options.vis, options.match)
        return DataSet(options, pairing, ranges_of(pairing.pairs, options.range))
    except (ValueError, OSError) as error:
        raise ValueError(
            f"{config}: data set {options.name}: {error} (in a config: ir, vis, match); README, Data sets, says where "
            "to get them"
        ) from error
