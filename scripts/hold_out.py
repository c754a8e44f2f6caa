"""Divide pairs into a part to train on and a part to choose by, the same way every time.

    python scripts/hold_out.py MSRS/train MSRS/train_more -o data/MSRS
    python scripts/hold_out.py MRI_CT:CT:MRI MRI_PET:PET:MRI MRI_SPECT:SPECT:MRI -o data/medical --patients --first 2 \\
        --leave-out 21

Each ROOT holds ir/ and vi/, or the two folders named behind it. OUT/train and OUT/validation get the files under links
(copies where there are none), those of several roots named ROOT_NAME where two share a name. Of the sorted names, every
ninth from the fifth is held out (`--every`, `--first`); with `--patients` a name is a patient's number and three digits
of a slice, and of each root every ninth patient is held out, with all slices in all roots; `--leave-out` names patients
that go nowhere.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # runs from a checkout, installed or not

from fusion.terminal import need_opencv

if __name__ == "__main__":
    need_opencv()  # or end in one line

from fusion.data.folder import find_pairs
from fusion.pairing import Pair
from fusion.terminal import forgive_encodings

SLICE = 3  # digits of a medical name that count the slice


def arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("roots", nargs="+", metavar="ROOT[:IR:VIS]", help="folder with ir/ and vi/, or IR/ and VIS/")
    parser.add_argument(
        "-o", "--out", type=Path, required=True, help="gets train/ and validation/, ir/ and vi/ in each"
    )
    parser.add_argument("--every", type=int, default=9, help="one of so many is held out (9)")
    parser.add_argument("--first", type=int, default=5, help="the first that is, counted from 1 (5)")
    parser.add_argument("--patients", action="store_true", help="hold out whole patients")
    parser.add_argument("--leave-out", default="", help="patients to use for nothing: 21,35")
    return parser.parse_args(argv)


def pairs_of(roots: list[str]) -> list[tuple[str, Pair]]:
    """(root's name, pair) of all roots; raises ValueError for a root that is not there or not written as asked."""
    found = []
    for text in roots:
        root, *folders = text.split(":")
        if len(folders) not in (0, 2):
            raise ValueError(f"expected ROOT or ROOT:IR:VIS, got {text}")
        found += [(Path(root).name, pair) for pair in find_pairs(root, *folders).pairs]
    return found


def patient(name: str) -> str:
    """`20005` -> `20`; ValueError for a name that is no patient's number and slice."""
    if not (name.isdigit() and len(name) > SLICE):
        raise ValueError(f"{name}: expected a patient's number and {SLICE} digits of a slice; leave --patients out")
    return name[:-SLICE]


def without(found: list[tuple[str, Pair]], patients: list[str]) -> list[tuple[str, Pair]]:
    """`found` but for these patients; ValueError for one that has no picture."""
    if unknown := set(patients) - {patient(pair.name) for _, pair in found}:
        raise ValueError(f"--leave-out {','.join(sorted(unknown))}: there is no picture of such a patient")
    return [(root, pair) for root, pair in found if patient(pair.name) not in patients]


def held_out(found: list[tuple[str, Pair]], args: argparse.Namespace) -> set[tuple[str, str]]:
    """(root, name) of what is for validation."""
    if not 1 <= args.first <= args.every:
        raise ValueError(f"--first {args.first}: expected 1 to --every {args.every}")
    chosen = slice(args.first - 1, None, args.every)
    if not args.patients:
        return set(sorted(((root, pair.name) for root, pair in found), key=lambda key: key[::-1])[chosen])
    held = set()
    for root in {root for root, _ in found}:
        patients = {patient(pair.name) for own, pair in found if own == root}
        held |= set(sorted(patients, key=int)[chosen])
    return {(root, pair.name) for root, pair in found if patient(pair.name) in held}


def place(source: Path, target: Path) -> None:
    """A link where the system has them, else a copy."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        target.symlink_to(source.resolve())
    except OSError:
        shutil.copyfile(source, target)


def divide(args: argparse.Namespace) -> dict[str, int]:
    """Fill OUT; the number of pairs in each part. Raises ValueError, before the first file, where OUT is in use."""
    found = pairs_of(args.roots)
    if args.leave_out:
        found = without(found, args.leave_out.split(","))
    held = held_out(found, args)
    for part in ("train", "validation"):
        if (args.out / part).exists():
            raise ValueError(f"{args.out / part} is there already: remove it or choose another OUT")
    names = [pair.name for _, pair in found]
    counts = {"train": 0, "validation": 0}
    for root, pair in found:
        part = "validation" if (root, pair.name) in held else "train"
        name = pair.name if names.count(pair.name) == 1 else f"{root}_{pair.name}"
        for side, path in (("ir", pair.ir), ("vi", pair.vis)):
            place(path, args.out / part / side / (name + path.suffix))
        counts[part] += 1
    return counts


def main(argv: list[str] | None = None) -> int:
    forgive_encodings()
    args = arguments(argv)
    try:
        counts = divide(args)
    except (ValueError, OSError) as error:
        print(f"hold_out: {error}", file=sys.stderr)
        return 2
    print(f"{args.out}: {counts['train']} pairs to train on, {counts['validation']} held out")
    return 0


if __name__ == "__main__":
    sys.exit(main())
