"""What a program prints: never the reason for its end."""

from __future__ import annotations

import sys


def forgive_encodings() -> None:
    """Let stdout and stderr replace what their encoding lacks (Chinese names under cp1252) instead of raising.

    Every program calls this once, at its start; importing the library never does.
    """
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
