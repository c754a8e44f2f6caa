"""The words of the page: everything that came from outside is escaped here."""

from __future__ import annotations

import html
import math
from urllib.parse import quote

from fusion import metrics
from fusion.app.messages import Answer, Compared, Film, Step

HEAD = (
    "<h1>Fuse infrared and visible pictures</h1>"
    "<p>On this machine: nothing is sent elsewhere, and what you bring is deleted when you close the page.</p>"
)

REMEDIES = {
    "swap": ("Swap the two", {}),
    "align": ("Align", {"sizes": "align"}),
    "resize": ("Resize infrared", {"sizes": "ir"}),
    "stretch": ("Stretch", {"range": "percentile,percentile"}),
    "medical": ("Fuse as medical pair", {"task": "medical"}),
}
"""What a button does: its label, and the settings it makes."""

CURES = {
    "swapped": ("swap",),
    "size": ("align", "resize"),
    "shift": ("align",),
    "view": ("align",),
    "range": ("stretch",),
    "dim": ("stretch",),
    "medical": ("medical",),
}
"""Check of the pair doctor -> remedies."""


def quiet(text: str) -> str:
    return f'<span class="quiet">{html.escape(text)}</span>'


def wrong(text: str) -> str:
    return f'<span class="wrong">{html.escape(text)}</span>'


def missing(ir, vis) -> str:
    if not ir and not vis:
        return "choose an infrared and a visible picture, or a sample pair"
    return f"now the {'visible' if ir else 'infrared'} picture"


def progress(step: Step) -> str:
    return f'<progress max="{step.total or 1}" value="{step.done}"></progress>{html.escape(step.text)}'


def done(answer: Answer) -> str:
    failed = [r for r in answer.results if r.error]
    number = len(answer.results) - len(failed)
    lines = [quiet(f"fused by {number} method{'s' * (number != 1)}")] if number else []
    lines += [wrong(f"{r.method}: {r.error}") for r in failed]
    return "<br>".join([*lines, *(quiet(f"note: {note}") for note in answer.notes)])


def filmed(film: Film) -> str:
    said = f"{film.frames} frames fused in {seconds(film.seconds)} ({film.frames / film.seconds:.3g} frames/s)"
    return "<br>".join(
        [quiet(said), *([wrong(film.problem)] if film.problem else []), *(quiet(f"note: {n}") for n in film.notes)]
    )


def compared(answer: Compared) -> str:
    link = f'<a href="gradio_api/file={quote(str(answer.page))}" target="_blank">Open the comparison page</a>'
    lines = [*map(wrong, answer.errors), *(quiet(f"note: {note}") for note in answer.notes)]
    return "<br>".join([link, *lines])


def findings(answer: Answer) -> str:
    """What the doctor says, problems first, and what reading noted."""
    rows = [(level, text) for level, _, text in answer.findings] + [("note", note) for note in answer.notes]
    if not rows:
        return quiet("the pair doctor finds nothing wrong with this pair")
    return "<ul>" + "".join(f'<li class="{level}">{html.escape(text)}</li>' for level, text in rows) + "</ul>"


def remedies(found: tuple[tuple[str, str, str], ...]) -> set[str]:
    """The buttons that help. A shape that differs is not resized: that would squeeze it, or cut some off."""
    offered = {cure for _, check, _ in found for cure in CURES.get(check, ())}
    squeezed = any(check == "size" and "another shape" in text for _, check, text in found)
    return offered - {"resize"} if squeezed else offered


def seconds(value: float) -> str:
    return f"{value * 1000:.0f} ms" if value < 1 else f"{value:.1f} s"


def scores(answer: Answer, profile: str) -> str:
    """A table, the best value of each metric marked where one is better than another."""
    rows = [result for result in answer.results if result.picture]
    known = metrics.profile(profile)
    names = list(rows[0].scores)
    body = ""
    for row in rows:
        cells = "".join(_cell(row.scores[n], [r.scores[n] for r in rows], known[n].higher_is_better) for n in names)
        body += f"<tr><td>{html.escape(row.method)}</td>{cells}<td>{seconds(row.seconds)}</td></tr>"
    head = "".join(f"<th>{html.escape(n)}{_arrow(known[n].higher_is_better)}</th>" for n in names)
    return (
        f'<div class="wide"><table><tr><th>{html.escape(profile)}</th>{head}<th>time</th></tr>{body}</table></div>'
        '<p class="quiet">Scores of one picture order methods for this picture alone. The first picture of a method '
        "takes longer: the method is made ready.</p>"
    )


def _arrow(higher: bool | None) -> str:
    return {True: " ↑", False: " ↓", None: ""}[higher]


def _cell(value: float, column: list[float], higher: bool | None) -> str:
    finite = [v for v in column if math.isfinite(v)]
    best = len(finite) > 1 and higher is not None and value == (max if higher else min)(finite)
    return f"<td{' class=best' if best else ''}>{value:.4g}</td>"
