"""Names of files that belong together: natural order, patterns such as `IR*=VIS*`, and the rule behind two lists.

Names are paths without their ending, relative to a folder, with `/` between folders. A rule says how the names of one
scene differ from folder to folder: a side for each folder, `*` standing for what they share. Pure functions.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

# What people call the two cameras in names of files and folders, in lower case.
IR_WORDS = frozenset(
    ["ir", "i", "t", "th", "tir", "nir", "fir", "lwir", "swir", "inf", "infra", "infrared", "therm", "thermal", "heat"]
)
VIS_WORDS = frozenset(
    ["vi", "vis", "vs", "v", "visible", "visual", "rgb", "color", "colour", "co", "w", "wide", "optical", "vl"]
)
SEPARATORS = "_-. /"
FEW = 3  # pairs; with fewer, a rule must be made of words that we know


def natural(name: str) -> tuple:
    """A key for sorting as people count: frame2 before frame10."""
    parts = re.split(r"([0-9]+)", name)
    return tuple(int(part) if i % 2 else part for i, part in enumerate(parts)), name


@dataclass(frozen=True)
class Rule:
    """A parsed pattern; `text` as a person writes it. A side without `/` is about the name in its folder alone."""

    text: str
    sides: tuple[str, ...]

    @classmethod
    def of(cls, text: str, *, sides: Sequence[int] = (2,)) -> Rule:
        """Raises ValueError unless there are as many sides as wanted, with equally many stars, one at least."""
        found = tuple(side.strip() for side in text.split("="))
        stars = {side.count("*") for side in found}
        if len(found) not in sides or len(stars) != 1 or stars == {0}:
            three = ", or three sides with that of the results" if 3 in sides else ""
            raise ValueError(
                f"match: expected two sides with equally many * for what partners share, as 'IR*=VIS*' or "
                f"'*/lwir/*=*/visible/*'{three}; got {text!r}"
            )
        return cls(text, found)

    def shared(self, side: int, name: str) -> str | None:
        """What `*` stands for in a name of this side, which names the scene; None where the name does not fit."""
        pattern = self.sides[side]
        folder, _, last = name.rpartition("/")
        if "/" in pattern:
            folder, name, pattern = "", f"/{name}", pattern if pattern.startswith(("*", "/")) else f"/{pattern}"
        else:
            name = last
        literals = pattern.split("*")
        found = re.fullmatch("(.*?)".join(map(re.escape, literals)), name)
        if not found:
            return None
        joints = ["/" if "/" in literal else "_" for literal in literals[1:-1]]
        stars = [star.strip("/") for star in found.groups()]
        text = stars[0] + "".join(joint + star for joint, star in zip(joints, stars[1:], strict=True))
        text = text.strip("/")
        return (f"{folder}/{text}" if folder else text) or None


def by_scene(rule: Rule, side: int, names: Sequence[str]) -> dict[str, str]:
    """{scene: name} of the names that fit. Raises ValueError where two names are of one scene."""
    found: dict[str, str] = {}
    for name in names:
        scene = rule.shared(side, name)
        if scene is None:
            continue
        if scene in found:
            raise ValueError(f"match '{rule.text}' takes {found[scene]} and {name} for one scene, {scene}")
        found[scene] = name
    return found


# --- the rule behind two lists --------------------------------------------------------------------------------------


def certain_rule(ir: Sequence[str], vis: Sequence[str]) -> Rule | None:
    """The rule that pairs all names of both lists, one to one; None where there is none to be sure of.

    Not sure: names that differ in case or in leading zeros alone, and fewer than three pairs that differ by words
    unknown here.
    """
    for rule in _candidates(ir, vis):
        if _pairs_of(rule, ir, vis) == len(ir) == len(vis) and _believable(rule, len(ir)):
            return rule
    return None


def likely_rule(ir: Sequence[str], vis: Sequence[str]) -> tuple[Rule, int] | None:
    """The rule that pairs most names, and how many: something to propose, not to act on."""
    found = [(rule, _pairs_of(rule, ir, vis)) for rule in _candidates(ir, vis)]
    best = max(found, key=lambda f: f[1], default=None)
    return best if best and best[1] else None


def _pairs_of(rule: Rule, ir: Sequence[str], vis: Sequence[str]) -> int:
    try:
        return len(by_scene(rule, 0, ir).keys() & by_scene(rule, 1, vis).keys())
    except ValueError:
        return 0


def _believable(rule: Rule, pairs: int) -> bool:
    left, right = rule.sides
    if left.casefold() == right.casefold():
        return False
    if pairs >= FEW:
        return True
    words = [{w.lower() for w in re.findall(r"[^\W\d_]+", side)} for side in (left, right)]
    ours, theirs = words[0] - words[1], words[1] - words[0]
    digits = [re.findall(r"[0-9]+", side) for side in (left, right)]
    return ours <= IR_WORDS and theirs <= VIS_WORDS and bool(ours | theirs) and digits[0] == digits[1]


def _candidates(ir: Sequence[str], vis: Sequence[str]) -> Iterator[Rule]:
    if not ir or not vis:
        return
    first = min(ir, key=natural)
    likeness = {name: len(_common_start(first, name)) + len(_common_end(first, name)) for name in vis}
    nearest = sorted(vis, key=lambda name: (-likeness[name], natural(name)))[:5]
    texts = [_by_word(first, name) for name in nearest]
    texts += [_around(first, name) for name in vis if first in name][:1]
    texts += [_around(name, first, swapped=True) for name in vis if name in first][:1]
    if min(len(ir), len(vis)) > 1:
        texts.append(_by_affixes(ir, vis))
    yield from (Rule.of(text) for text in dict.fromkeys(texts) if text)


def _common_start(*names: str) -> str:
    least, most = min(names), max(names)  # what these two begin with, all do
    return next((least[:i] for i, c in enumerate(least) if most[i : i + 1] != c), least)


def _common_end(*names: str) -> str:
    return _common_start(*(name[::-1] for name in names))[::-1]


def _by_affixes(ir: Sequence[str], vis: Sequence[str]) -> str | None:
    """A rule of what all names of a list begin and end with; numbers are never cut in two."""
    (ir_start, ir_end), (vis_start, vis_end) = _affixes(ir), _affixes(vis)
    # What both lists begin with is no difference; it stays part of the scene's name, whole words of it.
    start = _whole_words(_common_end(ir_start, vis_start), ir_start, vis_start)
    end = _whole_words(_common_start(ir_end, vis_end)[::-1], ir_end[::-1], vis_end[::-1])[::-1]
    sides = [f"{a[: len(a) - len(start)]}*{z[len(end) :]}" for a, z in ((ir_start, ir_end), (vis_start, vis_end))]
    return _text(*sides)


def _affixes(names: Sequence[str]) -> tuple[str, str]:
    start = _common_start(*names).rstrip("0123456789")
    return start, _common_end(*(name[len(start) :] for name in names)).lstrip("0123456789")


def _whole_words(shared: str, *affixes: str) -> str:
    """The part of a common end of `affixes` that begins with a word; all of it where that is all they are."""
    if all(affix == shared for affix in affixes):
        return shared
    if shared[:1].isalpha() and any(a[: len(a) - len(shared)][-1:].isalpha() for a in affixes):
        shared = shared.lstrip("".join(c for c in shared if c.isalpha()))
    return shared.lstrip(SEPARATORS)


def _by_word(ir: str, vis: str) -> str | None:
    """A rule of the one word in which two names differ."""
    start = _common_start(ir, vis)
    end = _common_end(ir[len(start) :], vis[len(start) :])
    words = [name[len(start) : len(name) - len(end)] for name in (ir, vis)]
    if any(c.isdigit() for c in "".join(words)):
        return None
    while start[-1:].isalpha() and any(word[:1].isalpha() for word in words):
        words, start = [start[-1] + word for word in words], start[:-1]
    while end[:1].isalpha() and any(word[-1:].isalpha() for word in words):
        words, end = [word + end[0] for word in words], end[1:]
    before = start[-1:] if start[-1:] in tuple(SEPARATORS) else ""
    after = end[:1] if end[:1] in tuple(SEPARATORS) else ""
    left, right = ("*" if start[: len(start) - len(before)] else ""), ("*" if end[len(after) :] else "")
    return _text(*(f"{left}{before}{word}{after}{right}" for word in words))


def _around(short: str, long: str, *, swapped: bool = False) -> str | None:
    """A rule of what a name has around another one."""
    start, end = long[: long.index(short)], long[long.index(short) + len(short) :]
    if start[-1:].isdigit() or end[:1].isdigit():
        return None
    return _text(f"{start}*{end}", "*") if swapped else _text("*", f"{start}*{end}")


def _text(ir: str, vis: str) -> str | None:
    """`IR=VIS`; None where that says nothing, or cannot be written."""
    both = ir + vis
    return f"{ir}={vis}" if ir != vis and "=" not in both and ir.count("*") == vis.count("*") > 0 else None


def rule_within(names: Sequence[str]) -> Rule | None:
    """The rule that parts one folder's names into infrared and visible ones, by words that we know."""
    known, best = set(names), None
    for name in sorted(names, key=natural)[:2]:
        for word in re.finditer(r"[^\W\d_]+", name):
            for left, right in ((IR_WORDS, VIS_WORDS), (VIS_WORDS, IR_WORDS)):
                if word[0].lower() not in left:
                    continue
                for other in known:
                    if other.startswith(name[: word.start()]) and other.endswith(name[word.end() :]):
                        middle = other[word.start() : len(other) - len(name) + word.end()]
                        if middle.lower() in right:
                            pair = (name, other) if left is IR_WORDS else (other, name)
                            best = best or _by_word(*pair)
    return Rule.of(best) if best else None


# --- results --------------------------------------------------------------------------------------------------------


def result_rule(results: Sequence[str], scenes: Sequence[str]) -> tuple[str, str] | None:
    """(start, end) that all names of results have around a scene's name (`*_fused`); None where that is not certain."""
    first = min(results, key=natural)
    found = set()
    for scene in scenes:
        for hit in re.finditer(f"(?<![0-9]){re.escape(scene)}(?![0-9])", first):
            found.add((first[: hit.start()], first[hit.end() :]))
    known = set(scenes)
    fits = [f for f in sorted(found) if all(_core(name, *f) in known for name in results)]
    return fits[0] if len(fits) == 1 else None


def _core(name: str, start: str, end: str) -> str | None:
    whole = name.startswith(start) and name.endswith(end) and len(name) > len(start) + len(end)
    return name[len(start) : len(name) - len(end)] if whole else None
