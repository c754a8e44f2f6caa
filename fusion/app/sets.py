"""What the app does with two folders: `test.py` on them, which writes the comparison page."""

from __future__ import annotations

import contextlib
import io
import runpy
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path

import yaml

from fusion import places
from fusion.app.messages import Compared, SetRequest, Step
from fusion.pairing import is_picture, pair_folders
from fusion.reading import file_size

EVERY = 0.3  # seconds between two reports


def compare(request: SetRequest, rows: list[dict]) -> Iterator[Step | Compared]:
    """Steps, and last a Compared. rows: of `models`, as in a config. Raises ValueError with the line of the program."""
    yield Step(0, 0, "looking at the folders")
    root, out = request.out / "pairs", request.out / "comparison"
    for side, files in (("ir", request.ir), ("vi", request.vis)):
        stage(root / side, files, request.pixels)
    total = len(rows) * len(pair_folders(root / "ir", root / "vi").pairs)
    config = request.out / "compare.yml"
    options = {"out": str(out), "models": rows, "datasets": [{"name": "pairs", "root": str(root)}]}
    config.write_text(yaml.safe_dump({**options, "metrics": {"profile": request.profile}}), encoding="utf-8")
    said, status = io.StringIO(), []
    program = runpy.run_path(str(places.programs() / "test.py"))["main"]
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(said):
        running = threading.Thread(target=lambda: status.append(program(["-opt", str(config)])), daemon=True)
        running.start()
        while running.is_alive():
            running.join(EVERY)
            yield Step(done := finished(out), total, f"picture {done} of {total}")
    lines = said.getvalue().splitlines()
    errors = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    if not (out / "index.html").is_file():
        raise ValueError(errors[-1] if errors else "the comparison ended before its page was written")
    notes = [line.removeprefix("note: ") for line in lines if line.startswith(("note: ", "problem: "))]
    yield Compared(out / "index.html", packed(out, request.out / "comparison.zip"), tuple(notes), tuple(errors))


def stage(folder: Path, files: tuple[Path, ...], pixels: float) -> None:
    """Links to uploads, which lie in a folder each, in one folder."""
    folder.mkdir(parents=True)
    for file in files:
        if not is_picture(file):
            continue
        if (link := folder / file.name).is_symlink():
            raise ValueError(f"{file.name} comes twice: folders within folders are for the programs (test.py)")
        if (size := size_of(file)) and size[0] * size[1] > pixels:
            most = f"{pixels / 1e6:g} megapixels"
            raise ValueError(f"{file.name} is {size[0]}x{size[1]} (height x width): expected at most {most}")
        link.symlink_to(file.resolve())


def size_of(file: Path) -> tuple[int, int] | None:
    """(height, width), None of a file that cannot be read: the program will name it."""
    try:
        return file_size(file)
    except (ValueError, OSError):
        return None


def finished(out: Path) -> int:
    """How many pictures `test.py` has recorded."""
    try:
        return (out / ".progress.jsonl").read_bytes().count(b"\n")
    except OSError:
        return 0


def packed(folder: Path, path: Path) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(folder.rglob("*")):
            if file.is_file() and not file.name.startswith("."):
                archive.write(file, Path(folder.name) / file.relative_to(folder))
    return path
