"""Scoring files: a fused picture per pair of sources, many at a time in processes of their own.

Pictures are read as the published evaluation reads them, as 8-bit luminance. A result that is missing or cannot be
read is an error with a name, never a gap that a mean closes over; files that belong to no pair are only listed.
"""

from __future__ import annotations

import math
import multiprocessing
import signal
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import cv2

from fusion import images
from fusion.memory import keep_freed_memory
from fusion.metrics.base import Metric
from fusion.metrics.scene import Scene
from fusion.names import Rule, natural
from fusion.pairing import find_results, pair_folders
from fusion.reading import How, once
from fusion.registry import METRICS


@dataclass(frozen=True)
class Triple:
    """Three files of one scene."""

    name: str
    fused: Path
    ir: Path
    vis: Path
    ranges: tuple[How, How] = ("auto", "auto")
    """What becomes black and white in ir and vis; one for a whole set."""


@dataclass(frozen=True)
class Scored:
    """The values of one picture, or why there are none."""

    name: str
    values: dict[str, float] = field(default_factory=dict)
    """By `profile/name`; nan where a picture is too small, nan or inf where a formula is."""
    error: str = ""


@dataclass(frozen=True)
class Found:
    """What three folders hold."""

    triples: list[Triple]
    missing: list[str]
    """Lines: pairs without a result."""
    stray: list[str]
    """Lines: files that belong to no pair, in any of the folders."""
    examples: list[str] = field(default_factory=list)
    """Lines: how the names belong together, where they are not simply equal."""


def find(fused: Path, ir: Path, vis: Path, range: str = "auto", match: str | None = None) -> Found:
    """Match three folders by the names of their files; the pairs of sources say which results there must be.

    range: what the sources were fused with. match: a pattern `IR*=VIS*`, or `IR*=VIS*=*_fused` with the side of the
    results. Raises ValueError for a folder that is missing or empty, for one folder given twice, and where no names
    agree.
    """
    sides = list(Rule.of(match, sides=(2, 3)).sides) if match else ["*", "*"]
    sources, results = None if sides[0] == sides[1] else "=".join(sides[:2]), sides[2] if len(sides) > 2 else None
    pairs = pair_folders(ir, vis, sources)
    if fused.is_dir() and any(fused.samefile(folder) for folder in (ir, vis)):
        raise ValueError(f"--fused {fused} is the folder of a source: every picture would be its own result")
    files, around = find_results(fused, pairs, results)
    ranges = images.ranges_of(pairs.pairs, range)
    triples = [Triple(p.name, files[p.name], p.ir, p.vis, ranges) for p in pairs.pairs if p.name in files]
    wanted = {p.name for p in pairs.pairs}
    missing = [f"{p.name}: no result in {fused}" for p in pairs.pairs if p.name not in files]
    stray = [f"{files[name]} belongs to no pair" for name in sorted(files.keys() - wanted, key=natural)]
    examples = pairs.examples()
    if around and triples:
        shown = ", ".join(f"{t.fused.name} of {t.name}" for t in triples[:3])
        examples.append(f"{len(triples)} results by the names '{around}': {shown}")
    return Found(triples, missing, [*pairs.report(), *stray], examples)


def measured(metrics: Mapping[str, Metric], scene: Scene) -> dict[str, float]:
    """{name: value} of one scene; nan where it is too small for a metric."""
    return {name: m.measure(scene) if m.fits(scene.shape) else math.nan for name, m in metrics.items()}


def score(triple: Triple, keys: Sequence[str]) -> Scored:
    """The values of three files by `profile/name`; a file that cannot be scored is an error, not an exception."""
    try:
        files = zip((triple.fused, triple.ir, triple.vis), ("full", *triple.ranges), strict=True)
        levels = [images.grey_levels(images.read(path, how)) for path, how in files]
        return Scored(triple.name, measured({key: METRICS[key] for key in keys}, Scene(*levels)))
    except (ValueError, OSError) as error:
        return Scored(triple.name, error=f"{triple.name}: {' '.join(str(error).split())}")


def score_all(triples: Sequence[Triple], keys: Sequence[str], workers: int = 1) -> Iterator[Scored]:
    """`score` of every triple in order, in so many processes; one is this process."""
    if workers <= 1 or len(triples) < 2:
        yield from (score(triple, keys) for triple in triples)
        return
    with pool(min(workers, len(triples))) as processes:
        if processes is None:
            yield from (score(triple, keys) for triple in triples)
            return
        pending = [processes.submit(score, triple, keys) for triple in triples]
        yield from (result.result() for result in pending)


@contextmanager
def pool(workers: int) -> Iterator[ProcessPoolExecutor | None]:
    """Processes for `score`, each with one thread. What has not begun when the block ends is not done.

    None, and a warning, where the system has no semaphores for them (no usable /dev/shm, as in some containers).
    """
    # Started afresh: a forked copy of OpenCV's or torch's threads can hang.
    context = multiprocessing.get_context("spawn")
    try:
        processes = ProcessPoolExecutor(workers, mp_context=context, initializer=_begin_process)
    except (OSError, ImportError, NotImplementedError) as error:
        warnings.warn(f"workers: 1 instead of {workers}, as no processes can be had here ({error})", stacklevel=2)
        yield None
        return
    try:
        yield processes
    finally:
        processes.shutdown(wait=True, cancel_futures=True)


def _begin_process() -> None:
    warnings.showwarning = once(lambda text: print(f"note: {text}", file=sys.stderr))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the first process's to handle
    cv2.setNumThreads(1)
    keep_freed_memory()
