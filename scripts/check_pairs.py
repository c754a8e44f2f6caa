"""Find what is wrong with two folders of pairs before training or comparing on them.

    python scripts/check_pairs.py ROOT [--ir ir --vis vi] [--against OTHER_ROOT] [--align OUT]

ROOT holds ir/ and vi/ (or vis/). Looked for: names without partner, files that cannot be read, different sizes,
swapped folders, black, constant or saturated pictures, duplicates, pictures that OTHER_ROOT holds too, and pairs that
lie apart or show another field of view. --align writes aligned copies into OUT, the infrared moved onto the visible
picture and both cut to what they share, so sizes differ from pair to pair; pairs without a sure alignment are named
and left out; the originals stay as they are.
Exit status: 0 no problem (notes are none), 1 problems, 2 could not run, 130 after Ctrl-C.
"""

from __future__ import annotations

import argparse
import csv
import os
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # runs from a checkout, installed or not

from fusion.terminal import need_opencv

if __name__ == "__main__":
    need_opencv()  # or end in one line

from tqdm import tqdm

from fusion import images
from fusion.data import alignment, doctor
from fusion.data.findings import Finding, Patient
from fusion.pairing import Folders
from fusion.terminal import forgive_encodings

LOSSLESS = (".png", ".tif", ".tiff", ".bmp")
SHOWN = 10  # lines of one kind, without --all


def arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("root", type=Path, help="folder with ir/ and vi/ (or vis/)")
    parser.add_argument("--ir", default="ir", help="folder of the infrared (CT, PET, SPECT) pictures (ir)")
    parser.add_argument("--vis", default="vi", help="folder of the visible (MRI) pictures (vi, or vis)")
    parser.add_argument("--match", metavar="IR*=VIS*", help="how the names of partners differ, * being what they share")
    parser.add_argument("--task", choices=("infrared-visible", "medical"), default="infrared-visible")
    parser.add_argument("--against", type=Path, metavar="OTHER_ROOT", help="a set that must share no picture with ROOT")
    parser.add_argument("--no-shifts", action="store_true", help="leave out the misregistration estimate: much faster")
    parser.add_argument("--align", type=Path, metavar="OUT", help="write aligned copies into this new folder")
    parser.add_argument("--model", choices=alignment.MODELS, default="similarity", help="the most that --align does")
    parser.add_argument("--all", action="store_true", help=f"every line, not the first {SHOWN} of each kind")
    parser.add_argument("--workers", type=int, default=min(os.cpu_count() or 1, 8), help="threads")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    forgive_encodings()
    args = arguments(argv)
    try:
        return check(args)
    except (ValueError, OSError) as error:
        print(f"check_pairs: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("check_pairs: interrupted", file=sys.stderr)
        return 130


def check(args: argparse.Namespace) -> int:
    if args.workers < 1:
        raise ValueError(f"expected at least 1 worker, got {args.workers}")
    folders = Folders.of(args.root, args.ir, args.vis, args.match)
    against = Folders.of(args.against, args.ir, args.vis, args.match) if args.against else None
    if against and against.ir.samefile(folders.ir) and against.vis.samefile(folders.vis):
        raise ValueError(f"--against {args.against} is ROOT itself: name the other set")
    if args.align:
        refuse_to_overwrite(args.align, args.root, folders)
    total = doctor.count(folders) + (doctor.count(against) if against else 0)
    with tqdm(total=total, unit="pair", disable=None) as bar:
        found = doctor.examine(
            folders,
            task=args.task,
            against=against,
            shifts=not args.no_shifts,
            workers=args.workers,
            progress=bar.update,
        )
    print(report(found, args.all))
    unsure = align(found.patients, folders, args) if args.align else 0
    return 1 if found.problems or unsure else 0


# --- the table ------------------------------------------------------------------------------------------------------


def report(found: doctor.Examination, everything: bool) -> str:
    """The findings as a table, and a sentence."""
    rows = [("", "check", "pair", "what")]
    shown: Counter[tuple[str, str]] = Counter()
    for finding in found.findings:
        kind = (finding.level, finding.check)
        shown[kind] += 1
        if everything or shown[kind] <= SHOWN:
            rows.append(row(finding))
    rows += [
        (level, check, "...", f"and {number - SHOWN} more (--all)")
        for (level, check), number in shown.items()
        if number > SHOWN and not everything
    ]
    widths = [max(len(r[i]) for r in rows) for i in range(3)]
    lines = ["  ".join([*(cell.ljust(width) for cell, width in zip(r, widths, strict=False)), r[3]]) for r in rows]
    problems, notes = len(found.problems), len(found.findings) - len(found.problems)
    pairs = counted(len(found.patients), "pair")
    verdict = f"{pairs}: {counted(problems, 'problem') if problems else 'no problem'}, {counted(notes, 'note')}"
    return "\n".join([*(lines if found.findings else []), verdict])


def row(finding: Finding) -> tuple[str, str, str, str]:
    return finding.level, finding.check, finding.pair or "-", finding.text


def counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


# --- aligned copies -------------------------------------------------------------------------------------------------


def refuse_to_overwrite(out: Path, root: Path, folders: Folders) -> None:
    if out.resolve() in (root.resolve(), *root.resolve().parents):
        raise ValueError(f"--align {out} is ROOT or holds it: choose another folder")
    for sources in (folders.ir, folders.vis):
        if out.resolve().is_relative_to(sources.resolve()):
            raise ValueError(f"--align {out} lies among the originals in {sources}: choose another folder")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ValueError(f"--align {out} is not empty: choose a new folder")


def align(patients: list[Patient], folders: Folders, args: argparse.Namespace) -> int:
    """Aligned copies of every readable pair, and alignment.csv with what was done to each; how many were not sure."""
    pairs = [p for p in patients if p.whole]
    out = places(folders, args)
    rows = []
    pool = ThreadPoolExecutor(args.workers)
    try:
        with tqdm(total=len(pairs), unit="pair", desc="align", disable=None) as bar:
            for line in pool.map(lambda p: align_one(p, out, args.model), pairs):
                rows.append(line)
                bar.update()
    finally:
        pool.shutdown(cancel_futures=True)
    with images.atomic_path(args.align / "alignment.csv") as path, path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]) if rows else ["name"])
        writer.writeheader()
        writer.writerows(rows)
    unsure = [r for r in rows if r["model"] == "unsure"]
    for r in unsure if args.all else unsure[:SHOWN]:
        grounds = f"{r['agreeing_areas']} of {r['areas']} areas agree"
        print(f"problem  align  {r['name']}  could not be aligned surely ({grounds}): left out")
    models = Counter(r["model"] for r in rows)
    how = ", ".join(f"{models[m]} {m}" for m in ("none", *alignment.MODELS) if models[m]) or "none written"
    left_out = len(patients) - len(rows) + len(unsure)
    written = counted(len(rows) - len(unsure), "pair")
    print(f"{args.align}: {written} ({how})" + (f", {left_out} left out" if left_out else ""))
    return len(unsure)


def places(folders: Folders, args: argparse.Namespace) -> dict[str, Path]:
    """Where the copies go: into folders called like the originals', as they lie in the root (`infrared/train`)."""
    root = args.root.resolve()
    paths = {"ir": folders.ir.resolve(), "vis": folders.vis.resolve()}
    if paths["ir"] == paths["vis"] or not all(path.is_relative_to(root) for path in paths.values()):
        return {side: args.align / side for side in paths}
    return {side: args.align / path.relative_to(root) for side, path in paths.items()}


def align_one(patient: Patient, out: dict[str, Path], model: alignment.Model) -> dict:
    """Write one pair where its alignment is sure; the line of alignment.csv about it."""
    ir, vis = (images.read(patient.files[side]) for side in ("ir", "vis"))
    found = alignment.find_alignment(ir, vis, model)
    if found.sure:
        if found.model != "none" or ir.shape[:2] != vis.shape[:2]:
            ir, vis = alignment.aligned(ir, vis, found.matrix, found.bend)
        for side, picture in (("ir", ir), ("vis", vis)):
            path = patient.files[side]
            # JPEG would lose once more.
            suffix = path.suffix if path.suffix.lower() in LOSSLESS else ".png"
            copy = out[side] / f"{patient.name}{suffix}"
            if copy.exists():
                raise ValueError(f"{copy} is there already: nothing is overwritten; choose a new folder for --align")
            images.write(copy, picture)
    return {
        "name": patient.name,
        "model": found.model if found.sure else "unsure",
        "agreement_before": f"{found.before:.4f}",
        "agreement_after": f"{found.after:.4f}",
        "agreeing_areas": found.evidence.agreeing,
        "areas": found.evidence.areas,
        "expected_corner_error": f"{found.evidence.error:.2f}",
        "height": vis.shape[0] if found.sure else "",
        "width": vis.shape[1] if found.sure else "",
        "bend": f"{found.bend:.5f}",
        "matrix_vis_to_ir": " ".join(f"{v:.8g}" for v in found.matrix.ravel()),
    }


if __name__ == "__main__":
    sys.exit(main())
