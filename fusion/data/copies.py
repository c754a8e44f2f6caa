"""Pictures that occur twice: in one set, as both halves of a pair, or in a set that must share none. Pure functions."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

from fusion.data.findings import SIDES, Finding, Patient, Task, few
from fusion.data.picture_facts import ALIKE, COPY, Facts, candidates, similarity


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
