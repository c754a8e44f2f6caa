"""The pair doctor: what is wrong with two folders of pairs, found before it spoils a training or a table.

`examine` reads every file once and hands what it measured to the checks of `diagnoses.py`; `quick_check` is the part
of it that a program can afford at its start. Nothing here writes.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from fusion import images
from fusion.data import diagnoses
from fusion.data.diagnoses import SIDES, Finding, Patient, Task, few
from fusion.data.picture_facts import facts, file_size
from fusion.data.registration import estimate_shift
from fusion.reading import Note


class Examination(NamedTuple):
    """patients: the pairs, by name; findings: problems first, each kind together."""

    patients: list[Patient]
    findings: list[Finding]

    @property
    def problems(self) -> list[Finding]:
        return [f for f in self.findings if f.level == "problem"]


class Folders(NamedTuple):
    """The two folders of a set."""

    ir: Path
    vis: Path

    @classmethod
    def of(cls, root: str | Path, ir: str = "ir", vis: str = "vi") -> Folders:
        """`vis/` stands in where `vi/` is missing. Raises ValueError where a folder is missing."""
        root = Path(root)
        if vis == "vi" and not (root / "vi").is_dir() and (root / "vis").is_dir():
            vis = "vis"
        for folder in (root, root / ir, root / vis):
            if not folder.is_dir():
                raise ValueError(f"{folder} is not a folder: expected {root} to hold {ir}/ and {vis}/ (--ir, --vis)")
        return cls(root / ir, root / vis)


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
    _measure(patients, shifts, workers, progress)
    _measure(others, False, workers, progress)
    findings += diagnoses.unreadable(patients) + diagnoses.sizes(patients)
    findings += _of_pictures(patients, task)
    if against:
        findings += diagnoses.leaks(patients, others, str(against.ir.parent), task)
    if shifts:
        findings += diagnoses.misregistrations(patients)
    findings += diagnoses.oddities(patients)
    findings.sort(key=lambda finding: finding.level != "problem")  # stable: the checks keep their order
    return Examination([p for p in patients if len(p.files) == 2], findings)


def _of_pictures(patients: Sequence[Patient], task: Task) -> list[Finding]:
    return diagnoses.colours(patients, task) + diagnoses.blanks(patients) + diagnoses.duplicates(patients, task)


def count(folders: Folders) -> int:
    """How often `examine` will call `progress` for this set."""
    return len(admit(folders)[0])


# --- files and names ------------------------------------------------------------------------------------------------


def admit(folders: Folders) -> tuple[list[Patient], list[Finding]]:
    """Everything in the two folders, paired by name, and what is wrong with the names."""
    listed, findings = {}, []
    for side, folder in zip(SIDES, folders, strict=True):
        listed[side], found = _listing(folder)
        findings += found
    patients = []
    for name in sorted(listed["ir"].keys() | listed["vis"].keys()):
        files = {side: listed[side][name] for side in SIDES if name in listed[side]}
        patients.append(Patient(name, files))
        if len(files) == 1:
            (side, path), other = *files.items(), folders.vis if "ir" in files else folders.ir
            findings.append(Finding("problem", "names", name, f"{side} {path.name} has no partner in {other}"))
    if not listed["ir"].keys() & listed["vis"].keys():
        findings.insert(0, Finding("problem", "names", "", "no two names agree: partners carry the same stem"))
    return patients, findings


def _listing(folder: Path) -> tuple[dict[str, Path], list[Finding]]:
    files: dict[str, Path] = {}
    findings, strangers = [], []
    for path in sorted(p for p in folder.iterdir() if not p.name.startswith(".")):
        if path.is_dir() or not images.is_picture(path):
            strangers.append(path.name)
        elif path.stem in files:
            text = f"{folder} holds {files[path.stem].name} and {path.name}: one picture a name, please"
            findings.append(Finding("problem", "names", path.stem, text))
        else:
            files[path.stem] = path
    if not files:
        raise ValueError(f"{folder} holds no pictures: expected {', '.join(s[1:] for s in images.WRITTEN)} files")
    if strangers:
        findings.append(Finding("note", "names", "", f"{folder} also holds {few(strangers)}: no pictures, not read"))
    return files, findings


def _measure(patients: Sequence[Patient], shifts: bool, workers: int, progress: Callable | None) -> None:
    def measure(patient: Patient) -> None:
        pictures = {}
        for side, path in patient.files.items():
            try:
                pictures[side] = images.read(path)
                patient.facts[side] = facts(pictures[side])
            except (ValueError, OSError) as error:
                patient.errors[side] = " ".join(str(error).split())
        if shifts and patient.same_size and not any(f.blank for f in patient.facts.values()):
            patient.shift = estimate_shift(pictures["ir"], pictures["vis"])

    pool = ThreadPoolExecutor(workers)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Note)  # whoever fuses the pictures says it
            for _ in pool.map(measure, patients):
                if progress:
                    progress()
    finally:
        pool.shutdown(cancel_futures=True)  # after Ctrl-C only what is under way is finished


# --- at the start of a run ------------------------------------------------------------------------------------------


def quick_check(pairs: Sequence[images.Pair], task: Task = "infrared-visible", samples: int = 4) -> list[str]:
    """What a program can say of its pairs at once: every size from the file's header, a few pairs looked at.

    Returns lines for a person, none where nothing was found; reads `samples` pairs whole, spread over the set.
    Never raises for a bad file: whoever reads it next will.
    """
    findings = []
    for pair in pairs:
        try:
            ir, vis = file_size(pair.ir), file_size(pair.vis)
        except (ValueError, OSError) as error:
            findings.append(Finding("problem", "unreadable", pair.name, " ".join(str(error).split())))
            continue
        if ir != vis:
            findings.append(Finding("problem", "size", pair.name, diagnoses.size_text(ir, vis)))
    chosen = {round(i * (len(pairs) - 1) / max(1, samples - 1)) for i in range(samples)} if pairs else set()
    patients = [Patient(pairs[i].name, {"ir": pairs[i].ir, "vis": pairs[i].vis}) for i in sorted(chosen)]
    _measure(patients, False, 1, None)
    named = {(f.check, f.pair) for f in findings}
    looked = diagnoses.unreadable(patients) + _of_pictures(patients, task)
    findings += [f for f in looked if f.level == "problem" and (f.check, f.pair) not in named]
    lines = [str(finding) for finding in findings[:5]]
    if len(findings) > 5:
        lines.append(f"problem: and {len(findings) - 5} more")
    if lines:
        ir, vis = Path(pairs[0].ir).parent, Path(pairs[0].vis).parent
        if ir.parent == vis.parent:
            command = f"python scripts/check_pairs.py {ir.parent} --ir {ir.name} --vis {vis.name} --task {task}"
            lines.append(f"hint: {command} looks at every pair")
    return lines
