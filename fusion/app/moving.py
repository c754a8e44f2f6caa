"""What the app does with two videos: fuse them frame by frame, as a file to keep and one that browsers play."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from fusion import infer, videos
from fusion.app.messages import Film, Request, Step, one_size
from fusion.networks.base import Network
from fusion.reading import of_pair, stranger

EVERY = 0.25  # seconds between two reports


def fuse(request: Request, network: Network, notes: list[str]) -> Iterator[Step | Film]:
    """Steps, and last a Film. Raises ValueError and OSError as the programs do."""
    for path in (request.ir, request.vis):
        if what := stranger(path):
            raise ValueError(f"{path} is no kind of picture or video that is read here: it is {what}")
    sources = [videos.Video(request.ir), videos.Video(request.vis)]
    ranged = [videos.with_range(*each) for each in zip(sources, of_pair(request.range), strict=True)]
    pairs, together = videos.Pairs(*sources), one_size(request, notes, steady=True)
    video, preview = request.out / "fused.mp4", request.out / "fused.webm"
    written, started, told = 0, time.perf_counter(), 0.0
    total = pairs.total or 0
    yield Step(0, total, "first frame")
    with videos.writing(video, pairs.fps) as keep, playable(preview, pairs.fps) as show:
        for frames in pairs:
            ir, vis = (f(frame) for f, frame in zip(ranged, frames, strict=True))
            if (most := max(ir.shape[0] * ir.shape[1], vis.shape[0] * vis.shape[1])) > request.pixels:
                raise ValueError(f"a frame has {most} pixels: expected at most {request.pixels:g} (--max-pixels)")
            ir, vis = together(ir, vis)
            fused = infer.fuse(network, ir, vis, output=request.output, task=request.task, range="full")
            keep(fused)
            show(fused)
            written += 1
            if time.perf_counter() - told > EVERY:
                told = time.perf_counter()
                yield Step(written, max(total, written), f"frame {written}{f' of {total}' if total else ''}")
    if not written:
        raise ValueError(f"{request.ir} and {request.vis} hold no pair of frames: their times do not meet")
    problems = "; ".join(text for text in (source.shortfall() for source in pairs.ended) if text)
    yield Film(video, preview, written, time.perf_counter() - started, tuple(notes), problems)


@contextmanager
def playable(path: Path, fps: float) -> Iterator[Callable[[np.ndarray], None]]:
    """A function that appends a frame to a WebM file; browsers play no MPEG-4 of OpenCV's encoder."""
    with av.open(str(path), "w") as container:
        stream = None

        def write(frame: np.ndarray) -> None:
            nonlocal stream
            if frame.ndim == 2:
                frame = np.repeat(frame[..., None], 3, axis=2)
            frame = np.pad(frame, [(0, frame.shape[0] % 2), (0, frame.shape[1] % 2), (0, 0)], mode="edge")
            if stream is None:
                stream = container.add_stream("libvpx", rate=Fraction(fps).limit_denominator(1001))
                stream.height, stream.width, stream.pix_fmt = *frame.shape[:2], "yuv420p"
                stream.options = {"deadline": "realtime", "cpu-used": "8", "crf": "10", "b": "4M"}
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")))

        yield write
        if stream is not None:
            container.mux(stream.encode())
