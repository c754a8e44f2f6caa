"""Weights: which file a network gets, of which network a file is, and how they are put in.

A file is known by what is in it: ours state the network's name and options, a run's checkpoint carries its config, and
of any other the keys and shapes decide (`Network.recognise`), the authors' as well as plain state dicts.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from fusion import places, weight_files
from fusion.images import atomic_path
from fusion.networks.base import Network, shapes
from fusion.registry import NETWORKS

FORMAT = "fusion-1"
NONE = "none"
"""Given as weights: the network as it is before any training."""


def save(path: str | Path, network: Network, *, name: str, options: dict[str, Any] | None = None) -> None:
    """Write `network`'s weights, whole or not at all.

    name, options: what `fusion.load` builds before it loads them; options that differ from the defaults suffice.
    """
    tensors = {key: value.detach().cpu().contiguous() for key, value in network.state_dict().items()}
    metadata = {"format": FORMAT, "network": name, "options": json.dumps(options or {}, sort_keys=True)}
    with atomic_path(path) as unfinished:
        # Not `save_file`, whose files only their owner may read.
        unfinished.write_bytes(safetensors.torch.save(tensors, metadata))


# --- which file -----------------------------------------------------------------------------------------------------


def shipped(name: str, task: str = "") -> Path | None:
    """The file that comes with the project for a network and a task; None where there is none."""
    suffixes = ("medical", "msrs") if task == "medical" else ("msrs",)
    files = (places.models() / f"{name}_{suffix}.safetensors" for suffix in suffixes)
    return next((file for file in files if file.is_file()), None)


def chosen(name: str | None, weights: str | Path | None = None, task: str = "") -> tuple[str, Path | None]:
    """(network, weight file or None) that a user means by a name, weights, or both; every program asks here.

    name: a registered network or an ONNX file, which has its weights inside; a weight file does for both.
    weights: a file; `none`, the untrained network; None, what is shipped for `name` and `task`.
    Raises UnknownName; ValueError for a file of another or of no known network; FileNotFoundError where a file is not
    there, or where nothing is shipped for a learned network.
    """
    if name is not None and name not in NETWORKS:
        if weight_files.is_onnx(name) or (str(name).endswith(".onnx") and not weight_files.is_known(name)):
            return str(name), weights if weights is None else Path(weights)
        if weights is None and Path(name).is_file():
            name, weights = None, name
    if weights is not None and str(weights) != NONE:
        if name is None and weight_files.is_onnx(weights):
            return str(weights), None
        return name or identify(weights)[0], Path(weights)
    if name is None:
        raise ValueError("expected a network's name, or a file with its weights")
    if weights is not None or not NETWORKS[name].learned:
        return name, None
    if file := shipped(name, task):
        return name, file
    raise FileNotFoundError(
        f"no weights of {name} come with this project: name their file (scripts/get_data.py fetches what authors "
        "released), or train them; weights 'none' gives the untrained network"
    )


# --- of which network -----------------------------------------------------------------------------------------------


def identify(path: str | Path) -> tuple[str, dict[str, Any]]:
    """(network, constructor options) that a file's weights belong to; options as far as the file tells them.

    Raises FileNotFoundError, and ValueError for a file that is damaged or that holds no network known here.
    """
    contents = weight_files.read(path)
    if named := _stated(contents, path):
        return named[:2]
    found = recognised(contents.tensors)
    if len(found) > 1:
        raise ValueError(f"{path} fits {' and '.join(found)}: say which by name (--model)")
    if not found:
        raise ValueError(f"{path} holds {seems(contents.tensors)}: expected weights of {', '.join(_learned())}")
    return next(iter(found.items()))


def options_in(path: str | Path, name: str) -> dict[str, Any]:
    """Constructor options of the network `name` whose weights are in `path`, as far as the file tells them.

    Raises as `identify`, and ValueError for a file of another network.
    """
    contents = weight_files.read(path)
    if named := _stated(contents, path):
        if named[0] != name:
            raise ValueError(f"{path} holds weights of {named[0]}, not of {name}")
        return named[1]
    cls = NETWORKS[name]
    options = (cls.recognise(candidate) for candidate in candidates(contents.tensors))
    if (own := next((o for o in options if o is not None), None)) is not None:
        return own
    if others := recognised(contents.tensors):
        raise ValueError(f"{path} holds weights of {' or '.join(others)}, not of {name}")
    return {}  # it may be one tensor short: `load` says how it does not fit


def stated(path: str | Path) -> tuple[str | None, dict[str, Any]]:
    """(network, options) that one of our files or a run's checkpoint states; (None, {}) for any other file.

    Raises FileNotFoundError, and ValueError for a file that is cut or whose metadata are damaged.
    """
    named = _stated(weight_files.read(path), path)
    return named[:2] if named else (None, {})


def recognised(tensors: dict) -> dict[str, dict[str, Any]]:
    """{network: options} of all that the keys and shapes in a file fit."""
    for candidate in candidates(tensors):
        found = {name: NETWORKS[name].recognise(candidate) for name in _learned()}
        if fitting := {name: options for name, options in found.items() if options is not None}:
            return fitting
    return {}


def _learned() -> list[str]:
    return sorted(name for name, cls in NETWORKS.items() if cls.learned)


def _stated(contents: weight_files.Contents, path: str | Path) -> tuple[str, dict[str, Any], dict] | None:
    """(network, options, tensors) where the file says so itself."""
    tensors, metadata = contents.tensors, contents.metadata
    try:
        if metadata.get("format") == FORMAT:
            options = json.loads(metadata["options"])
            return metadata["network"], {str(key): value for key, value in options.items()}, tensors
    except (KeyError, ValueError, AttributeError) as error:
        raise ValueError(f"{path} says '{FORMAT}' but lacks the network's name or options; fetch it again") from error
    config, network = tensors.get("config"), tensors.get("network")
    if isinstance(config, dict) and isinstance(network, dict) and isinstance(about := config.get("network"), dict):
        averaged = tensors.get("ema")  # what the run validates and would deliver
        return str(about.get("name")), dict(about.get("options") or {}), averaged or network
    return None


PREFIXES = re.compile(r"^(?:(?:module|_orig_mod)\.)+|(?<=\.)_orig_mod\.")
"""What DistributedDataParallel, DataParallel and torch.compile put before keys."""


def candidates(tensors: dict, depth: int = 2) -> Iterator[dict]:
    """What in a checkpoint may be a network's dictionary, the likelier first: the whole, then what is inside of it
    (`state_dict`, `params`, `model`, `net.` before keys, ...), averaged weights (`params_ema`, ...) first."""
    bare = _without_prefixes(tensors)
    yield bare
    if depth == 0:
        return
    inner: dict[str, dict] = {}
    for key, value in bare.items():
        if isinstance(value, dict):
            inner[key] = value
        elif isinstance(value, Tensor) and "." in key:
            part, _, rest = key.partition(".")
            inner.setdefault(f"{part}.", {})[rest] = value
    for key in sorted(inner, key=lambda key: "ema" not in key.lower()):
        yield from candidates(inner[key], depth - 1)


def _without_prefixes(tensors: dict) -> dict:
    return {
        PREFIXES.sub("", key): _without_prefixes(value) if isinstance(value, dict) else value
        for key, value in tensors.items()
        if isinstance(key, str)
    }


FOREIGN = (
    (r"features\.0\.weight$", "a VGG or AlexNet of torchvision"),
    (r"layer1\.0\.conv1\.weight$", "a ResNet of torchvision"),
    (r"param_groups$", "an optimizer's state"),
    (r"model\.0\.conv\.weight$", "a YOLO detector"),
    (r"patch_embed\.proj\.weight$", "a Restormer, a Swin or another transformer"),
    (r"(cls|class)_token$", "a vision transformer"),
    (r"features\.0\.0\.weight$", "a MobileNet, an EfficientNet or a ConvNeXt of torchvision"),
    (
        r"cov1\.cov1\.1\.weight$|cov5\.cov5\.0\.weight$",
        "one half of DIDFuse, whose Encoder.pkl and Decoder.pkl belong side by side",
    ),
    (r"conv_first\.weight$", "a super-resolution network (BasicSR)"),
    (r".*lora_", "changes to another network (LoRA)"),
    (r".*diffusion_model\.|.*first_stage_model\.|.*time_embed", "a diffusion model"),
    (r".*word_embeddings\.|.*embed_tokens\.|.*text_model\.", "a language model"),
    (r".*double_conv\.", "a U-Net"),
    (r".*discriminator|netD\.", "the discriminator of a GAN"),
)
"""Where a key begins so -> what people call the file it is often found in."""


def seems(tensors: dict) -> str:
    """What a file of no known network seems to hold, in a few words."""
    best, share, words = "", 0.0, ""
    for name in _learned():
        wanted = shapes(NETWORKS[name]().state_dict())
        agreeing = _agreement(wanted, _states(NETWORKS[name], tensors))
        if agreeing / len(wanted) > share:
            best, share, words = name, agreeing / len(wanted), f"{agreeing} of its {len(wanted)} tensors"
    if share > 0.5:
        return f"something like {best} ({words})"
    every = [key for candidate in candidates(tensors) for key in candidate]
    for pattern, known in FOREIGN:
        if key := next((key for key in every if re.match(pattern, key)), None):
            return f"{known}, it seems ({key})"
    parts = ([key for key, value in part.items() if isinstance(value, Tensor)] for part in candidates(tensors))
    inside = next(filter(None, parts), [])  # as they are called in the file
    wrapped = any(isinstance(value, dict) for value in tensors.values())
    found = ", ".join(repr(key)[:60] for key in ((inside if wrapped else []) or list(tensors))[:3]) or "nothing"
    return f"no weights that are known here (found {found})"


# --- into the network -----------------------------------------------------------------------------------------------


def load(network: Network, path: str | Path) -> None:
    """Fill `network` from one of our files, a run's checkpoint, a state dict or its authors' checkpoint.

    Raises FileNotFoundError, and ValueError for a file that is cut, that carries code, that holds another network or
    values that are not finite.
    """
    contents = weight_files.read(path)
    named = _stated(contents, path)
    states = list(_states(type(network), named[2] if named else contents.tensors))
    wanted = shapes(network.state_dict())
    closest = max(states, key=lambda state: _agreement(wanted, [state]), default={})
    if not wanted.keys() & closest.keys():
        raise ValueError(f"{path} does not fit {type(network).__name__}: it holds {_other(named, contents.tensors)}")
    _fill(network, closest, path)


def _other(named: tuple | None, tensors: dict) -> str:
    others = [named[0]] if named else recognised(tensors)
    return f"weights of {' or '.join(others)}" if others else seems(tensors)


def _states(cls: type[Network], tensors: dict) -> Iterator[dict[str, Tensor]]:
    """What a file may mean in the keys of `cls`, the likelier first."""
    for candidate in candidates(tensors):
        yield candidate
        try:
            yield cls.from_authors(candidate)
        except (LookupError, ValueError, TypeError, AttributeError):
            continue


def _agreement(wanted: dict, states: Iterable[dict]) -> int:
    """The largest number of tensors that one of `states` has as `wanted`: key counts, and key and shape count more."""
    return max((sum(shapes(state).get(key) == shape for key, shape in wanted.items()) for state in states), default=0)


def _fill(network: Network, state: dict[str, Tensor], path: str | Path) -> None:
    """`load_state_dict(strict=True)` whose complaint is one line, and which takes only numbers."""
    wanted, given, kind = shapes(network.state_dict()), shapes(state), type(network).__name__
    if missing := [key for key in wanted if key not in given]:
        lacks = f"{len(missing)} of {len(wanted)} tensors missing"
        raise ValueError(f"{path} does not fit {kind}: {lacks}, e.g. {missing[0]}")
    if unknown := [key for key in given if key not in wanted]:
        raise ValueError(f"{path} does not fit {kind}: {len(unknown)} unknown tensors, e.g. {unknown[0]}")
    for key, shape in wanted.items():
        if given[key] != shape:
            raise ValueError(f"{path} does not fit {kind} with these options: {key} is {given[key]}, expected {shape}")
    if bad := [key for key, value in state.items() if not torch.isfinite(value).all()]:
        why = "the training that wrote it had diverged; take an earlier file"
        if all(state[key].dtype == torch.float16 for key in bad):
            why += ", or one in float32: float16 ends at 65504"
        raise ValueError(
            f"{path} is refused: {len(bad)} of {len(state)} tensors hold NaN or infinity, e.g. {bad[0]}: {why}"
        )
    network.load_state_dict({key: _normal(value) for key, value in state.items()})


TINY = torch.finfo(torch.float32).tiny


def _normal(value: Tensor) -> Tensor:
    """`value` with what is denormal in float32 set to zero.

    Weight decay leaves such numbers in some authors' files (two thirds of TarDAL++'s weights). Next to any other number
    they vanish in rounding, but a CPU multiplies with them many times more slowly.
    """
    return value.where(value.abs() >= TINY, 0) if value.is_floating_point() else value
