"""What the page asks of the work and what it answers; all of it can be pickled, pictures as files."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from fusion.data.one_size import OneSize


@dataclass(frozen=True)
class Request:
    """A pair and what to do with it. `out`: a folder for what is made; methods: empty to only look."""

    ir: Path
    vis: Path
    out: Path
    methods: tuple[str, ...] = ()
    profile: str = "cddfuse"
    task: Literal["infrared-visible", "medical"] = "infrared-visible"
    output: Literal["colour", "gray"] = "colour"
    sizes: Literal["same", "align", "ir", "vis"] = "same"
    """How the pair gets one size: it has it, by alignment, by resizing the infrared or the visible picture."""
    range: str = "auto"
    pixels: float = 13e6
    """The most that one picture may have."""
    videos: bool = False
    """Whether these are two videos, to be fused by the one method."""


@dataclass(frozen=True)
class Step:
    """So far: `done` of `total`, `text` being done now."""

    done: int
    total: int
    text: str


@dataclass(frozen=True)
class Failed:
    """One line."""

    text: str


@dataclass(frozen=True)
class Fused:
    """A result: its file, seconds of fusing alone, and scores by metric (nan where undefined); or why there is none."""

    method: str
    picture: Path | None = None
    seconds: float = math.nan
    scores: dict[str, float] = field(default_factory=dict)
    error: str = ""


@dataclass(frozen=True)
class Answer:
    """ir, vis: 8-bit files of the pair as it was fused (or read). findings: (level, check, text) of the doctor."""

    ir: Path
    vis: Path
    notes: tuple[str, ...] = ()
    findings: tuple[tuple[str, str, str], ...] = ()
    results: tuple[Fused, ...] = ()


@dataclass(frozen=True)
class Film:
    """video: MPEG-4, to keep; preview: the same for a browser. problem: where a source ended early."""

    video: Path
    preview: Path
    frames: int
    seconds: float
    notes: tuple[str, ...] = ()
    problem: str = ""


@dataclass(frozen=True)
class SetRequest:
    """Two folders of pictures, as the files in them, to be compared; other fields as `Request`'s."""

    ir: tuple[Path, ...]
    vis: tuple[Path, ...]
    out: Path
    methods: tuple[str, ...]
    profile: str = "cddfuse"
    pixels: float = 13e6


@dataclass(frozen=True)
class Compared:
    """page: the comparison page; archive: it and all that it shows. errors: a line for each pair that failed."""

    page: Path
    archive: Path
    notes: tuple[str, ...] = ()
    errors: tuple[str, ...] = ()


Message = Step | Failed | Answer | Film | Compared


def one_size(request: Request, notes: list[str], *, steady: bool = False) -> OneSize:
    """What brings the request's pairs to one size; it adds to `notes`."""
    resize = request.sizes if request.sizes in ("ir", "vis") else None
    align = "similarity" if request.sizes == "align" else None
    return OneSize(resize, align, steady=steady, note=notes.append)


def one_line(error: Exception, request: Request | SetRequest) -> str:
    return hidden(" ".join(str(error).split()) or type(error).__name__, request)


def hidden(text: str, request: Request | SetRequest) -> str:
    """Files by their names alone: where the app keeps them means nothing to whoever sent them."""
    sides = [(side,) if isinstance(side, Path) else side for side in (request.ir, request.vis)]
    staged = [request.out / "pairs", request.out / "ir", request.out / "vis", request.out]
    for folder in [*(file.parent for side in sides for file in side), *staged]:
        text = text.replace(f"{folder}/", "")
    return text
