"""Scores of single pictures in files: added one by one as they are found, and merged into one set later.

A rows file has a JSON line a picture, and is a record (`fusion.bulk.record`) while its run lasts: what stands in it is
not scored again, whoever found it. When the run is over it is written anew, in order, with a line for each picture that
has no scores and at last one that says how many pictures there are; without that one, a run did not end.
"""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from fusion import images
from fusion.bulk.record import Record, parsed
from fusion.metrics.scoring import Scored, Triple, score_all
from fusion.names import natural
from fusion.registry import METRICS


class Rows:
    """The rows file of pictures below `fused`, scored by the metrics `keys` of a `version` of this program.

    Raises WriteError as `Record`.
    """

    def __init__(self, path: Path, fused: Path, keys: Sequence[str], version: str):
        self.record, self.keys, self.version = Record(path, fused), list(keys), version

    def score(self, triples: Sequence[Triple], workers: int = 1) -> Iterator[Scored]:
        """`score_all`, but for what stands in the file already; what is found is added to it."""
        old = [self._find(triple) for triple in triples]
        new = score_all([t for t, known in zip(triples, old, strict=True) if not known], self.keys, workers)
        for triple, known in zip(triples, old, strict=True):
            scored = known or next(new)
            if not known and not scored.error:
                self.record.add(triple.fused, self._key(triple), **_row(triple, scored))
            yield scored

    def finish(self, triples: Sequence[Triple], results: Sequence[Scored], missing: Sequence[str]) -> None:
        """Write the file anew: the rows of `results`, those without scores, and how many there are.

        missing: lines, `NAME: why`, of pictures that are no triple.
        """
        lines = [self._line(*each) for each in zip(triples, results, strict=True)]
        lines += [{"image": line.partition(": ")[0], "error": line} for line in missing]
        with images.atomic_path(self.record.path) as unfinished, unfinished.open("w", encoding="utf-8") as file:
            file.writelines(json.dumps(line) + "\n" for line in [*lines, {"pairs": len(lines)}])

    def _line(self, triple: Triple, scored: Scored) -> dict:
        if scored.error:
            return {"image": scored.name, "error": scored.error}
        return self.record.line(triple.fused, self._key(triple), **_row(triple, scored))

    def _find(self, triple: Triple) -> Scored | None:
        line = self.record.find(triple.fused, self._key(triple))
        return Scored(triple.name, line["scores"]) if line and line.get("image") == triple.name else None

    def _key(self, triple: Triple) -> str:
        """All that decides the scores but for the fused picture."""
        sources = [[str(path), images.stamp(path)] for path in (triple.ir, triple.vis)]
        return hashlib.sha256(json.dumps([self.version, self.keys, triple.ranges, sources]).encode()).hexdigest()[:16]


def _row(triple: Triple, scored: Scored) -> dict:
    return {"image": scored.name, "ranges": [str(how) for how in triple.ranges], "scores": scored.values}


# --- merging --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Part:
    """What one file holds: results by name, the ranges that its sources were read in, and whether its run ended."""

    path: Path
    results: dict[str, Scored]
    ranges: list[str] | None = None
    complete: bool = True


def merged(paths: Sequence[Path]) -> tuple[list[str], list[Scored]]:
    """(keys of the metrics, results in natural order) of rows files and of CSV files as scripts/score.py writes them.

    A picture that one file has scores of misses none, whatever another says. Raises OSError for a file that cannot be
    read; ValueError for one that is none or of a run that did not end, for files of different metrics or ranges, and
    where two have other scores of one picture.
    """
    parts = [read(path) for path in paths]
    _check_alike(parts)
    whole: dict[str, tuple[Part, Scored]] = {}
    for part in parts:
        for name, scored in part.results.items():
            there = whole.get(name)
            if there and not there[1].error and not scored.error and repr(there[1].values) != repr(scored.values):
                raise ValueError(f"{there[0].path} and {part.path} have different scores of {name}: leave one out")
            if there is None or there[1].error:
                whole[name] = part, scored
    results = [whole[name][1] for name in sorted(whole, key=natural)]
    keys = next((list(scored.values) for scored in results if not scored.error), [])
    return keys, results


def _check_alike(parts: Sequence[Part]) -> None:
    """Raise ValueError unless all parts ended, by the same metrics and in the same ranges."""
    first: dict[str, tuple[Path, object]] = {}
    for part in parts:
        if not part.complete:
            raise ValueError(f"{part.path} is of a run that did not end: the same command continues it")
        told = [("metrics", list(scored.values)) for scored in part.results.values() if not scored.error]
        told += [("ranges", part.ranges)] if part.ranges else []
        for what, value in told:
            path, other = first.setdefault(what, (part.path, value))
            if value != other:
                said = " and ".join(f"{', '.join(map(str, v))} ({p})" for p, v in ((path, other), (part.path, value)))
                raise ValueError(f"rows of different {what} make no table: {said}")


def read(path: Path) -> Part:
    """Raises OSError, and ValueError for a file that is neither kind."""
    part = _of_csv(path) if path.suffix.lower() == ".csv" else _of_rows(path)
    keys = {key for scored in part.results.values() for key in scored.values}
    if not part.results or not keys <= METRICS.keys():
        unknown = ", ".join(sorted(keys - METRICS.keys())[:3]) or "nothing"
        raise ValueError(f"{path} holds {unknown}: expected rows of scripts/score.py (--rows FILE or --csv FILE)")
    return part


def _of_csv(path: Path) -> Part:
    with path.open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    if header[:1] != ["image"]:
        raise ValueError(f"{path}: expected the columns image, PROFILE/METRIC, ...; got {', '.join(header[:3])}")
    try:
        cells = {name: dict(zip(header[1:], map(float, row), strict=True)) for name, *row in rows}
    except ValueError as error:
        raise ValueError(f"{path}: a row is cut or holds no number ({error})") from error
    return Part(path, {name: Scored(name, values) for name, values in cells.items()})


def _of_rows(path: Path) -> Part:
    results, ranges, pairs = {}, None, None
    with path.open("rb") as file:
        for text in file:
            pairs = None  # until a last line says it
            if (row := parsed(text)) and "scores" in row:
                ranges = row["ranges"]
                results[row["image"]] = Scored(row["image"], row["scores"])
            elif isinstance(other := _json(text), dict) and "error" in other:
                results.setdefault(other["image"], Scored(other["image"], error=other["error"]))
            elif isinstance(other, dict) and "pairs" in other:
                pairs = other["pairs"]
    return Part(path, results, ranges, complete=pairs == len(results))


def _json(text: bytes) -> object:
    try:
        return json.loads(text)
    except ValueError:
        return None
