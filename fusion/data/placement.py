"""Pairs whose halves show two scenes, two views of one, or lie apart. Pure functions; what they go by is measured in
`partners.py` and `registration.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from fusion.data.findings import Finding, Patient, few
from fusion.data.partners import judge
from fusion.data.registration import Shift

# Pixels at a longer side of up to 640, in proportion beyond. The untouched sets hold sure shifts of up to 5.3.
APART, NOTABLY_APART = 6.0, 3.0


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
