"""Write a network as an ONNX file for pictures of any size, checked against PyTorch before it is kept.

    python scripts/export_onnx.py --model cddfuse --weights models/cddfuse_msrs.safetensors -o cddfuse.onnx
    python scripts/export_onnx.py --model ship --weights models/ship_msrs.safetensors --store int8 -o ship.onnx
    python scripts/fuse.py IR VIS -o OUT --model cddfuse.onnx

Needs the extra packages: pip install -e '.[onnx]'. Exit status: 0, or 2 where nothing was written.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # runs from a checkout, installed or not

from fusion.terminal import need_opencv

if __name__ == "__main__":
    need_opencv()  # or end in one line

import numpy as np
import torch
from torch import Tensor, nn

from fusion import build, images, infer, pairing, weights
from fusion.images import atomic_path
from fusion.networks.base import Network
from fusion.onnx_file import KEY, OnnxNetwork
from fusion.registry import UnknownName
from fusion.terminal import forgive_encodings

ROOT = Path(__file__).resolve().parents[1]

SIZES = ((64, 96), (47, 61), (96, 64))
"""Height and width of the pairs that check the file; even, odd, and others than it was traced at."""

TOLERANCE = 1e-4
"""Between onnxruntime and PyTorch on the raw output: both are float32, in another order."""


WITHIN = 0.99
"""Of a picture's pixels, the least that a file with smaller weights must have within one gray level of PyTorch's."""


class Exported(nn.Module):
    """What the file computes: `raw`, and where asked the stretch of the whole picture to [0, 1]."""

    def __init__(self, network: Network, stretch: bool):
        super().__init__()
        self.network, self.stretch = network, stretch

    def forward(self, ir: Tensor, vis: Tensor) -> Tensor:
        fused = self.network.raw(ir, vis)
        if self.stretch:
            low, high = fused.amin((1, 2, 3), keepdim=True), fused.amax((1, 2, 3), keepdim=True)
            fused = (fused - low) / (high - low).clamp(min=1e-12)
        return fused


def main(arguments: list[str] | None = None) -> int:
    forgive_encodings()
    args = parse(arguments)
    try:
        default = "cddfuse" if args.weights is None or str(args.weights) == weights.NONE else None
        args.model, file = weights.chosen(args.model or default, args.weights)
        if args.model in build.NETWORKS and not build.NETWORKS[args.model].learned:
            raise ValueError(f"{args.model} is a rule without weights, which has no ONNX form: fuse.py --model runs it")
        network = build.network(args.model, file)
        if file is None and network.learned and not isinstance(network, OnnxNetwork):
            print(f"note: {args.model} is exported untrained: its pictures mean nothing", file=sys.stderr)
        if args.stretch and not network.convention.stretch:
            raise ValueError(f"{args.model} does not stretch its pictures: leave --stretch out")
        error = export(network, args.model, args.out, stretch=args.stretch, store=args.store)
    except (ValueError, UnknownName, OSError, ImportError) as problem:
        print(f"error: {problem}", file=sys.stderr)
        return 2
    size = args.out.stat().st_size / 2**20
    if args.store == "float32":
        found = f"at most {error:.1e} from PyTorch"
    else:
        found = f"weights as {args.store}: {100 * error:.2f} % of the sample pairs' pixels a gray level or more away"
    print(f"{args.out}: {size:.1f} MiB, any height and width, {found}")
    return 0


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", help="a learned network (default: the one --weights is of, or cddfuse)")
    parser.add_argument("--weights", type=Path, help="ours or the authors'; default: the shipped ones; none: untrained")
    parser.add_argument("-o", "--out", type=Path, required=True, help="the .onnx file to write")
    parser.add_argument("--stretch", action="store_true", help="the file also stretches to [0, 1] (cddfuse)")
    parser.add_argument(
        "--store",
        choices=("float32", "float16", "int8"),
        default="float32",
        help="how the file stores weights: float16 halves it, int8 quarters it; the arithmetic stays float32, and the "
        "file is kept only where 99 %% of the sample pairs' pixels stay within one gray level (default: %(default)s)",
    )
    return parser.parse_args(arguments)


def export(network: Network, name: str, path: Path, *, stretch: bool = False, store: str = "float32") -> float:
    """Write `network` to `path` once it agrees with PyTorch; returns the largest difference found, or, of weights
    stored as float16 or int8, the share of the sample pairs' pixels that are a gray level or more away.

    Raises ValueError where it does not agree or cannot be exported, ImportError without the packages.
    """
    if path.suffix != ".onnx":
        raise ValueError(f"{path} must end in .onnx, by which fusion.load knows it")
    if not network.learned or isinstance(network, OnnxNetwork):
        raise ValueError(f"{name} cannot be exported: expected a learned network, with weights of PyTorch")
    try:
        import onnx
        import onnxscript  # noqa: F401 -- torch's exporter needs it and says so less plainly
    except ImportError as error:
        raise ImportError(f"exporting needs {error.name}: pip install -e '.[onnx]'") from None
    module = Exported(network, stretch).eval()
    h, w = (max(side, network.min_size) for side in SIZES[0])
    pair = tuple(torch.rand(2, 1, 1, h, w, generator=torch.Generator().manual_seed(0)))
    dims = {2: torch.export.Dim("h", min=network.min_size), 3: torch.export.Dim("w", min=network.min_size)}
    with torch.inference_mode(False), torch.no_grad():
        program = torch.onnx.export(
            module,
            pair,
            dynamo=True,
            dynamic_shapes={"ir": dims, "vis": dims},
            input_names=["ir", "vis"],
            output_names=["fused"],
            verbose=False,
        )
    model = program.model_proto
    convention = dataclasses.replace(network.convention, stretch=network.convention.stretch and not stretch)
    about = {"network": name, "min_size": network.min_size, "convention": dataclasses.asdict(convention)}
    entry = model.metadata_props.add()
    entry.key, entry.value = KEY, json.dumps(about)
    if store != "float32":
        from onnx_weights import shrink

        shrink(model, store)
    with atomic_path(path) as unfinished:
        unfinished = Path(unfinished)
        onnx.save(model, unfinished)
        exported = OnnxNetwork(unfinished)
        if store != "float32":
            return checked_pictures(network, exported)
        error = difference(module, exported, network.min_size)
        allowed = TOLERANCE + network.whole_levels / 255
        if not error < allowed:
            raise ValueError(
                f"onnxruntime's result is {error:.1e} from PyTorch's (allowed: {allowed:.1g}); not written"
            )
    return error


def checked_pictures(network: Network, exported: Network) -> float:
    """The share of pixels a gray level or more away over the sample pairs; ValueError where it is too large."""
    sample = ROOT / "test_img/sample"
    away = [away_from(network, exported, p.ir, p.vis) for p in pairing.pair_folders(sample / "ir", sample / "vi").pairs]
    share = sum(away) / len(away)
    if share > 1 - WITHIN:
        raise ValueError(
            f"with weights stored so, {100 * share:.1f} % of the sample pairs' pixels are a gray level or more away "
            f"(allowed: {100 * (1 - WITHIN):.0f} %); not written"
        )
    return share


def away_from(network: Network, exported: Network, ir: Path, vis: Path) -> float:
    planes = infer.input_planes(network, images.read(ir), images.read(vis), "infrared-visible")
    fused = [255 * finished(each, infer.run(each, *planes)) for each in (network, exported)]
    return float((abs(fused[0] - fused[1]) >= 1).mean())


def finished(network: Network, raw: np.ndarray) -> np.ndarray:
    return (infer.stretch(raw) if network.convention.stretch else raw).clip(0, 1)


def difference(module: nn.Module, exported: Network, least: int) -> float:
    """The largest difference between the two on pairs of several sizes."""
    random = torch.Generator().manual_seed(1)
    worst = 0.0
    for h, w in SIZES:
        ir, vis = torch.rand(2, 1, 1, max(h, least), max(w, least), generator=random)
        with torch.inference_mode():
            worst = max(worst, float((module(ir, vis) - exported.raw(ir, vis)).abs().max()))
    return worst


if __name__ == "__main__":
    sys.exit(main())
