"""What the app does with a pair: look at it, fuse it by several methods, score the results.

Runs in a process of its own (`processes.py`); asked and answered are `messages.py`. What is made are files in the
folder that the request names. Whatever is wrong comes back as the one line that the programs say.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch

from fusion import build, images, infer, metrics, places, weights
from fusion.app import moving, sets
from fusion.app.messages import Answer, Failed, Fused, Message, Request, SetRequest, Step, hidden, one_line, one_size
from fusion.data import doctor
from fusion.networks.base import Network
from fusion.pairing import Folders, is_picture
from fusion.reading import file_size, of_pair, once
from fusion.registry import NETWORKS, UnknownName

DEFAULT = ("swift", "cpfusion", "average")
SETTLED = {"align": ("size", "shift", "view"), "ir": ("size",), "vis": ("size",)}
"""Checks of the doctor that need no word then."""


def methods() -> dict[str, tuple[str, Path | None]]:
    """What can fuse here, {label: (network, weight file)}: all with shipped weights or without any, and what was
    trained into `models/`.
    """
    found: dict[str, tuple[str, Path | None]] = {}
    for name, cls in NETWORKS.items():
        file = weights.shipped(name)
        if file or not cls.learned:
            found[name] = (name, file)
    known = {file for _, file in found.values()}
    for file in sorted(places.models().glob("*.safetensors")):
        if file not in known:
            try:
                found[file.stem] = (weights.identify(file)[0], file)
            except (ValueError, OSError, UnknownName):
                continue  # a file of something else
    first = [name for name in DEFAULT if name in found]
    return {label: found[label] for label in [*first, *sorted(found.keys() - set(first))]}


def row(method: str) -> dict:
    """A method as a row of a config."""
    name, file = methods()[method]
    own = file if file and file != weights.shipped(name) else None
    return {"name": name, **({"weights": str(own), "label": method} if own else {})}


class Worker:
    """Does requests one after the other and keeps the networks that it has loaded."""

    def __init__(self, device: str = "auto"):
        self._device, self._networks = build.device(device), {}

    def __call__(self, request: Request | SetRequest) -> Iterator[Message]:
        """Steps, and last an answer or Failed; raises nothing that a picture or an option could cause."""
        try:
            if isinstance(request, SetRequest):
                yield from sets.compare(request, [row(method) for method in request.methods])
            else:
                yield from self._moving(request) if request.videos else self._done(request)
        except (ValueError, UnknownName, OSError, MemoryError, RuntimeError) as error:
            yield Failed(one_line(error, request))

    def _done(self, request: Request) -> Iterator[Message]:
        total = 2 + len(request.methods)
        yield Step(0, total, "reading")
        notes: list[str] = []
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.showwarning = once(lambda text: notes.append(hidden(text, request)))
            ir, vis = read(request)
            if request.methods:
                ir, vis = one_size(request, notes)(ir, vis)
                infer.check_sizes(ir, vis)
            shown = [preview(request.out / f"{side}.png", x) for side, x in (("ir", ir), ("vis", vis))]
            yield Step(1, total, "looking at the pair")
            findings = () if request.methods else tuple(look(request))
            results = []
            for i, method in enumerate(request.methods):
                yield Step(1 + i, total, method)
                results.append(self._fused(request, method, ir, vis))
        yield Answer(*shown, tuple(notes), findings, tuple(results))

    def _moving(self, request: Request) -> Iterator[Message]:
        notes: list[str] = []
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.showwarning = once(lambda text: notes.append(hidden(text, request)))
            yield Step(0, 0, request.methods[0])
            yield from moving.fuse(request, self._network(request.methods[0], request.task), notes)

    def _fused(self, request: Request, method: str, ir: np.ndarray, vis: np.ndarray) -> Fused:
        try:
            network = self._network(method, request.task)
            started = time.perf_counter()
            picture = infer.fuse(network, ir, vis, output=request.output, task=request.task, range="full")
            seconds = time.perf_counter() - started
            levels = (images.grey_levels(x) for x in (picture, ir, vis))
            scores = metrics.evaluate(*levels, profile=request.profile)
            path = request.out / f"{method}.png"
            images.write(path, picture)
        except (ValueError, UnknownName, OSError, MemoryError, RuntimeError) as error:
            if not isinstance(error, (MemoryError, torch.OutOfMemoryError)) and "memory" not in str(error):
                return Fused(method, error=one_line(error, request))
            return Fused(method, error=f"not enough memory for a pair of {ir.shape[0]}x{ir.shape[1]} on this device")
        return Fused(method, path, seconds, scores)

    def _network(self, method: str, task: str) -> Network:
        if (method, task) not in self._networks:
            name, file = methods()[method]
            if file == weights.shipped(name):
                file = weights.shipped(name, task)
            self._networks[method, task] = build.network(name, file, task=task).to(self._device).form()
        return self._networks[method, task]


def read(request: Request) -> tuple[np.ndarray, np.ndarray]:
    """The pair as it is fused. Raises ValueError for a picture with too many pixels, before it is decoded where its
    header tells the size; as `images.read` for others.
    """
    of_ir, of_vis = of_pair(request.range)
    for path in (request.ir, request.vis):
        h, w = file_size(path)
        if h * w > request.pixels:
            most = f"{request.pixels / 1e6:g} megapixels"
            raise ValueError(f"{path} is {h}x{w} (height x width): expected at most {most} (--max-pixels)")
    return images.read(request.ir, of_ir), images.read(request.vis, of_vis)


def look(request: Request) -> Iterator[tuple[str, str, str]]:
    """What the pair doctor says of these two files, but for what the request settles."""
    settled = {"set", "names", *SETTLED.get(request.sizes, ()), *(("range", "dim") if request.range != "auto" else ())}
    name = request.vis.name.split(".")[0] or "pair"
    for side, path in (("ir", request.ir), ("vis", request.vis)):
        staged = request.out / side / f"{name}{''.join(path.suffixes[-2:]) if is_picture(path) else '.png'}"
        staged.parent.mkdir(exist_ok=True)
        staged.unlink(missing_ok=True)
        staged.symlink_to(path.resolve())
    folders = Folders(request.out / "ir", request.out / "vis")
    for found in doctor.examine(folders, task=request.task).findings:
        if found.check not in settled:
            yield found.level, found.check, hidden(found.text, request)


def preview(path: Path, image: np.ndarray) -> Path:
    """An 8-bit PNG of what was read."""
    images.write(path, image if image.dtype == np.uint8 else images.to_uint8(images.to_float(image)))
    return path


def serve(connection, device: str) -> None:
    """Answer the requests that come through a pipe until it closes."""
    worker: Callable[[Request], Iterator[Message]] = Worker(device)
    while True:
        try:
            request = connection.recv()
            for message in worker(request):
                connection.send(message)
        except (EOFError, BrokenPipeError, KeyboardInterrupt):
            return
