"""Which files belong together: the pictures of two folders, of a root that holds both, and their fused results.

Partners carry the same name, endings aside, in folders of the same name below: `train/010001`. Where no two names
agree, one rule that pairs all of them is recognised (`IR001`, `VIS001`; see `names.py`); anything less certain takes a
pattern, `match`, which a person writes. Names are compared in Unicode's composed form (NFC), for macOS writes another
one, and sorted as people count.
"""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fusion import images, names
from fusion.names import Rule, natural
from fusion.reading import told

EXAMPLES = 3


@dataclass(frozen=True)
class Pair:
    """Two files of one scene; `name` is what their names share, with `/` after folders that both lie in."""

    name: str
    ir: Path
    vis: Path


@dataclass(frozen=True)
class Pairing:
    """What two folders have in common, and what they do not."""

    pairs: list[Pair]
    only_ir: list[Path] = field(default_factory=list)
    only_vis: list[Path] = field(default_factory=list)
    rule: str = ""
    """How the names differ (`IR*=VIS*`); empty where partners have the same name."""

    def report(self) -> list[str]:
        """A line per file without a partner."""
        return [f"{p} has no visible partner" for p in self.only_ir] + [
            f"{p} has no infrared partner" for p in self.only_vis
        ]

    def examples(self) -> list[str]:
        """What a person should see before anything starts where names are not simply equal: three pairs, one line."""
        if not self.rule:
            return []
        last = len(self.pairs) - 1
        shown = [self.pairs[i] for i in sorted({0, last // 2, last})][:EXAMPLES]
        listed = ", ".join(f"{p.ir.name} with {p.vis.name}" for p in shown)
        return [
            f"{len(self.pairs)} pair{'s' * (last > 0)} by the names '{self.rule}': {listed} (--match says otherwise)"
        ]


# --- two folders ----------------------------------------------------------------------------------------------------


def pair_folders(ir: str | Path, vis: str | Path, match: str | None = None) -> Pairing:
    """Pair the pictures of two folders, in natural order of their names.

    A folder without pictures stands for those below it. match: a pattern (`IR*=VIS*`) instead of equal names; it also
    parts the files of one folder given twice. Raises ValueError for a folder that is missing or empty, for a name that
    stands twice in one folder, for one folder given twice, and where no two names agree.
    """
    ir, vis = Path(ir), Path(vis)
    same = ir.is_dir() and vis.is_dir() and ir.samefile(vis)
    if same and not match:
        raise ValueError(_one_folder(ir))
    found = by_name(ir), by_name(vis)
    return pair_names(*found, match=match, what=(ir, vis), same=same)


def pair_names(
    ir: Mapping[str, Path],
    vis: Mapping[str, Path],
    *,
    match: str | None = None,
    what: tuple[Path, Path],
    same: bool = False,
) -> Pairing:
    """`pair_folders` of two listings {name: file}. `what`: the folders, for messages; same: both are one folder."""
    rule = Rule.of(match) if match else None
    if rule is None and not ir.keys() & vis.keys():
        rule = names.certain_rule(list(ir), list(vis))
        if rule is None:
            raise ValueError(_no_partners(ir, vis, what))
    if rule is None:
        scenes = {name: name for name in ir}, {name: name for name in vis}
    else:
        scenes = names.by_scene(rule, 0, list(ir)), names.by_scene(rule, 1, list(vis))
    common = sorted(scenes[0].keys() & scenes[1].keys(), key=natural)
    if not common:
        raise ValueError(f"match '{match}' pairs nothing in {what[0]} and {what[1]}, {_example(ir, vis)}")
    pairs = [Pair(scene, ir[scenes[0][scene]], vis[scenes[1][scene]]) for scene in common]
    paired = [{scenes[side][scene] for scene in common} for side in (0, 1)]
    if same:  # a file that is one half of a pair misses nothing as the other half
        paired = [paired[0] | paired[1]] * 2
    lonely = [
        [files[name] for name in sorted(files.keys() - known, key=natural)]
        for files, known in zip((ir, vis), paired, strict=True)
    ]
    return Pairing(pairs, lonely[0], [] if same else lonely[1], rule.text if rule else "")


def by_name(folder: Path) -> dict[str, Path]:
    """{name: file} of the pictures in a folder, or below it where it holds none itself; natural order.

    Raises ValueError for a folder that is missing or empty, and for a name that stands twice.
    """
    files: dict[str, Path] = {}
    for path in pictures(folder):
        name = name_of(path, folder)
        if name in files:
            raise ValueError(twice(folder, files[name], path))
        files[name] = path
    if not files:
        raise ValueError(no_pictures(folder))
    return files


def no_pictures(folder: Path) -> str:
    """What a person should know who gave a folder without pictures."""
    text = f"{folder} holds no pictures: expected {', '.join(s[1:] for s in images.WRITTEN)} files"
    files = sorted(p for p in folder.iterdir() if p.is_file() and not p.name.startswith("."))
    if what := next((f"{path.name} is {what}" for path in files[:EXAMPLES] if (what := told(path))), ""):
        return f"{text}; {what}"
    return f"{text}, found {', '.join(path.name for path in files[:EXAMPLES])}" if files else text


def twice(folder: Path, a: Path, b: Path) -> str:
    return f"{folder} holds {a.relative_to(folder)} and {b.relative_to(folder)}: one picture per name, please"


def name_of(path: Path, folder: Path) -> str:
    """A file's name below `folder`, without its ending, composed (NFC)."""
    name = path.relative_to(folder).with_suffix("").as_posix()
    return unicodedata.normalize("NFC", name.removesuffix(".nii") if path.suffix == ".gz" else name)


def pictures(folder: Path) -> list[Path]:
    """The picture files in a folder, or below it where it holds none itself. Raises ValueError where it is none."""
    if not folder.is_dir():
        raise ValueError(f"{folder} is not a folder (looked in {folder.absolute().parent})")
    found = [p for p in folder.iterdir() if is_picture(p)]
    return sorted(found or _below(folder), key=lambda p: natural(str(p)))


def is_picture(path: Path | os.DirEntry) -> bool:
    return images.is_picture(path.name) and not path.name.startswith(".") and is_there(path)


def is_there(path: Path | os.DirEntry) -> bool:
    """Whether it is a file; also of a link that leads nowhere, whose picture would be missing without a word."""
    return path.is_file() or (path.is_symlink() and not os.path.exists(path))


def _below(folder: Path) -> Iterator[Path]:
    seen = set()
    for here, inner, files in os.walk(folder, followlinks=True):
        real = os.path.realpath(here)
        if real in seen:  # a link that leads back up
            inner.clear()
            continue
        seen.add(real)
        inner[:] = [name for name in inner if not name.startswith(".")]
        yield from (path for name in files if is_picture(path := Path(here, name)))


def _no_partners(ir: Mapping[str, Path], vis: Mapping[str, Path], what: tuple[Path, Path]) -> str:
    likely = names.likely_rule(list(ir), list(vis))
    remedy = (
        f"--match '{likely[0].text}' would pair {likely[1]} of {max(len(ir), len(vis))}"
        if likely
        else "--match 'IR*=VIS*' says how names differ"
    )
    return (
        f"{what[0]} and {what[1]} have no name in common ({_example(ir, vis)}): partners carry the same stem; {remedy}"
    )


def _example(ir: Mapping[str, Path], vis: Mapping[str, Path]) -> str:
    return f"for example {next(iter(ir.values())).name} and {next(iter(vis.values())).name}"


def _one_folder(folder: Path) -> str:
    files = by_name(folder)
    rule = names.rule_within(list(files))
    remedy = f"--match '{rule.text}'" if rule else "--match 'IR*=VIS*'"
    if not rule and _has_four_channels(next(iter(files.values()))):
        remedy = "pictures of four channels, as MFNet's: scripts/split_channels.py parts them"
    return (
        f"{folder} is given as infrared and as visible: every picture would be its own partner; name the other folder, "
        f"or say how the names in this one differ ({remedy})"
    )


def _has_four_channels(path: Path) -> bool:
    with path.open("rb") as file:
        start = file.read(26)
    return start.startswith(b"\x89PNG") and len(start) == 26 and start[25] == 6


# --- a root that holds both -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Folders:
    """The two folders of a set, and the pattern of their names where one is needed."""

    ir: Path
    vis: Path
    match: str | None = None

    @classmethod
    def of(cls, root: str | Path, ir: str = "ir", vis: str = "vi", match: str | None = None) -> Folders:
        """The infrared and the visible folder of `root`.

        Where the defaults are not there, folders of other usual names stand in (`vis`, `Ir` and `Vis`, `infrared` and
        `visible`, `lwir`, ...), if there is one of each kind; where `root` holds neither but folders deep below it are
        called so (`set00/V000/lwir`), the set is all of those. Raises ValueError where a folder is missing.
        """
        root = Path(root)
        if not root.is_dir():
            raise ValueError(f"{root} is not a folder: expected one that holds {ir}/ and {vis}/")
        called = {"ir": ir, "vis": vis}
        inner = sorted(p.name for p in root.iterdir() if p.is_dir())
        for side, default, words in (("ir", "ir", names.IR_WORDS), ("vis", "vi", names.VIS_WORDS)):
            usual = [name for name in inner if name.lower() in words]
            if called[side] == default and default not in inner and len(usual) == 1:
                called[side] = usual[0]
        folders = root / called["ir"], root / called["vis"]
        if all(folder.is_dir() for folder in folders):
            return cls(*folders, match)
        if not match and not any(folder.is_dir() for folder in folders) and (deep := _deep(root, ir, vis)):
            return cls(root, root, deep)
        missing = next(folder for folder in folders if not folder.is_dir())
        held = f"it holds {', '.join(inner[:6])}" if inner else "it holds no folder"
        raise ValueError(f"{missing} is not a folder: expected {root} to hold {ir}/ and {vis}/ (--ir, --vis); {held}")

    def pair(self) -> Pairing:
        return pair_folders(self.ir, self.vis, self.match)

    @property
    def one(self) -> bool:
        """Whether both lie in one tree and only the pattern tells them apart."""
        return self.ir == self.vis


def _deep(root: Path, ir: str, vis: str) -> str | None:
    """The pattern of folders called `ir` and `vis` (or one other pair of usual names) somewhere below `root`."""
    found = {part for path in _below(root) for part in path.relative_to(root).parts[:-1]}
    left = [ir] if ir in found else [n for n in found if ir == "ir" and n.lower() in names.IR_WORDS]
    right = [vis] if vis in found else [n for n in found if vis == "vi" and n.lower() in names.VIS_WORDS]
    return f"*/{left[0]}/*=*/{right[0]}/*" if len(left) == len(right) == 1 else None


def find_pairs(root: str | Path, ir: str = "ir", vis: str = "vi", match: str | None = None) -> Pairing:
    """The pairs of `root`: `Folders.of` it, paired. Raises ValueError without them."""
    if not Path(root).is_dir():
        raise ValueError(f"{Path(root, ir)} is not a folder (looked in {Path(root, ir).absolute().parent})")
    return Folders.of(root, ir, vis, match).pair()


# --- results --------------------------------------------------------------------------------------------------------


def find_results(folder: Path, pairing: Pairing, match: str | None = None) -> tuple[dict[str, Path], str]:
    """({name: file} of the fused pictures, how their names differ from the pairs').

    Names are those of the pairs; a file of no pair keeps its own. Results may be named like the pair, like its infrared
    or visible file, or like these with one start and end around all (`*_fused`). match: the results' side of a pattern.
    Raises ValueError as `pair_folders`.
    """
    files = by_name(folder)
    if match:
        rule = Rule.of(f"{match}={match}")
        return {rule.shared(0, name) or name: path for name, path in files.items()}, match
    choices = _names_of_pairs(pairing)
    for known in choices:
        if files.keys() & known.keys():
            return {known.get(name, name): path for name, path in files.items()}, ""
    for known in choices:
        if found := names.result_rule(list(files), list(known)):
            start, end = found
            named = {known[name[len(start) : len(name) - len(end)]]: path for name, path in files.items()}
            return named, f"{start}*{end}"
    example = f"{next(iter(files.values())).name} and {pairing.pairs[0].vis.name}"
    raise ValueError(
        f"{folder} and its sources have no name in common (for example {example}): results carry the stem of their "
        "pair; --match '*=*=*_fused' says how names differ"
    )


def _names_of_pairs(pairing: Pairing) -> Sequence[dict[str, str]]:
    """{name that a result may carry: pair}: the pair's, then those of the visible and the infrared file."""
    stems = [
        {unicodedata.normalize("NFC", getattr(pair, side).stem): pair.name for pair in pairing.pairs}
        for side in ("vis", "ir")
    ]
    return [{pair.name: pair.name for pair in pairing.pairs}, *(s for s in stems if len(s) == len(pairing.pairs))]
