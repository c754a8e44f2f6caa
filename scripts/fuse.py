"""Fuse one's own pictures: a pair of files, the pairs of two folders, or two videos.

    python scripts/fuse.py IR VIS -o OUT [--model swift] [--weights FILE]
    python scripts/fuse.py ir.png vis.png -o fused.png --model cpfusion
    python scripts/fuse.py ir/ vi/ -o fused/ --weights models/ship_msrs.safetensors
    python scripts/fuse.py ir.mp4 vis.mp4 -o fused.mp4 --temporal --side-by-side

    python scripts/fuse.py 0 rtsp://host/stream -o fused.mp4 --show

Frames come from videos, folders of frames, numbered ones (frame%04d.png), a camera's number or an address, and are
paired by their times. OUT is a picture, a folder for two folders, or a video without sound: .mp4 and .mov (MPEG-4),
.avi (Motion JPEG, which keeps odd sizes) or .mkv (FFV1, without loss). A folder run continues where it stopped:
OUT/.fuse.jsonl records of each picture what it was made of, and it is made again when any of that, or the picture, has
changed.
Exit status: 0, 1 where a pair failed, 2 where nothing could start, 130 after Ctrl-C.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
import os
import signal
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # runs from a checkout, installed or not

import cv2
import numpy as np
import torch
from tqdm import tqdm

from fusion import __version__, build, images, infer, videos, weights
from fusion.data import doctor
from fusion.data.alignment import MODELS
from fusion.data.one_size import OneSize
from fusion.memory import keep_freed_memory
from fusion.pairing import Pair, Pairing, pair_folders
from fusion.reading import of_pair, once, stranger
from fusion.registry import UnknownName
from fusion.terminal import forgive_encodings

RECORD = ".fuse.jsonl"


class WriteError(Exception):
    """The disk or the folder refuses: no use in trying the next pair."""


def main(arguments: list[str] | None = None) -> int:
    forgive_encodings()
    args = parse(arguments)
    keep_freed_memory()
    quieten_opencv()
    warnings.showwarning = once(note)
    try:
        kind = kind_of(args.ir, args.vis)
        pairing = found_pairs(args, kind)
        args.out = checked_out(args, kind)
        of_pair(args.range)
        one_size = OneSize(args.resize, args.align, steady=kind == "video", note=note)
        network = load(args)
    except (ValueError, UnknownName, OSError, ImportError) as error:
        return stop(2, f"error: {in_one_line(error)}")
    fuser = Fuser(network, args, one_size)
    try:
        if kind == "folder":
            return fuse_folders(fuser, args, pairing)
        return {"video": fuse_videos, "picture": fuse_pair}[kind](fuser, args)
    except WriteError as error:
        return stop(1, f"error: {in_one_line(error)}; finished pictures are kept, the same command continues")
    except KeyboardInterrupt:
        kept = "finished pictures are kept, the same command continues" if kind == "folder" else "nothing was written"
        return stop(130, f"interrupted: {kept}")


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Fuse a pair of files, the pairs of two folders, or two videos.")
    parser.add_argument(
        "ir", type=source, metavar="IR", help="infrared (or CT, PET, SPECT) picture, folder, video, camera or address"
    )
    parser.add_argument(
        "vis", type=source, metavar="VIS", help="visible (or MRI) picture, folder, video, camera or address"
    )
    parser.add_argument("-o", "--out", type=Path, required=True, help="picture, folder or video")
    parser.add_argument("--model", help="a registered network (default: the one --weights is of, or swift)")
    parser.add_argument(
        "--weights", type=Path, help="a file, ours or the authors'; default: the shipped ones; none: untrained"
    )
    parser.add_argument("--output", choices=("colour", "gray"), default="colour", help="default: %(default)s")
    parser.add_argument("--task", choices=("infrared-visible", "medical"), default="infrared-visible")
    parser.add_argument(
        "--resize",
        choices=("ir", "vis"),
        help="bring this one to the size of the other; where shapes differ, its middle",
    )
    parser.add_argument(
        "--align",
        choices=MODELS,
        nargs="?",
        const="similarity",
        help="bring a pair of another view, scale or shift together and cut it to what both show; pairs where that is "
        "not sure are refused; of videos one alignment for all frames (default: %(const)s)",
    )
    parser.add_argument("--match", metavar="IR*=VIS*", help="how the names of partners differ, * being what they share")
    parser.add_argument("--strict", action="store_true", help="what looks wrong with the pictures is an error")
    parser.add_argument(
        "--range",
        default="auto",
        metavar="IR[,VIS]",
        help="what becomes black and white: auto (8-bit pictures as they are; raw counts, degrees and the like from "
        "lowest to highest), full (the range of the type), percentile (1st to 99th) or LOW..HIGH; one for all pictures "
        "of a folder (default: %(default)s)",
    )
    parser.add_argument("--side-by-side", action="store_true", help="write ir | vis | fused")
    parser.add_argument(
        "--temporal",
        type=frame_count,
        nargs="?",
        const=8,
        metavar="N",
        help="let the darkest and brightest value that a method stretches to black and white follow the frames with a "
        "delay of about N (default: 8), so that a video does not flicker",
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, ... (default: %(default)s)")
    parser.add_argument(
        "--speed",
        choices=("exact", "bf16", "compiled"),
        default="exact",
        help="bf16: faster, under half a gray level away on average; compiled: by torch.compile (default: %(default)s)",
    )
    parser.add_argument(
        "--max-memory", metavar="SIZE", help="of one pair's tensors, as 3GiB (cddfuse: exact; ship: tiles)"
    )
    parser.add_argument("--rate", type=rate, help="frames per second of pictures as frames (default: the partner's)")
    parser.add_argument("--show", action="store_true", help="show a video's frames in a window as they are fused")
    parser.add_argument("--fresh", action="store_true", help="make every picture of a folder again")
    return parser.parse_args(arguments)


def source(text: str) -> Path | str:
    """A path, or the text of a camera's number, an address or a pattern of names, which is none."""
    return text if videos.is_source(text) else Path(text)


def rate(text: str) -> float:
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"expected frames per second above 0, got {text}")
    return value


def frame_count(text: str) -> float:
    value = float(text)
    if not 1 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"expected 1 or more frames, got {text}")
    return value


def stop(status: int, message: str) -> int:
    print(message, file=sys.stderr)
    return status


def note(text: str) -> None:
    tqdm.write(f"note: {text}", file=sys.stderr)


def in_one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def quieten_opencv() -> None:
    """Its decoders describe damaged files on stderr; we say it in one line."""
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    images.OPENCV_LOG.setLogLevel(0)


# --- what there is to do --------------------------------------------------------------------------------------------


def kind_of(ir: Path | str, vis: Path | str) -> str:
    """`folder`, `picture` or `video`. Raises ValueError for two of different kinds, FileNotFoundError."""
    kinds = [_kind(each) for each in (ir, vis)]
    if set(kinds) == {"folder", "video"}:
        return "video"  # a folder of frames
    if kinds[0] != kinds[1]:
        found = f"{ir} (a {kinds[0]}) and {vis} (a {kinds[1]})"
        raise ValueError(f"expected two pictures, two folders or two videos, got {found}")
    return kinds[0]


def _kind(path: Path | str) -> str:
    if isinstance(path, str):
        return "video"
    if not path.exists():
        raise FileNotFoundError(f"{path} is not there (looked in {path.absolute().parent})")
    if path.is_dir() or images.holds_picture(path):
        return "folder" if path.is_dir() else "picture"
    if what := stranger(path):
        raise ValueError(f"{path} is no kind of picture or video that is read here: it is {what}")
    return "video"


def checked_out(args: argparse.Namespace, kind: str) -> Path:
    """Where the result goes. Raises ValueError for a name that cannot hold it or that is a source's, OSError."""
    out: Path = args.out
    if kind == "folder":
        out.mkdir(parents=True, exist_ok=True)
    else:
        known = images.WRITTEN if kind == "picture" else tuple(videos.CODECS)
        if out.is_dir():
            vis = Path(args.vis) if isinstance(args.vis, Path) else Path("fused")
            out = out / f"{vis.stem}{vis.suffix if vis.suffix.lower() in known else known[0]}"
        if out.suffix.lower() not in known:
            raise ValueError(f"-o {out}: a {kind} is written as one of {', '.join(known)}")
    if out.exists() and any(isinstance(each, Path) and out.samefile(each) for each in (args.ir, args.vis)):
        raise ValueError(f"-o {out} is one of the sources: choose another name, nothing is overwritten")
    return out


def found_pairs(args: argparse.Namespace, kind: str) -> Pairing:
    """The pairs to fuse, looked at: what seems wrong with them is a note, or an error where --strict says so.

    Raises ValueError for folders that cannot be paired, and for one picture given as both. Frames are not looked at.
    """
    if kind == "folder":
        found = pair_folders(args.ir, args.vis, args.match)
    elif args.ir.samefile(args.vis):
        raise ValueError(f"{args.ir} is given as infrared and as visible: name the other {kind}")
    else:
        found = Pairing([Pair(args.ir.stem, args.ir, args.vis)] if kind == "picture" else [])
    for line in found.examples():
        note(line)
    settled = ["unreadable", "duplicate", *["size"] * bool(args.resize), *["range"] * (args.range != "auto")]
    looked = doctor.quick_check(found.pairs, task=args.task, without=settled)
    doctor.refuse(looked, args.strict)
    for line in looked:
        note(line)
    return found


def load(args: argparse.Namespace):
    """The network, on its device. Raises ValueError, UnknownName, OSError, ImportError (an ONNX file's)."""
    default = "swift" if args.weights is None or str(args.weights) == weights.NONE else None
    name, file = weights.chosen(args.model or default, args.weights, args.task)
    args.model, args.weights = name, file
    network = build.network(name, file, task=args.task, speed=args.speed, max_memory=args.max_memory)
    network = network.to(build.device(args.device))
    if args.temporal and not network.convention.stretch:
        note(f"--temporal changes nothing: {name} does not stretch its pictures one by one")
    return network.form()  # once, for all pictures


# --- one pair -------------------------------------------------------------------------------------------------------


class Fuser:
    """Two pictures -> the one to be written."""

    def __init__(self, network, args: argparse.Namespace, one_size: OneSize):
        self.network, self.args, self.one_size = network, args, one_size
        self.span: tuple[float, float] | None = None
        """Smoothed minimum and maximum of the raw output, of the frames so far."""

    def __call__(self, ir: np.ndarray, vis: np.ndarray) -> np.ndarray:
        """uint8 (H, W) or (H, W, 3) RGB; raises ValueError where the pair cannot be fused."""
        args, network = self.args, self.network
        ir, vis = self.one_size(ir, vis)
        infer.check_pair(network, ir, vis)
        try:
            raw = infer.run(network, *infer.input_planes(network, ir, vis, args.task))
        except (MemoryError, RuntimeError) as error:
            if not isinstance(error, (MemoryError, torch.OutOfMemoryError)) and "memory" not in str(error):
                raise
            raise ValueError(f"not enough memory for a pair of {ir.shape[0]}x{ir.shape[1]} on this device") from error
        colours = infer.colour_source(ir, vis, args.task) if args.output == "colour" else None
        if args.temporal:
            self._follow(float(raw.min()), float(raw.max()))
        fused = infer.finish(network, raw, colours, self.span)
        return beside(ir, vis, fused) if args.side_by_side else fused

    def _follow(self, low: float, high: float) -> None:
        """Exponential smoothing, each frame with the weight 1/N; the first frame begins where it is."""
        before = self.span or (low, high)
        self.span = tuple(old + (new - old) / self.args.temporal for old, new in zip(before, (low, high), strict=True))


def beside(*pictures: np.ndarray) -> np.ndarray:
    """8-bit pictures of one height in a row; in colour where one of them is."""
    pictures = [images.to_uint8(images.to_float(p)) if p.dtype != np.uint8 else p for p in pictures]
    if any(p.ndim == 3 for p in pictures):
        pictures = [p if p.ndim == 3 else np.repeat(p[..., None], 3, axis=2) for p in pictures]
    return np.hstack(pictures)


def fuse_pair(fuser: Fuser, args: argparse.Namespace) -> int:
    try:
        of_ir, of_vis = of_pair(args.range)
        write(args.out, fuser(images.read(args.ir, of_ir), images.read(args.vis, of_vis)))
    except (ValueError, OSError) as error:
        return stop(1, f"error: {in_one_line(error)}")
    except WriteError as error:
        return stop(1, f"error: {in_one_line(error)}")
    print(f"fused: {args.out}")
    return 0


def write(path: Path, image: np.ndarray) -> None:
    try:
        images.write(path, image)
    except OSError as error:
        raise WriteError(error) from error


# --- two folders ----------------------------------------------------------------------------------------------------


class Record:
    """Finished pictures of a folder, one JSON line each; a line cut by a crash is skipped."""

    def __init__(self, folder: Path, *, fresh: bool):
        self.folder, self.path = folder, folder / RECORD
        self.lines: dict[str, dict] = {}
        if fresh:
            self.path.unlink(missing_ok=True)
        self._append("")
        text = self.path.read_text(encoding="utf-8", errors="replace")
        if text and not text.endswith("\n"):
            self._append("\n")  # after a cut line
        for line in text.splitlines():
            try:
                record = json.loads(line)
                self.lines[record["picture"]] = record
            except (ValueError, KeyError, TypeError):
                continue

    def find(self, picture: Path, key: str) -> dict | None:
        """The record of a picture made under this key and not touched since."""
        record = self.lines.get(self._name(picture))
        return record if record and record.get("key") == key and record.get("stamp") == images.stamp(picture) else None

    def add(self, picture: Path, key: str, span: tuple[float, float] | None) -> None:
        record = {"picture": self._name(picture), "key": key, "stamp": images.stamp(picture), "span": span}
        self._append(json.dumps(record) + "\n")

    def _name(self, picture: Path) -> str:
        return picture.relative_to(self.folder).as_posix()

    def _append(self, text: str) -> None:
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(text)
        except OSError as error:
            raise WriteError(f"cannot write {self.path}: {error.strerror}") from error


def method_key(args: argparse.Namespace) -> str:
    """All that decides a picture but for its sources and the frames before it."""
    file = hashlib.sha256(args.weights.read_bytes()).hexdigest() if args.weights else None
    options = [args.output, args.task, args.resize, args.side_by_side, args.temporal]
    if (how := [args.speed, args.max_memory]) != ["exact", None]:
        options += how
    if args.range != "auto":
        options.append(args.range)
    if args.align:
        options.append(f"align {args.align}")
    return hashlib.sha256(json.dumps([__version__, args.model, file, *options]).encode()).hexdigest()[:16]


def fuse_folders(fuser: Fuser, args: argparse.Namespace, pairing: Pairing) -> int:
    for line in pairing.report():
        note(line)
    ranges = images.ranges_of(pairing.pairs, args.range)
    record, method, failed, made = Record(args.out, fresh=args.fresh), method_key(args), [], 0
    for pair in tqdm(pairing.pairs, unit="picture", dynamic_ncols=True, disable=None):
        picture = args.out / f"{pair.name}.png"
        sources = " ".join(f"{path} {images.stamp(path)}" for path in (pair.ir, pair.vis))
        key = f"{method} {sources} {fuser.span or ''}".strip()
        if ranges != ("full", "full"):
            key += f" {ranges}"
        if done := record.find(picture, key):
            fuser.span = tuple(done["span"]) if done["span"] else None
            continue
        try:
            of_ir, of_vis = ranges
            write(picture, fuser(images.read(pair.ir, of_ir), images.read(pair.vis, of_vis)))
        except (ValueError, OSError) as error:
            failed.append(f"error: {pair.name}: {in_one_line(error)}")
            continue
        record.add(picture, key, fuser.span)
        made += 1
    for line in failed:
        print(line, file=sys.stderr)
    kept = len(pairing.pairs) - made - len(failed)
    print(f"{made} fused, {kept} were there, {len(failed)} failed: {args.out}")
    return 1 if failed else 0


# --- two videos -----------------------------------------------------------------------------------------------------


def fuse_videos(fuser: Fuser, args: argparse.Namespace) -> int:
    try:
        window = Window() if args.show else None
        sources = opened(args)
        ranged = [videos.with_range(*each) for each in zip(sources, of_pair(args.range), strict=True)]
        pairs = videos.Pairs(*sources)
        tell_times(pairs)
        if args.align and not pairs.live:
            fuser.one_size.prepare(some_pairs(args, ranged))
        written = 0
        with (
            videos.writing(args.out, pairs.fps) as append,
            tqdm(total=pairs.total, unit="frame", dynamic_ncols=True, disable=None) as bar,
        ):
            try:
                for frames in pairs:
                    fused = fuser(*(f(frame) for f, frame in zip(ranged, frames, strict=True)))
                    append(fused)
                    written += 1
                    bar.update()
                    if window and not window.show(fused):
                        break
            except KeyboardInterrupt:  # the only end that a live source has
                if not pairs.live or not written:
                    raise
            finally:
                for each in sources:
                    each.close()
            if not written:
                raise ValueError(f"{args.ir} and {args.vis} hold no pair of frames: their times do not meet")
    except (ValueError, OSError) as error:
        return stop(1, f"error: {in_one_line(error)}")
    print(f"{written} frames fused: {args.out}")
    problems = [text for text in (video.shortfall() for video in pairs.ended) if text]
    return stop(1, f"error: {'; '.join(problems)}") if problems else 0


def opened(args: argparse.Namespace) -> list:
    """The two sources; pictures come at their partner's rate unless told otherwise."""
    found: list = [None, None]
    kinds = [Path(str(each)).is_dir() or "%" in Path(str(each)).name for each in (args.ir, args.vis)]
    ranges = of_pair(args.range)
    for i in sorted((0, 1), key=lambda i: kinds[i]):
        partner = found[1 - i]
        fps = args.rate or (partner.fps if partner else videos.FPS)
        found[i] = videos.opened((args.ir, args.vis)[i], fps, ranges[i])
    return found


def some_pairs(args: argparse.Namespace, ranged: list, most: int = 5) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """A few pairs of frames, spread over the sources, which are opened anew for it."""
    pairs = videos.Pairs(*opened(args))
    every = max(1, (pairs.total or 1) // most)
    for number, frames in enumerate(itertools.islice(pairs, every * most)):
        if number % every == 0:
            yield tuple(f(frame) for f, frame in zip(ranged, frames, strict=True))


def tell_times(pairs: videos.Pairs) -> None:
    """How two sources that differ in rate, beginning or length are brought together."""
    ir, vis = pairs.sources
    if pairs.live:
        return
    if abs(ir.fps - vis.fps) > 0.01:
        note(f"{ir.path} runs at {ir.fps:g} frames/s, {vis.path} at {vis.fps:g}: frames are paired by their times")
    if abs(pairs.offset) > 0.5 / pairs.fps:
        late, early = (vis, ir) if pairs.offset > 0 else (ir, vis)
        lead = f"begins {abs(pairs.offset):.2f} s after {early.path}"
        note(f"{late.path} {lead}: what that one shows before is left out")
    lengths = [source.stated / source.fps for source in (ir, vis)]
    ends = [length + max(0.0, sign * pairs.offset) for length, sign in zip(lengths, (-1, 1), strict=True)]
    if all(lengths) and abs(ends[0] - ends[1]) > 1.5 / min(ir.fps, vis.fps):
        longer = ir if ends[0] > ends[1] else vis
        note(f"{longer.path} ends {abs(ends[0] - ends[1]):.2f} s later: what it shows then is left out")


class Window:
    """A window of frames. Raises ValueError where there is no display."""

    def __init__(self):
        if sys.platform.startswith("linux") and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
            raise ValueError("--show needs a display, and there is none here: leave it out, -o writes the video")
        try:
            cv2.namedWindow("fused", cv2.WINDOW_NORMAL)
        except cv2.error:
            raise ValueError(
                "--show needs windows, which opencv-python-headless has not: pip install opencv-python"
            ) from None

    def show(self, frame: np.ndarray) -> bool:
        """Whether to go on: q or Escape ends."""
        cv2.imshow("fused", frame[..., ::-1] if frame.ndim == 3 else frame)
        return cv2.waitKey(1) & 0xFF not in (ord("q"), 27)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends like Ctrl-C: nothing half-written stays
    sys.exit(main())
