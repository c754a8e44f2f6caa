"""What is finished of work on many pictures: a file of JSON lines that all its processes add to and that outlives them.

A line is of one picture: where it lies, the key of all that decided it, the picture's stamp (so that one that somebody
has touched is made again), and whatever its program wants to know of it later. Read once, when a run starts: a picture
is one process's own, so nobody needs to hear of what the others are doing.
"""

from __future__ import annotations

import hashlib
import json
import os
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from fusion import images


class WriteError(OSError):
    """The disk or the folder refuses: no use in trying the next picture."""


class Record:
    """Finished pictures below `folder`; a line cut by a crash is skipped, the last line of a picture counts.

    Of a million pictures it keeps 16 MB: where in the file each one's line begins. Raises WriteError where the file
    cannot be written. fresh: forget what was finished.
    """

    def __init__(self, path: Path, folder: Path, *, fresh: bool = False):
        self.path, self.folder = path, folder
        with self._refusals():
            path.parent.mkdir(parents=True, exist_ok=True)
            if fresh:
                path.unlink(missing_ok=True)
        self._append("")
        self._names, self._places = self._places_of_lines()

    def find(self, picture: Path, key: str) -> dict | None:
        """The line of a picture made under this key and not touched since."""
        line = self._line(self._name(picture))
        return line if line and line.get("key") == key and line.get("stamp") == images.stamp(picture) else None

    def __contains__(self, picture: Path) -> bool:
        """Whether it may be done."""
        return self._place(self._name(picture)) is not None

    def add(self, picture: Path, key: str, **more) -> dict:
        """The new line of a picture that has just been written."""
        line = self.line(picture, key, **more)
        self._append(json.dumps(line) + "\n")
        return line

    def line(self, picture: Path, key: str, **more) -> dict:
        """What `add` would add."""
        return {"picture": self._name(picture), "key": key, "stamp": images.stamp(picture), **more}

    def _name(self, picture: Path) -> str:
        return picture.relative_to(self.folder).as_posix()

    def _places_of_lines(self) -> tuple[np.ndarray, np.ndarray]:
        """Hashed names, in order, and where the line of each begins."""
        names, places, place, text = array("Q"), array("q"), 0, b"\n"
        with self.path.open("rb") as file:
            for text in file:
                if (line := parsed(text)) is not None:
                    names.append(_hashed(line["picture"]))
                    places.append(place)
                place += len(text)
        if not text.endswith(b"\n"):
            self._append("\n")  # after a cut line
        found = np.array(names)
        order = np.argsort(found, kind="stable")  # of one name, later lines come later
        return found[order], np.array(places)[order]

    def _place(self, name: str) -> int | None:
        hashed = np.uint64(_hashed(name))
        at = int(np.searchsorted(self._names, hashed, side="right")) - 1
        return int(self._places[at]) if at >= 0 and self._names[at] == hashed else None

    def _line(self, name: str) -> dict | None:
        if (place := self._place(name)) is None:
            return None
        with self.path.open("rb") as file:
            file.seek(place)
            line = parsed(file.readline())
        return line if line and line["picture"] == name else None

    def _append(self, text: str) -> None:
        """In one call of the system, so that lines of several processes do not mix."""
        with self._refusals():
            file = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
            try:
                os.write(file, text.encode())
            finally:
                os.close(file)

    @contextmanager
    def _refusals(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise WriteError(f"cannot write {self.path}: {error.strerror}") from error


def parsed(text: bytes) -> dict | None:
    """A line of a record; None of one that is cut or is none."""
    try:
        line = json.loads(text)
    except ValueError:
        return None
    return line if isinstance(line, dict) and isinstance(line.get("picture"), str) else None


def _hashed(name: str) -> int:
    return int.from_bytes(hashlib.blake2b(name.encode(errors="surrogateescape"), digest_size=8).digest(), "little")
