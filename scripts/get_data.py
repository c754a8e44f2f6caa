"""Fetch data sets and authors' weights, or say how to get those that no program may fetch.

    python scripts/get_data.py                    what there is, and what is here already
    python scripts/get_data.py TNO RoadScene      into test_img/ and data/, where the configs look
    python scripts/get_data.py MSRS -o DIR        into DIR/MSRS/
    python scripts/get_data.py seafusion ifcnn    their authors' weights, into models/seafusion/ and models/ifcnn/

A cut download continues where the server allows it (HTTP Range; GitHub, which packs its archives on request, usually
does not and begins again). A checksum is compared where the source states one; where it is unknown, the first download
records its own beside the archive's place, and later ones must agree. Sources: data_sources.yml. Weights stay their
authors': whoever uses them asks them for a licence where none is stated.
Exit status: 0, 1 where something could not be fetched, 2 for a name that is not known, 130 after Ctrl-C.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import sys
import zipfile
from difflib import get_close_matches
from pathlib import Path, PurePosixPath
from urllib.parse import quote

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # runs from a checkout, installed or not

from fusion.terminal import need_opencv

if __name__ == "__main__":
    need_opencv()  # or end in one line

import yaml

from fusion import places
from fusion.data.download import DownloadError, disk, download
from fusion.images import SUFFIXES, atomic_path
from fusion.terminal import forgive_encodings

ROOT = places.home()


def arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="data sets, or methods for weights; none: list them")
    parser.add_argument("-o", "--out", type=Path, metavar="DIR", help="put all into DIR/NAME")
    parser.add_argument("--keep", action="store_true", help="keep the archives")
    parser.add_argument("--retries", type=int, default=5, help="further attempts when one brings nothing (5)")
    parser.add_argument(
        "--sources", type=Path, default=Path(__file__).with_name("data_sources.yml"), help="another table"
    )
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    forgive_encodings()
    args = arguments(argv)
    try:
        sources = yaml.safe_load(args.sources.read_text(encoding="utf-8"))
        known = [*sources["sets"], *sources.get("weights", {})]
        unknown = [name for name in args.names if name not in known]
        if unknown:
            near = get_close_matches(unknown[0], known, 1, 0.5)
            hint = f" Did you mean '{near[0]}'?" if near else ""
            raise ValueError(f"no data set or weights named '{unknown[0]}'. Known: {', '.join(known)}.{hint}")
    except (OSError, ValueError, yaml.YAMLError, KeyError, TypeError) as error:
        return stop(2, f"{' '.join(str(error).split())}")
    if not args.names:
        print(listing(sources, args.out))
        return 0
    failed = 0
    try:
        for name in args.names:
            try:
                (get if name in sources["sets"] else get_weights)(name, sources, args)
            except DownloadError as error:
                failed = stop(1, f"{name}: {error}")
        if not failed and not args.keep:
            drop_archives(sources, args.names, downloads(args.out))
    except KeyboardInterrupt:
        return stop(130, "interrupted: what came is kept, the same command continues")
    return failed


def stop(status: int, message: str) -> int:
    print(f"get_data: {message}", file=sys.stderr)
    return status


# --- sets -----------------------------------------------------------------------------------------------------------


def targets(name: str, entry: dict, out: Path | None) -> list[Path]:
    """The folder of each part of a set."""
    parts = entry.get("folders", [])
    if out is None:
        return [ROOT / part["to"] for part in parts]
    return [out / name if len(parts) == 1 else out / name / PurePosixPath(part["inside"]).name for part in parts]


def here(folder: Path) -> bool:
    return folder.is_dir() and any(folder.iterdir())


def listing(sources: dict, out: Path | None) -> str:
    lines = []
    for name, entry in sources["sets"].items():
        folders = targets(name, entry, out)
        state = "by hand" if not folders else "here" if all(map(here, folders)) else "to fetch"
        lines.append(f"{name:10}  {state:8}  {entry['about']}")
    lines.append("")
    for name, entry in sources.get("weights", {}).items():
        state = "here" if all(path.is_file() for path in weight_files(name, entry, out)) else "to fetch"
        total = sum(file["bytes"] for file in entry["files"]) / 1e3
        lines.append(f"{name:10}  {state:8}  authors' weights, {total:,.0f} kB, licence: {entry['licence']}")
    return "\n".join([*lines, "", "python scripts/get_data.py NAME ... fetches a set or weights, or says how"])


def get(name: str, sources: dict, args: argparse.Namespace) -> None:
    """Bring one set to its folders; nothing is done for those that are filled already."""
    entry = sources["sets"][name]
    if "manual" in entry:
        print(f"{name}: {' '.join(entry['manual'].split())}")
        return
    todo = []
    for part, folder in zip(entry["folders"], targets(name, entry, args.out), strict=True):
        if here(folder):
            print(f"{name}: {folder} is here already: nothing to do")
        else:
            todo.append((part, folder))
    if not todo:
        return
    archive = sources["archives"][entry["archive"]]
    parts = ", ".join(part["inside"] for part, _ in todo)
    by_hand = f"by hand: {archive['by_hand']}, then copy {parts}" if "by_hand" in archive else ""
    try:
        path = fetch(entry["archive"], archive, downloads(args.out), args.retries)
    except DownloadError as error:
        raise DownloadError(f"{error}; {by_hand}" if by_hand else str(error)) from None
    for part, folder in todo:
        count = unpack(path, part, folder)
        print(f"{name}: {folder}: {count} pictures{opinion(folder, part, count)}")


def opinion(folder: Path, part: dict, count: int) -> str:
    """How the pictures compare with those that the table describes."""
    if part.get("pictures", count) != count:
        return f", where {part['pictures']} were expected: see what the source says"
    if "digest" not in part:
        return ""
    same = digest(folder) == part["digest"]
    return ", the very files this project was tested with" if same else ", not the files this project was tested with"


def digest(folder: Path) -> str:
    """SHA-256 over the names and bytes of all files of a folder."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    lines = (f"{path.relative_to(folder).as_posix()} {checksum(path)}\n" for path in files)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


# --- weights --------------------------------------------------------------------------------------------------------


def weight_files(name: str, entry: dict, out: Path | None) -> list[Path]:
    return [(out or ROOT / "models") / name / PurePosixPath(file["path"]).name for file in entry["files"]]


def get_weights(name: str, sources: dict, args: argparse.Namespace) -> None:
    """Bring the released files of one method to their folder."""
    entry = sources["weights"][name]
    repository = f"{entry.get('site', 'https://github.com')}/{entry['repository']}"
    for file, path in zip(entry["files"], weight_files(name, entry, args.out), strict=True):
        if path.is_file():
            check(path, file["sha256"])
            print(f"{name}: {path} is here already: nothing to do")
            continue
        try:
            part = download(f"{repository}/raw/{entry['commit']}/{quote(file['path'])}", path, args.retries)
            found = agreed(part, path, file["sha256"])
            if not (file["sha256"] or zipfile.is_zipfile(part)):
                part.unlink()
                raise DownloadError("what came is no PyTorch file: a page that asks to log in?")
        except DownloadError as error:
            raise DownloadError(f"{error}; by hand: {file['path']} of {repository}, to {path}") from None
        with disk(path):
            os.replace(part, path)
        what = "the very file" if file["sha256"] else f"SHA-256 {found}, which nobody could compare with the file"
        print(f"{name}: {path}: {what} this project was tested with; licence: {entry['licence']}")


# --- archives -------------------------------------------------------------------------------------------------------


def downloads(out: Path | None) -> Path:
    return (out or ROOT / "data") / ".downloads"


def fetch(key: str, archive: dict, folder: Path, retries: int) -> Path:
    """The verified archive on disk, downloaded where it is not there yet."""
    path, record = folder / f"{key}.zip", folder / f"{key}.zip.sha256"
    expected, source = archive.get("sha256"), "the table"
    if not expected and record.is_file():
        expected, source = record.read_text().split()[0], f"{record}, written by an earlier download"
    if not path.is_file():
        part = download(archive["url"], path, retries)
        if not zipfile.is_zipfile(part):
            part.unlink()
            raise DownloadError(f"{archive['url']} sent something that is no zip archive: a page that asks to log in?")
        found = agreed(part, path, expected, source)
        with disk(path):
            if not expected:
                with atomic_path(record) as unfinished:
                    unfinished.write_text(f"{found}  {path.name}\n")
                print(f"{path.name}: SHA-256 {found} recorded in {record}; there was none to compare with")
            os.replace(part, path)
    else:
        check(path, expected)
    return path


def agreed(part: Path, path: Path, expected: str | None, source: str = "the table") -> str:
    """The checksum of what came for `path`; kept aside, and DownloadError, where it is not as expected."""
    found = checksum(part)
    if expected and found != expected:
        aside = path.with_suffix(".refused")
        os.replace(part, aside)
        raise DownloadError(
            f"the checksum is wrong: expected {expected[:16]}... ({source}), got {found[:16]}...; the file is kept "
            f"aside as {aside}"
        )
    return found


def check(path: Path, expected: str | None) -> None:
    """Raise DownloadError where a file that is here is not the one expected, and make room for it."""
    if expected and checksum(path) != expected:
        aside = path.with_suffix(".refused")
        os.replace(path, aside)
        raise DownloadError(f"{path} is damaged and now called {aside.name}: the same command fetches it again")


def drop_archives(sources: dict, names: list[str], folder: Path) -> None:
    """Remove the archives that these sets came from; records of checksums stay."""
    for key in {sources["sets"].get(name, {}).get("archive") for name in names} - {None}:
        (folder / f"{key}.zip").unlink(missing_ok=True)


def unpack(path: Path, part: dict, folder: Path) -> int:
    """The pictures below `inside` of the archive, into `folder`: all of them or none. Returns how many.

    The archive's outermost folder is skipped. Everything that is no picture stays in the archive.
    """
    inside = PurePosixPath(part["inside"]).parts
    unfinished = folder.with_name(f".{folder.name}.part")
    count = 0
    try:
        with disk(folder), zipfile.ZipFile(path) as archive:
            shutil.rmtree(unfinished, ignore_errors=True)
            for member in archive.infolist():
                steps = PurePosixPath(member.filename).parts[1:]
                rest = steps[len(inside) :]
                if steps[: len(inside)] != inside or not rest or PurePosixPath(rest[-1]).suffix.lower() not in SUFFIXES:
                    continue
                if ".." in rest or rest[0] not in part.get("only", [rest[0]]):
                    continue
                target = unfinished.joinpath(*rest)
                target.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(member) as source, target.open("wb") as file:
                    shutil.copyfileobj(source, file)  # compares the checksum that the archive holds
                count += 1
            if count:
                os.replace(unfinished, folder)
    except (zipfile.BadZipFile, EOFError) as error:
        path.unlink(missing_ok=True)
        raise DownloadError(f"{path} is damaged ({error}) and removed: the same command fetches it again") from None
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    if not count:
        raise DownloadError(f"{path} holds no pictures below {part['inside']}: the source has changed")
    return count


def checksum(path: Path) -> str:
    with path.open("rb") as file:
        running = hashlib.sha256()
        while chunk := file.read(1 << 20):
            running.update(chunk)
    return running.hexdigest()


if __name__ == "__main__":
    sys.exit(main())
