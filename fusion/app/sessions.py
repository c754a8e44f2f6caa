"""Which files belong to whom: what a visitor sent and what was made of it goes when the visit ends."""

from __future__ import annotations

import secrets
import shutil
import threading
import time
from collections import defaultdict
from contextlib import suppress
from pathlib import Path

MINUTE = 60


class Sessions:
    """Folders below `root`, one a visit, and the uploads that a visit brought.

    An upload lies in a folder named by its content, so that two visitors who bring the same file share it: it goes
    with the last of them.
    """

    def __init__(self, root: Path):
        self.made, self.uploads = root / "made", root / "uploads"
        for folder in (self.made, self.uploads):
            folder.mkdir(parents=True, exist_ok=True)
        self._folders: dict[str, Path] = {}
        self._brought: dict[str, set[Path]] = defaultdict(set)
        self._lock = threading.Lock()

    def folder(self, session: str) -> Path:
        """A new, empty folder for what is made now; its name is no one's guess, for everything in it is served."""
        with self._lock:
            own = self._folders.setdefault(session, self.made / secrets.token_urlsafe(16))
        folder = own / secrets.token_urlsafe(8)
        folder.mkdir(parents=True)
        return folder

    def brought(self, session: str, *files: str | Path | None) -> None:
        """Note uploads of a visit; other files (the samples) are left alone."""
        own = {Path(f).parent for f in files if f and self.uploads in Path(f).parents}
        with self._lock:
            self._brought[session] |= own

    def end(self, session: str) -> None:
        """Delete all that the visit brought and had made."""
        with self._lock:
            folder, own = self._folders.pop(session, None), self._brought.pop(session, set())
            kept = {upload for others in self._brought.values() for upload in others}
        for gone in filter(None, (folder, *(own - kept))):
            shutil.rmtree(gone, ignore_errors=True)
        self._sweep(kept)

    def _sweep(self, kept: set[Path]) -> None:
        """Delete what no visit knows of: uploads whose page was closed on the way, Gradio's empty files."""
        for stray in self.uploads.iterdir():
            with suppress(OSError):
                if stray in kept or time.time() - stray.stat().st_mtime < MINUTE:  # it may be under way
                    continue
                shutil.rmtree(stray) if stray.is_dir() else stray.unlink()
