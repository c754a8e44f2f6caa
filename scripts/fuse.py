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
changed. Pairs of a large folder are found while they are fused. Several processes share a folder:
torchrun --nproc-per-node 4 scripts/fuse.py ir/ vis/ -o fused/
Exit status: 0, 1 where a pair failed, 2 where nothing could start, 130 after Ctrl-C.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
import os
import signal
import statistics
import sys
import warnings
from collections import deque
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # runs from a checkout, installed or not

from fusion.terminal import need_opencv

if __name__ == "__main__":
    need_opencv()  # or end in one line

import numpy as np
import torch
from tqdm import tqdm

from fusion import __version__, build, images, videos, weights
from fusion.bulk.folder_run import RECORD, FolderRun, write
from fusion.bulk.record import Record, WriteError
from fusion.bulk.share import Share
from fusion.bulk.stream import Stream
from fusion.bulk.stream import found_pairs as pairs_of_folders
from fusion.data import doctor
from fusion.data.alignment import MODELS
from fusion.data.one_size import OneSize
from fusion.fuser import Fuser
from fusion.memory import keep_freed_memory
from fusion.pairing import Pair, Pairing
from fusion.reading import of_pair, once, stranger
from fusion.registry import NETWORKS, UnknownName
from fusion.terminal import forgive_encodings


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
        share = Share.of_this_process()
        if share.world > 1 and (kind != "folder" or args.temporal):
            raise ValueError("several processes share the pairs of folders, not frames that follow each other: use one")
        args.device = share.device(args.device)
        args.speed = args.speed or speed_for(kind, args.model)
        network = load(args)
    except (ValueError, UnknownName, OSError, ImportError) as error:
        return stop(2, f"error: {in_one_line(error)}")
    fuser = Fuser(network, one_size, args.output, args.task, args.temporal, args.side_by_side)
    try:
        if kind == "folder":
            return fuse_folders(fuser, args, pairing, share)
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
        choices=("exact", "bf16", "fast", "compiled"),
        help="bf16: under half a gray level away on average, where that is faster here; fast: the fastest of these two "
        "(default for videos); compiled: by torch.compile (default: exact)",
    )
    parser.add_argument(
        "--max-memory", metavar="SIZE", help="of one pair's tensors, as 3GiB (swift, cddfuse: exact; ship: tiles)"
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
    """Said by the first of several processes."""
    if os.environ.get("RANK", "0") == "0":
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
    if what := stranger(path) or ("" if path.stat().st_size else "empty"):
        raise ValueError(f"{path} is no kind of picture or video that is read here: it is {what}")
    videos.opened(path).close()  # whose error says that it is neither
    return "video"


def checked_out(args: argparse.Namespace, kind: str) -> Path:
    """Where the result goes. Raises ValueError for a name that cannot hold it or that is a source's, OSError."""
    out: Path = args.out
    if kind == "folder":
        try:
            out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            reason = "there is a file of this name" if isinstance(error, FileExistsError) else error.strerror
            raise ValueError(f"-o {out} cannot be made ({reason}): two folders are fused into a folder") from None
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


def same(ir: Path | str, vis: Path | str) -> bool:
    return ir == vis or (isinstance(ir, Path) and isinstance(vis, Path) and ir.samefile(vis))


def found_pairs(args: argparse.Namespace, kind: str) -> Pairing | Stream:
    """The pairs to fuse, looked at: what seems wrong with them is a note, or an error where --strict says so.

    Raises ValueError for folders that cannot be paired, and for one picture given as both. Videos: `fuse_videos`.
    """
    if kind == "folder":
        found = pairs_of_folders(args.ir, args.vis, args.match, ordered=args.temporal is not None)
    elif same(args.ir, args.vis):
        raise ValueError(f"{args.ir} is given as infrared and as visible: name the other {kind}")
    else:
        found = Pairing([Pair(args.ir.stem, args.ir, args.vis)] if kind == "picture" else [])
    for line in [] if isinstance(found, Stream) else found.examples():
        note(line)
    settled = ["unreadable", "duplicate"]
    if args.align:
        settled += ["size", "view", "shift"]
    if args.resize:
        settled.append("size")
    if args.range != "auto":
        settled.append("range")
    looked = doctor.quick_check(known(found), task=args.task, without=settled)
    for line in doctor.refuse(looked, args.strict):
        note(line)
    return found


def known(pairing: Pairing | Stream) -> list[Pair]:
    """The pairs that are known before the run begins: all, or the first ones of a large folder."""
    return pairing.first if isinstance(pairing, Stream) else pairing.pairs


def speed_for(kind: str, model: str | None) -> str:
    """Where nobody says otherwise: every picture of a video counts for a moment only. An ONNX file has one speed."""
    return "fast" if kind == "video" and (model is None or model in NETWORKS) else "exact"


def load(args: argparse.Namespace):
    """The network, on its device. Raises ValueError, UnknownName, OSError, ImportError (an ONNX file's)."""
    default = "swift" if args.weights is None or str(args.weights) == weights.NONE else None
    name, file = weights.chosen(args.model or default, args.weights, args.task)
    args.model, args.weights = name, file
    how = {"speed": args.speed, "max_memory": args.max_memory, "device": args.device}
    network = build.network(name, file, task=args.task, **how)
    if args.temporal and not network.convention.stretch:
        note(f"--temporal changes nothing: {name} does not stretch its pictures one by one")
    return network.eval().form().eval()  # once, for all pictures and threads


# --- one pair -------------------------------------------------------------------------------------------------------


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


# --- two folders ----------------------------------------------------------------------------------------------------


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


def fuse_folders(fuser: Fuser, args: argparse.Namespace, pairing: Pairing | Stream, share: Share) -> int:
    first, stream = share.rank == 0, pairing if isinstance(pairing, Stream) else None
    for line in pairing.report() if first and not stream else ():
        note(line)
    with share.first_process_first():
        record = Record(args.out / RECORD, args.out, fresh=args.fresh and first)
    ranges = share.gather(images.ranges_of(known(pairing), args.range))[0]  # one, in whatever order folders are listed
    run = FolderRun(fuser, args.out, record, method_key(args), ranges, at_once(fuser))
    if stream:
        stream.note = note if first else lambda line: None
    pairs, total = (stream.of(share), None) if stream else (part := share.of(pairing.pairs), len(part))
    with tqdm(total=total, unit="picture", dynamic_ncols=True, disable=None if first else True) as bar:
        count = run(pairs, bar.update)
    if stream and first:
        stream.finish()
        count.failed += stream.failed
    counts = share.gather(count)
    failed = [line for count in counts for line in count.failed]
    if first:
        for line in failed:
            print(line, file=sys.stderr)
        made, kept = sum(count.made for count in counts), sum(count.kept for count in counts)
        print(f"{made} fused, {kept} were there, {len(failed)} failed: {args.out}")
    share.end()
    return 1 if failed and first else 0  # a launcher stops all processes when one fails: the first tells the status


def at_once(fuser: Fuser) -> int:
    """How many pairs are fused at the same time, each on a core: as many as PyTorch may use threads.

    One where frames follow each other, on a GPU, and where a network's own form for a CPU uses all cores by itself.
    """
    alone = fuser.temporal or not fuser.network.beside or fuser.network.place.device.type != "cpu"
    return 1 if alone else torch.get_num_threads()


# --- two videos -----------------------------------------------------------------------------------------------------


def fuse_videos(fuser: Fuser, args: argparse.Namespace) -> int:
    try:
        window = videos.Window() if args.show else None
        sources = opened(args)
        ranged = [videos.with_range(*each) for each in zip(sources, of_pair(args.range), strict=True)]
        pairs = videos.Pairs(*sources)
        looked = doctor.check_frames(*pairs.first, args.task) if pairs.first else []
        for line in [*doctor.refuse(looked, args.strict), *pairs.remarks()]:
            note(line)
        if args.align and not pairs.live:
            fuser.one_size.prepare(some_pairs(args, ranged))
        written, latencies = 0, deque(maxlen=1000)
        # A GPU leaves the processor free to read the next frames.
        coming = videos.ahead(pairs) if fuser.network.place.is_cuda and not pairs.live else iter(pairs)
        with (
            videos.writing(args.out, pairs.fps) as append,
            tqdm(total=pairs.total, unit="frame", dynamic_ncols=True, disable=None) as bar,
        ):
            try:
                for frames in coming:
                    fused = fuser(*(f(frame) for f, frame in zip(ranged, frames, strict=True)))
                    append(fused)
                    written += 1
                    if pairs.live:
                        latencies.append(pairs.latency())
                        bar.set_postfix_str(f"latency {1000 * latencies[-1]:.0f} ms", refresh=False)
                    bar.update()
                    if window and not window.show(fused):
                        break
            except KeyboardInterrupt:  # the only end that a live source has
                if not pairs.live or not written:
                    raise
            finally:
                coming.close()
                for each in sources:
                    each.close()
            if not written:
                raise ValueError(f"{args.ir} and {args.vis} hold no pair of frames: their times do not meet")
    except (ValueError, OSError) as error:
        return stop(1, f"error: {in_one_line(error)}")
    behind = f", latency {1000 * statistics.median(latencies):.0f} ms (median)" if latencies else ""
    print(f"{written} frames fused: {args.out}{behind}")
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


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends like Ctrl-C: nothing half-written stays
    sys.exit(main())
