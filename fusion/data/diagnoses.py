"""What the pair doctor can find: each check takes measured pairs and returns findings. Pure functions.

A finding is a problem (the pair would train or score wrongly, or not at all) or a note (worth knowing, nothing to
mend). The thresholds leave the untouched TNO, RoadScene and MSRS without a problem; where they come from stands in
`picture_facts.py` and `registration.py`. No paper: these are the mistakes that folders of pairs arrive with.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Literal, NamedTuple

from fusion.data.partners import Sketch, judge
from fusion.data.picture_facts import ALIKE, BRIGHT, COPY, DIM, Facts, candidates, similarity
from fusion.data.registration import Shift

Task = Literal["infrared-visible", "medical"]
SIDES = ("ir", "vis")

# Pixels at a longer side of up to 640, in proportion beyond. The untouched sets hold sure shifts of up to 5.3.
APART, NOTABLY_APART = 6.0, 3.0


class Finding(NamedTuple):
    """level: `problem` or `note`; check: one word; pair: its name, empty for the folder; text: what and what now."""

    level: Literal["problem", "note"]
    check: str
    pair: str
    text: str

    def __str__(self) -> str:
        return f"{self.level}: {self.check}: {self.pair + ': ' if self.pair else ''}{self.text}"


@dataclass
class Patient:
    """A pair, or a file without a partner: its files, and what was measured on them."""

    name: str
    files: dict[str, Path]
    facts: dict[str, Facts] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)
    shift: Shift | None = None
    sketch: Sketch | None = None

    @property
    def whole(self) -> bool:
        return len(self.facts) == 2

    @property
    def same_size(self) -> bool:
        return self.whole and len({(f.h, f.w) for f in self.facts.values()}) == 1


def few(names: Sequence[str], most: int = 6) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


# --- one picture, one pair -------------------------------------------------------------------------------------------


def unreadable(patients: Sequence[Patient]) -> list[Finding]:
    return [
        Finding("problem", "unreadable", patient.name, f"{side}: {error}")
        for patient in patients
        for side, error in patient.errors.items()
    ]


def sizes(patients: Sequence[Patient]) -> list[Finding]:
    return [
        Finding("problem", "size", patient.name, size_text(*((f.h, f.w) for f in patient.facts.values())))
        for patient in patients
        if patient.whole and not patient.same_size
    ]


def size_text(ir: tuple[int, int], vis: tuple[int, int]) -> str:
    apart = abs(ir[1] * vis[0] / (ir[0] * vis[1]) - 1)
    if apart > 0.02:
        sizes = f"ir is {ir[0]}x{ir[1]} but vis is {vis[0]}x{vis[1]}, another shape"
        return f"{sizes}: resizing would squeeze it; bring them to one view first (--align)"
    return f"ir is {ir[0]}x{ir[1]} but vis is {vis[0]}x{vis[1]}: bring the pair to one size (--align, fuse.py --resize)"


BLANK_TEXT = {
    "black": "is black: no level above {high} of 255",
    "saturated": "is saturated: {full:.0%} of its pixels are at the upper end",
    "constant": "is constant: its levels go from {low} to {high}",
}


def blanks(patients: Sequence[Patient]) -> list[Finding]:
    """Pictures that show nothing, those that come near it, and white borders."""
    findings = []
    for patient in patients:
        for side, f in patient.facts.items():
            if f.border:
                text = f"{side} has a white border of {f.border} pixels: cut it off both pictures"
                findings.append(Finding("problem", "border", patient.name, text))
            if f.narrow and f.used:
                findings.append(Finding("problem", "range", patient.name, f"{side} {_range_text(f)}"))
            elif f.blank:
                text = f"{side} {BLANK_TEXT[f.blank].format(high=f.high, low=f.low, full=f.full)}"
                findings.append(Finding("problem", f.blank, patient.name, text))
            elif f.high < DIM:
                findings.append(Finding("note", "dim", patient.name, f"{side} has no level above {f.high} of 255"))
            elif f.high - f.low < DIM:
                text = f"{side} uses the levels {f.low} to {f.high} of 255 alone: it is nearly flat"
                findings.append(Finding("note", "dim", patient.name, text))
            elif f.full >= BRIGHT:
                text = f"{side}: {f.full:.0%} of the pixels are at the upper end"
                findings.append(Finding("note", "bright", patient.name, text))
    return findings


def _range_text(f: Facts) -> str:
    low, high = f.range
    return (
        f"uses {f.used:.1%} of its {f.bits} bits ({low} to {high}), as raw counts do: --range LOW..HIGH says what is "
        "black and white (auto: lowest to highest)"
    )


def results(patients: Sequence[Patient]) -> list[Finding]:
    """Fused pictures that cannot be what a method made: `facts["fused"]` of each."""
    findings = []
    for patient in patients:
        f = patient.facts["fused"]
        if f.range[1] == 0:
            text = "is black"
        elif f.range[1] <= 1:
            text = "holds 0 and 1 alone: floats of 0..1 saved as whole numbers; multiply by 255 first"
        elif f.narrow:
            text = f"uses {f.used:.1%} of its {f.bits} bits: save it as 8 bits, or stretched to 16"
        elif f.blank in ("black", "constant"):
            text = BLANK_TEXT[f.blank].format(high=f.high, low=f.low, full=f.full)
        else:
            continue
        findings.append(Finding("problem", "result", patient.name, f"the result {text}"))
    return findings


def partners(patients: Sequence[Patient], *, search: bool = True) -> list[Finding]:
    """Pairs whose halves show two scenes, or two views of one. search: look for the right partners, too."""
    sketches = {p.name: p.sketch for p in patients if p.sketch}
    found = judge(sketches, search=search)
    if found.shares:
        share = median(found.shares.values())
        narrow, wide = ("ir", "vis") if share < 1 else ("vis", "ir")
        part = f"{narrow} shows about {min(share, 1 / share):.0%} (of a side) of what {wide} shows"
        name = "" if found.whole else next(iter(found.shares))
        return [Finding("problem", "view", name, f"{part}: another field of view; --align brings the pairs together")]
    findings = [
        Finding("problem", "partners", name, f"ir shows the scene of the visible picture {other}: wrong partners")
        for name, other in found.partners.items()
    ]
    if found.whole:
        text = f"ir and vis share no edges in {len(found.strange)} of {len(sketches)} pairs"
        remedy = "wrong partners (names in another order?), another field of view, or far apart"
        findings.insert(0, Finding("problem", "partners", "", f"{text}: {remedy}; look at a few side by side"))
    return findings


FALSE_COLOURS = "ir is in false colours, whose luminance is no heat: export it in gray (white hot)"
FUNCTIONAL = "ir is coloured on black, as PET and SPECT are, and vis is gray: --task medical keeps the colour"


def on_black(patient: Patient) -> bool:
    return all(f.dark_frame for f in patient.facts.values())


def _together(check: str, names: Sequence[str], pairs: int, text: str) -> Finding:
    """One finding of what most pairs share, or of one of them."""
    if len(names) == 1:
        return Finding("problem", check, names[0], text)
    return Finding("problem", check, "", f"{text} ({len(names)} of {pairs} pairs: {few(names)})")


def colours(patients: Sequence[Patient], task: Task) -> list[Finding]:
    """Folders and pairs that look swapped. Infrared is never coloured, visible may be gray (TNO); of medical pairs
    the functional picture (PET, SPECT), which takes the place of ir, is the coloured one.
    """
    pairs = [p for p in patients if p.whole]
    ir, vis = ({p.name for p in pairs if p.facts[side].coloured} for side in SIDES)
    if not pairs:
        return []
    if task == "medical":
        if len(vis) >= len(pairs) / 2 and not ir:
            text = "vis is coloured and ir is not: PET and SPECT belong in --ir, MRI in --vis"
            return [Finding("problem", "swapped", "", text)]
        return []
    tables = {p.name for p in pairs if p.name in ir and p.facts["ir"].palette and not on_black(p)}
    medical = {p.name for p in pairs if p.name in ir - vis and on_black(p)}
    if len(medical) > len(ir - vis) / 2:
        medical = ir - vis
    ir -= tables | medical
    findings = [_together("colour", sorted(tables), len(pairs), FALSE_COLOURS)] if tables else []
    if medical:
        findings.append(_together("medical", sorted(medical), len(pairs), FUNCTIONAL))
    if len(pairs) > 1 and len(ir - vis) >= len(pairs) / 2 and len(vis) < len(pairs) / 10:
        text = f"ir is coloured in {len(ir)} of {len(pairs)} pairs and vis is not: the folders look swapped"
        return [*findings, Finding("problem", "swapped", "", f"{text}; give the infrared one first")]
    findings += [
        Finding(
            "problem", "swapped", name, "ir is coloured and vis is gray: the two files look swapped; ir comes first"
        )
        for name in sorted(ir - vis)
    ]
    findings += [
        Finding(
            "problem",
            "colour",
            name,
            "ir is coloured: a visible picture, or false colours (their luminance is no heat)",
        )
        for name in sorted(ir & vis)
    ]
    gray = sorted({p.name for p in pairs} - vis)
    if len(gray) == len(pairs):
        text = "vis is gray everywhere: results are gray, and swapped folders cannot be told by colour"
        findings.append(Finding("note", "colour", "", text))
    elif gray:
        findings.append(Finding("note", "colour", "", f"vis is gray in {len(gray)} of {len(pairs)} pairs: {few(gray)}"))
    return findings


# --- pairs among each other -----------------------------------------------------------------------------------------


def duplicates(patients: Sequence[Patient], task: Task) -> list[Finding]:
    """Pictures that occur twice in one set, or as both halves of a pair."""
    findings = [
        Finding("problem", "copy", p.name, "ir and vis are the same picture")
        for p in patients
        if p.whole and similarity(p.facts["ir"], p.facts["vis"]) >= COPY
    ]
    close = ((a, b, likeness) for a, b, likeness in _alike(patients, patients) if a.name < b.name)
    return findings + _copies(close, "{other}", task)


def leaks(patients: Sequence[Patient], others: Sequence[Patient], where: str, task: Task) -> list[Finding]:
    """Pictures that occur in the other set too: a network trained there has seen them."""
    return _copies(_alike(patients, others), "{other} in " + where.replace("{", "{{").replace("}", "}}"), task, "leak")


def _alike(a: Sequence[Patient], b: Sequence[Patient]) -> Iterator[tuple[Patient, Patient, dict[str, float]]]:
    """Pairs of patients that share a picture, with the similarity of each side."""
    near: dict[tuple[int, int], dict[str, float]] = defaultdict(dict)
    for side in SIDES:
        left, right = (_shown(ps, side) for ps in (a, b))
        for i, j in candidates([f for _, f in left], [f for _, f in right]):
            likeness = similarity(left[i][1], right[j][1])
            if likeness >= ALIKE:
                near[left[i][0], right[j][0]][side] = likeness
    return ((a[i], b[j], near[i, j]) for i, j in sorted(near))


def _shown(patients: Sequence[Patient], side: str) -> list[tuple[int, Facts]]:
    found = ((i, p.facts.get(side)) for i, p in enumerate(patients))
    return [(i, f) for i, f in found if f and not f.blank]  # blank pictures are all alike


def _copies(close: Iterator, other: str, task: Task, check: str = "duplicate") -> list[Finding]:
    findings, neighbours, halves = [], [], []
    for a, b, likeness in close:
        there = other.format(other=b.name)
        # Neighbouring slices of a functional picture are nearly the same: both halves must be.
        if (min if task == "medical" else max)(likeness.values()) < COPY:
            if len(likeness) == 2:
                neighbours.append(f"{a.name} = {b.name}")
        elif len(likeness) == 2 or not (a.whole and b.whole):
            findings.append(Finding("problem", check, a.name, f"shows the same as {there}"))
        elif task == "medical":  # one PET picture with several MRI pictures is how these sets are made
            halves.append(f"{a.name} = {b.name}")
        else:
            (side,) = likeness
            findings.append(Finding("problem", check, a.name, f"{side} is the same as of {there}, its partner is not"))
    if halves:
        text = f"{len(halves)} pictures of one modality come twice, with other partners: {few(halves)}"
        findings.append(Finding("note", check, "", text))
    if neighbours:
        text = f"{len(neighbours)} times two pairs are nearly the same (frames, slices): {few(neighbours)}"
        findings.append(Finding("note", check, "", text))
    return findings


def misregistrations(patients: Sequence[Patient]) -> list[Finding]:
    """Pairs whose halves lie apart. Only a sure estimate makes a problem."""
    measured = [(p, p.shift, max(1.0, max(p.facts["ir"].h, p.facts["ir"].w) / 640)) for p in patients if p.shift]
    findings, notable, vague = [], [], []
    for patient, shift, unit in measured:
        amount = f"{shift.pixels:.1f} pixels apart (vis {_direction(shift)})"
        if not shift.sure:
            vague.append(patient.name)
            if shift.margin >= 1 and shift.pixels > APART * unit:
                findings.append(Finding("note", "shift", patient.name, f"ir and vis may lie {amount}; not sure"))
        elif shift.pixels > APART * unit:
            text = f"ir and vis lie {amount}: --align, or leave the pair out"
            findings.append(Finding("problem", "shift", patient.name, text))
        elif shift.pixels > NOTABLY_APART * unit:
            notable.append(f"{patient.name} {shift.pixels:.1f}")
    if notable:
        text = f"{len(notable)} of {len(measured)} pairs lie a little apart, in pixels: {few(notable)}"
        findings.append(Finding("note", "shift", "", text))
    sure = [s for _, s, _ in measured if s.sure]
    if len(sure) >= 10:
        usual = Shift(median(s.dy for s in sure), median(s.dx for s in sure), 0)
        if usual.pixels > 1.5:
            text = f"the whole set: vis lies {_direction(usual)} of ir in the median pair"
            findings.append(Finding("note", "shift", "", text))
    if vague:
        text = f"no sure estimate for {len(vague)} of {len(measured)} pairs (too few common edges): {few(vague)}"
        findings.append(Finding("note", "shift", "", text))
    return findings


def _direction(shift: Shift) -> str:
    down, right = "down" if shift.dy >= 0 else "up", "right" if shift.dx >= 0 else "left"
    return f"{abs(shift.dy):.1f} {down}, {abs(shift.dx):.1f} {right}"


# --- the set --------------------------------------------------------------------------------------------------------


def oddities(patients: Sequence[Patient]) -> list[Finding]:
    """What is unlike a fresh set of one size and no loss, and does no harm."""
    notes = []
    seen = {(f.h, f.w) for p in patients for f in p.facts.values()}
    if len(seen) > 1:
        least, most = min(seen, key=lambda s: s[0] * s[1]), max(seen, key=lambda s: s[0] * s[1])
        notes.append(f"{len(seen)} different sizes, {least[0]}x{least[1]} to {most[0]}x{most[1]}: training needs crops")
    for side in SIDES:
        paths = [p.files[side] for p in patients if side in p.files]
        known = [p.facts[side] for p in patients if side in p.facts]
        lossy = [path.name for path in paths if path.suffix.lower() in (".jpg", ".jpeg")]
        gray = sum(f.rgb and not f.coloured for f in known)
        deep = sum(f.bits > 8 for f in known)
        if lossy:
            notes.append(f"{side}: {len(lossy)} of {len(paths)} files are JPEG, whose artefacts are fused too")
        if gray:
            notes.append(f"{side}: {gray} of {len(known)} pictures are gray stored as RGB")
        if deep and deep < len(known):
            notes.append(f"{side}: {deep} of {len(known)} pictures have 16 bits, the others 8")
    return [Finding("note", "set", "", text) for text in notes]
