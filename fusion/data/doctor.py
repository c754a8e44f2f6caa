"""The pair doctor: what is wrong with two folders of pairs, found before it spoils a training or a table.

`examine` reads every file once and hands what it measured to the checks: `diagnoses.py` (pictures one by one, colours),
`copies.py` (what comes twice) and `placement.py` (partners, views, shifts). `quick_check` is the part of it that a
program can afford at its start, and `check_results` that for fused pictures. Nothing here writes.
"""

from __future__ import annotations

import dataclasses
import shlex
import warnings
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np

from fusion import images
from fusion.data import copies, diagnoses, placement
from fusion.data.findings import Finding, Patient, Task, few
from fusion.data.partners import LEAST, Sketch
from fusion.data.picture_facts import Facts, facts, file_size
from fusion.data.registration import estimate_shift
from fusion.names import natural
from fusion.pairing import Folders, Pair, Pairing, is_picture, name_of, no_pictures, pair_names, pictures, twice
from fusion.reading import Note


class Examination(NamedTuple):
    """patients: the pairs, by name; findings: problems first, each kind together."""

    patients: list[Patient]
    findings: list[Finding]

    @property
    def problems(self) -> list[Finding]:
        return [f for f in self.findings if f.level == "problem"]


def examine(
    folders: Folders,
    *,
    task: Task = "infrared-visible",
    against: Folders | None = None,
    shifts: bool = True,
    workers: int = 1,
    progress: Callable[[], object] | None = None,
) -> Examination:
    """All checks on the pictures of `folders`. Reads every file once, changes none.

    against: another set that must share no picture with this one. shifts: estimate misregistration, the slowest part.
    workers: threads. progress: called once a pair of either set. Raises ValueError where a folder holds no picture.
    """
    patients, findings = admit(folders)
    others = admit(against)[0] if against else []
    _measure(patients, shifts, workers, progress, shifts and task == "infrared-visible")
    _measure(others, False, workers, progress)
    findings += diagnoses.unreadable(patients) + diagnoses.sizes(patients)
    findings += _of_pictures(patients, task)
    if against:
        findings += copies.leaks(patients, others, _where(against), task)
    if shifts:
        findings += placement.partners(patients) + placement.misregistrations(patients)
    findings += diagnoses.oddities(patients)
    findings.sort(key=lambda finding: finding.level != "problem")  # stable: the checks keep their order
    return Examination([p for p in patients if len(p.files) == 2], findings)


def _of_pictures(patients: Sequence[Patient], task: Task) -> list[Finding]:
    return diagnoses.colours(patients, task) + diagnoses.blanks(patients) + copies.duplicates(patients, task)


def _where(folders: Folders) -> str:
    return str(folders.ir if folders.one else folders.ir.parent)


def count(folders: Folders) -> int:
    """How often `examine` will call `progress` for this set."""
    return len(admit(folders)[0])


# --- files and names ------------------------------------------------------------------------------------------------


def admit(folders: Folders) -> tuple[list[Patient], list[Finding]]:
    """Everything in the two folders, paired by name, and what is wrong with the names."""
    listed, findings = [], []
    for folder in [folders.ir] if folders.one else [folders.ir, folders.vis]:
        files, found = _listing(folder)
        listed.append(files)
        findings += found
    if folders.ir.samefile(folders.vis) and not folders.match:
        raise ValueError(f"{folders.ir} is given as infrared and as visible: name two folders (--ir, --vis)")
    try:
        names = (folders.ir, folders.vis)
        found = pair_names(listed[0], listed[-1], match=folders.match, what=names, same=folders.one)
    except ValueError as error:
        findings.insert(0, Finding("problem", "names", "", " ".join(str(error).split())))
        found = Pairing([], list(listed[0].values()), list(listed[-1].values()))
    findings += [Finding("note", "names", "", line) for line in found.examples()]
    patients = [Patient(p.name, {"ir": p.ir, "vis": p.vis}) for p in found.pairs]
    for side, alone, folder in (("ir", found.only_ir, folders.vis), ("vis", found.only_vis, folders.ir)):
        for path in alone:
            name = name_of(path, folders.ir if side == "ir" else folders.vis)
            patients.append(Patient(name, {side: path}))
            findings.append(Finding("problem", "names", name, f"{side} {path.name} has no partner in {folder}"))
    return sorted(patients, key=lambda p: natural(p.name)), findings


def _listing(folder: Path) -> tuple[dict[str, Path], list[Finding]]:
    files: dict[str, Path] = {}
    findings = []
    for path in pictures(folder):
        name = name_of(path, folder)
        if name in files:
            findings.append(Finding("problem", "names", name, twice(folder, files[name], path)))
        else:
            files[name] = path
    if not files:
        raise ValueError(no_pictures(folder))
    beside = (p for p in sorted(folder.iterdir()) if not p.name.startswith(".") and not is_picture(p))
    within = {path.relative_to(folder).parts[0] for path in files.values()}
    strangers = [p.name for p in beside if p.name not in within]
    if strangers:
        findings.append(Finding("note", "names", "", f"{folder} also holds {few(strangers)}: no pictures, not read"))
    return files, findings


def _measure(
    patients: Sequence[Patient], shifts: bool, workers: int, progress: Callable | None, sketches: bool = False
) -> None:
    def measure(patient: Patient) -> None:
        pictures = {}
        for side, path in patient.files.items():
            try:
                pictures[side], patient.facts[side] = _looked_at(path)
            except (ValueError, OSError) as error:
                patient.errors[side] = " ".join(str(error).split())
        if not patient.whole or any(f.blank for f in patient.facts.values()):
            return
        if shifts and patient.same_size:
            patient.shift = estimate_shift(pictures["ir"], pictures["vis"])
        if sketches and _comparable(*patient.facts.values()):
            patient.sketch = Sketch.of(pictures["ir"], pictures["vis"])

    pool = ThreadPoolExecutor(workers)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Note)  # whoever fuses the pictures says it
            for _ in pool.map(measure, patients):
                if progress:
                    progress()
    finally:
        pool.shutdown(cancel_futures=True)  # after Ctrl-C only what is under way is finished


def _looked_at(path: Path) -> tuple[np.ndarray, Facts]:
    """A picture as programs fuse it, and its facts; of raw counts, `range` is that of the counts."""
    image = images.read(path)
    found = facts(image)
    if found.narrow and found.used:
        image = images.read(path, "auto")
        found = dataclasses.replace(facts(image), range=found.range, narrow=True)
    return image, found


def _comparable(a: Facts, b: Facts) -> bool:
    medical = a.dark_frame and b.dark_frame
    return not medical and min(a.h, a.w, b.h, b.w) >= LEAST and abs(a.w * b.h / (a.h * b.w) - 1) < 0.1


# --- at the start of a run ------------------------------------------------------------------------------------------

MOST_LOOKED_AT = 6  # pairs
HEADERS = 1000  # pairs: a fraction of a second of opening files
BUDGET = 4e6  # pixels of both pictures: half a second or less of reading and measuring
SHOWN = 6  # lines
PROBLEM = "problem: "


def quick_check(
    pairs: Sequence[Pair],
    task: Task = "infrared-visible",
    *,
    without: Collection[str] = (),
    samples: int = MOST_LOOKED_AT,
) -> list[str]:
    """What a program can say of its pairs at once: sizes from the files' headers, a few pairs looked at.

    Returns lines for a person, one a kind of finding, none where nothing was found; opens `HEADERS` pairs at most and
    reads `samples` whole, both spread over the set, fewer of large pictures. without: kinds of findings that the caller
    settles itself (`size`).
    Never raises for a bad file: whoever reads it next will.
    """
    opened = [pairs[i] for i in _spread(len(pairs), HEADERS)]
    findings, pixels = _of_headers(opened)
    chosen = _spread(len(pairs), min(samples, max(2, int(BUDGET // max(1, 2 * pixels)))))
    patients = [Patient(pairs[i].name, {"ir": pairs[i].ir, "vis": pairs[i].vis}) for i in chosen]
    _measure(patients, False, 1, None, task == "infrared-visible")
    named = {(f.check, f.pair) for f in findings}
    looked = diagnoses.unreadable(patients) + _of_pictures(patients, task) + placement.partners(patients, search=False)
    findings += [f for f in looked if f.level == "problem" and (f.check, f.pair) not in named]
    findings = [f for f in findings if f.check not in without]
    part = f"{len(opened)} of {len(pairs)} pairs were opened" if len(opened) < len(pairs) else ""
    return [*_lines(findings, part), *(_hint(pairs[0], task) if findings else [])]


def check_results(files: Mapping[str, Path], samples: int = 16) -> list[str]:
    """The same of fused pictures, {name: file}: black, constant, or of 0 and 1 alone. Never raises for a bad file."""
    names = [list(files)[i] for i in _spread(len(files), samples)]
    patients = [Patient(name, {"fused": files[name]}) for name in names]
    _measure(patients, False, 1, None)
    return _lines(diagnoses.results([p for p in patients if p.facts]))


def check_frames(ir: np.ndarray, vis: np.ndarray, task: Task = "infrared-visible") -> list[str]:
    """The same of two videos by a frame of each, uint8 or uint16: swapped, false colours, the same twice. A video may
    begin dark, so what a frame shows is not judged.
    """
    patient = Patient("", {}, {"ir": facts(ir), "vis": facts(vis)})
    findings = diagnoses.colours([patient], task) + copies.duplicates([patient], task)
    return _lines([finding for finding in findings if finding.level == "problem"])


def refuse(lines: Sequence[str], strict: bool) -> list[str]:
    """The lines that a program should show: all but raw counts, of which the reader says what it made of them.

    Raises ValueError where `strict` and one of the lines is a problem.
    """
    problems = [line.replace(PROBLEM, "", 1) for line in lines if _says(line, PROBLEM)]
    if strict and problems:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise ValueError(f"--strict: {problems[0]}{more}; nothing was done")
    shown = [line for line in lines if not _says(line, f"{PROBLEM}range: ")]
    return [] if all(_says(line, "hint: ") for line in shown) else shown


def _says(line: str, mark: str) -> bool:
    """Whether a line is of this kind, with or without the name of its set before it."""
    return f": {mark}" in f": {line}"


def _of_headers(pairs: Sequence[Pair]) -> tuple[list[Finding], int]:
    """Findings about sizes, and the pixels of the largest picture."""
    findings, pixels = [], 0
    for pair in pairs:
        try:
            ir, vis = file_size(pair.ir), file_size(pair.vis)
        except (ValueError, OSError) as error:
            findings.append(Finding("problem", "unreadable", pair.name, " ".join(str(error).split())))
            continue
        pixels = max(pixels, ir[0] * ir[1], vis[0] * vis[1])
        if ir != vis:
            findings.append(Finding("problem", "size", pair.name, diagnoses.size_text(ir, vis)))
    return findings, pixels


def _spread(number: int, samples: int) -> list[int]:
    """Indices, at most `samples`, spread evenly."""
    return sorted({round(i * (number - 1) / max(1, samples - 1)) for i in range(samples)}) if number else []


def _lines(findings: Sequence[Finding], part: str = "") -> list[str]:
    """A line for each kind of finding, the first standing for all of it; part: what was looked at, where not all."""
    kinds: dict[tuple[str, str], list[Finding]] = {}
    for finding in findings:
        side = finding.text.split()[0].rstrip(":")
        kinds.setdefault((finding.check, side if side in ("ir", "vis") else ""), []).append(finding)
    lines = []
    for found in kinds.values():
        more = [f"and {len(found) - 1} more like it"] * (len(found) > 1) + [part] * bool(part)
        lines.append(f"{found[0]}" + f" ({'; '.join(more)})" * bool(more))
    return lines[:SHOWN] + ([f"problem: and {len(lines) - SHOWN} other kinds"] if len(lines) > SHOWN else [])


def _hint(pair: Pair, task: Task) -> list[str]:
    """How to look at all pairs, where one command can."""
    ir, vis = pair.ir.parent, pair.vis.parent
    if ir.parent != vis.parent or ir == vis or len(Path(pair.name).parts) > 1:
        return []
    options = f" --ir {shlex.quote(ir.name)} --vis {shlex.quote(vis.name)} --task {task}"
    return [f"hint: python scripts/check_pairs.py {shlex.quote(str(ir.parent))}{options} looks at every pair"]
