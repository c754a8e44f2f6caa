"""What the pair doctor finds by looking at pictures one by one, and at their colours. Pure functions.

A finding is a problem (the pair would train or score wrongly, or not at all) or a note (worth knowing, nothing to
mend). The thresholds leave the untouched TNO, RoadScene and MSRS without a problem; where they come from stands in
`picture_facts.py`. No paper: these are the mistakes that folders of pairs arrive with. Pictures that come twice are
found by `copies.py`, pairs that show two scenes or lie apart by `placement.py`.
"""

from __future__ import annotations

from collections.abc import Sequence

from fusion.data.findings import SIDES, Finding, Patient, Task, few
from fusion.data.picture_facts import BRIGHT, DIM, Facts

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


# --- colours --------------------------------------------------------------------------------------------------------

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
