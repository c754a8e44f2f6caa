"""What becomes black and what white: the one place where raw counts, degrees and signed samples get their meaning.

    auto         8-bit pictures, and deep ones that use their range, stay as they are. Where 16-bit samples use a
                 fraction of their range, or the type has none (signed, float beyond [0, 1]), lowest becomes black and
                 highest white, and a note says so.
    full         the range of the type: 0 to 255, 0 to 65535, floats 0 to 1, or the window that a DICOM file states.
    percentile   the 1st percentile becomes black, the 99th white.
    LOW..HIGH    these two, in the samples' own units.

Pictures of a set or frames of a video share one range, or they would flicker and their scores would not compare.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from fusion.reading.samples import Note, Samples

WORDS = ("auto", "full", "percentile")
FRACTION = 0.25  # of a 16-bit range: a 14-bit camera's counts fill less
TAIL = 0.1  # percent at either end that may be dead pixels
OUTLIERS = 2.0  # lowest to highest over this many times the range without tails: dead pixels, left out
SAMPLE = 48  # pictures of a set that are looked at
PIXELS = 20_000  # of a picture, for percentiles


class Range(NamedTuple):
    """The samples that become black and white. deep: of pictures of more than 8 bits only."""

    low: float
    high: float
    deep: bool = False


How = str | Range


class Extent(NamedTuple):
    """What a picture uses: lowest and highest sample, and the same without the outermost `TAIL` percent."""

    low: float
    high: float
    least: float
    most: float
    dtype: np.dtype
    span: tuple[float, float] | None
    widened: bool
    """16 bits that hold 8: their fraction is the scene's."""
    some: np.ndarray
    """A spread of at most `PIXELS` samples."""


def parse(text: str | Range | Sequence[float]) -> How:
    """`auto`, `full`, `percentile` or LOW..HIGH (also a pair of numbers). Raises ValueError for anything else."""
    if isinstance(text, Range) or text in WORDS:
        return text
    low, dots, high = str(text).partition("..") if isinstance(text, str) else (text[0], True, text[1])
    try:
        chosen = Range(float(low), float(high))
    except (TypeError, ValueError):
        dots = ""
    if not dots or not chosen.low < chosen.high or not np.isfinite([chosen.low, chosen.high]).all():
        raise ValueError(f"range: expected {', '.join(WORDS)} or LOW..HIGH with LOW below HIGH, got {text!r}")
    return chosen


def of_pair(text: str | Range) -> tuple[How, How]:
    """What `--range` says of the infrared and the visible picture: `IR` or `IR,VIS`.

    One value is of the infrared picture, and the visible one is left to `auto`; `full` alone is of both.
    """
    if not isinstance(text, str) or "," not in text:
        of_ir = parse(text)
        return of_ir, "full" if of_ir == "full" else "auto"
    of_ir, _, of_vis = text.partition(",")
    return parse(of_ir.strip()), parse(of_vis.strip())


# --- one picture ----------------------------------------------------------------------------------------------------


def extent(samples: Samples, what: str | Path) -> Extent:
    """Raises ValueError for samples that are not finite."""
    values = samples.values
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        lost = int((~np.isfinite(values)).sum())
        raise ValueError(f"{what} holds {lost} samples that are no finite numbers: replace them first")
    if values.dtype == np.uint16:
        counts = np.bincount(values.ravel(), minlength=65536)
        below = counts.cumsum() / values.size
        used = np.flatnonzero(counts)
        least, most = np.searchsorted(below, (TAIL / 100, 1 - TAIL / 100))
        low, high = used[0], used[-1]
        widened = bool((used % 257 == 0).all() or (used % 256 == 0).all()) and len(used) > 1
    else:
        low, high, widened = values.min(), values.max(), False
        least, most = np.percentile(values, (TAIL, 100 - TAIL))
    some = values.reshape(-1)[:: max(1, values.size // PIXELS)]
    numbers = (float(x) for x in (low, high, least, most))
    return Extent(*numbers, values.dtype, _span(samples, float(low), float(high)), widened, some)


def _span(samples: Samples, low: float, high: float) -> tuple[float, float] | None:
    """The range that samples have by themselves: floats within [0, 1] are taken for brightness."""
    if samples.span is None and samples.values.dtype.kind == "f" and low >= 0 and high <= 1:
        return 0.0, 1.0
    return samples.span


def uses_a_fraction(e: Extent) -> bool:
    """Whether 16-bit samples fill so little of their range that they count something else than brightness."""
    return e.dtype == np.uint16 and not e.widened and e.span == (0, 65535) and e.most - e.least < FRACTION * 65535


def decide(extents: Sequence[Extent], how: How, what: str | Path) -> How:
    """`full` or a `Range` for pictures of these extents, which `how` is to be applied to; notes what `auto` finds.

    Raises ValueError where `full` has no meaning.
    """
    deep = [e for e in extents if e.dtype != np.uint8]
    if isinstance(how, Range) or not extents:
        return how
    if how == "full":
        if bare := next((e for e in deep if e.span is None), None):
            raise ValueError(
                f"{what} holds {bare.dtype} samples from {bare.low:g} to {bare.high:g}, which have no full range: "
                "--range auto, percentile or LOW..HIGH"
            )
        return "full"
    if how == "percentile":
        low, high = np.percentile(np.concatenate([e.some for e in extents]), (1, 99))
        return Range(float(low), float(max(high, low + np.spacing(abs(low) + 1))))
    spans = {e.span for e in deep}
    if len(spans) > 1 and None not in spans:  # DICOM slices, each with a window of its own
        return Range(min(low for low, _ in spans), max(high for _, high in spans), deep=True)
    shown = [e for e in deep if e.high > e.low] or deep  # a black frame says nothing of the others
    narrow = [e for e in shown if uses_a_fraction(e)]
    if not deep or (None not in spans and 2 * len(narrow) < len(shown)):
        if narrow:
            few = f"{len(narrow)} of {len(shown)} pictures use less than a quarter of their 16 bits"
            text = f"{what}: {few}, the others more: all are read as 0 to 65535 (--range LOW..HIGH sets others)"
            warnings.warn(Note(text, f"range of {what}"), stacklevel=3)
        return "full"
    chosen = _lowest_to_highest(shown)
    _tell(shown, len(narrow), chosen, what)
    return chosen


def _lowest_to_highest(extents: Sequence[Extent]) -> Range:
    low, high = min(e.low for e in extents), max(e.high for e in extents)
    least, most = min(e.least for e in extents), max(e.most for e in extents)
    if high - low > OUTLIERS * (most - least) and most > least:
        low, high = least, most
    return Range(low, high if high > low else low + 1, deep=True)


def _tell(extents: Sequence[Extent], narrow: int, chosen: Range, what: str | Path) -> None:
    bare = next((e.dtype for e in extents if e.span is None), None)
    remedy = "--range LOW..HIGH sets others" if bare else "--range full keeps 0..65535, LOW..HIGH sets others"
    if bare:
        found = f"holds {bare} samples, which have no range of their own"
    elif narrow == len(extents):
        found = f"uses {(chosen.high - chosen.low) / 65535:.1%} of its 16 bits"
    else:
        found = f"holds pictures of which {narrow} of {len(extents)} use less than a quarter of their 16 bits"
    text = f"{what} {found}: {chosen.low:g} becomes black and {chosen.high:g} white ({remedy})"
    warnings.warn(Note(text, f"range of {what}"), stacklevel=4)


def applied(samples: Samples, how: How, what: str | Path) -> np.ndarray:
    """Samples -> (H, W) or (H, W, 3), uint8 (only of uint8) or uint16. Raises ValueError as `decide` and `extent`."""
    values = samples.values
    if values.dtype == np.uint8 and (how in ("auto", "full") or (isinstance(how, Range) and how.deep)):
        return values
    if values.dtype == np.uint16 and how == "full" and samples.span == (0, 65535):
        return values
    found = extent(samples, what)
    how = decide([found], how, what)
    low, high = found.span if how == "full" else how[:2]
    if (low, high) == (0, 65535) and values.dtype == np.uint16:
        return values
    scaled = (values.astype(np.float64) - low) * (65535 / (high - low))
    return np.rint(scaled.clip(0, 65535)).astype(np.uint16)


# --- a set ----------------------------------------------------------------------------------------------------------


def of_set(
    paths: Sequence[Path], how: How, read: Callable[[Path], Samples], shallow: Callable[[Path], bool], what: str | Path
) -> How:
    """One range for all pictures of a set: `full` or a `Range`, from `SAMPLE` of them spread over it.

    read: path -> samples. shallow: whether a header says 8 bits, so that the file need not be read for `auto`.
    Pictures that cannot be read are passed over: whoever fuses them will say so.
    """
    if isinstance(how, Range) or how == "full" or not paths:
        return how
    chosen = [paths[int(i)] for i in np.linspace(0, len(paths) - 1, min(SAMPLE, len(paths)))]
    if how == "auto":
        chosen = [path for path in chosen if not shallow(path)]
    extents = list(_extents(chosen, read))
    return decide(extents, how, what) if extents else "full" if how == "auto" else how


def _extents(paths: Iterable[Path], read: Callable[[Path], Samples]) -> Iterable[Extent]:
    for path in paths:
        try:
            yield extent(read(path), path)
        except (ValueError, OSError):
            continue
