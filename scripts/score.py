"""Score fused pictures that anybody's program made, in any convention, or in all of them side by side.

    python scripts/score.py --ir DIR --vis DIR --fused DIR [--profile all] [--metrics EN,SSIM] [--workers 4]
    python scripts/score.py ... --metric SD --match 46.0      which convention does a quoted number agree with?
    python scripts/score.py ... --published                   our means beside the rows that CDDFuse prints
    python scripts/score.py ... --rows A.jsonl                continues where it was stopped; torchrun shares the work
    python scripts/score.py --merge A.jsonl B.jsonl           one table of what was scored in parts
    python scripts/score.py --explain                         the tables of docs/metrics.md

Files belong together by their names, results also by one start or end around all (`*_fused`); --match takes a pattern.
With --rows, what is in that file is not scored again, and several processes may share the pictures: torchrun
--nproc-per-node 4 scripts/score.py ... --rows A.jsonl.
Files in the fused folder that belong to no pair are listed and change nothing. A result that is missing or cannot be
scored is an error: no means are printed then, unless --partial asks for those of the rest.
Exit status: 0, 1 where results are missing, 2 where nothing could start, 130 after Ctrl-C.
"""

from __future__ import annotations

import argparse
import csv
import math
import os
import sys
import warnings
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # runs from a checkout, installed or not

from fusion.terminal import need_opencv  # noqa: E402

if __name__ == "__main__":
    need_opencv()  # or end in one line

from tqdm import tqdm  # noqa: E402

from fusion import __version__, images  # noqa: E402
from fusion.bulk.share import Share  # noqa: E402
from fusion.data import doctor  # noqa: E402
from fusion.memory import keep_freed_memory  # noqa: E402
from fusion.metrics import ALL, LEFT_OUT, profiles, select  # noqa: E402
from fusion.metrics.published import PAIRS, ROWS, difference, rows_for  # noqa: E402
from fusion.metrics.published import PROFILE as PUBLISHED_PROFILE  # noqa: E402
from fusion.metrics.rows import Rows, merged  # noqa: E402
from fusion.metrics.scoring import Found, Scored, find, score_all  # noqa: E402
from fusion.metrics.significance import describe  # noqa: E402
from fusion.pairing import Pair  # noqa: E402
from fusion.reading import once  # noqa: E402
from fusion.registry import METRICS, UnknownName, did_you_mean  # noqa: E402
from fusion.terminal import forgive_encodings  # noqa: E402

ARROWS = {True: "↑", False: "↓", None: ""}
ALIASES = {"viff": "VIF", "vifp": "VIF", "entropy": "EN"}


def main(arguments: list[str] | None = None) -> int:
    forgive_encodings()
    args = parse(arguments)
    keep_freed_memory()
    warnings.showwarning = once(note)
    try:
        if args.explain:
            from metric_docs import generated

            print(generated(ROOT))
            return 0
        if args.merge:
            return merge(args)
        keys = wanted(args)
        published = published_rows(args) if args.published is not None else {}
        found = find(args.fused, args.ir, args.vis, args.range, args.names)
        looked = quick_look(args, found)
        looked = doctor.refuse(looked, args.strict)
        share = Share.of_this_process()
        for line in [*found.examples, *looked, *other_pictures(args, found, published)]:
            note(line)
        results = scored(args, keys, found, share)
    except (ValueError, UnknownName, OSError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        kept = ": scored pictures are kept, the same command continues" if args.rows else ""
        print(f"interrupted{kept}", file=sys.stderr)
        return 130
    status = report(args, keys, found, results, published) if share.rank == 0 else 0
    share.end()
    return status  # a launcher stops all processes when one fails: the first tells the status


def note(text: str) -> None:
    """Said by the first of several processes."""
    if os.environ.get("RANK", "0") == "0":
        print(f"note: {text}", file=sys.stderr)


def scored(args: argparse.Namespace, keys: list[str], found: Found, share: Share) -> list[Scored]:
    """All results in the order of the triples, of which every process has scored its part."""
    part, rows = share.of(found.triples), None
    if args.rows:
        with share.first_process_first():
            rows = Rows(args.rows, args.fused, keys, __version__)
    made = rows.score(part, args.workers) if rows else score_all(part, keys, args.workers)
    results = list(tqdm(made, total=len(part), disable=None if share.rank == 0 else True))
    results = share.in_order(share.gather(results))
    if rows and share.rank == 0:
        rows.finish(found.triples, results, found.missing)
    return results


def merge(args: argparse.Namespace) -> int:
    """One table of the rows of several runs. Raises as `merged`, UnknownName."""
    keys, results = merged(args.merge)
    names = [known_name(name) for name in args.metrics.split(",")] if args.metrics else None
    published = published_rows(args) if args.published is not None else {}
    keys = [key for key in keys if names is None or METRICS[key].name in names]
    needed = {f"{PUBLISHED_PROFILE}/{column}" for cells in published.values() for column in cells}
    if not keys or not needed <= set(keys):
        lacks = ", ".join(sorted(needed - set(keys))) or ", ".join(names or [])
        raise ValueError(f"--merge: the rows lack {lacks}: score with these metrics first")
    if len({key.partition("/")[0] for key in keys}) > 1:
        args.profile = ALL
    return report(args, keys, Found([], [], []), results, published)


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ir", type=Path, metavar="DIR", help="infrared pictures (or CT, PET, SPECT)")
    parser.add_argument("--vis", type=Path, metavar="DIR", help="visible pictures (or MRI)")
    parser.add_argument("--fused", type=Path, metavar="DIR", help="fused pictures, named like their sources")
    parser.add_argument("--profile", default="cddfuse", help="convention, or `all` side by side (default: %(default)s)")
    parser.add_argument("--metrics", "--metric", metavar="A,B", help="these only (default: all of the profile)")
    parser.add_argument(
        "--match",
        action="append",
        default=[],
        metavar="VALUE|PATTERN",
        help="number: which convention of --metric gives this mean? IR*=VIS*, IR*=VIS*=*_fused: how the names differ",
    )
    parser.add_argument("--task", choices=("infrared-visible", "medical"), default="infrared-visible")
    parser.add_argument("--strict", action="store_true", help="what looks wrong with the pictures is an error")
    parser.add_argument(
        "--published", nargs="?", const="", metavar="ROW", help="compare with a published row (default: the folder's)"
    )
    parser.add_argument(
        "--range",
        default="auto",
        metavar="IR[,VIS]",
        help="what is black and white in the sources, as in scripts/fuse.py (default: %(default)s)",
    )
    parser.add_argument("--workers", type=int, default=1, help="processes (default: %(default)s)")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="write every picture's values")
    parser.add_argument(
        "--rows",
        type=Path,
        metavar="FILE",
        help="add every picture's values to this file (JSON lines), as found",
    )
    parser.add_argument(
        "--merge",
        type=Path,
        nargs="+",
        metavar="FILE",
        help="one table of what --rows or --csv has written",
    )
    parser.add_argument("--partial", action="store_true", help="print means although results are missing")
    parser.add_argument("--explain", action="store_true", help="print the generated part of docs/metrics.md")
    args = parser.parse_args(arguments)
    if not (args.explain or args.merge) and None in (args.ir, args.vis, args.fused):
        parser.error("--ir, --vis and --fused are needed")
    if args.merge and (args.rows or args.fused):
        parser.error("--merge takes files that are there: leave out --rows and --fused")
    args.names = next((text for text in args.match if "*" in text), None)
    args.match = next((text for text in args.match if "*" not in text), None)
    if args.match is not None and (not args.metrics or "," in args.metrics):
        parser.error("--match needs one --metric")
    if args.match is not None and not _is_number(args.match):
        parser.error(f"--match: '{args.match}' is no number, and no pattern of names (IR*=VIS*)")
    if args.workers < 1:
        parser.error("--workers must be 1 or more")
    return args


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


# --- what to compute --------------------------------------------------------------------------------------------------


def wanted(args: argparse.Namespace) -> list[str]:
    """The `profile/name` of every metric that the options ask for. Raises UnknownName."""
    names = [known_name(name) for name in args.metrics.split(",")] if args.metrics else None
    if args.published is not None:
        return [m.key for m in select(PUBLISHED_PROFILE, next(iter(ROWS.values()))).values()]
    if args.match is not None or args.profile == ALL:
        return [key for key, m in select(ALL).items() if names is None or m.name in names]
    return [m.key for m in select(args.profile, names).values()]


def known_name(name: str) -> str:
    """A metric's name as the tables spell it: case, signs and some other names do not count."""
    known = {_plain(m.name): m.name for m in METRICS.values()}
    plain = _plain(name)
    if plain in known or plain in ALIASES:
        return known.get(plain) or ALIASES[plain]
    reasons = {reason for key, reason in LEFT_OUT.items() if _plain(key.split("/")[1]) == plain}
    hint = f" It is left out: {'; '.join(reasons)}" if reasons else did_you_mean(name, known.values())
    raise UnknownName(f"No metric named '{name}'. Known: {', '.join(dict.fromkeys(known.values()))}.{hint}")


def _plain(name: str) -> str:
    return "".join(c for c in name.lower() if c.isalnum())


def published_rows(args: argparse.Namespace) -> dict[str, dict[str, str]]:
    """The printed rows to compare with: those of --published, or of the folder that --ir lies in."""
    name = args.published or (args.ir.absolute().parent.name if args.ir else "")
    rows = rows_for(name) or {row: cells for row, cells in ROWS.items() if row == name}
    if not rows:
        raise ValueError(f"--published: no row called '{name}'; there are: {', '.join(ROWS)} (--published ROW)")
    return rows


# --- before it starts -------------------------------------------------------------------------------------------------


def quick_look(args: argparse.Namespace, found: Found) -> list[str]:
    """What looks wrong with the sources and the results, a line each."""
    pairs = [Pair(t.name, t.ir, t.vis) for t in found.triples]
    results = {t.name: t.fused for t in found.triples}
    return [
        *doctor.quick_check(pairs, task=args.task, without=["range"] * (args.range != "auto")),
        *doctor.check_results(results),
    ]


def other_pictures(args: argparse.Namespace, found: Found, published: dict) -> list[str]:
    """Where a published row is of more, or of fewer, pictures than are here."""
    sets = {name.partition(" (")[0] for name in published}
    have = len(found.triples) + len(found.missing)
    return [
        f"the published row is of {PAIRS[name]} pictures, {have} are here: the two are not comparable"
        for name in sorted(sets)
        if PAIRS.get(name, have) != have
    ]


# --- what to print ----------------------------------------------------------------------------------------------------


def report(args: argparse.Namespace, keys: list[str], found: Found, results: list[Scored], published: dict) -> int:
    """Print all that was found out; returns the exit status."""
    good = [r for r in results if not r.error]
    bad = [*found.missing, *(r.error for r in results if r.error)]
    for line in found.stray:
        print(f"note: {line}: left out")
    for line in bad:
        print(f"error: {line}", file=sys.stderr)
    if args.csv:
        try:
            write_csv(args.csv, keys, good)
        except OSError as error:
            print(f"error: {error}", file=sys.stderr)
            return 2
    pairs = len(results) + len(found.missing)
    if bad and not (args.partial and good):
        print(f"{len(bad)} of {pairs} results are missing: no means (--partial: those of the rest)", file=sys.stderr)
        return 1
    row = describe([r.values for r in good], keys)
    print(f"{len(good)} of {pairs} pictures in {args.fused or ', '.join(map(str, args.merge))}")
    if args.match is not None:
        print(match(args.match, row["mean"]))
    elif published:
        print("\n".join(side_by_side(name, printed, row["mean"]) for name, printed in published.items()))
    elif args.profile == ALL:
        print(conventions(keys, row))
    else:
        print(statistics(keys, row))
    for line in undefined(row, good):
        print(line)
    return 1 if bad else 0


def write_csv(path: Path, keys: list[str], results: list[Scored]) -> None:
    """A row per picture, a column per metric, nan where it is undefined; the whole file or none of it."""
    with images.atomic_path(path) as unfinished, unfinished.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["image", *keys])
        writer.writerows([r.name, *(r.values[key] for key in keys)] for r in results)


def undefined(row: dict, results: list[Scored]) -> list[str]:
    """A footnote per metric that some pictures have no value of."""
    notes = []
    for key, n in row["undefined"].items():
        names = [r.name for r in results if not math.isfinite(r.values[key])]
        which = ", ".join([*names[:3], "..."] if n > 3 else names)
        size = f"; it needs {METRICS[key].smallest} pixels a side" if METRICS[key].smallest > 1 else ""
        where = f"on {n} of {len(results)} pictures ({which})"
        notes.append(f"† {key} is undefined {where}, which its mean leaves out{size}")
    return notes


def aligned(rows: list[list[str]]) -> str:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join(
        "  ".join([row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True))]).rstrip()
        for row in rows
    )


def printed(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}" if abs(value) < 1000 else f"{value:.2f}"


def statistics(keys: list[str], row: dict) -> str:
    rows = [["", "mean", "median", "std. error", "95 % interval", "unit"]]
    for key in keys:
        m, low_high = METRICS[key], row["interval"][key]
        interval = " to ".join(map(printed, low_high)) if low_high else "-"
        cells = [printed(row[s][key]) for s in ("mean", "median", "standard_error")]
        dagger = "†" if key in row["undefined"] else ""
        rows.append([f"{m.name}{ARROWS[m.higher_is_better]}{dagger}", *cells, interval, m.unit])
    return aligned(rows)


def conventions(keys: list[str], row: dict) -> str:
    """A row per metric, a column per profile, and what each convention does differently."""
    columns = [name for name in ("cddfuse", *profiles()) if any(key.startswith(f"{name}/") for key in keys)]
    columns = list(dict.fromkeys(columns))
    names = sorted({METRICS[key].name for key in keys}, key=lambda n: min(_column(n, key) for key in keys))
    rows = [["", *columns]]
    notes = []
    for name in names:
        of_profile = {p: f"{p}/{name}" for p in columns if f"{p}/{name}" in keys}
        direction = ARROWS[METRICS[next(iter(of_profile.values()))].higher_is_better]
        cells = (printed(row["mean"][key]) + "†" * (key in row["undefined"]) for key in of_profile.values())
        shown = dict(zip(of_profile, cells, strict=True))
        rows.append([name + direction, *(shown.get(p, "") for p in columns)])
        notes += [f"{key}: {METRICS[key].note}" for key in of_profile.values() if METRICS[key].note]
    return "\n".join([aligned(rows), "", *notes])


def _column(name: str, key: str) -> float:
    return METRICS[key].column or math.inf if METRICS[key].name == name else math.inf


def match(text: str, means: dict) -> str:
    """Which conventions print the quoted number, the nearest first."""
    quoted = float(text)
    distances = sorted((abs(mean - quoted), key) for key, mean in means.items() if mean is not None)
    rows = []
    for distance, key in distances:
        mean = means[key]
        agrees = difference(text, mean) == 0
        relative = f"{distance / abs(quoted):.2%} off" if quoted else f"{distance:.3g} off"
        rows.append([key, printed(mean), "agrees" if agrees else relative, METRICS[key].note])
    lines = [line.rstrip() for line in aligned([[*row[:3], ""] for row in rows]).splitlines()]
    lines = [f"{line}   {row[3]}".rstrip() for line, row in zip(lines, rows, strict=True)]
    verdict = [row[0] for row in rows if row[2] == "agrees"]
    told = f"{text} agrees with {', '.join(verdict)}" if verdict else f"{text} agrees with no convention known here"
    return "\n".join([*lines, told])


def side_by_side(name: str, published: dict[str, str], means: dict) -> str:
    """Printed row, ours, and per cell whether they print alike."""
    rows = [["", *published], ["published", *published.values()]]
    values = [means[f"{PUBLISHED_PROFILE}/{column}"] for column in published]
    rows.append(["ours", *("-" if v is None else f"{v:.2f}" for v in values)])
    apart = [None if v is None else difference(p, v) for p, v in zip(published.values(), values, strict=True)]
    rows.append(["", *("-" if d is None else "pass" if d == 0 else f"{d:+.2f}" for d in apart)])
    passed = sum(d == 0 for d in apart)
    return f"{name}, as CDDFuse prints it: {passed} of {len(apart)} cells pass\n{aligned(rows)}"


if __name__ == "__main__":
    sys.exit(main())
